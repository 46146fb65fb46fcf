package kubernetes

import (
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/kubernetes"
)

// The watch cache: list, watch from there, and know by progress how far it is.
func TestWatchFromAList(t *testing.T) {
	b := newBench(t)
	b.create("a", "1")
	list, err := b.client.Kubernetes.List(b.ctx, b.prefix, kubernetes.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	missed := b.create("b", "1")
	ctx := clientv3.WithRequireLeader(b.ctx)
	events := b.client.Watch(ctx, b.prefix, clientv3.WithPrefix(), clientv3.WithRev(list.Revision+1),
		clientv3.WithPrevKV(), clientv3.WithProgressNotify())
	next := func() clientv3.WatchResponse {
		t.Helper()
		select {
		case got, ok := <-events:
			if !ok || got.Err() != nil {
				t.Fatal(ok, got.Err())
			}
			return got
		case <-time.After(10 * time.Second):
			t.Fatal("nothing came")
		}
		panic("unreachable")
	}
	nextEvent := func() *clientv3.Event {
		t.Helper()
		for {
			if got := next(); len(got.Events) > 0 {
				return got.Events[0]
			}
		}
	}
	if event := nextEvent(); !event.IsCreate() || event.Kv.ModRevision != missed {
		t.Errorf("first %v", event)
	}
	changed, err := b.client.Kubernetes.OptimisticPut(b.ctx, b.prefix+"b", []byte("2"), missed, kubernetes.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if event := nextEvent(); !event.IsModify() || string(event.PrevKv.Value) != "1" {
		t.Errorf("then %v", event)
	}
	if _, err := b.client.Kubernetes.OptimisticDelete(b.ctx, b.prefix+"b", changed.Revision, kubernetes.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if event := nextEvent(); event.Type != clientv3.EventTypeDelete || string(event.PrevKv.Value) != "2" {
		t.Errorf("then %v", event)
	}
	// Other resources move on; progress says so without being asked.
	other, err := b.client.Put(b.ctx, "/registry/elsewhere", "v")
	if err != nil {
		t.Fatal(err)
	}
	for {
		got := next()
		if got.IsProgressNotify() && got.Header.Revision >= other.Header.Revision {
			break
		}
	}
	// And when it is asked, as for a consistent list from the cache.
	for n := 0; n < 20; n++ {
		key := fmt.Sprintf("/registry/elsewhere/%d", n)
		other, err := b.client.Put(b.ctx, key, "v")
		if err != nil {
			t.Fatal(err)
		}
		if err := b.client.RequestProgress(ctx); err != nil {
			t.Fatal(err)
		}
		for {
			got := next()
			if len(got.Events) > 0 {
				t.Fatalf("an event of another resource: %v", got.Events[0])
			}
			if got.Header.Revision >= other.Header.Revision {
				break
			}
		}
	}
}

// A consistent list waits for progress up to the revision that it read: what was written before
// must have come.
func TestProgressIsNeverAhead(t *testing.T) {
	b := newBench(t)
	ctx := clientv3.WithRequireLeader(b.ctx)
	events := b.client.Watch(ctx, b.prefix, clientv3.WithPrefix(), clientv3.WithProgressNotify(), clientv3.WithCreatedNotify())
	<-events
	const puts = 2_000
	wrote := make(chan int64, puts)
	go func() {
		defer close(wrote)
		for n := 0; n < puts; n++ {
			put, err := b.client.Kubernetes.OptimisticPut(b.ctx, fmt.Sprintf("%s%d", b.prefix, n), []byte("v"), 0, kubernetes.PutOptions{})
			if err != nil {
				t.Error(err)
				return
			}
			if n%10 == 0 {
				if err := b.client.RequestProgress(ctx); err != nil {
					t.Error(err)
				}
			}
			wrote <- put.Revision
		}
	}()
	came := map[int64]bool{}
	progress, highest := 0, int64(0)
	for len(came) < puts {
		got := <-events
		if got.Err() != nil {
			t.Fatal(got.Err())
		}
		for _, event := range got.Events {
			if event.Kv.ModRevision <= highest {
				t.Fatalf("an event of revision %d after progress at %d", event.Kv.ModRevision, highest)
			}
			came[event.Kv.ModRevision] = true
		}
		if got.IsProgressNotify() {
			progress, highest = progress+1, got.Header.Revision
		}
	}
	for revision := range wrote {
		if !came[revision] {
			t.Errorf("revision %d never came", revision)
		}
	}
	if progress == 0 {
		t.Error("no progress was told")
	}
}
