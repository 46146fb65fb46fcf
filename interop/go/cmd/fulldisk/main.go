// Command fulldisk fills the disk of the server in SERVER and walks the way back. It needs a small
// file system at FOLDER/data. It prints a report as JSON; the exit code is 0 only if nothing was
// lost and every step worked.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"

	"tenet.test/interop/fulldisk"
	"tenet.test/interop/server"
)

func main() {
	folder := flag.String("folder", "", "a folder in whose \"data\" a small file system is mounted")
	flag.Parse()
	if err := run(*folder, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "fulldisk:", err)
		os.Exit(1)
	}
}

func run(folder string, flags []string) error {
	binary, err := server.Binary()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	report, err := fulldisk.Run(ctx, binary, folder, flags)
	text, encodeErr := json.MarshalIndent(report, "", "  ")
	if encodeErr != nil {
		return encodeErr
	}
	fmt.Println(string(text))
	return err
}
