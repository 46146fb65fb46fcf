package backup

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tenet.test/interop/server"
)

// fill writes a history with everything that a snapshot has to keep.
func fill(t *testing.T, s *server.Server) {
	t.Helper()
	client := server.ClientOf(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), callTimeout)
	defer cancel()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	random := rand.New(rand.NewSource(7))
	value := func(most int) string {
		bytes := make([]byte, random.Intn(most))
		random.Read(bytes)
		return string(bytes)
	}
	for n := range 3 {
		_, err := client.Grant(ctx, 100_000+int64(n))
		must(err)
	}
	leases, err := client.Leases(ctx)
	must(err)
	for n := range 600 {
		options := []clientv3.OpOption{}
		if n%40 == 0 {
			options = append(options, clientv3.WithLease(leases.Leases[n%len(leases.Leases)].ID))
		}
		_, err := client.Put(ctx, fmt.Sprintf("key/%d", random.Intn(200)), value(1+n%700), options...)
		must(err)
	}
	for _, key := range []string{"empty", "binary\x01\xff\x80", "ключ"} {
		_, err := client.Put(ctx, key, "")
		must(err)
	}
	_, err = client.Put(ctx, "large", strings.Repeat("l", 1<<20))
	must(err)
	_, err = client.Delete(ctx, "key/1", clientv3.WithPrefix())
	must(err)
	_, err = client.Txn(ctx).Then(clientv3.OpPut("txn/a", "1"), clientv3.OpPut("txn/b", "2"), clientv3.OpDelete("empty")).Commit()
	must(err)
	_, err = client.Compact(ctx, 400, clientv3.WithCompactPhysical())
	must(err)
	// Superseded revisions and tombstones above the compaction are kept.
	for n := range 100 {
		_, err := client.Put(ctx, fmt.Sprintf("key/%d", n%10), value(100))
		must(err)
	}
	_, err = client.Delete(ctx, "key/7")
	must(err)
}

func TestTestedToEtcdAndBack(t *testing.T) {
	tested, real := sides(t)
	first := start(t, tested, t.TempDir())
	fill(t, first)
	snapshot := save(t, tested.ctl, first)
	sound(t, snapshot)
	sameStatus(t, tested, real, snapshot)
	// etcd's own client takes the same file.
	with := func(path string) string { return succeed(t, real.util, "snapshot", "status", path, "-w", "json") }
	if got, want := with(save(t, real.ctl, first)), with(snapshot); got != want {
		t.Errorf("taken with etcdctl: %s want: %s", got, want)
	}

	t.Setenv("ETCD_VERIFY", "all")
	second := start(t, real, restore(t, real, snapshot))
	sameContents(t, second, first)
	goesOn(t, second)

	back := save(t, real.ctl, second)
	sameStatus(t, tested, real, back)
	third := start(t, tested, restore(t, tested, back))
	sameContents(t, third, second)
	goesOn(t, third)
	if err := third.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := third.Again(); err != nil {
		t.Fatal(err)
	}
	goesOn(t, third)
}

// goesOn writes to a server.
func goesOn(t *testing.T, s *server.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), callTimeout)
	defer cancel()
	if _, err := server.ClientOf(t, s).Put(ctx, "goes", "on"); err != nil {
		t.Fatal(err)
	}
}

func TestEmptyServer(t *testing.T) {
	tested, real := sides(t)
	first := start(t, tested, t.TempDir())
	snapshot := save(t, tested.ctl, first)
	sound(t, snapshot)
	sameStatus(t, tested, real, snapshot)
	second := start(t, real, restore(t, real, snapshot))
	sameContents(t, second, first)
}

// golden unpacks a snapshot that an older etcd has written.
func golden(t *testing.T, version string) string {
	t.Helper()
	packed, err := os.Open("../../../crates/bolt/testdata/etcd-" + version + ".db.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	reader, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	bytes, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), version+".db")
	if err := os.WriteFile(path, bytes, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSnapshotsOfEveryVersion(t *testing.T) {
	tested, real := sides(t)
	for _, version := range []string{"3.5.35", "3.6.16", "3.7.1"} {
		t.Run(version, func(t *testing.T) {
			snapshot := golden(t, version)
			sameStatus(t, tested, real, snapshot)
			got := start(t, tested, restore(t, tested, snapshot))
			want := start(t, real, restore(t, real, snapshot))
			sameContents(t, got, want)
			// Users and roles go through, though the server under test may not serve them yet.
			back := start(t, real, restore(t, real, save(t, tested.ctl, got)))
			for _, question := range [][]string{{"user", "list"}, {"role", "list"}, {"user", "get", "alice", "--detail"}, {"role", "get", "writer"}} {
				got := succeed(t, real.ctl, append(question, "--endpoints", back.Endpoint())...)
				want := succeed(t, real.ctl, append(question, "--endpoints", want.Endpoint())...)
				if got != want {
					t.Errorf("%v: %s want: %s", question, got, want)
				}
			}
		})
	}
}

func TestBumpedRevision(t *testing.T) {
	tested, real := sides(t)
	snapshot := golden(t, "3.7.1")
	flags := []string{"--bump-revision", "1000000", "--mark-compacted"}
	got := start(t, tested, restore(t, tested, snapshot, flags...))
	want := start(t, real, restore(t, real, snapshot, flags...))
	sameContents(t, got, want)
	ctx, cancel := context.WithTimeout(t.Context(), callTimeout)
	defer cancel()
	for _, s := range []*server.Server{got, want} {
		answer, err := server.ClientOf(t, s).Put(ctx, "plain", "next")
		if err != nil {
			t.Fatal(err)
		}
		if answer.Header.Revision != 1_000_377 {
			t.Errorf("revision %d behind a bump", answer.Header.Revision)
		}
		_, err = server.ClientOf(t, s).Get(ctx, "plain", clientv3.WithRev(1_000_375))
		if err == nil || !strings.Contains(err.Error(), "compacted") {
			t.Errorf("a read below the bump: %v", err)
		}
	}
	sameContents(t, got, want)
	again := start(t, real, restore(t, real, save(t, tested.ctl, got)))
	sameContents(t, again, want)
}
