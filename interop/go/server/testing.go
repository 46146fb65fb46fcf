package server

import (
	"fmt"
	"os"
	"testing"
)

// RunWith starts the server that the tests of a package share, lets them run, and returns the exit
// code for the test program.
func RunWith(shared **Server, m *testing.M, flags ...string) int {
	folder, err := os.MkdirTemp("", "interop")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(folder)
	binary, err := Binary()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	*shared, err = Start(Options{Binary: binary, Folder: folder, Flags: flags})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer (*shared).Close()
	return m.Run()
}

// For starts a server for one test alone. What it logged last is shown if the test fails.
func For(t testing.TB, flags ...string) *Server {
	t.Helper()
	binary, err := Binary()
	if err != nil {
		t.Fatal(err)
	}
	own, err := Start(Options{Binary: binary, Folder: t.TempDir(), Flags: flags})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(own.LogTail())
		}
		own.Close()
	})
	return own
}
