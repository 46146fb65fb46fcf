package coordination

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	lockpb "go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
)

func TestLockIsHeldByOneAfterTheOther(t *testing.T) {
	b := newBench(t)
	first, second := b.lease(), b.lease()
	held, err := b.lock.Lock(b.ctx, &lockpb.LockRequest{Name: b.name(), Lease: first})
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("%s/%x", b.Name(), first); string(held.Key) != want {
		t.Errorf("the key is %s, want %s", held.Key, want)
	}
	again, err := b.lock.Lock(b.ctx, &lockpb.LockRequest{Name: b.name(), Lease: first})
	if err != nil || string(again.Key) != string(held.Key) {
		t.Errorf("the holder asks again: %v, %v", again, err)
	}
	got := make(chan *lockpb.LockResponse, 1)
	go func() {
		answer, err := b.lock.Lock(b.ctx, &lockpb.LockRequest{Name: b.name(), Lease: second})
		if err != nil {
			t.Error(err)
		}
		got <- answer
	}()
	select {
	case <-got:
		t.Fatal("two hold the lock")
	case <-time.After(300 * time.Millisecond):
	}
	unlocked, err := b.lock.Unlock(b.ctx, &lockpb.UnlockRequest{Key: held.Key})
	if err != nil {
		t.Fatal(err)
	}
	next := <-got
	if next.Header.Revision < unlocked.Header.Revision {
		t.Errorf("held at revision %d, given up at %d", next.Header.Revision, unlocked.Header.Revision)
	}
	if _, err := b.lock.Unlock(b.ctx, &lockpb.UnlockRequest{Key: []byte("nothing")}); err != nil {
		t.Error(err)
	}
}

func TestLockErrors(t *testing.T) {
	b := newBench(t)
	_, err := b.lock.Lock(b.ctx, &lockpb.LockRequest{Name: b.name(), Lease: 12345})
	wantUnknown(t, "an unknown lease", err, "etcdserver: requested lease not found")
	_, err = b.lock.Unlock(b.ctx, &lockpb.UnlockRequest{})
	wantUnknown(t, "no key", err, "etcdserver: key is not provided")
	// Without a lease one is made.
	held, err := b.lock.Lock(b.ctx, &lockpb.LockRequest{Name: b.name()})
	if err != nil {
		t.Fatal(err)
	}
	kv, err := b.client.Get(b.ctx, string(held.Key))
	if err != nil || len(kv.Kvs) != 1 {
		t.Fatal(kv, err)
	}
	ttl, err := b.client.TimeToLive(b.ctx, clientv3.LeaseID(kv.Kvs[0].Lease))
	if err != nil || ttl.GrantedTTL != 60 {
		t.Errorf("the lease: %v, %v", ttl, err)
	}
}

// Who gives up waiting leaves nothing behind.
func TestLockWaiterThatGivesUp(t *testing.T) {
	b := newBench(t)
	held, err := b.lock.Lock(b.ctx, &lockpb.LockRequest{Name: b.name(), Lease: b.lease()})
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(b.ctx, 300*time.Millisecond)
	defer cancel()
	if _, err := b.lock.Lock(short, &lockpb.LockRequest{Name: b.name(), Lease: b.lease()}); err == nil {
		t.Fatal("two hold the lock")
	}
	for tries := 0; ; tries++ {
		left, err := b.client.Get(b.ctx, b.Name()+"/", clientv3.WithPrefix())
		if err != nil {
			t.Fatal(err)
		}
		if len(left.Kvs) == 1 && string(left.Kvs[0].Key) == string(held.Key) {
			return
		}
		if tries == 50 {
			t.Fatalf("keys left behind: %v", left.Kvs)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// A lease that ends gives the lock to the next, and tells a waiter whose own lease has ended.
func TestLockFollowsItsLease(t *testing.T) {
	b := newBench(t)
	first, second, third := b.lease(), b.lease(), b.lease()
	if _, err := b.lock.Lock(b.ctx, &lockpb.LockRequest{Name: b.name(), Lease: first}); err != nil {
		t.Fatal(err)
	}
	wait := func(lease int64) chan error {
		done := make(chan error, 1)
		go func() {
			_, err := b.lock.Lock(b.ctx, &lockpb.LockRequest{Name: b.name(), Lease: lease})
			done <- err
		}()
		time.Sleep(200 * time.Millisecond)
		return done
	}
	ended := wait(second)
	next := wait(third)
	for _, lease := range []int64{second, first} {
		if _, err := b.client.Revoke(b.ctx, clientv3.LeaseID(lease)); err != nil {
			t.Fatal(err)
		}
	}
	wantUnknown(t, "a waiter whose lease has ended", <-ended, "mutex: session is expired")
	if err := <-next; err != nil {
		t.Error(err)
	}
}

// The service and the client's own mutexes exclude each other.
func TestLockExcludesClientsMutexes(t *testing.T) {
	b := newBench(t)
	inside, most, entered := 0, 0, 0
	var guard sync.Mutex
	work := func() {
		guard.Lock()
		inside, entered = inside+1, entered+1
		most = max(most, inside)
		guard.Unlock()
		time.Sleep(2 * time.Millisecond)
		guard.Lock()
		inside--
		guard.Unlock()
	}
	var group sync.WaitGroup
	for worker := 0; worker < 8; worker++ {
		group.Add(1)
		go func() {
			defer group.Done()
			session, err := concurrency.NewSession(b.client, concurrency.WithContext(b.ctx))
			if err != nil {
				t.Error(err)
				return
			}
			defer session.Close()
			mutex := concurrency.NewMutex(session, b.Name())
			for turn := 0; turn < 10; turn++ {
				if worker%2 == 0 {
					if err := mutex.Lock(b.ctx); err != nil {
						t.Error(err)
						return
					}
					work()
					if err := mutex.Unlock(b.ctx); err != nil {
						t.Error(err)
						return
					}
					continue
				}
				held, err := b.lock.Lock(b.ctx, &lockpb.LockRequest{Name: b.name(), Lease: int64(session.Lease())})
				if err != nil {
					t.Error(err)
					return
				}
				work()
				if _, err := b.lock.Unlock(b.ctx, &lockpb.UnlockRequest{Key: held.Key}); err != nil {
					t.Error(err)
					return
				}
			}
		}()
	}
	group.Wait()
	if most != 1 || entered != 80 {
		t.Errorf("%d inside at once, %d entered", most, entered)
	}
}
