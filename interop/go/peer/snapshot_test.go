package peer

import (
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/etcdserver/api/snap"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

func announced(from, to, index uint64) *raftpb.Message {
	return &raftpb.Message{
		Type: raftpb.MsgSnap.Enum(), From: proto.Uint64(from), To: proto.Uint64(to), Term: proto.Uint64(3),
		Snapshot: &raftpb.Snapshot{
			Data: []byte(`{"Root":null}`),
			Metadata: &raftpb.SnapshotMetadata{
				Index: proto.Uint64(index), Term: proto.Uint64(3),
				ConfState: &raftpb.ConfState{Voters: []uint64{theirID, ourID}},
			},
		},
	}
}

// database gives bytes, and may pause in their middle or fail there.
type database struct {
	left, middle int
	pause        time.Duration
	fail         bool
}

func (d *database) Read(p []byte) (int, error) {
	if d.left <= d.middle {
		time.Sleep(d.pause)
		d.pause = 0
		if d.fail {
			return 0, fmt.Errorf("the disk is gone")
		}
	}
	if d.left == 0 {
		return 0, io.EOF
	}
	n := min(len(p), d.left)
	for i := range p[:n] {
		p[i] = byte((d.left - i) * 7)
	}
	d.left -= n
	return n, nil
}

func (d *database) Close() error { return nil }

func sum(r io.Reader, t *testing.T) uint32 {
	t.Helper()
	hash := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	if _, err := io.Copy(hash, r); err != nil {
		t.Fatal(err)
	}
	return hash.Sum32()
}

func TestSnapshotFromTheirs(t *testing.T) {
	const size = 100 << 20
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%v", secure), func(t *testing.T) {
			o, e := pair(t, secure)
			sent := snap.NewMessage(announced(theirID, ourID, 42), &database{left: size, middle: size / 2, pause: 2 * time.Second}, size)
			e.transport.SendSnapshot(sent)
			eventually(t, "report", func() bool { return len(e.reported()) == 1 })
			if got := e.reported()[0]; got != raft.SnapshotFinish {
				t.Fatalf("reported %v", got)
			}
			if ok := <-sent.CloseNotify(); !ok {
				t.Fatal("the message was closed as failed")
			}
			var length int
			var crc uint32
			var message string
			if _, err := fmt.Sscanf(o.seen("database")[0], "%d %x %s", &length, &crc, &message); err != nil {
				t.Fatal(err)
			}
			if want := sum(&database{left: size}, t); length != size || crc != want {
				t.Fatalf("came %d bytes with sum %x, not %d with %x", length, crc, size, want)
			}
			if got, want := plain(decode(t, message)), plain(announced(theirID, ourID, 42)); got != want {
				t.Fatalf("came %s\nnot  %s", got, want)
			}
		})
	}
}

func TestBrokenSnapshotFromTheirs(t *testing.T) {
	const size = 8 << 20
	o, e := pair(t, false)
	for _, d := range []*database{
		{left: size, middle: size / 2, fail: true},
		// Whoever is silent for 5 s is given up.
		{left: size, middle: size / 2, pause: 7 * time.Second},
	} {
		before := len(e.reported())
		e.transport.SendSnapshot(snap.NewMessage(announced(theirID, ourID, 42), d, size))
		eventually(t, "report", func() bool { return len(e.reported()) > before })
		if got := e.reported()[before]; got != raft.SnapshotFailure {
			t.Fatalf("reported %v", got)
		}
	}
	if lines := o.seen("database"); len(lines) > 0 {
		t.Fatalf("half of a database was taken for one: %v", lines)
	}
}

func TestSnapshotFromOurs(t *testing.T) {
	const size = 100 << 20
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%v", secure), func(t *testing.T) {
			o, e := pair(t, secure)
			o.tell("snapshot %s %d 2000", encode(t, announced(ourID, theirID, 42)), size)
			o.await("report", func(line string) bool { return line == fmt.Sprintf("snapshot %x true", theirID) })
			file, err := os.Open(filepath.Join(e.folder, fmt.Sprintf("%016x.snap.db", 42)))
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			if info, err := file.Stat(); err != nil || info.Size() != size {
				t.Fatalf("%v %v", info, err)
			}
			piece := make([]byte, 64<<10)
			for at := size - len(piece); at >= 0; at -= len(piece) {
				if _, err := io.ReadFull(file, piece); err != nil {
					t.Fatal(err)
				}
				if want := byte(at / len(piece) % 251); piece[0] != want || piece[len(piece)-1] != want {
					t.Fatalf("%d bytes before the end: %d, not %d", at, piece[0], want)
				}
			}
			messages := e.received()
			if got, want := plain(messages[len(messages)-1]), plain(announced(ourID, theirID, 42)); got != want {
				t.Fatalf("came %s\nnot  %s", got, want)
			}
		})
	}
}

// A pause that theirs does not bear fails, is reported, and the next one arrives.
func TestPausedSnapshotFromOurs(t *testing.T) {
	o, e := pair(t, false)
	o.tell("snapshot %s %d 7000", encode(t, announced(ourID, theirID, 42)), 8<<20)
	o.await("report", func(line string) bool { return line == fmt.Sprintf("snapshot %x false", theirID) })
	if names, _ := filepath.Glob(filepath.Join(e.folder, "*.snap.db")); len(names) > 0 {
		t.Fatalf("half of a database was taken for one: %v", names)
	}
	o.tell("snapshot %s %d 0", encode(t, announced(ourID, theirID, 43)), 8<<20)
	o.await("report", func(line string) bool { return line == fmt.Sprintf("snapshot %x true", theirID) })
}

// What theirs refuses is reported.
func TestRefusedSnapshotFromOurs(t *testing.T) {
	o, e := startOurs(t, false), startTheirs(t, 0xdead, false)
	o.tell("peer %x %s", theirID, e.url)
	o.tell("snapshot %s %d 0", encode(t, announced(ourID, theirID, 42)), 64<<20)
	line := o.await("report", func(line string) bool { return strings.HasPrefix(line, "snapshot ") })
	if line != fmt.Sprintf("snapshot %x false", theirID) {
		t.Fatal(line)
	}
}
