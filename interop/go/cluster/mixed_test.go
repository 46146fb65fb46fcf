package cluster

import (
	"os"
	"testing"

	"tenet.test/interop/server"
)

// etcd checks its own invariants as it goes.
func etcd(t *testing.T) string {
	t.Helper()
	path := os.Getenv("ETCD")
	if path == "" {
		t.Fatal("ETCD is not set: give the path of the real etcd")
	}
	t.Setenv("ETCD_VERIFY", "all")
	return path
}

func TestEtcdJoinsLeadsAndHandsBack(t *testing.T) {
	program := etcd(t)
	for _, way := range []struct {
		name  string
		flags []string
	}{
		{"by the log", nil},
		{"by a snapshot", []string{"--snapshot-count", "50", "--snapshot-catchup-entries", "5"}},
	} {
		t.Run(way.name, func(t *testing.T) {
			c := server.ClusterFor(t, 1, way.flags...)
			joins(t, c, program)
		})
	}
}

func TestItJoinsEtcdLeadsAndHandsBack(t *testing.T) {
	program := etcd(t)
	binary, err := server.Binary()
	if err != nil {
		t.Fatal(err)
	}
	for _, way := range []struct {
		name  string
		flags []string
	}{
		{"by the log", nil},
		{"by a snapshot", []string{"--snapshot-count", "50", "--snapshot-catchup-entries", "5"}},
	} {
		t.Run(way.name, func(t *testing.T) {
			c := server.ClusterOf(t, []string{program}, way.flags...)
			joins(t, c, binary)
		})
	}
}

func TestAClusterOfBothKeepsEverything(t *testing.T) {
	program := etcd(t)
	binary, err := server.Binary()
	if err != nil {
		t.Fatal(err)
	}
	c := server.ClusterOf(t, []string{binary, program, binary})
	for range 3 {
		leads := leader(t, c, 0, 1, 2)
		put(t, c.ClientFor(t, (leads+1)%3), 100, "k")
		agree(t, c, 0, 1, 2)
		if err := c.Members[leads].Kill(); err != nil {
			t.Fatal(err)
		}
		leader(t, c, (leads+1)%3, (leads+2)%3)
		put(t, c.ClientFor(t, (leads+1)%3), 100, "l")
		if err := c.Members[leads].Again(); err != nil {
			t.Fatal(err)
		}
		agree(t, c, 0, 1, 2)
	}
}

// joins lets a program join a cluster of one, lead it, and hand back.
func joins(t *testing.T, c *server.Cluster, program string) {
	t.Helper()
	first := c.ClientFor(t, 0)
	put(t, first, 400, "before")
	id := grow(t, c, program, first)
	put(t, c.ClientFor(t, 1), 50, "through the newcomer")
	agree(t, c, 0, 1)
	was := leader(t, c, 0, 1)
	if was != 0 {
		t.Fatalf("%d leads", was)
	}
	if _, err := first.MoveLeader(within(t), id); err != nil {
		t.Fatal(err)
	}
	if got := leader(t, c, 0, 1); got != 1 {
		t.Fatalf("%d leads", got)
	}
	put(t, first, 50, "under the newcomer")
	put(t, c.ClientFor(t, 1), 50, "at the newcomer")
	agree(t, c, 0, 1)
	back, err := first.Status(within(t), c.Members[0].Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.ClientFor(t, 1).MoveLeader(within(t), back.Header.MemberId); err != nil {
		t.Fatal(err)
	}
	put(t, first, 50, "after")
	agree(t, c, 0, 1)
}
