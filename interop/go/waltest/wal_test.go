// Package waltest opens the log of the server under test with etcd's own log package.
package waltest

import (
	"fmt"
	"path/filepath"
	"testing"

	"go.uber.org/zap"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"tenet.test/interop/server"
)

const puts = 400

// fill runs the server on a fresh folder, puts keys in two runs with a kill between them, and
// returns the folder of its log and the cluster's id.
func fill(t *testing.T, flags ...string) (string, uint64) {
	t.Helper()
	binary, err := server.Binary()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	s, err := server.Start(server.Options{Binary: binary, Folder: folder, Flags: flags})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	client, err := s.Client()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var cluster uint64
	for n := range puts {
		if n == puts/2 {
			if err := s.Kill(); err != nil {
				t.Fatal(err)
			}
			if err := s.Again(); err != nil {
				t.Fatal(err)
			}
		}
		answer, err := client.Put(t.Context(), fmt.Sprintf("key%d", n), fmt.Sprintf("value%d", n))
		if err != nil {
			t.Fatal(err)
		}
		cluster = answer.Header.ClusterId
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(folder, "data", "member", "wal"), cluster
}

// putsOf are the keys that the entries put, in order; the entries must follow each other.
func putsOf(t *testing.T, entries []*raftpb.Entry) (keys []string) {
	t.Helper()
	for n, entry := range entries {
		if n > 0 && entry.GetIndex() != entries[n-1].GetIndex()+1 {
			t.Fatalf("entry %d follows entry %d", entry.GetIndex(), entries[n-1].GetIndex())
		}
		if entry.GetType() != raftpb.EntryNormal || len(entry.GetData()) == 0 {
			continue
		}
		request := &pb.InternalRaftRequest{}
		if err := proto.Unmarshal(entry.GetData(), request); err != nil {
			t.Fatalf("entry %d: %v", entry.GetIndex(), err)
		}
		if request.Header == nil || request.Header.ID == 0 {
			t.Errorf("entry %d has no request id", entry.GetIndex())
		}
		if request.Put != nil {
			keys = append(keys, string(request.Put.Key))
		}
	}
	return keys
}

func checkKeys(t *testing.T, keys []string) {
	t.Helper()
	if len(keys) == 0 {
		t.Fatal("no puts in the log")
	}
	for n, key := range keys {
		if want := fmt.Sprintf("key%d", puts-len(keys)+n); key != want {
			t.Fatalf("put %d is of %s, not of %s", n, key, want)
		}
	}
}

func read(t *testing.T, folder string, from *walpb.Snapshot, forWriting bool) (uint64, []*raftpb.Entry) {
	t.Helper()
	open := wal.OpenForRead
	if forWriting {
		open = wal.Open
	}
	log, err := open(zap.NewNop(), folder, from)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	metadata, state, entries, err := log.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	ids := &pb.Metadata{}
	if err := proto.Unmarshal(metadata, ids); err != nil {
		t.Fatal(err)
	}
	last := entries[len(entries)-1]
	if state.GetCommit() > last.GetIndex() || state.GetTerm() != last.GetTerm() {
		t.Errorf("hard state %v, but the last entry is %d/%d", state, last.GetTerm(), last.GetIndex())
	}
	return ids.GetClusterID(), entries
}

func TestEtcdReadsTheWholeLog(t *testing.T) {
	folder, cluster := fill(t)
	for _, forWriting := range []bool{false, true} {
		found, entries := read(t, folder, &walpb.Snapshot{}, forWriting)
		if found != cluster {
			t.Errorf("the log is of cluster %x, the answers of %x", found, cluster)
		}
		keys := putsOf(t, entries)
		checkKeys(t, keys)
		if len(keys) != puts {
			t.Errorf("%d puts in the log, %d were answered", len(keys), puts)
		}
	}
}

func TestEtcdReadsTheLogFromEachPosition(t *testing.T) {
	folder, _ := fill(t, "--snapshot-count", "100", "--snapshot-catchup-entries", "10")
	positions, err := wal.ValidSnapshotEntries(zap.NewNop(), folder)
	if err != nil {
		t.Fatal(err)
	}
	if len(positions) < 2 {
		t.Fatalf("positions in the log: %v", positions)
	}
	for _, position := range positions {
		if position.GetIndex() > 0 && len(position.GetConfState().GetVoters()) != 1 {
			t.Errorf("position %v names no voter", position)
		}
		_, entries := read(t, folder, position, false)
		if first := entries[0].GetIndex(); first != position.GetIndex()+1 {
			t.Errorf("after position %d comes entry %d", position.GetIndex(), first)
		}
		checkKeys(t, putsOf(t, entries))
	}
}
