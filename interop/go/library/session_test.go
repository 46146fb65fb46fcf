package library

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"tenet.test/interop/server"
)

func (b *bench) session(options ...concurrency.SessionOption) *concurrency.Session {
	b.Helper()
	session, err := concurrency.NewSession(b.client, options...)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { session.Close() })
	return session
}

func (b *bench) ended(what string, session *concurrency.Session) {
	b.Helper()
	select {
	case <-session.Done():
	case <-time.After(20 * time.Second):
		b.Fatalf("%s: the session does not end", what)
	}
}

func (b *bench) grantedTTL(lease clientv3.LeaseID) int64 {
	b.Helper()
	answer, err := b.client.TimeToLive(b.ctx, lease)
	if err != nil {
		b.Fatal(err)
	}
	return answer.GrantedTTL
}

func TestSessions(t *testing.T) {
	b := newBench(t)
	b.want("by default", b.grantedTTL(b.session().Lease()), 60)
	b.want("chosen", b.grantedTTL(b.session(concurrency.WithTTL(7)).Lease()), 7)
	granted, err := b.client.Grant(b.ctx, 5)
	if err != nil {
		t.Fatal(err)
	}
	given := b.session(concurrency.WithLease(granted.ID))
	b.want("given", given.Lease(), granted.ID)

	// Closing revokes, orphaning does not.
	closed := b.session()
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	b.ended("closed", closed)
	b.want("after closing", b.grantedTTL(closed.Lease()), 0)
	orphan := b.session()
	orphan.Orphan()
	b.ended("orphaned", orphan)
	b.want("after orphaning", b.grantedTTL(orphan.Lease()), 60)

	// A session learns of its lease's end, whoever has ended it.
	if _, err := b.client.Revoke(b.ctx, granted.ID); err != nil {
		t.Fatal(err)
	}
	b.ended("revoked", given)
}

// A session is kept alive for longer than its lease would last, and over a restart.
func TestSessionOutlivesItsLeaseAndARestart(t *testing.T) {
	own := server.For(t)
	b := benchOn(t, own)
	session := b.session(concurrency.WithTTL(2))
	mutex := concurrency.NewMutex(session, b.key("lock"))
	if err := mutex.Lock(b.ctx); err != nil {
		t.Fatal(err)
	}
	held := func(until time.Time) {
		t.Helper()
		for time.Now().Before(until) {
			select {
			case <-session.Done():
				t.Fatal("the session has ended")
			case <-time.After(100 * time.Millisecond):
			}
		}
		answer, err := b.client.Txn(b.ctx).If(mutex.IsOwner()).Commit()
		if err != nil || !answer.Succeeded {
			t.Fatalf("the lock is lost: %v, %v", answer, err)
		}
	}
	held(time.Now().Add(4 * time.Second))
	if err := own.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := own.Again(); err != nil {
		t.Fatal(err)
	}
	held(time.Now().Add(4 * time.Second))
}

func TestMutex(t *testing.T) {
	b := newBench(t)
	first, second := b.session(), b.session()
	mine, other := concurrency.NewMutex(first, b.key("lock")), concurrency.NewMutex(second, b.key("lock"))
	if err := mine.TryLock(b.ctx); err != nil {
		t.Fatal(err)
	}
	b.want("key", mine.Key(), fmt.Sprintf("%slock/%x", b.prefix, first.Lease()))
	if err := mine.TryLock(b.ctx); err != nil {
		t.Error("again by its holder:", err)
	}
	b.wantError("by another", other.TryLock(b.ctx), concurrency.ErrLocked.Error())
	// Who only tried has left nothing behind.
	b.want("keys", len(b.all()), 1)
	owner := func(mutex *concurrency.Mutex) bool {
		answer, err := b.client.Txn(b.ctx).If(mutex.IsOwner()).Commit()
		if err != nil {
			t.Fatal(err)
		}
		return answer.Succeeded
	}
	b.want("the holder owns it", owner(mine), true)
	if err := mine.Unlock(b.ctx); err != nil {
		t.Fatal(err)
	}
	b.wantError("unlocked twice", mine.Unlock(b.ctx), concurrency.ErrLockReleased.Error())
	if err := other.Lock(b.ctx); err != nil {
		t.Fatal(err)
	}
	b.want("the next owns it", owner(other), true)

	short, cancel := context.WithTimeout(b.ctx, 200*time.Millisecond)
	defer cancel()
	if err := mine.Lock(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while it is held: %v", err)
	}
	b.until("nothing of who gave up is left", func() bool { return len(b.all()) == 1 })

	waiting := make(chan error, 1)
	go func() { waiting <- mine.Lock(b.ctx) }()
	b.until("the other waits", func() bool { return len(b.all()) == 2 })
	if _, err := b.client.Revoke(b.ctx, first.Lease()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.client.Revoke(b.ctx, second.Lease()); err != nil {
		t.Fatal(err)
	}
	b.wantError("the waiter's lease has ended", <-waiting, concurrency.ErrSessionExpired.Error())
}

// Lockers of many clients: one at a time, and each gets its turn.
func TestLockersExcludeEachOther(t *testing.T) {
	const clients, turns = 8, 5
	b := newBench(t)
	inside, entered := 0, 0
	var group sync.WaitGroup
	for range clients {
		own := benchOn(t, shared)
		locker := concurrency.NewLocker(own.session(), b.key("lock"))
		group.Go(func() {
			for range turns {
				locker.Lock()
				inside++
				entered++
				if inside != 1 {
					t.Errorf("%d hold the lock", inside)
				}
				inside--
				locker.Unlock()
			}
		})
	}
	group.Wait()
	b.want("turns", entered, clients*turns)
	b.want("keys left", len(b.all()), 0)
}

func TestElectionsAreObservedResignedAndResumed(t *testing.T) {
	b := newBench(t)
	first := concurrency.NewElection(b.session(), b.key("head"))
	second := concurrency.NewElection(b.session(), b.key("head"))
	_, err := first.Leader(b.ctx)
	b.wantError("nobody leads", err, concurrency.ErrElectionNoLeader.Error())
	b.wantError("proclaimed by nobody", first.Proclaim(b.ctx, "x"), concurrency.ErrElectionNotLeader.Error())

	watching, stop := context.WithCancel(b.ctx)
	observed := second.Observe(watching)
	leads := func(value string) {
		t.Helper()
		for {
			select {
			case answer, open := <-observed:
				if !open {
					t.Fatalf("no longer observed, waiting for %s", value)
				}
				if string(answer.Kvs[0].Value) == value {
					return
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("not told that %s leads", value)
			}
		}
	}
	if err := first.Campaign(b.ctx, "one"); err != nil {
		t.Fatal(err)
	}
	leads("one")
	b.want("revision", first.Rev(), first.Header().Revision)
	resumed := concurrency.ResumeElection(b.session(), b.key("head"), first.Key(), first.Rev())
	if err := resumed.Proclaim(b.ctx, "uno"); err != nil {
		t.Fatal(err)
	}
	leads("uno")
	elected := make(chan error, 1)
	go func() { elected <- second.Campaign(b.ctx, "two") }()
	b.until("the second is a candidate", func() bool { return len(b.all()) == 2 })
	if err := first.Resign(b.ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-elected; err != nil {
		t.Fatal(err)
	}
	leads("two")
	b.wantError("proclaimed by who has resigned", resumed.Proclaim(b.ctx, "x"), concurrency.ErrElectionNotLeader.Error())
	stop()
	for range observed {
	}
}
