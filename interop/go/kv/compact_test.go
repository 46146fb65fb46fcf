package kv

import (
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"

	"tenet.test/interop/server"
)

const (
	compacted = "etcdserver: mvcc: required revision has been compacted"
	future    = "etcdserver: mvcc: required revision is a future revision"
)

func TestCompaction(t *testing.T) {
	own := server.For(t)
	b := benchOn(t, own)
	if b.base != 1 {
		t.Fatalf("a fresh server is at revision %d, want 1", b.base)
	}
	b.put("a=1", "a=2", "b=1")
	if _, err := b.kv.DeleteRange(b.ctx, &pb.DeleteRangeRequest{Key: b.key("b")}); err != nil {
		t.Fatal(err)
	}
	b.put("c=1")
	compact := func(revision int64, physical bool) error {
		_, err := b.kv.Compact(b.ctx, &pb.CompactionRequest{Revision: revision, Physical: physical})
		return err
	}
	at := func(revision int64) (string, error) {
		answer, err := b.kv.Range(b.ctx, &pb.RangeRequest{Key: b.key(""), RangeEnd: b.end("*"), Revision: revision})
		if err != nil {
			return "", err
		}
		return b.showRange(answer), nil
	}
	wantAt := func(revision int64, want string) {
		t.Helper()
		got, err := at(revision)
		if err != nil {
			t.Errorf("at %d: %v", revision, err)
		}
		b.want("at "+b.rev(revision), got, want)
	}

	wantError(t, "the future", compact(100, false), codes.OutOfRange, future)
	wantAt(3, "[a=2@+1+2v2] count 1")
	if err := compact(5, true); err != nil {
		t.Fatal(err)
	}
	_, err := at(4)
	wantError(t, "a read below it", err, codes.OutOfRange, compacted)
	wantAt(5, "[a=2@+1+2v2] count 1")
	wantAt(6, "[a=2@+1+2v2 c=1@+5+5v1] count 2")
	for _, revision := range []int64{5, 4, 1, 0, -1} {
		wantError(t, "again at or below it", compact(revision, false), codes.OutOfRange, compacted)
	}
	_, err = b.txn(&pb.TxnRequest{Success: []*pb.RequestOp{
		b.putOp("d", "1"),
		opRange(&pb.RangeRequest{Key: b.key("a"), Revision: 4}),
	}})
	wantError(t, "a read below it beside a put", err, codes.OutOfRange, compacted)
	_, _, err = streamed(b, &pb.RangeRequest{Key: b.key("a"), Revision: 4})
	wantError(t, "a stream below it", err, codes.OutOfRange, compacted)

	if err := compact(6, false); err != nil {
		t.Errorf("the newest revision: %v", err)
	}
	wantAt(6, "[a=2@+1+2v2 c=1@+5+5v1] count 2")
	b.put("c=2")
	wantAt(0, "[a=2@+1+2v2 c=2@+5+6v2] count 2")
}

func TestCompactionOfAFreshServer(t *testing.T) {
	own := server.For(t)
	b := benchOn(t, own)
	answer, err := b.kv.Compact(b.ctx, &pb.CompactionRequest{Revision: 1})
	if err != nil {
		t.Fatal(err)
	}
	b.want("header", b.showHeader(answer.Header), "full+0")
	_, err = b.kv.Compact(b.ctx, &pb.CompactionRequest{Revision: 1})
	wantError(t, "again", err, codes.OutOfRange, compacted)
}
