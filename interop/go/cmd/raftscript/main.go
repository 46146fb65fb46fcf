// Command raftscript is the reference that the project's consensus core is compared with: it reads
// scripts from its input, runs each through Go's raft and writes what the commands printed.
//
// Each text is preceded by its length in bytes on a line of its own, and the outputs of a script by
// their number.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"time"

	"tenet.test/interop/raftscript"
)

// A script takes milliseconds. One that takes so long will never end.
const patience = time.Minute

func main() {
	if err := serve(bufio.NewReader(os.Stdin), bufio.NewWriter(os.Stdout)); err != nil {
		fmt.Fprintln(os.Stderr, "raftscript:", err)
		os.Exit(1)
	}
}

func serve(in *bufio.Reader, out *bufio.Writer) error {
	for {
		var length int
		if _, err := fmt.Fscanf(in, "%d\n", &length); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		script := make([]byte, length)
		if _, err := io.ReadFull(in, script); err != nil {
			return err
		}
		watch := time.AfterFunc(patience, func() {
			fmt.Fprintf(os.Stderr, "raftscript: no end after %v:\n%s\n", patience, script)
			os.Exit(1)
		})
		outputs := raftscript.Run(string(script))
		watch.Stop()
		fmt.Fprintln(out, len(outputs))
		for _, output := range outputs {
			fmt.Fprintf(out, "%d\n%s", len(output), output)
		}
		if err := out.Flush(); err != nil {
			return err
		}
	}
}
