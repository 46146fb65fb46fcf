// Command synccheck runs the server in SERVER under strace, puts by one client, and checks that a
// sync of the log was completed before each answer. The exit code is 0 only if it always was.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"

	"tenet.test/interop/server"
	"tenet.test/interop/synccheck"
)

func main() {
	puts := flag.Int("puts", 1000, "how often to put")
	flag.Parse()
	if err := run(*puts, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "synccheck:", err)
		os.Exit(1)
	}
}

func run(puts int, flags []string) error {
	binary, err := server.Binary()
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "synccheck")
	if err != nil {
		return err
	}
	findings, err := synccheck.Run(context.Background(), binary, folder, flags, puts)
	if err != nil {
		return fmt.Errorf("%w; the folder %s is kept", err, folder)
	}
	count := len(findings.Violations)
	findings.Violations = findings.Violations[:min(count, 10)]
	text, err := json.MarshalIndent(findings, "", "  ")
	if err != nil {
		return err
	}
	fmt.Println(string(text))
	if count > 0 {
		return fmt.Errorf("%d answers left before their sync; the trace is in %s", count, folder)
	}
	return os.RemoveAll(folder)
}
