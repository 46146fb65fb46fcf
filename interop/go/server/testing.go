package server

import (
	"fmt"
	"os"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
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

// ClientOf connects the official client, for the length of a test.
func ClientOf(t testing.TB, s *Server) *clientv3.Client {
	t.Helper()
	client, err := s.Client()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// RawOf connects without the official client's own checks and retries, for the length of a test.
func RawOf(t testing.TB, s *Server) *grpc.ClientConn {
	t.Helper()
	connection, err := grpc.NewClient(s.Endpoint(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(1<<30), grpc.MaxCallRecvMsgSize(1<<30)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	return connection
}
