// Package kv asks a server everything that the API of one member can be asked, with the official
// client, and compares with what the real etcd 3.7.1 answers.
//
// Each expectation was taken from the real etcd: run the package with SERVER=etcd to see that they
// hold there. Keys of a test begin with its name, and revisions are written relative to the start
// of the test, so tests share one server.
package kv

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tenet.test/interop/server"
)

// The server that most tests share.
var shared *server.Server

func TestMain(m *testing.M) {
	os.Exit(server.RunWith(&shared, m))
}

func contextOf(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// bench is what a test works with: keys under a prefix of its own, revisions from its start.
type bench struct {
	*testing.T
	ctx    context.Context
	kv     pb.KVClient
	prefix string
	base   int64
}

func newBench(t *testing.T) *bench { return benchOn(t, shared) }

func benchOn(t *testing.T, s *server.Server) *bench {
	t.Helper()
	b := &bench{
		T:      t,
		ctx:    contextOf(t),
		kv:     pb.NewKVClient(server.RawOf(t, s)),
		prefix: t.Name() + "/",
	}
	answer, err := b.kv.Range(b.ctx, &pb.RangeRequest{Key: []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	b.base = answer.Header.Revision
	return b
}

func (b *bench) key(name string) []byte { return []byte(b.prefix + name) }

// end is the end of a range: names are taken under the prefix, "" is no end, "*" all of the test.
func (b *bench) end(name string) []byte {
	switch name {
	case "":
		return nil
	case "*":
		return []byte(b.prefix[:len(b.prefix)-1] + "0")
	}
	return b.key(name)
}

// put writes keys with values, written "key=value", each at a revision of its own.
func (b *bench) put(pairs ...string) {
	b.Helper()
	for _, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		if _, err := b.kv.Put(b.ctx, &pb.PutRequest{Key: b.key(name), Value: []byte(value)}); err != nil {
			b.Fatal(err)
		}
	}
}

// rev writes a revision relative to the start of the test.
func (b *bench) rev(revision int64) string { return fmt.Sprintf("+%d", revision-b.base) }

func (b *bench) showKV(kv *mvccpb.KeyValue) string {
	if kv == nil {
		return "none"
	}
	text := fmt.Sprintf("%s=%s@%s%sv%d", strings.TrimPrefix(string(kv.Key), b.prefix), kv.Value,
		b.rev(kv.CreateRevision), b.rev(kv.ModRevision), kv.Version)
	if kv.Lease != 0 {
		text += fmt.Sprintf(" lease %d", kv.Lease)
	}
	return text
}

func (b *bench) showKVs(kvs []*mvccpb.KeyValue) string {
	texts := make([]string, len(kvs))
	for i, kv := range kvs {
		texts[i] = b.showKV(kv)
	}
	return "[" + strings.Join(texts, " ") + "]"
}

func (b *bench) showRange(answer *pb.RangeResponse) string {
	text := fmt.Sprintf("%s count %d", b.showKVs(answer.Kvs), answer.Count)
	if answer.More {
		text += " more"
	}
	return text
}

// showHeader writes a header of a nested answer: only a revision, or nothing.
func (b *bench) showHeader(header *pb.ResponseHeader) string {
	switch {
	case header == nil:
		return "-"
	case header.ClusterId != 0 || header.MemberId != 0 || header.RaftTerm != 0:
		return "full" + b.rev(header.Revision)
	case header.Revision == 0:
		return "0"
	}
	return b.rev(header.Revision)
}

func (b *bench) showTxn(answer *pb.TxnResponse) string {
	texts := make([]string, len(answer.Responses))
	for i, op := range answer.Responses {
		texts[i] = b.showOp(op)
	}
	return fmt.Sprintf("%s %t {%s}", b.showHeader(answer.Header), answer.Succeeded, strings.Join(texts, "; "))
}

func (b *bench) showOp(op *pb.ResponseOp) string {
	switch r := op.Response.(type) {
	case *pb.ResponseOp_ResponsePut:
		return fmt.Sprintf("put %s prev %s", b.showHeader(r.ResponsePut.Header), b.showKV(r.ResponsePut.PrevKv))
	case *pb.ResponseOp_ResponseRange:
		return fmt.Sprintf("range %s %s", b.showHeader(r.ResponseRange.Header), b.showRange(r.ResponseRange))
	case *pb.ResponseOp_ResponseDeleteRange:
		return fmt.Sprintf("delete %s %d prev %s", b.showHeader(r.ResponseDeleteRange.Header),
			r.ResponseDeleteRange.Deleted, b.showKVs(r.ResponseDeleteRange.PrevKvs))
	case *pb.ResponseOp_ResponseTxn:
		return "txn " + b.showTxn(r.ResponseTxn)
	}
	return fmt.Sprintf("%T", op.Response)
}

// want compares two texts.
func (b *bench) want(what, got, want string) {
	b.Helper()
	if got != want {
		b.Errorf("%s\n got: %s\nwant: %s", what, got, want)
	}
}

// wantError compares code and text of an error.
func wantError(t testing.TB, what string, err error, code codes.Code, text string) {
	t.Helper()
	got := status.Convert(err)
	if got.Code() != code || got.Message() != text {
		t.Errorf("%s\n got: %v %q\nwant: %v %q", what, got.Code(), got.Message(), code, text)
	}
}
