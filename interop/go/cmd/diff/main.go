// Command diff sends random histories to two servers and prints the first difference, with the
// shortest history that shows it. The exit code is 0 only if there is none.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"tenet.test/interop/diff"
)

func main() {
	reference := flag.String("reference", "", "the server that is right: the real etcd")
	tested := flag.String("tested", "", "the server under test")
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano()), "seed of the first history")
	requests := flag.Int("requests", 1000, "requests of a history")
	histories := flag.Int("histories", 1, "how many histories, each from the next seed")
	flag.Parse()
	if err := run(*reference, *tested, *seed, *requests, *histories); err != nil {
		fmt.Fprintln(os.Stderr, "diff:", err)
		os.Exit(1)
	}
}

func run(reference, tested string, seed uint64, requests, histories int) error {
	for _, path := range []*string{&reference, &tested} {
		if *path == "" {
			return fmt.Errorf("-reference and -tested are needed")
		}
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		*path = absolute
	}
	folder, err := os.MkdirTemp("", "diff")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	for history := range uint64(histories) {
		config := diff.Config{
			Reference: reference, Tested: tested, Folder: folder, Seed: seed + history, Requests: requests,
			Say: func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) },
		}
		difference, err := diff.Run(context.Background(), config)
		if err != nil {
			return fmt.Errorf("seed %d: %w", config.Seed, err)
		}
		if difference != nil {
			for _, ask := range difference.History {
				fmt.Println(ask)
			}
			fmt.Printf("reference: %s\ntested:    %s\n", difference.Reference, difference.Tested)
			return fmt.Errorf("a difference; repeat with -seed %d -requests %d", config.Seed, requests)
		}
		fmt.Printf("seed %d: %d requests, no difference\n", config.Seed, requests)
	}
	return nil
}
