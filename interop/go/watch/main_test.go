// Package watch asks a server everything that can be asked of watches, with raw streams and with
// the official client, and compares with what the real etcd 3.7.1 answers.
//
// Each expectation was taken from the real etcd: run the package with SERVER=etcd to see that they
// hold there.
package watch

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"tenet.test/interop/server"
)

// The server that most tests share.
var shared *server.Server

func TestMain(m *testing.M) {
	os.Exit(server.RunWith(&shared, m))
}

// bench is what a test works with: keys under a prefix of its own, revisions from its start, and
// one watch stream.
type bench struct {
	*testing.T
	ctx    context.Context
	kv     pb.KVClient
	prefix string
	base   int64
	stream pb.Watch_WatchClient
	got    chan received
}

type received struct {
	response *pb.WatchResponse
	err      error
}

func newBench(t *testing.T) *bench { return benchOn(t, shared) }

func benchOn(t *testing.T, s *server.Server) *bench {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	connection := server.RawOf(t, s)
	b := &bench{T: t, ctx: ctx, kv: pb.NewKVClient(connection), prefix: t.Name() + "/"}
	answer, err := b.kv.Range(ctx, &pb.RangeRequest{Key: []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	b.base = answer.Header.Revision
	b.stream, err = pb.NewWatchClient(connection).Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	b.got = make(chan received, 1<<16)
	go func() {
		for {
			response, err := b.stream.Recv()
			b.got <- received{response, err}
			if err != nil {
				return
			}
		}
	}()
	return b
}

func (b *bench) key(name string) []byte { return []byte(b.prefix + name) }

// all is the end of the range of all keys of the test.
func (b *bench) all() []byte { return []byte(b.prefix[:len(b.prefix)-1] + "0") }

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

func (b *bench) delete(name string) {
	b.Helper()
	if _, err := b.kv.DeleteRange(b.ctx, &pb.DeleteRangeRequest{Key: b.key(name)}); err != nil {
		b.Fatal(err)
	}
}

// txn puts and, where there is no value, deletes, at one revision.
func (b *bench) txn(pairs ...string) {
	b.Helper()
	request := &pb.TxnRequest{}
	for _, pair := range pairs {
		name, value, isPut := strings.Cut(pair, "=")
		op := &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{
			RequestDeleteRange: &pb.DeleteRangeRequest{Key: b.key(name)}}}
		if isPut {
			op = &pb.RequestOp{Request: &pb.RequestOp_RequestPut{
				RequestPut: &pb.PutRequest{Key: b.key(name), Value: []byte(value)}}}
		}
		request.Success = append(request.Success, op)
	}
	if _, err := b.kv.Txn(b.ctx, request); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) compact(revision int64) {
	b.Helper()
	if _, err := b.kv.Compact(b.ctx, &pb.CompactionRequest{Revision: revision}); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) create(request *pb.WatchCreateRequest) {
	b.Helper()
	b.send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: request}})
}

func (b *bench) cancel(id int64) {
	b.Helper()
	b.send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{
		CancelRequest: &pb.WatchCancelRequest{WatchId: id}}})
}

func (b *bench) askProgress() {
	b.Helper()
	b.send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{
		ProgressRequest: &pb.WatchProgressRequest{}}})
}

func (b *bench) send(request *pb.WatchRequest) {
	b.Helper()
	if err := b.stream.Send(request); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) next() *pb.WatchResponse {
	b.Helper()
	select {
	case got := <-b.got:
		if got.err != nil {
			b.Fatal(got.err)
		}
		return got.response
	case <-time.After(10 * time.Second):
		b.Fatal("no response within 10 s")
	}
	return nil
}

// want compares the next responses, in order.
func (b *bench) want(texts ...string) {
	b.Helper()
	for _, want := range texts {
		if got := b.show(b.next()); got != want {
			b.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// silent checks that nothing more comes.
func (b *bench) silent() {
	b.Helper()
	select {
	case got := <-b.got:
		b.Errorf("got %s (%v), want nothing", b.show(got.response), got.err)
	case <-time.After(250 * time.Millisecond):
	}
}

// rev writes a revision relative to the start of the test.
func (b *bench) rev(revision int64) string {
	if revision == 0 {
		return "0"
	}
	return fmt.Sprintf("+%d", revision-b.base)
}

func (b *bench) show(r *pb.WatchResponse) string {
	if r == nil {
		return "nothing"
	}
	text := fmt.Sprintf("%d at %s", r.WatchId, b.rev(r.Header.Revision))
	if r.Created {
		text += " created"
	}
	if r.Canceled {
		text += " canceled"
	}
	if r.CompactRevision != 0 {
		text += " compacted " + b.rev(r.CompactRevision)
	}
	if r.CancelReason != "" {
		text += fmt.Sprintf(" %q", r.CancelReason)
	}
	if r.Fragment {
		text += " fragment"
	}
	for _, event := range r.Events {
		text += " " + b.showEvent(event)
	}
	return text
}

func (b *bench) showEvent(event *mvccpb.Event) string {
	text := fmt.Sprintf("[%s %s", event.Type, b.showKV(event.Kv))
	if event.PrevKv != nil {
		text += " before " + b.showKV(event.PrevKv)
	}
	return text + "]"
}

func (b *bench) showKV(kv *mvccpb.KeyValue) string {
	value := string(kv.Value)
	if len(value) > 40 {
		value = fmt.Sprintf("(%d bytes)", len(value))
	}
	return fmt.Sprintf("%s=%s@%s%sv%d", strings.TrimPrefix(string(kv.Key), b.prefix), value,
		b.rev(kv.CreateRevision), b.rev(kv.ModRevision), kv.Version)
}
