package watch

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"tenet.test/interop/server"
)

// The client resumes by itself: over a restart of the server no event is lost or doubled.
func TestResumeAcrossRestarts(t *testing.T) {
	own := server.For(t)
	client := server.ClientOf(t, own)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	watched := client.Watch(ctx, "k/", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	if first := <-watched; !first.Created {
		t.Fatalf("got %v, want that it was created", first)
	}
	const puts = 300
	go func() {
		for n := 0; n < puts; n++ {
			key := fmt.Sprintf("k/%d", n)
			for {
				// A put that failed may have happened: it is not done again with another revision.
				attempt, done := context.WithTimeout(ctx, 5*time.Second)
				answer, err := client.Txn(attempt).
					If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
					Then(clientv3.OpPut(key, "v")).Commit()
				done()
				if err == nil {
					_ = answer
					break
				}
				if ctx.Err() != nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
			if n%100 == 50 {
				if err := own.Kill(); err != nil {
					t.Error(err)
				}
				if err := own.Again(); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	next, last := 0, int64(0)
	for next < puts {
		response, ok := <-watched
		if !ok || response.Err() != nil {
			t.Fatalf("the watch ended after %d events: %v", next, response.Err())
		}
		for _, event := range response.Events {
			if want := fmt.Sprintf("k/%d", next); string(event.Kv.Key) != want {
				t.Fatalf("event %d is of %s, want %s", next, event.Kv.Key, want)
			}
			if event.Kv.ModRevision <= last {
				t.Fatalf("revision %d after %d", event.Kv.ModRevision, last)
			}
			next, last = next+1, event.Kv.ModRevision
		}
	}
}

func TestManyWatchesOnOneStream(t *testing.T) {
	b := newBench(t)
	const watches = 2_000
	for n := 0; n < watches; n++ {
		b.create(&pb.WatchCreateRequest{Key: b.key(fmt.Sprint(n))})
	}
	for n := 0; n < watches; n++ {
		if created := b.next(); !created.Created || created.WatchId != int64(n) {
			t.Fatalf("got %v, want watch %d", created, n)
		}
	}
	for n := watches - 1; n >= 0; n-- {
		b.put(fmt.Sprintf("%d=v", n))
	}
	for n := watches - 1; n >= 0; n-- {
		got := b.next()
		if got.WatchId != int64(n) || len(got.Events) != 1 {
			t.Fatalf("got %s, want an event of watch %d", b.show(got), n)
		}
	}
	b.askProgress()
	b.want(fmt.Sprintf("-1 at +%d", watches))
}

// A watcher that reads only at the end finds everything, and others are not held up by it.
func TestSlowReaderMissesNothing(t *testing.T) {
	own := server.For(t)
	connection := server.RawOf(t, own)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	slow, err := pb.NewWatchClient(connection).Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	create := &pb.WatchCreateRequest{Key: []byte("k"), RangeEnd: []byte("l")}
	request := &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: create}}
	if err := slow.Send(request); err != nil {
		t.Fatal(err)
	}
	if created, err := slow.Recv(); err != nil || !created.Created {
		t.Fatal(created, err)
	}
	client := server.ClientOf(t, own)
	fast := client.Watch(ctx, "k", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	<-fast
	const puts, writers = 20_000, 20
	value := string(make([]byte, 1000))
	var group sync.WaitGroup
	for w := 0; w < writers; w++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for n := 0; n < puts/writers; n++ {
				if _, err := client.Put(ctx, fmt.Sprintf("k/%d", w), value); err != nil {
					t.Error(err)
					return
				}
			}
		}()
	}
	last := int64(0)
	check := func(revision int64) {
		if last != 0 && revision != last+1 {
			t.Fatalf("revision %d after %d", revision, last)
		}
		last = revision
	}
	for seen := 0; seen < puts; {
		response := <-fast
		for _, event := range response.Events {
			check(event.Kv.ModRevision)
			seen++
		}
	}
	group.Wait()
	last = 0
	for seen := 0; seen < puts; {
		response, err := slow.Recv()
		if err != nil {
			t.Fatal(err)
		}
		for _, event := range response.Events {
			check(event.Kv.ModRevision)
			seen++
		}
	}
}
