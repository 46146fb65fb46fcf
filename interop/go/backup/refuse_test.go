package backup

import (
	"bytes"
	"context"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"tenet.test/interop/server"
)

// lastLine is what a tool says at its end; before it come log lines.
func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

func TestRefusalsAreEtcds(t *testing.T) {
	tested, real := sides(t)
	snapshot := golden(t, "3.7.1")
	whole, err := os.ReadFile(snapshot)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	file := func(name string, bytes []byte) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, bytes, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	changed := bytes.Clone(whole)
	changed[len(changed)/2] ^= 1
	full := filepath.Join(folder, "full")
	if err := os.MkdirAll(filepath.Join(full, "something"), 0o700); err != nil {
		t.Fatal(err)
	}
	status := func(args ...string) []string { return append([]string{"snapshot", "status"}, args...) }
	restore := func(args ...string) []string { return append([]string{"snapshot", "restore"}, args...) }
	fresh := filepath.Join(folder, "fresh")
	for _, args := range [][]string{
		status(),
		status(snapshot, snapshot),
		status(filepath.Join(folder, "missing")),
		status(file("text", []byte("no database"))),
		status(snapshot, "-w", "protobuf"),
		status(snapshot, "-w", "yaml"),
		status(snapshot, "--unknown"),
		restore(),
		restore(snapshot, "more"),
		restore(snapshot, "--bump-revision", "5"),
		restore(snapshot, "--mark-compacted"),
		restore(snapshot, "--bump-revision", "-1"),
		restore(snapshot, "--data-dir", full),
		restore(snapshot, "--data-dir", fresh, "--wal-dir", full),
		restore(filepath.Join(folder, "missing"), "--data-dir", fresh),
		restore(snapshot, "--data-dir", fresh, "--name", "other"),
		restore(snapshot, "--data-dir", fresh, "--initial-cluster", ""),
		restore(snapshot, "--data-dir", fresh, "--initial-cluster", "default=localhost"),
		restore(snapshot, "--data-dir", fresh, "--initial-advertise-peer-urls", ""),
		restore(snapshot, "--data-dir", fresh, "--initial-advertise-peer-urls", "http://localhost:1"),
		restore(snapshot, "--data-dir", fresh, "--initial-cluster", "default=http://localhost:2380,default=http://localhost:2380"),
		restore(file("cut", whole[:len(whole)-100]), "--data-dir", fresh),
		restore(file("changed", changed), "--data-dir", fresh),
		{"version"},
		{"unknown"},
	} {
		got := run(t, tested.util, args...)
		_, missing := os.Stat(fresh)
		// The real one leaves what it has begun, which stops the next attempt.
		if missing == nil && tested.server != real.server {
			t.Errorf("%v: leaves a directory behind", args)
		}
		os.RemoveAll(fresh)
		want := run(t, real.util, args...)
		os.RemoveAll(fresh)
		if got.code != want.code || got.stdout != want.stdout {
			t.Errorf("%v: exit code %d and %q, want %d and %q", args, got.code, got.stdout, want.code, want.stdout)
		}
		say := func(text string) string { return strings.ReplaceAll(lastLine(text), "etcdutl", "tenet util") }
		if got, want := say(got.stderr), say(want.stderr); got != want {
			t.Errorf("%v: %s want: %s", args, got, want)
		}
	}
}

func TestSavesThatFail(t *testing.T) {
	tested, real := sides(t)
	s := start(t, tested, t.TempDir())
	for _, args := range [][]string{
		{"snapshot", "save"},
		{"snapshot", "save", "a", "b"},
		{"snapshot", "save", "/nowhere/at/all", "--endpoints", s.Endpoint()},
		{"snapshot", "save", filepath.Join(t.TempDir(), "s"), "--endpoints", "127.0.0.1:1,127.0.0.1:2"},
		{"snapshot", "save", filepath.Join(t.TempDir(), "s"), "--endpoints", "127.0.0.1:1", "--command-timeout", "1s"},
	} {
		got, want := run(t, tested.ctl, args...), run(t, real.ctl, args...)
		if got.code != want.code || got.stdout != want.stdout || lastLine(got.stderr) != lastLine(want.stderr) {
			t.Errorf("%v: %d %q %s\nwant: %d %q %s", args, got.code, got.stdout, lastLine(got.stderr), want.code, want.stdout, lastLine(want.stderr))
		}
		for _, path := range args[2:] {
			if _, err := os.Stat(path + ".part"); err == nil {
				t.Errorf("%v: leaves a part behind", args)
			}
		}
	}
}

// A snapshot with authentication on cannot be served as it must be, so it is not taken in.
func TestAuthenticationIsRefused(t *testing.T) {
	tested, real := sides(t)
	if tested.server == real.server {
		t.Skip("the real etcd takes it")
	}
	s := start(t, real, t.TempDir())
	for _, args := range [][]string{
		{"user", "add", "root:secret"},
		{"user", "grant-role", "root", "root"},
		{"auth", "enable"},
	} {
		succeed(t, real.ctl, append(args, "--endpoints", s.Endpoint())...)
	}
	path := filepath.Join(t.TempDir(), "auth.db")
	succeed(t, real.ctl, "snapshot", "save", path, "--endpoints", s.Endpoint(), "--user", "root:secret")
	fresh := filepath.Join(t.TempDir(), "fresh")
	refused := run(t, tested.util, "snapshot", "restore", path, "--data-dir", fresh)
	if refused.code != 1 || !strings.Contains(lastLine(refused.stderr), "authentication is enabled in this snapshot") {
		t.Errorf("%d: %s", refused.code, refused.stderr)
	}
	if _, err := os.Stat(fresh); err == nil {
		t.Error("leaves a directory behind")
	}
}

// A data directory of the server under test is none of etcd's, and the other way round.
func TestForeignFiles(t *testing.T) {
	tested, real := sides(t)
	if tested.server == real.server {
		t.Skip("they are each other's")
	}
	s := start(t, tested, t.TempDir())
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	note := filepath.Join(s.Folder(), "data", "member", "snap", "db")
	for _, util := range [][]string{tested.util, real.util} {
		refused := run(t, util, "snapshot", "status", note)
		if refused.code != 1 || lastLine(refused.stderr) != "Error: invalid database" {
			t.Errorf("%v: %d: %s", util, refused.code, refused.stderr)
		}
	}
	// A copy of etcd's database has no checksum behind it.
	of := start(t, real, t.TempDir())
	goesOn(t, of)
	if err := of.Stop(); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(of.Folder(), "data", "member", "snap", "db")
	taken := start(t, tested, restore(t, tested, copied, "--skip-hash-check"))
	answer, err := server.ClientOf(t, taken).Get(context.Background(), "goes")
	if err != nil || answer.Count != 1 {
		t.Errorf("%v %v", answer, err)
	}
}

// Files of bbolt in all shapes: the tools of both sides must find the same in them.
func TestRandomFiles(t *testing.T) {
	tested, real := sides(t)
	for seed := range int64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "random.db")
			writeRandom(t, path, rand.New(rand.NewSource(seed)))
			sameStatus(t, tested, real, path)
		})
	}
}

func writeRandom(t *testing.T, path string, random *rand.Rand) {
	t.Helper()
	options := &bolt.Options{
		NoSync:         true,
		NoFreelistSync: random.Intn(2) == 0,
		PageSize:       []int{4096, 4096, 1024, 16384}[random.Intn(4)],
	}
	db, err := bolt.Open(path, 0o600, options)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	// etcdutl counts on this bucket.
	err = db.Update(func(tx *bolt.Tx) error {
		meta, err := tx.CreateBucket([]byte("meta"))
		if err != nil {
			return err
		}
		return meta.Put([]byte("storageVersion"), []byte("3.6.0"))
	})
	if err != nil {
		t.Fatal(err)
	}
	shape := []int{5, 200, 3000}[random.Intn(3)]
	for range 3 + random.Intn(4) {
		err := db.Update(func(tx *bolt.Tx) error {
			for range 1 + random.Intn(3) {
				bucket, err := tx.CreateBucketIfNotExists([]byte(fmt.Sprintf("bucket%d", random.Intn(5))))
				if err != nil {
					return err
				}
				if err := change(bucket, random, shape, 3); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// change puts and deletes entries, in nested buckets too.
func change(bucket *bolt.Bucket, random *rand.Rand, shape, depth int) error {
	for range random.Intn(shape) {
		key := []byte(fmt.Sprintf("%0*d", 1+random.Intn(30), random.Intn(shape*2)))
		if child := bucket.Bucket(key); child != nil {
			continue
		}
		var err error
		switch random.Intn(12) {
		case 0:
			err = bucket.Delete(key)
		case 1:
			value := make([]byte, random.Intn(30_000))
			random.Read(value)
			err = bucket.Put(key, value)
		default:
			err = bucket.Put(key, bytes.Repeat([]byte{byte(len(key))}, random.Intn(60)))
		}
		if err != nil {
			return err
		}
	}
	if depth == 0 {
		return nil
	}
	child, err := bucket.CreateBucketIfNotExists([]byte("nested"))
	if err != nil {
		return err
	}
	return change(child, random, shape/10+1, depth-1)
}
