package library

import (
	"fmt"
	"strconv"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.etcd.io/etcd/client/v3/leasing"

	"tenet.test/interop/server"
)

// leaser is a client that caches what it has leased.
func (b *bench) leaser(options ...concurrency.SessionOption) clientv3.KV {
	b.Helper()
	kv, closed, err := leasing.NewKV(server.ClientOf(b.T, shared), b.key("leases/"), options...)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(closed)
	return kv
}

func (b *bench) read(kv clientv3.KV, name string) string {
	b.Helper()
	answer, err := kv.Get(b.ctx, b.key(name))
	if err != nil {
		b.Fatal(err)
	}
	if len(answer.Kvs) == 0 {
		return ""
	}
	return string(answer.Kvs[0].Value)
}

func TestLeasedKeysAreCachedUntilAnotherLeaserWrites(t *testing.T) {
	b := newBench(t)
	b.put("k", "1")
	first, second := b.leaser(), b.leaser()
	b.want("the first read", b.read(first, "k"), "1")
	held, err := b.client.Get(b.ctx, b.key("leases/"+b.key("k")))
	if err != nil || len(held.Kvs) != 1 || held.Kvs[0].Lease == 0 {
		t.Fatalf("the key is not leased: %v, %v", held, err)
	}
	// A write past the protocol is not seen: the answer comes from the cache.
	b.put("k", "behind")
	b.want("from the cache", b.read(first, "k"), "1")
	b.want("by another, who gets no lease", b.read(second, "k"), "behind")

	if _, err := second.Put(b.ctx, b.key("k"), "2"); err != nil {
		t.Fatal(err)
	}
	b.want("after the other's put", b.read(first, "k"), "2")
	b.want("by the other", b.read(second, "k"), "2")
	if _, err := first.Put(b.ctx, b.key("k"), "3"); err != nil {
		t.Fatal(err)
	}
	b.want("after an own put", b.read(first, "k"), "3")
	b.want("at the server", b.value("k"), "3")
	if _, err := second.Delete(b.ctx, b.key("k")); err != nil {
		t.Fatal(err)
	}
	b.want("after the other's delete", b.read(first, "k"), "")
	for n := range 5 {
		name := fmt.Sprint("r", n)
		b.put(name, "v")
		b.want("leased", b.read(first, name), "v")
	}
	gone, err := second.Delete(b.ctx, b.key("r"), clientv3.WithPrefix())
	if err != nil || gone.Deleted != 5 {
		t.Fatalf("a range under leases of another: %v, %v", gone, err)
	}
	b.want("after it", b.read(first, "r3"), "")
}

// Counters under comparison from several leasers: nothing is lost, whoever has the lease.
func TestLeasersCountTogether(t *testing.T) {
	const leasers, each = 3, 15
	b := newBench(t)
	b.put("n", "0")
	var group sync.WaitGroup
	for range leasers {
		kv := b.leaser()
		group.Go(func() {
			for done := 0; done < each; {
				had := b.read(kv, "n")
				number, err := strconv.Atoi(had)
				if err != nil {
					t.Error(err)
					return
				}
				answer, err := kv.Txn(b.ctx).
					If(clientv3.Compare(clientv3.Value(b.key("n")), "=", had)).
					Then(clientv3.OpPut(b.key("n"), strconv.Itoa(number+1))).
					Else(clientv3.OpGet(b.key("n"))).Commit()
				if err != nil {
					t.Error(err)
					return
				}
				if answer.Succeeded {
					done++
				}
			}
		})
	}
	group.Wait()
	b.want("counted", b.value("n"), leasers*each)
}

// Who loses its session drops what it has cached, and leases anew.
func TestALeaserThatLosesItsSession(t *testing.T) {
	b := newBench(t)
	b.put("k", "1")
	// It learns of the loss with the next renewal, which comes after a third of the time to live.
	kv := b.leaser(concurrency.WithTTL(3))
	b.want("leased", b.read(kv, "k"), "1")
	held, err := b.client.Get(b.ctx, b.key("leases/"+b.key("k")))
	if err != nil || len(held.Kvs) != 1 {
		t.Fatal(held, err)
	}
	if _, err := b.client.Revoke(b.ctx, clientv3.LeaseID(held.Kvs[0].Lease)); err != nil {
		t.Fatal(err)
	}
	b.put("k", "2")
	b.until("the new value is read", func() bool { return b.read(kv, "k") == "2" })
	b.until("the key is leased again", func() bool {
		// Only a read leases, and one without a session reads past the cache.
		if b.read(kv, "k") != "2" {
			return false
		}
		again, err := b.client.Get(b.ctx, b.key("leases/"+b.key("k")))
		return err == nil && len(again.Kvs) == 1 && again.Kvs[0].Lease != held.Kvs[0].Lease
	})
}

// What is leased is read while there is no server.
func TestLeasedKeysAreReadWithoutAServer(t *testing.T) {
	own := server.For(t)
	b := benchOn(t, own)
	b.put("k", "1")
	kv, closed, err := leasing.NewKV(b.client, b.key("leases/"))
	if err != nil {
		t.Fatal(err)
	}
	defer closed()
	b.want("leased", b.read(kv, "k"), "1")
	if err := own.Kill(); err != nil {
		t.Fatal(err)
	}
	b.want("without a server", b.read(kv, "k"), "1")
	if err := own.Again(); err != nil {
		t.Fatal(err)
	}
	other, otherClosed, err := leasing.NewKV(server.ClientOf(t, own), b.key("leases/"))
	if err != nil {
		t.Fatal(err)
	}
	defer otherClosed()
	if _, err := other.Put(b.ctx, b.key("k"), "2"); err != nil {
		t.Fatal(err)
	}
	b.until("after the restart the lease can still be taken back", func() bool { return b.read(kv, "k") == "2" })
}
