// Command record writes down a history of concurrent clients of the server in SERVER, while it is
// killed and stopped. It prints a report as JSON.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"

	"tenet.test/interop/record"
	"tenet.test/interop/server"
)

func main() {
	config := record.Config{}
	flag.Int64Var(&config.Operations, "operations", 60_000, "how many operations are recorded, at most")
	flag.DurationVar(&config.Time, "time", 30*time.Second, "how long, at most")
	flag.IntVar(&config.Clients, "clients", 12, "how many clients")
	flag.IntVar(&config.Streams, "streams", 3, "how many streams of watches, beside two of the official client")
	flag.DurationVar(&config.Pause, "pause", 15*time.Millisecond, "how long a client waits between two operations, on average")
	flag.IntVar(&config.Kills, "kills", 6, "how often the server is killed")
	flag.IntVar(&config.Stops, "stops", 4, "how often the server is stopped and continued")
	flag.Uint64Var(&config.Seed, "seed", uint64(time.Now().UnixNano()), "seed of the clients and of the moments of the faults")
	out := flag.String("out", "history.jsonl", "the file that is written")
	flag.Parse()
	config.Flags = flag.Args()
	if err := run(config, *out); err != nil {
		fmt.Fprintln(os.Stderr, "record:", err)
		os.Exit(1)
	}
}

func run(config record.Config, out string) error {
	binary, err := server.Binary()
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "record")
	if err != nil {
		return err
	}
	file, err := os.Create(out)
	if err != nil {
		return err
	}
	defer file.Close()
	config.Binary, config.Folder, config.Out = binary, folder, file
	config.Say = func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
	report, err := record.Run(config)
	if err != nil {
		return fmt.Errorf("%w; the folder %s is kept, the seed was %d", err, folder, config.Seed)
	}
	if err := file.Close(); err != nil {
		return err
	}
	if report.Kills < config.Kills || report.Stops < config.Stops {
		return fmt.Errorf("the load ended after %d kills and %d stops; give it more operations, or less time", report.Kills, report.Stops)
	}
	text, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	fmt.Println(string(text))
	return os.RemoveAll(folder)
}
