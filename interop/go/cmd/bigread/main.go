// Command bigread measures, for the server in SERVER, what memory grows by while clients read all
// keys in one answer each, in chunks, and slowly. It prints a report as JSON.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"

	"tenet.test/interop/bigread"
	"tenet.test/interop/server"
)

func main() {
	keys := flag.Int("keys", 1_000_000, "how many keys")
	valueBytes := flag.Int("value-bytes", 300, "bytes of each value")
	flag.Parse()
	if err := run(*keys, *valueBytes); err != nil {
		fmt.Fprintln(os.Stderr, "bigread:", err)
		os.Exit(1)
	}
}

func run(keys, valueBytes int) error {
	binary, err := server.Binary()
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "bigread")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	s, err := server.Start(server.Options{Binary: binary, Folder: folder})
	if err != nil {
		return err
	}
	defer s.Close()
	ctx := context.Background()
	if err := bigread.Load(ctx, s, keys, valueBytes); err != nil {
		return err
	}
	var report []bigread.Growth
	for _, c := range bigread.Cases {
		growth, err := bigread.Measure(ctx, s, c, keys)
		if err != nil {
			return fmt.Errorf("%v: %w; the log ends: %s", c, err, s.LogTail())
		}
		fmt.Fprintf(os.Stderr, "%-50v memory %.1f MB before, grew by %.1f MB, %.1f s\n",
			c, float64(growth.BeforeBytes)/1e6, float64(growth.Bytes())/1e6, growth.Seconds)
		report = append(report, growth)
	}
	return json.NewEncoder(os.Stdout).Encode(report)
}
