package server

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// Cluster is some members that know each other. A member's place is its number from 0 on.
type Cluster struct {
	Members []*Server
	folder  string
	flags   []string
}

// ClusterFor starts a new cluster of the server under test for one test alone. What its members
// logged last is shown if the test fails.
func ClusterFor(t testing.TB, size int, flags ...string) *Cluster {
	t.Helper()
	binary, err := Binary()
	if err != nil {
		t.Fatal(err)
	}
	binaries := make([]string, size)
	for i := range binaries {
		binaries[i] = binary
	}
	return ClusterOf(t, binaries, flags...)
}

// ClusterOf is ClusterFor with a program for each member.
func ClusterOf(t testing.TB, binaries []string, flags ...string) *Cluster {
	t.Helper()
	c := &Cluster{folder: t.TempDir(), flags: flags}
	t.Cleanup(func() {
		for i, member := range c.Members {
			if t.Failed() {
				t.Logf("member %d: %s", i, member.LogTail())
			}
			member.Close()
		}
	})
	for _, binary := range binaries {
		if _, err := c.prepare(binary); err != nil {
			t.Fatal(err)
		}
	}
	for i, member := range c.Members {
		member.options.Flags = c.flagsOf(i, "new")
		if err := member.Launch(); err != nil {
			t.Fatal(err)
		}
	}
	for _, member := range c.Members {
		if err := member.WaitUntilReady(); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func (c *Cluster) prepare(binary string) (*Server, error) {
	folder := filepath.Join(c.folder, fmt.Sprintf("m%d", len(c.Members)))
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	member, err := prepare(Options{Binary: binary, Folder: folder})
	if err == nil {
		c.Members = append(c.Members, member)
	}
	return member, err
}

// flagsOf are those of one member among all that there are by now.
func (c *Cluster) flagsOf(at int, state string) []string {
	var initial []string
	for i, member := range c.Members {
		initial = append(initial, fmt.Sprintf("m%d=%s", i, member.PeerURL()))
	}
	return append([]string{
		"--name", fmt.Sprintf("m%d", at),
		"--initial-cluster", strings.Join(initial, ","),
		"--initial-cluster-state", state,
	}, c.flags...)
}

// Prepare gives a further member its place and addresses, so that it can be added.
func (c *Cluster) Prepare(t testing.TB, binary string) *Server {
	t.Helper()
	member, err := c.prepare(binary)
	if err != nil {
		t.Fatal(err)
	}
	member.options.Flags = c.flagsOf(len(c.Members)-1, "existing")
	return member
}

// Endpoints of some members, or of all.
func (c *Cluster) Endpoints(places ...int) []string {
	if len(places) == 0 {
		for i := range c.Members {
			places = append(places, i)
		}
	}
	var endpoints []string
	for _, i := range places {
		endpoints = append(endpoints, c.Members[i].Endpoint())
	}
	return endpoints
}

// ClientFor connects the official client to some members, or to all.
func (c *Cluster) ClientFor(t testing.TB, places ...int) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: c.Endpoints(places...), Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}
