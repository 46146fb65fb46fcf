package library

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/mirror"
	"go.etcd.io/etcd/client/v3/namespace"
	"go.etcd.io/etcd/client/v3/ordering"

	"tenet.test/interop/server"
)

// Under reads of both kinds, writes and a restart, no answer of a server is older than one before.
func TestOrderingIsNeverViolated(t *testing.T) {
	own := server.For(t)
	b := benchOn(t, own)
	violated := func(op clientv3.Op, answer clientv3.OpResponse, revision int64) error {
		return fmt.Errorf("an answer older than revision %d", revision)
	}
	kv := ordering.NewKV(b.client.KV, violated)
	round := func() {
		var group sync.WaitGroup
		for n := range 8 {
			group.Go(func() {
				for turn := range 100 {
					var err error
					switch (n + turn) % 4 {
					case 0:
						_, err = kv.Txn(b.ctx).Then(clientv3.OpPut(b.key(fmt.Sprint(n)), fmt.Sprint(turn))).Commit()
					case 1:
						_, err = kv.Get(b.ctx, b.key(fmt.Sprint(n)))
					case 2:
						_, err = kv.Get(b.ctx, b.prefix, clientv3.WithPrefix(), clientv3.WithSerializable())
					case 3:
						_, err = kv.Txn(b.ctx).Then(clientv3.OpGet(b.key(fmt.Sprint(n)), clientv3.WithSerializable())).Commit()
					}
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
	}
	round()
	if err := own.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := own.Again(); err != nil {
		t.Fatal(err)
	}
	b.value("x")
	round()
}

// A server that is behind is noticed by the revisions in its answers.
func TestOrderingNoticesAServerThatIsBehind(t *testing.T) {
	ahead, behind := benchOn(t, server.For(t)), benchOn(t, server.For(t))
	for range 5 {
		ahead.put("k", "v")
	}
	old := errors.New("old")
	var at atomic.Int64
	kv := ordering.NewKV(&switched{ahead.client.KV, behind.client.KV, &at}, func(_ clientv3.Op, _ clientv3.OpResponse, revision int64) error {
		ahead.want("revision before", revision, 6)
		return old
	})
	if _, err := kv.Get(ahead.ctx, "k"); err != nil {
		t.Fatal(err)
	}
	at.Store(1)
	if _, err := kv.Get(ahead.ctx, "k"); !errors.Is(err, old) {
		t.Errorf("a read of an older server: %v", err)
	}
	if _, err := kv.Txn(ahead.ctx).Then(clientv3.OpGet("k")).Commit(); !errors.Is(err, old) {
		t.Errorf("a transaction on an older server: %v", err)
	}
}

// switched asks one of two servers.
type switched struct {
	clientv3.KV
	other clientv3.KV
	at    *atomic.Int64
}

func (s *switched) Do(ctx context.Context, op clientv3.Op) (clientv3.OpResponse, error) {
	if s.at.Load() == 1 {
		return s.other.Do(ctx, op)
	}
	return s.KV.Do(ctx, op)
}

func TestNamespaces(t *testing.T) {
	b := newBench(t)
	b.put("a", "outside")
	b.put("z", "outside")
	space := b.key("space/")
	kv := namespace.NewKV(b.client.KV, space)
	watcher := namespace.NewWatcher(b.client.Watcher, space)
	lease := namespace.NewLease(b.client.Lease, space)
	events := watcher.Watch(b.ctx, "", clientv3.WithPrefix(), clientv3.WithCreatedNotify(), clientv3.WithPrevKV())
	<-events
	granted, err := b.client.Grant(b.ctx, 60)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "c"} {
		if _, err := kv.Put(b.ctx, name, name+"1", clientv3.WithLease(granted.ID)); err != nil {
			t.Fatal(err)
		}
	}
	b.want("at the server", b.all()[space+"b"], "b1")
	keys := func(options ...clientv3.OpOption) string {
		t.Helper()
		answer, err := kv.Get(b.ctx, "", options...)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, found := range answer.Kvs {
			names = append(names, string(found.Key)+"="+string(found.Value))
		}
		return strings.Join(names, " ")
	}
	b.want("everything", keys(clientv3.WithPrefix()), "a=a1 b=b1 c=c1")
	b.want("from the start on", keys(clientv3.WithFromKey()), "a=a1 b=b1 c=c1")
	b.want("sorted", keys(clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend)), "c=c1 b=b1 a=a1")
	left, err := lease.TimeToLive(b.ctx, granted.ID, clientv3.WithAttachedKeys())
	if err != nil {
		t.Fatal(err)
	}
	b.want("keys on the lease", len(left.Keys), 3)
	b.want("their names", len(left.Keys[0]), 1)
	done, err := kv.Txn(b.ctx).If(clientv3.Compare(clientv3.Value("a"), "=", "a1")).
		Then(clientv3.OpDelete("b", clientv3.WithRange("d")), clientv3.OpTxn(
			// All comparisons come before all operations: c is still there.
			[]clientv3.Cmp{clientv3.Compare(clientv3.Version("c"), "=", 1)},
			[]clientv3.Op{clientv3.OpPut("d", "d1")}, nil)).Commit()
	if err != nil || !done.Succeeded || done.Responses[0].GetResponseDeleteRange().Deleted != 2 {
		t.Fatal(done, err)
	}
	b.want("afterwards", keys(clientv3.WithPrefix()), "a=a1 d=d1")
	b.want("outside", b.value("a")+b.value("z"), "outsideoutside")

	b.put("a", "again")
	var told []string
	for len(told) < 6 {
		select {
		case response := <-events:
			for _, event := range response.Events {
				text := event.Type.String() + " " + string(event.Kv.Key)
				if event.PrevKv != nil {
					text += " after " + string(event.PrevKv.Key)
				}
				told = append(told, text)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("told only", told)
		}
	}
	b.want("told", told, "[PUT a PUT b PUT c DELETE b after b DELETE c after c PUT d]")
}

// A mirror copies what is there in pages, then follows, over a restart, while others write.
func TestMirrorEqualsItsSource(t *testing.T) {
	own := server.For(t)
	b := benchOn(t, own)
	const keys, more = 2_500, 300
	var group sync.WaitGroup
	for w := range 10 {
		group.Go(func() {
			for n := w; n < keys; n += 10 {
				b.put(fmt.Sprintf("%04d", n), "base")
			}
		})
	}
	group.Wait()
	syncer := mirror.NewSyncer(b.client, b.prefix, 0)
	pages, failed := syncer.SyncBase(b.ctx)
	group.Go(func() { b.change(own, more, keys) })
	copied := map[string]string{}
	revision, count := int64(0), 0
	for page := range pages {
		count++
		for _, kv := range page.Kvs {
			copied[string(kv.Key)] = string(kv.Value)
			revision = max(revision, kv.ModRevision)
		}
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	b.want("pages", count, 3)
	b.want("keys copied", len(copied), keys)
	for response := range syncer.SyncUpdates(b.ctx) {
		if response.Err() != nil {
			t.Fatal(response.Err())
		}
		for _, event := range response.Events {
			if event.Kv.ModRevision <= revision {
				t.Fatalf("revision %d after %d", event.Kv.ModRevision, revision)
			}
			revision = event.Kv.ModRevision
			if event.Type == clientv3.EventTypeDelete {
				delete(copied, string(event.Kv.Key))
			} else {
				copied[string(event.Kv.Key)] = string(event.Kv.Value)
			}
		}
		if _, last := copied[b.key("last")]; last {
			break
		}
	}
	group.Wait()
	if source := b.all(); fmt.Sprint(source) != fmt.Sprint(copied) {
		t.Errorf("the mirror has %d keys, its source %d, or their values differ", len(copied), len(source))
	}
}

// change overwrites, deletes and adds keys, one revision each, with the server killed in between.
func (b *bench) change(own *server.Server, turns, keys int) {
	for n := range turns {
		var op clientv3.Op
		switch n % 3 {
		case 0:
			op = clientv3.OpPut(b.key(fmt.Sprintf("%04d", n*7%keys)), fmt.Sprint("changed ", n))
		case 1:
			op = clientv3.OpDelete(b.key(fmt.Sprintf("%04d", n*7%keys)))
		case 2:
			op = clientv3.OpPut(b.key(fmt.Sprint("new", n)), "v")
		}
		if _, err := b.client.Do(b.ctx, op); err != nil {
			b.Error(err)
		}
		if n == turns/2 {
			if err := errors.Join(own.Kill(), own.Again()); err != nil {
				b.Error(err)
			}
			b.value("x")
		}
	}
	b.put("last", "v")
}
