package kubernetes

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/kubernetes"
)

func TestGet(t *testing.T) {
	b := newBench(t)
	created := b.create("a", "1")
	changed, err := b.client.Kubernetes.OptimisticPut(b.ctx, b.prefix+"a", []byte("2"), created, kubernetes.PutOptions{})
	if err != nil || !changed.Succeeded {
		t.Fatal(changed, err)
	}
	for _, of := range []struct {
		revision int64
		value    string
	}{{0, "2"}, {created, "1"}, {changed.Revision, "2"}} {
		got, err := b.client.Kubernetes.Get(b.ctx, b.prefix+"a", kubernetes.GetOptions{Revision: of.revision})
		if err != nil || string(got.KV.Value) != of.value {
			t.Errorf("at %d: %v, %v", of.revision, got, err)
		}
	}
	if now := b.revision(); now < changed.Revision {
		t.Errorf("the revision went back to %d", now)
	}
	_, err = b.client.Kubernetes.Get(b.ctx, b.prefix+"a", kubernetes.GetOptions{Revision: changed.Revision + 1_000_000})
	if err == nil || err.Error() != "etcdserver: mvcc: required revision is a future revision" {
		t.Errorf("the future: %v", err)
	}
}

func TestCreateUpdateAndDeleteAreOptimistic(t *testing.T) {
	b := newBench(t)
	created := b.create("a", "1")
	again, err := b.client.Kubernetes.OptimisticPut(b.ctx, b.prefix+"a", []byte("x"), 0, kubernetes.PutOptions{})
	if err != nil || again.Succeeded {
		t.Errorf("created twice: %v, %v", again, err)
	}
	stale, err := b.client.Kubernetes.OptimisticPut(b.ctx, b.prefix+"a", []byte("x"), created-1, kubernetes.PutOptions{GetOnFailure: true})
	if err != nil || stale.Succeeded || string(stale.KV.Value) != "1" || stale.KV.ModRevision != created {
		t.Errorf("a stale update: %v, %v", stale, err)
	}
	kept, err := b.client.Kubernetes.OptimisticDelete(b.ctx, b.prefix+"a", created-1, kubernetes.DeleteOptions{GetOnFailure: true})
	if err != nil || kept.Succeeded || kept.KV == nil {
		t.Errorf("a stale deletion: %v, %v", kept, err)
	}
	gone, err := b.client.Kubernetes.OptimisticDelete(b.ctx, b.prefix+"a", created, kubernetes.DeleteOptions{})
	if err != nil || !gone.Succeeded || gone.Revision <= created {
		t.Errorf("a deletion: %v, %v", gone, err)
	}
}

func TestListCountAndKeys(t *testing.T) {
	b := newBench(t)
	const keys = 1_234
	for n := 0; n < keys; n++ {
		b.create(fmt.Sprintf("%04d", n), strings.Repeat("v", 100))
	}
	at := b.revision()
	b.create("later", "v")
	next, seen, left := "", 0, int64(keys)
	for page := 0; ; page++ {
		list, err := b.client.Kubernetes.List(b.ctx, b.prefix, kubernetes.ListOptions{Revision: at, Limit: 500, Continue: next})
		if err != nil {
			t.Fatal(err)
		}
		if list.Count != left {
			t.Errorf("page %d counts %d, want %d", page, list.Count, left)
		}
		for _, kv := range list.Kvs {
			if want := fmt.Sprintf("%s%04d", b.prefix, seen); string(kv.Key) != want {
				t.Fatalf("key %d is %s", seen, kv.Key)
			}
			seen++
			next = string(kv.Key) + "\x00"
		}
		left -= int64(len(list.Kvs))
		if left == 0 {
			break
		}
	}
	count, err := b.client.Kubernetes.Count(b.ctx, b.prefix, kubernetes.CountOptions{})
	if err != nil || count != keys+1 {
		t.Errorf("%d counted, %v", count, err)
	}
	names, err := b.client.Client.Get(b.ctx, b.prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil || len(names.Kvs) != keys+1 || len(names.Kvs[0].Value) != 0 {
		t.Errorf("%d keys, %v", len(names.Kvs), err)
	}
}

// What the apiserver checks of a list by RangeStream.
func TestListByStream(t *testing.T) {
	b := newBench(t)
	const keys = 700
	var last int64
	for n := 0; n < keys; n++ {
		last = b.create(fmt.Sprintf("%04d", n), strings.Repeat("v", 3_000))
	}
	kv := pb.NewKVClient(b.client.ActiveConnection())
	for _, of := range []struct{ revision, limit int64 }{{0, 0}, {last, 0}, {last, 500}, {0, 500}} {
		stream, err := kv.RangeStream(b.ctx, &pb.RangeRequest{
			Key: []byte(b.prefix), RangeEnd: []byte(clientv3.GetPrefixRangeEnd(b.prefix)),
			Revision: of.revision, Limit: of.limit,
		})
		if err != nil {
			t.Fatal(err)
		}
		var chunks []*pb.RangeResponse
		sent := int64(0)
		for {
			answer, err := stream.Recv()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			chunks = append(chunks, answer.RangeResponse)
			sent += int64(len(answer.RangeResponse.Kvs))
		}
		want := int64(keys)
		if of.limit > 0 {
			want = of.limit
		}
		if sent != want || len(chunks) < 2 {
			t.Errorf("%d keys in %d chunks, want %d keys", sent, len(chunks), want)
		}
		for n, chunk := range chunks {
			isLast := n == len(chunks)-1
			if (chunk.Header != nil) != isLast || (!isLast && (chunk.More || chunk.Count != 0)) {
				t.Errorf("chunk %d of %d: header %v, more %t, count %d", n, len(chunks), chunk.Header, chunk.More, chunk.Count)
			}
			if len(chunk.Kvs) == 0 && !isLast {
				t.Errorf("chunk %d of %d is empty", n, len(chunks))
			}
		}
		end := chunks[len(chunks)-1]
		if end.Header.Revision < last || end.Count != keys || end.More != (of.limit > 0) {
			t.Errorf("the end: revision %d, count %d, more %t", end.Header.Revision, end.Count, end.More)
		}
	}
}

func TestLargeAnswers(t *testing.T) {
	b := newBench(t)
	for n := 0; n < 8; n++ {
		b.create(fmt.Sprint(n), strings.Repeat("v", 1_000_000))
	}
	list, err := b.client.Kubernetes.List(b.ctx, b.prefix, kubernetes.ListOptions{})
	if err != nil || len(list.Kvs) != 8 {
		t.Errorf("%d keys, %v", len(list.Kvs), err)
	}
}

// One of several apiservers compacts: the one whose transaction on this key succeeds.
func TestCompaction(t *testing.T) {
	b := newBench(t)
	key := "compact_rev_key"
	before := b.create("a", "1")
	after := b.create("b", "1")
	contend := func(version int64, revision string) *clientv3.TxnResponse {
		answer, err := b.client.Txn(b.ctx).
			If(clientv3.Compare(clientv3.Version(key), "=", version)).
			Then(clientv3.OpPut(key, revision)).
			Else(clientv3.OpGet(key)).Commit()
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	if !contend(0, fmt.Sprint(after)).Succeeded {
		t.Fatal("the first does not win")
	}
	lost := contend(0, "x")
	if lost.Succeeded || lost.Responses[0].GetResponseRange().Kvs[0].Version != 1 {
		t.Errorf("the second: %v", lost)
	}
	if _, err := b.client.Compact(b.ctx, after); err != nil {
		t.Fatal(err)
	}
	_, err := b.client.Kubernetes.List(b.ctx, b.prefix, kubernetes.ListOptions{Revision: before})
	if err == nil || err.Error() != "etcdserver: mvcc: required revision has been compacted" {
		t.Errorf("a list below it: %v", err)
	}
	events := b.client.Watch(b.ctx, b.prefix, clientv3.WithPrefix(), clientv3.WithRev(before))
	got := <-events
	if got.Err() != rpctypes.ErrCompacted || got.CompactRevision != after {
		t.Errorf("a watch below it: %v, %v", got, got.Err())
	}
}

// Events and the addresses of apiservers end with a lease, and watchers see what was there.
func TestLeases(t *testing.T) {
	b := newBench(t)
	granted, err := b.client.Grant(b.ctx, 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "c"} {
		put, err := b.client.Kubernetes.OptimisticPut(b.ctx, b.prefix+name, []byte("v"), 0, kubernetes.PutOptions{LeaseID: granted.ID})
		if err != nil || !put.Succeeded {
			t.Fatal(put, err)
		}
	}
	events := b.client.Watch(b.ctx, b.prefix, clientv3.WithPrefix(), clientv3.WithPrevKV())
	start := time.Now()
	gone := map[string]bool{}
	revisions := map[int64]bool{}
	for len(gone) < 3 {
		got, ok := <-events
		if !ok || got.Err() != nil {
			t.Fatal(got.Err())
		}
		for _, event := range got.Events {
			if event.Type != clientv3.EventTypeDelete || event.PrevKv == nil || string(event.PrevKv.Value) != "v" {
				t.Errorf("event %v", event)
			}
			gone[string(event.Kv.Key)] = true
			revisions[event.Kv.ModRevision] = true
		}
	}
	if took := time.Since(start); took < time.Second || took > 10*time.Second {
		t.Errorf("gone after %v", took)
	}
	if len(revisions) != 1 {
		t.Errorf("gone at %d revisions", len(revisions))
	}
}
