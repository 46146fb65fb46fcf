// Command crash kills the server in SERVER under load and checks that nothing acknowledged is
// lost. It prints a report as JSON; the exit code is 0 only if the server kept its word.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"

	"tenet.test/interop/crash"
	"tenet.test/interop/server"
)

func main() {
	cycles := flag.Int("cycles", 30, "how often to kill")
	writers := flag.Int("writers", 64, "how many writers at a time")
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano()), "seed of the writers and of the moments of the kills")
	flag.Parse()
	if err := run(*cycles, *writers, *seed, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "crash:", err)
		os.Exit(1)
	}
}

func run(cycles, writers int, seed uint64, flags []string) error {
	binary, err := server.Binary()
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "crash")
	if err != nil {
		return err
	}
	report, err := crash.Run(context.Background(), crash.Config{
		Binary: binary, Folder: folder, Flags: flags, Cycles: cycles, Writers: writers, Seed: seed,
		Say: func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) },
	})
	text, encodeErr := json.MarshalIndent(report, "", "  ")
	if encodeErr != nil {
		return encodeErr
	}
	fmt.Println(string(text))
	if err != nil {
		return fmt.Errorf("%w; the folder %s is kept, the seed was %d", err, folder, seed)
	}
	if len(report.Violations) > 0 {
		return fmt.Errorf("%d violations; the folder %s is kept, the seed was %d", len(report.Violations), folder, seed)
	}
	return os.RemoveAll(folder)
}
