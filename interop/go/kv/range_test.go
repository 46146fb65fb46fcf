package kv

import (
	"io"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"tenet.test/interop/server"
)

const (
	ascend  = pb.RangeRequest_ASCEND
	descend = pb.RangeRequest_DESCEND

	byKey     = pb.RangeRequest_KEY
	byVersion = pb.RangeRequest_VERSION
	byCreate  = pb.RangeRequest_CREATE
	byMod     = pb.RangeRequest_MOD
	byValue   = pb.RangeRequest_VALUE
)

// fixture is a small history: a to e, where b was written again, d is deleted, e is written anew.
//
//	+1 a=5  +2 b=1  +3 c=4  +4 d=9  +5 b=3  +6 delete d  +7 e=1
func fixture(b *bench) {
	b.put("a=5", "b=1", "c=4", "d=9", "b=3")
	if _, err := b.kv.DeleteRange(b.ctx, &pb.DeleteRangeRequest{Key: b.key("d")}); err != nil {
		b.Fatal(err)
	}
	b.put("e=1")
}

func TestRangeOptions(t *testing.T) {
	b := newBench(t)
	fixture(b)
	const (
		a  = "a=5@+1+1v1"
		b2 = "b=3@+2+5v2"
		c  = "c=4@+3+3v1"
		e  = "e=1@+7+7v1"
	)
	all := func(kvs ...string) string { return "[" + strings.Join(kvs, " ") + "]" }
	for _, test := range []struct {
		name string
		ask  *pb.RangeRequest
		from string
		to   string
		want string
	}{
		{"one key", &pb.RangeRequest{}, "b", "", all(b2) + " count 1"},
		{"a missing key", &pb.RangeRequest{}, "zz", "", "[] count 0"},
		{"a deleted key", &pb.RangeRequest{}, "d", "", "[] count 0"},
		{"a half-open range", &pb.RangeRequest{}, "a", "c", all(a, b2) + " count 2"},
		{"all", &pb.RangeRequest{}, "", "*", all(a, b2, c, e) + " count 4"},
		{"an end before the start", &pb.RangeRequest{}, "c", "a", "[] count 0"},
		{"an end equal to the start", &pb.RangeRequest{}, "c", "c", "[] count 0"},
		{"limit", &pb.RangeRequest{Limit: 2}, "", "*", all(a, b2) + " count 4 more"},
		{"limit that is just enough", &pb.RangeRequest{Limit: 4}, "", "*", all(a, b2, c, e) + " count 4"},
		{"negative limit", &pb.RangeRequest{Limit: -1}, "", "*", all(a, b2, c, e) + " count 4"},
		{"serializable", &pb.RangeRequest{Serializable: true}, "a", "", all(a) + " count 1"},
		{"keys only", &pb.RangeRequest{KeysOnly: true}, "", "*", "[a=@+1+1v1 b=@+2+5v2 c=@+3+3v1 e=@+7+7v1] count 4"},
		{"count only", &pb.RangeRequest{CountOnly: true}, "", "*", "[] count 4"},
		{"count only ignores the limit", &pb.RangeRequest{CountOnly: true, Limit: 1}, "", "*", "[] count 4"},
		{"descending keys", &pb.RangeRequest{SortOrder: descend}, "", "*", all(e, c, b2, a) + " count 4"},
		{"descending keys, limit", &pb.RangeRequest{SortOrder: descend, Limit: 1}, "", "*", all(e) + " count 4 more"},
		{"ascending keys, limit", &pb.RangeRequest{SortOrder: ascend, Limit: 1}, "", "*", all(a) + " count 4 more"},
		{"by version, descending, limit", &pb.RangeRequest{SortOrder: descend, SortTarget: byVersion, Limit: 1}, "", "*", all(b2) + " count 4 more"},
		{"by creation", &pb.RangeRequest{SortOrder: descend, SortTarget: byCreate}, "", "*", all(e, c, b2, a) + " count 4"},
		{"by modification", &pb.RangeRequest{SortOrder: ascend, SortTarget: byMod}, "", "*", all(a, c, b2, e) + " count 4"},
		{"by value", &pb.RangeRequest{SortOrder: ascend, SortTarget: byValue}, "", "*", all(e, b2, c, a) + " count 4"},
		{"by value, no order", &pb.RangeRequest{SortTarget: byValue}, "", "*", all(e, b2, c, a) + " count 4"},
		{"no order cuts before it sorts", &pb.RangeRequest{SortTarget: byValue, Limit: 2}, "", "*", all(b2, c) + " count 4 more"},
		{"keys only by value", &pb.RangeRequest{SortOrder: ascend, SortTarget: byValue, KeysOnly: true}, "", "*", "[e=@+7+7v1 b=@+2+5v2 c=@+3+3v1 a=@+1+1v1] count 4"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.ask.Key, test.ask.RangeEnd = b.key(test.from), b.end(test.to)
			answer, err := b.kv.Range(b.ctx, test.ask)
			if err != nil {
				t.Fatal(err)
			}
			if got := b.showRange(answer); got != test.want {
				t.Errorf("\n got: %s\nwant: %s", got, test.want)
			}
			if got := b.rev(answer.Header.Revision); got != "+7" {
				t.Errorf("header revision %s, want +7", got)
			}
		})
	}
}

func TestRangeRevisionsAndFilters(t *testing.T) {
	b := newBench(t)
	fixture(b)
	for _, test := range []struct {
		name string
		ask  func(*pb.RangeRequest)
		want string
	}{
		{"an old revision", func(r *pb.RangeRequest) { r.Revision = b.base + 4 }, "[a=5@+1+1v1 b=1@+2+2v1 c=4@+3+3v1 d=9@+4+4v1] count 4"},
		{"a deleting revision", func(r *pb.RangeRequest) { r.Revision = b.base + 6 }, "[a=5@+1+1v1 b=3@+2+5v2 c=4@+3+3v1] count 3"},
		{"an old count", func(r *pb.RangeRequest) { r.Revision, r.CountOnly = b.base+2, true }, "[] count 2"},
		{"min mod", func(r *pb.RangeRequest) { r.MinModRevision = b.base + 3 }, "[b=3@+2+5v2 c=4@+3+3v1 e=1@+7+7v1] count 4"},
		{"max mod", func(r *pb.RangeRequest) { r.MaxModRevision = b.base + 3 }, "[a=5@+1+1v1 c=4@+3+3v1] count 4"},
		{"min create", func(r *pb.RangeRequest) { r.MinCreateRevision = b.base + 3 }, "[c=4@+3+3v1 e=1@+7+7v1] count 4"},
		{"max create", func(r *pb.RangeRequest) { r.MaxCreateRevision = b.base + 2 }, "[a=5@+1+1v1 b=3@+2+5v2] count 4"},
		{"both ends", func(r *pb.RangeRequest) { r.MinModRevision, r.MaxModRevision = b.base+2, b.base+5 }, "[b=3@+2+5v2 c=4@+3+3v1] count 4"},
		{"filter, then limit", func(r *pb.RangeRequest) { r.MinModRevision, r.Limit = b.base+3, 1 }, "[b=3@+2+5v2] count 4 more"},
		{"filter, all fit", func(r *pb.RangeRequest) { r.MinModRevision, r.Limit = b.base+3, 3 }, "[b=3@+2+5v2 c=4@+3+3v1 e=1@+7+7v1] count 4"},
		{"a negative filter", func(r *pb.RangeRequest) { r.MaxModRevision = -1 }, "[] count 4"},
		{"a negative revision is the newest", func(r *pb.RangeRequest) { r.Revision, r.CountOnly = -5, true }, "[] count 4"},
	} {
		t.Run(test.name, func(t *testing.T) {
			ask := &pb.RangeRequest{Key: b.key(""), RangeEnd: b.end("*")}
			test.ask(ask)
			answer, err := b.kv.Range(b.ctx, ask)
			if err != nil {
				t.Fatal(err)
			}
			if got := b.showRange(answer); got != test.want {
				t.Errorf("\n got: %s\nwant: %s", got, test.want)
			}
		})
	}
}

func TestRangeToTheEndOfTheKeySpace(t *testing.T) {
	own := server.For(t)
	b := benchOn(t, own)
	for _, key := range []string{"a", "m", "z", "\xff\xff"} {
		if _, err := b.kv.Put(b.ctx, &pb.PutRequest{Key: []byte(key)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name, from, to string
		count          int64
	}{
		{"from a key on", "m", "\x00", 3},
		{"everything", "\x00", "\x00", 4},
		{"from the last key on", "\xff\xff", "\x00", 1},
	} {
		answer, err := b.kv.Range(b.ctx, &pb.RangeRequest{Key: []byte(test.from), RangeEnd: []byte(test.to)})
		if err != nil {
			t.Fatal(err)
		}
		if answer.Count != test.count || int64(len(answer.Kvs)) != test.count {
			t.Errorf("%s: count %d with %d keys, want %d", test.name, answer.Count, len(answer.Kvs), test.count)
		}
	}
}

func TestRangeErrors(t *testing.T) {
	b := newBench(t)
	b.put("a=1")
	for _, test := range []struct {
		name string
		ask  *pb.RangeRequest
		code codes.Code
		text string
	}{
		{"no key", &pb.RangeRequest{}, codes.InvalidArgument, "etcdserver: key is not provided"},
		{"an end without a key", &pb.RangeRequest{RangeEnd: []byte("z")}, codes.InvalidArgument, "etcdserver: key is not provided"},
		{"an unknown order", &pb.RangeRequest{Key: b.key("a"), SortOrder: 7}, codes.InvalidArgument, "etcdserver: invalid sort option"},
		{"an unknown target", &pb.RangeRequest{Key: b.key("a"), SortTarget: 9}, codes.InvalidArgument, "etcdserver: invalid sort option"},
		{"the future", &pb.RangeRequest{Key: b.key("a"), Revision: b.base + 1000}, codes.OutOfRange, "etcdserver: mvcc: required revision is a future revision"},
	} {
		_, err := b.kv.Range(b.ctx, test.ask)
		wantError(t, test.name, err, test.code, test.text)
	}
}

// streamed collects a RangeStream and merges its parts, which must give what Range gives.
func streamed(b *bench, ask *pb.RangeRequest) (parts []*pb.RangeResponse, whole *pb.RangeResponse, err error) {
	stream, err := b.kv.RangeStream(b.ctx, ask)
	if err != nil {
		return nil, nil, err
	}
	whole = &pb.RangeResponse{}
	for {
		part, err := stream.Recv()
		if err == io.EOF {
			return parts, whole, nil
		}
		if err != nil {
			return parts, whole, err
		}
		parts = append(parts, part.RangeResponse)
		proto.Merge(whole, part.RangeResponse)
	}
}

func TestRangeStreamMergesToTheAnswerOfRange(t *testing.T) {
	b := newBench(t)
	value := strings.Repeat("v", 20_000)
	for i := range 100 {
		b.put(string([]byte{'k', byte('a' + i/10), byte('0' + i%10)}) + "=" + value)
	}
	for _, test := range []struct {
		name string
		ask  *pb.RangeRequest
	}{
		{"all", &pb.RangeRequest{}},
		{"limit", &pb.RangeRequest{Limit: 35}},
		{"keys only", &pb.RangeRequest{KeysOnly: true}},
		{"serializable", &pb.RangeRequest{Serializable: true}},
		{"ascending keys are no custom order", &pb.RangeRequest{SortOrder: ascend, SortTarget: byKey}},
		{"an old revision", &pb.RangeRequest{Revision: b.base + 50}},
		{"count only", &pb.RangeRequest{CountOnly: true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.ask.Key, test.ask.RangeEnd = b.key(""), b.end("*")
			parts, whole, err := streamed(b, test.ask)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := b.kv.Range(b.ctx, test.ask)
			if err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(whole, answer) {
				t.Errorf("merged parts: count %d, %d keys, more %t, %v; Range: count %d, %d keys, more %t, %v",
					whole.Count, len(whole.Kvs), whole.More, whole.Header,
					answer.Count, len(answer.Kvs), answer.More, answer.Header)
			}
			for i, part := range parts[:len(parts)-1] {
				if part.Header != nil || part.Count != 0 || part.More {
					t.Errorf("part %d of %d carries %v, count %d, more %t; only the last may", i, len(parts), part.Header, part.Count, part.More)
				}
			}
		})
	}
}

func TestRangeStreamParts(t *testing.T) {
	b := newBench(t)
	for i := range 100 {
		b.put(string([]byte{'k', byte('a' + i/10), byte('0' + i%10)}) + "=" + strings.Repeat("v", 20_000))
	}
	sizes := func(ask *pb.RangeRequest) (sizes []int) {
		ask.Key, ask.RangeEnd = b.key(""), b.end("*")
		parts, _, err := streamed(b, ask)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range parts {
			sizes = append(sizes, len(part.Kvs))
		}
		return sizes
	}
	wantSizes := func(name string, got []int, want ...int) {
		t.Helper()
		if len(got) != len(want) {
			t.Errorf("%s: %v keys in the parts, want %v", name, got, want)
			return
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("%s: %v keys in the parts, want %v", name, got, want)
				return
			}
		}
	}
	wantSizes("all", sizes(&pb.RangeRequest{}), 10, 20, 40, 30)
	wantSizes("limit", sizes(&pb.RangeRequest{Limit: 15}), 10, 5)
	wantSizes("count only", sizes(&pb.RangeRequest{CountOnly: true}), 0)
	wantSizes("the future of an empty place", sizes(&pb.RangeRequest{Revision: b.base}), 0)
}

func TestRangeStreamErrors(t *testing.T) {
	b := newBench(t)
	b.put("a=1")
	for _, test := range []struct {
		name string
		ask  *pb.RangeRequest
		code codes.Code
		text string
	}{
		{"no key", &pb.RangeRequest{}, codes.InvalidArgument, "etcdserver: key is not provided"},
		{"descending", &pb.RangeRequest{Key: b.key("a"), SortOrder: descend}, codes.Unimplemented, "RangeStream does not support custom sort orders"},
		{"by value", &pb.RangeRequest{Key: b.key("a"), SortOrder: ascend, SortTarget: byValue}, codes.Unimplemented, "RangeStream does not support custom sort orders"},
		{"a filter", &pb.RangeRequest{Key: b.key("a"), MinModRevision: 1}, codes.Unimplemented, "RangeStream does not support revision filters"},
		{"an unknown order", &pb.RangeRequest{Key: b.key("a"), SortOrder: 7}, codes.InvalidArgument, "etcdserver: invalid sort option"},
		{"the future", &pb.RangeRequest{Key: b.key("a"), Revision: b.base + 1000}, codes.OutOfRange, "etcdserver: mvcc: required revision is a future revision"},
	} {
		_, _, err := streamed(b, test.ask)
		wantError(t, test.name, err, test.code, test.text)
	}
}
