// Package backup moves data between the server under test and the real etcd by snapshots, both
// ways, with the tools of both.
//
// SERVER is the server under test, ETCD the real one, with etcdctl and etcdutl beside it. Run with
// SERVER=etcd the package compares etcd with itself, which proves the expectations.
package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
	clientv3 "go.etcd.io/etcd/client/v3"

	"tenet.test/interop/server"
)

const callTimeout = 30 * time.Second

// side is a server with its tools.
type side struct {
	name   string
	server string
	ctl    []string
	util   []string
}

func sides(t *testing.T) (tested, real side) {
	t.Helper()
	binary, err := server.Binary()
	if err != nil {
		t.Fatal(err)
	}
	etcd := os.Getenv("ETCD")
	if etcd == "" {
		t.Fatal("ETCD is not set: give the path of the real etcd, with etcdctl and etcdutl beside it")
	}
	if etcd, err = filepath.Abs(etcd); err != nil {
		t.Fatal(err)
	}
	of := func(name, path string) side {
		if filepath.Base(path) == "tenet" {
			return side{name, path, []string{path, "ctl"}, []string{path, "util"}}
		}
		folder := filepath.Dir(path)
		ctl, util := filepath.Join(folder, "etcdctl"), filepath.Join(folder, "etcdutl")
		return side{name, path, []string{ctl}, []string{util}}
	}
	return of("tested", binary), of("etcd", etcd)
}

// ran is what a tool has said.
type ran struct {
	stdout, stderr string
	code           int
}

func run(t *testing.T, tool []string, args ...string) ran {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), callTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, tool[0], append(append([]string{}, tool[1:]...), args...)...)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return ran{stdout.String(), stderr.String(), command.ProcessState.ExitCode()}
}

// succeed runs a tool that has to do what it is asked, and gives what it prints.
func succeed(t *testing.T, tool []string, args ...string) string {
	t.Helper()
	result := run(t, tool, args...)
	if result.code != 0 {
		t.Fatalf("%v %v ended with %d: %s", tool, args, result.code, result.stderr)
	}
	return result.stdout
}

// start starts a server of a side in a folder, which may hold a restored data directory.
func start(t *testing.T, of side, folder string) *server.Server {
	t.Helper()
	s, err := server.Start(server.Options{Binary: of.server, Folder: folder})
	if err != nil {
		t.Fatalf("%s: %v", of.name, err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s: %s", of.name, s.LogTail())
		}
		s.Close()
	})
	return s
}

// restore makes a data directory with the tool of a side and gives the folder to start in.
func restore(t *testing.T, of side, snapshot string, flags ...string) string {
	t.Helper()
	folder := t.TempDir()
	args := append([]string{"snapshot", "restore", snapshot, "--data-dir", filepath.Join(folder, "data")}, flags...)
	succeed(t, of.util, args...)
	return folder
}

// save takes a snapshot with a tool.
func save(t *testing.T, tool []string, s *server.Server) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "snapshot.db")
	said := succeed(t, tool, "snapshot", "save", path, "--endpoints", s.Endpoint())
	want := fmt.Sprintf("Snapshot saved at %s\nServer version 3.7.0\n", path)
	if said != want {
		t.Errorf("save said %q, want %q", said, want)
	}
	return path
}

// contents is everything that can be seen of a server through its API but for ids of members.
func contents(t *testing.T, s *server.Server) string {
	t.Helper()
	client := server.ClientOf(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), callTimeout)
	defer cancel()
	var text strings.Builder
	hash, err := client.HashKV(ctx, s.Endpoint(), 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&text, "hash %d at %d compacted at %d\n", hash.Hash, hash.HashRevision, hash.CompactRevision)
	for revision := max(hash.CompactRevision, 1); revision <= hash.HashRevision; revision += 1 + (hash.HashRevision-revision)/4 {
		keys, err := client.Get(ctx, "\x00", clientv3.WithFromKey(), clientv3.WithRev(revision))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&text, "at %d: %d keys\n", revision, keys.Count)
		for _, kv := range keys.Kvs {
			fmt.Fprintf(&text, "%q created %d modified %d version %d lease %x value %d bytes %08x\n",
				kv.Key, kv.CreateRevision, kv.ModRevision, kv.Version, kv.Lease, len(kv.Value), crc32.ChecksumIEEE(kv.Value))
		}
	}
	leases, err := client.Leases(ctx)
	if err != nil {
		t.Fatal(err)
	}
	// The order of leases goes by what is left of them.
	seen := map[clientv3.LeaseID]string{}
	for _, lease := range leases.Leases {
		of, err := client.TimeToLive(ctx, lease.ID, clientv3.WithAttachedKeys())
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(of.Keys, bytes.Compare)
		seen[lease.ID] = fmt.Sprintf("%d s, keys %q", of.GrantedTTL, of.Keys)
	}
	fmt.Fprintf(&text, "leases %v\n", seen)
	return text.String()
}

// sameContents compares two servers.
func sameContents(t *testing.T, got, want *server.Server) {
	t.Helper()
	gotLines, wantLines := strings.Split(contents(t, got), "\n"), strings.Split(contents(t, want), "\n")
	if len(gotLines) != len(wantLines) {
		t.Errorf("%d lines, want %d", len(gotLines), len(wantLines))
	}
	for n := range min(len(gotLines), len(wantLines)) {
		if gotLines[n] != wantLines[n] {
			t.Fatalf("line %d: %s\nwant: %s", n, gotLines[n], wantLines[n])
		}
	}
}

// sameStatus compares what the tools of both sides say of a file, in all formats.
func sameStatus(t *testing.T, tested, real side, path string) {
	t.Helper()
	for _, format := range []string{"simple", "fields", "json", "table"} {
		got := succeed(t, tested.util, "snapshot", "status", path, "-w", format)
		want := succeed(t, real.util, "snapshot", "status", path, "-w", format)
		if got != want {
			t.Errorf("status as %s: %s want: %s", format, got, want)
		}
	}
}

// sound lets bbolt check a file.
func sound(t *testing.T, path string) {
	t.Helper()
	db, err := bolt.Open(path, 0o400, &bolt.Options{ReadOnly: true, PreLoadFreelist: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.View(func(tx *bolt.Tx) error {
		for problem := range tx.Check() {
			t.Errorf("bbolt finds: %v", problem)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
