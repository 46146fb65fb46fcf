// Command porcupine checks recorded histories with porcupine. With -broken every file must be
// found wrong instead.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"tenet.test/interop/linear"
	"tenet.test/interop/lines"
)

// wrongMax is how much is told of one file.
const wrongMax = 5

func main() {
	broken := flag.Bool("broken", false, "every file was broken and must be found wrong")
	limit := flag.Duration("limit", time.Minute, "how long porcupine may search in one file")
	flag.Parse()
	if flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "porcupine: which files?")
		os.Exit(2)
	}
	agrees := true
	for _, file := range flag.Args() {
		wrong, err := check(file, *limit)
		if err != nil {
			fmt.Fprintln(os.Stderr, "porcupine:", err)
			os.Exit(2)
		}
		agrees = agrees && wrong == *broken
	}
	if !agrees {
		os.Exit(1)
	}
}

func check(file string, limit time.Duration) (bool, error) {
	text, err := os.Open(file)
	if err != nil {
		return false, err
	}
	defer text.Close()
	all, err := lines.Read(text)
	if err != nil {
		return false, fmt.Errorf("%s: %w", file, err)
	}
	before := time.Now()
	result := linear.Check(all, limit)
	fmt.Printf("%s: %d operations, %d watches, %d events, %d wrong, %.1f s\n", filepath.Base(file),
		result.Operations, result.Watches, result.Events, len(result.Wrong), time.Since(before).Seconds())
	for i, wrong := range result.Wrong {
		if i == wrongMax {
			break
		}
		fmt.Println("  " + wrong)
	}
	return len(result.Wrong) > 0, nil
}
