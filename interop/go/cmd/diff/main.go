// Command diff sends random histories to two servers and compares all that comes. It prints how
// often each option and each kind of answer was met, and the first difference with a short history
// that shows it. The exit code is 0 only if there is none, and nothing was met too rarely.
//
// With -planted it shows that mistakes are found: each is put between the comparison and the
// tested server, and must be found within as many steps.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"tenet.test/interop/diff"
)

var (
	reference = flag.String("reference", "", "the server that is right: the real etcd")
	tested    = flag.String("tested", "", "the server under test")
	seed      = flag.Uint64("seed", uint64(time.Now().UnixNano()), "seed of the first history")
	steps     = flag.Int("steps", 10_000, "steps of all histories together")
	history   = flag.Int("history", 1000, "steps of one history")
	only      = flag.Bool("only", false, "play the one history of the seed, of the kind that -clients, -large and -deep say")
	clients   = flag.Int("clients", 0, "with -only: clients at once, or 0 for one that has everything compared")
	large     = flag.Bool("large", false, "with -only: large values")
	deep      = flag.Bool("deep", false, "with -only: many changes and no compaction")
	atOnce    = flag.Int("at-once", 6, "histories played at the same time")
	least     = flag.Int("least", 0, "how often everything that must be met was to be met")
	planted   = flag.String("planted", "", "the name of a mistake to plant, or all")
	keep      = flag.String("keep", "", "the file to write the short history to")
	record    = flag.String("record", "", "a kept history whose answers are taken anew from the reference")
)

func main() {
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "diff:", err)
		os.Exit(1)
	}
}

func run() error {
	for _, path := range []*string{reference, tested} {
		if *path == "" {
			return errors.New("-reference and -tested are needed")
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
	config := diff.Config{
		Reference: *reference, Tested: *tested, Folder: folder, Seed: *seed, Steps: *history,
		Counts: &diff.Counts{}, Clients: *clients, Large: *large, Deep: *deep,
	}
	ctx := context.Background()
	switch {
	case *record != "":
		return recordAnew(ctx, *record, folder)
	case *planted == "all":
		return plantAll(ctx, config)
	}
	config.Planted = *planted
	return compare(ctx, config)
}

func compare(ctx context.Context, config diff.Config) error {
	began, counts := time.Now(), config.Counts
	var found *diff.Difference
	var err error
	if *only {
		found, err = diff.Run(ctx, config)
	} else {
		many := diff.Many{Config: config, Total: *steps, AtOnce: *atOnce}
		found, config, err = many.Run(ctx)
	}
	if err != nil {
		return err
	}
	if found != nil {
		return report(ctx, config, found)
	}
	counts.Print(os.Stdout)
	fmt.Printf("first seed %d: no difference in %v\n", *seed, time.Since(began).Round(time.Second))
	if missing := counts.Missing(*least); *least > 0 && len(missing) > 0 {
		for _, name := range missing {
			fmt.Println("too rare:", name)
		}
		return fmt.Errorf("%d things were met less than %d times", len(missing), *least)
	}
	return nil
}

func report(ctx context.Context, config diff.Config, found *diff.Difference) error {
	again := fmt.Sprintf("-only -seed %d -history %d -clients %d -large=%v -deep=%v",
		config.Seed, config.Steps, config.Clients, config.Large, config.Deep)
	fmt.Printf("a difference after %d steps\nreference: %s\ntested:    %s\n", len(found.Steps), found.Reference, found.Tested)
	script, found := diff.Shrink(ctx, config, found)
	if script == nil {
		return fmt.Errorf("the difference does not come when the same steps are played again; repeat with %s", again)
	}
	fmt.Printf("\n%s\nreference: %s\ntested:    %s\n", script, found.Reference, found.Tested)
	if *keep != "" {
		if err := os.WriteFile(*keep, []byte(script.String()), 0o644); err != nil {
			return err
		}
	}
	return fmt.Errorf("a difference; repeat with %s", again)
}

// plantAll plants one mistake after the other.
func plantAll(ctx context.Context, config diff.Config) error {
	missed := 0
	for _, name := range diff.Mistakes() {
		planting := config
		planting.Planted, planting.Counts = name, &diff.Counts{}
		many := diff.Many{Config: planting, Total: *steps, AtOnce: *atOnce}
		found, _, err := many.Run(ctx)
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", name, err)
		case found == nil:
			missed++
			fmt.Printf("NOT FOUND in %d steps: %s\n", planting.Counts.Of("steps"), name)
		default:
			fmt.Printf("found after %6d steps: %s\n", planting.Counts.Of("steps"), name)
		}
	}
	if missed > 0 {
		return fmt.Errorf("%d mistakes were not found", missed)
	}
	return nil
}

// recordAnew writes the reference's answers into a kept history.
func recordAnew(ctx context.Context, path, folder string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	script, err := diff.Parse(string(text))
	if err != nil {
		return err
	}
	if script.Answers, err = script.Play(ctx, *reference, folder); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(script.String()), 0o644)
}
