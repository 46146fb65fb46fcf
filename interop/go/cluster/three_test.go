package cluster

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tenet.test/interop/server"
)

func TestAnyMemberTakesWritesAndReads(t *testing.T) {
	c := server.ClusterFor(t, 3)
	leads := leader(t, c, 0, 1, 2)
	for i := range c.Members {
		client := c.ClientFor(t, i)
		key := fmt.Sprintf("through/%d", i)
		put, err := client.Put(within(t), key, "v")
		if err != nil {
			t.Fatal(err)
		}
		for j := range c.Members {
			got, err := c.ClientFor(t, j).Get(within(t), key)
			if err != nil || len(got.Kvs) != 1 || got.Kvs[0].ModRevision != put.Header.Revision {
				t.Fatalf("put through %d, read through %d (%d leads): %v %v", i, j, leads, got, err)
			}
		}
	}
	list, err := c.ClientFor(t, 0).MemberList(within(t))
	if err != nil || len(list.Members) != 3 {
		t.Fatal(list, err)
	}
	for _, member := range list.Members {
		if member.Name == "" || len(member.ClientURLs) != 1 || member.IsLearner {
			t.Errorf("not published: %v", member)
		}
	}
	agree(t, c, 0, 1, 2)
}

func TestNoAcknowledgedWriteIsLostWithTheLeader(t *testing.T) {
	c := server.ClusterFor(t, 3)
	client := c.ClientFor(t)
	var acknowledged sync.Map
	var count atomic.Int64
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				key := fmt.Sprintf("w%d/%06d", w, i)
				if _, err := client.Put(within(t), key, "v"); err == nil {
					acknowledged.Store(key, true)
					count.Add(1)
				}
			}
		})
	}
	for range 3 {
		time.Sleep(300 * time.Millisecond)
		leads := leader(t, c, 0, 1, 2)
		if err := c.Members[leads].Kill(); err != nil {
			t.Fatal(err)
		}
		before := count.Load()
		eventually(t, "no write goes on", func() error {
			if count.Load() < before+20 {
				return fmt.Errorf("%d writes", count.Load()-before)
			}
			return nil
		})
		if err := c.Members[leads].Again(); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	writers.Wait()
	agree(t, c, 0, 1, 2)
	for i := range c.Members {
		got, err := c.ClientFor(t, i).Get(within(t), "w", clientv3.WithPrefix(), clientv3.WithKeysOnly())
		if err != nil {
			t.Fatal(err)
		}
		there := map[string]bool{}
		for _, kv := range got.Kvs {
			there[string(kv.Key)] = true
		}
		acknowledged.Range(func(key, _ any) bool {
			if !there[key.(string)] {
				t.Errorf("member %d has lost %s", i, key)
			}
			return true
		})
	}
	t.Logf("%d writes", count.Load())
}

func TestAMinorityRefusesAndServesOldReads(t *testing.T) {
	c := server.ClusterFor(t, 3)
	put(t, c.ClientFor(t), 1, "k")
	agree(t, c, 0, 1, 2)
	for _, i := range []int{1, 2} {
		if err := c.Members[i].Kill(); err != nil {
			t.Fatal(err)
		}
	}
	alone := c.ClientFor(t, 0)
	// The client itself asks again and again, for as long as it may.
	short, cancel := context.WithTimeout(within(t), 12*time.Second)
	defer cancel()
	if _, err := alone.Put(short, "k", "v"); err == nil {
		t.Error("a minority takes a write")
	}
	if _, err := alone.Get(short, "k/0000"); err == nil {
		t.Error("a minority answers a linearizable read")
	}
	got, err := alone.Get(within(t), "k/0000", clientv3.WithSerializable())
	if err != nil || len(got.Kvs) != 1 {
		t.Error("a serializable read fails:", got, err)
	}
	for _, i := range []int{1, 2} {
		if err := c.Members[i].Launch(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "writes do not go on", func() error {
		_, err := alone.Put(within(t), "k", "v")
		return err
	})
}

func TestAMemberThatFellBehindCatchesUpBySnapshot(t *testing.T) {
	c := server.ClusterFor(t, 3, "--snapshot-count", "100", "--snapshot-catchup-entries", "20")
	leads := leader(t, c, 0, 1, 2)
	behind := (leads + 1) % 3
	if err := c.Members[behind].Kill(); err != nil {
		t.Fatal(err)
	}
	client := c.ClientFor(t, leads)
	put(t, client, 1_500, "missed")
	grant, err := client.Grant(within(t), 300)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Put(within(t), "leased", "v", clientv3.WithLease(grant.ID)); err != nil {
		t.Fatal(err)
	}
	if err := c.Members[behind].Again(); err != nil {
		t.Fatal(err)
	}
	agree(t, c, 0, 1, 2)
	// What came as a snapshot outlives a crash, and goes on from there.
	if err := c.Members[behind].Kill(); err != nil {
		t.Fatal(err)
	}
	put(t, client, 50, "more")
	if err := c.Members[behind].Again(); err != nil {
		t.Fatal(err)
	}
	put(t, c.ClientFor(t, behind), 5, "through")
	agree(t, c, 0, 1, 2)
	left, err := c.ClientFor(t, behind).TimeToLive(within(t), grant.ID, clientv3.WithAttachedKeys())
	if err != nil || left.TTL <= 0 || len(left.Keys) != 1 {
		t.Errorf("the lease is not what it was: %+v %v", left, err)
	}
}

func TestLeasesLiveOnThroughAnyMemberAndAnyLeader(t *testing.T) {
	c := server.ClusterFor(t, 3)
	leads := leader(t, c, 0, 1, 2)
	follower := c.ClientFor(t, (leads+1)%3)
	short, err := follower.Grant(within(t), 3)
	if err != nil {
		t.Fatal(err)
	}
	long, err := follower.Grant(within(t), 600)
	if err != nil {
		t.Fatal(err)
	}
	renewed, err := follower.KeepAliveOnce(within(t), short.ID)
	if err != nil || renewed.TTL != 3 {
		t.Fatal(renewed, err)
	}
	if err := c.Members[leads].Kill(); err != nil {
		t.Fatal(err)
	}
	leader(t, c, (leads+1)%3, (leads+2)%3)
	left, err := follower.TimeToLive(within(t), long.ID)
	if err != nil || left.TTL < 500 || left.GrantedTTL != 600 {
		t.Errorf("%+v %v", left, err)
	}
	eventually(t, "a lease that nobody renews does not end", func() error {
		left, err := follower.TimeToLive(within(t), short.ID)
		if err != nil {
			return err
		}
		if left.TTL != -1 {
			return fmt.Errorf("%d s left", left.TTL)
		}
		return nil
	})
	if _, err := follower.KeepAliveOnce(within(t), short.ID); err == nil {
		t.Error("a lease that has ended is renewed")
	}
}

func TestLeadershipIsMovedAndHandedOverAtTheStop(t *testing.T) {
	c := server.ClusterFor(t, 3)
	leads := leader(t, c, 0, 1, 2)
	to := (leads + 1) % 3
	status, err := c.ClientFor(t, to).Status(within(t), c.Members[to].Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.ClientFor(t, leads).MoveLeader(within(t), status.Header.MemberId); err != nil {
		t.Fatal(err)
	}
	if got := leader(t, c, 0, 1, 2); got != to {
		t.Fatalf("%d leads, not %d", got, to)
	}
	if err := c.Members[to].Stop(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := c.ClientFor(t, leads).Put(within(t), "k", "v"); err != nil {
		t.Fatal(err)
	}
	t.Logf("the first write after the stop took %v", time.Since(began))
	if err := c.Members[to].Again(); err != nil {
		t.Fatal(err)
	}
	agree(t, c, 0, 1, 2)
}

func TestMembersAreAddedPromotedUpdatedAndRemoved(t *testing.T) {
	c := server.ClusterFor(t, 3)
	leads := leader(t, c, 0, 1, 2)
	client := c.ClientFor(t, leads)
	put(t, client, 20, "before")
	grow(t, c, os.Getenv("SERVER"), client)
	put(t, c.ClientFor(t, 3), 20, "through")
	agree(t, c, 0, 1, 2, 3)

	list, err := client.MemberList(within(t))
	if err != nil {
		t.Fatal(err)
	}
	var gone uint64
	for _, member := range list.Members {
		if member.PeerURLs[0] == c.Members[(leads+1)%3].PeerURL() {
			gone = member.ID
		}
	}
	// A member that has just been added does not count as healthy at once.
	eventually(t, "not removed", func() error {
		_, err := client.MemberRemove(within(t), gone)
		return err
	})
	list, err = client.MemberList(within(t))
	if err != nil || len(list.Members) != 3 {
		t.Fatal(list, err)
	}
	put(t, client, 20, "after")
	agree(t, c, leads, (leads+2)%3, 3)
}

// grow adds a member as a learner, starts it and promotes it.
func grow(t *testing.T, c *server.Cluster, binary string, client *clientv3.Client) uint64 {
	t.Helper()
	fourth := c.Prepare(t, binary)
	var id uint64
	eventually(t, "not added", func() error {
		added, err := client.MemberAddAsLearner(within(t), []string{fourth.PeerURL()})
		if err != nil {
			return err
		}
		id = added.Member.ID
		return nil
	})
	if err := fourth.Launch(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "not promoted", func() error {
		_, err := client.MemberPromote(within(t), id)
		return err
	})
	if err := fourth.WaitUntilReady(); err != nil {
		t.Fatal(err)
	}
	return id
}
