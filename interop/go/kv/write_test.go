package kv

import (
	"bytes"
	"fmt"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
)

func TestPutVersionsAndPreviousValues(t *testing.T) {
	b := newBench(t)
	step := func(name string, ask *pb.PutRequest, wantPrev, want string) {
		t.Helper()
		ask.Key = b.key("k")
		answer, err := b.kv.Put(b.ctx, ask)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		b.want(name+", previous", b.showKV(answer.PrevKv), wantPrev)
		now, err := b.kv.Range(b.ctx, &pb.RangeRequest{Key: b.key("k")})
		if err != nil {
			t.Fatal(err)
		}
		b.want(name, b.showRange(now), want)
		b.want(name+", header", b.showHeader(answer.Header), "full"+b.rev(now.Header.Revision))
	}
	step("the first", &pb.PutRequest{Value: []byte("1"), PrevKv: true}, "none", "[k=1@+1+1v1] count 1")
	step("without prev_kv", &pb.PutRequest{Value: []byte("2")}, "none", "[k=2@+1+2v2] count 1")
	step("with prev_kv", &pb.PutRequest{Value: []byte("2"), PrevKv: true}, "k=2@+1+2v2", "[k=2@+1+3v3] count 1")
	step("ignore_value", &pb.PutRequest{IgnoreValue: true, PrevKv: true}, "k=2@+1+3v3", "[k=2@+1+4v4] count 1")
	step("ignore_lease", &pb.PutRequest{Value: []byte("5"), IgnoreLease: true}, "none", "[k=5@+1+5v5] count 1")
	step("an empty value", &pb.PutRequest{}, "none", "[k=@+1+6v6] count 1")
	if _, err := b.kv.DeleteRange(b.ctx, &pb.DeleteRangeRequest{Key: b.key("k")}); err != nil {
		t.Fatal(err)
	}
	step("after a delete", &pb.PutRequest{Value: []byte("8"), PrevKv: true}, "none", "[k=8@+8+8v1] count 1")
}

func TestPutErrors(t *testing.T) {
	b := newBench(t)
	b.put("a=1")
	for _, test := range []struct {
		name string
		ask  *pb.PutRequest
		code codes.Code
		text string
	}{
		{"no key", &pb.PutRequest{Value: []byte("1")}, codes.InvalidArgument, "etcdserver: key is not provided"},
		{"value and ignore_value", &pb.PutRequest{Key: b.key("a"), Value: []byte("1"), IgnoreValue: true}, codes.InvalidArgument, "etcdserver: value is provided"},
		{"lease and ignore_lease", &pb.PutRequest{Key: b.key("a"), Lease: 1, IgnoreLease: true}, codes.InvalidArgument, "etcdserver: lease is provided"},
		{"ignore_value of a missing key", &pb.PutRequest{Key: b.key("b"), IgnoreValue: true}, codes.InvalidArgument, "etcdserver: key not found"},
		{"ignore_lease of a missing key", &pb.PutRequest{Key: b.key("b"), IgnoreLease: true}, codes.InvalidArgument, "etcdserver: key not found"},
		{"an unknown lease", &pb.PutRequest{Key: b.key("a"), Lease: 4711}, codes.NotFound, "etcdserver: requested lease not found"},
		{"the key is checked first", &pb.PutRequest{Value: []byte("1"), IgnoreValue: true, Lease: 1, IgnoreLease: true}, codes.InvalidArgument, "etcdserver: key is not provided"},
		{"the value is checked before the lease", &pb.PutRequest{Key: b.key("a"), Value: []byte("1"), IgnoreValue: true, Lease: 1, IgnoreLease: true}, codes.InvalidArgument, "etcdserver: value is provided"},
	} {
		_, err := b.kv.Put(b.ctx, test.ask)
		wantError(t, test.name, err, test.code, test.text)
	}
	answer, err := b.kv.Range(b.ctx, &pb.RangeRequest{Key: b.key("a")})
	if err != nil {
		t.Fatal(err)
	}
	b.want("nothing was written", b.rev(answer.Header.Revision), "+1")
}

func TestSizeLimits(t *testing.T) {
	b := newBench(t)
	put := func(size int) error {
		_, err := b.kv.Put(b.ctx, &pb.PutRequest{Key: []byte("s"), Value: bytes.Repeat([]byte("v"), size)})
		return err
	}
	// The limit is on the request in its log encoding, which adds tens of bytes to key and value.
	const limit = 1_572_864
	if err := put(limit - 100); err != nil {
		t.Errorf("just below the limit: %v", err)
	}
	wantError(t, "at the limit", put(limit), codes.InvalidArgument, "etcdserver: request is too large")
	wantError(t, "far above the limit", put(2_000_000), codes.InvalidArgument, "etcdserver: request is too large")
	// Above 2 MiB the message itself is refused: its size is key, value and their heads.
	size := 2_097_152
	wantError(t, "above the limit of a message", put(size), codes.ResourceExhausted,
		fmt.Sprintf("grpc: received message larger than max (%d vs. 2097152)", size+8))
}

func TestDeleteRange(t *testing.T) {
	b := newBench(t)
	b.put("a=1", "b=2", "c=3", "d=4")
	step := func(name string, ask *pb.DeleteRangeRequest, want string) {
		t.Helper()
		answer, err := b.kv.DeleteRange(b.ctx, ask)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := fmt.Sprintf("%s %d %s", b.showHeader(answer.Header), answer.Deleted, b.showKVs(answer.PrevKvs))
		b.want(name, got, want)
	}
	step("a missing key makes no revision", &pb.DeleteRangeRequest{Key: b.key("x")}, "full+4 0 []")
	step("one key", &pb.DeleteRangeRequest{Key: b.key("a")}, "full+5 1 []")
	step("it is gone", &pb.DeleteRangeRequest{Key: b.key("a"), PrevKv: true}, "full+5 0 []")
	step("a range in one revision", &pb.DeleteRangeRequest{Key: b.key("b"), RangeEnd: b.end("d"), PrevKv: true},
		"full+6 2 [b=2@+2+2v1 c=3@+3+3v1]")
	step("an empty range", &pb.DeleteRangeRequest{Key: b.key("z"), RangeEnd: b.end("b")}, "full+6 0 []")
	step("the rest", &pb.DeleteRangeRequest{Key: b.key(""), RangeEnd: b.end("*"), PrevKv: true}, "full+7 1 [d=4@+4+4v1]")
	_, err := b.kv.DeleteRange(b.ctx, &pb.DeleteRangeRequest{RangeEnd: []byte("z")})
	wantError(t, "no key", err, codes.InvalidArgument, "etcdserver: key is not provided")
}
