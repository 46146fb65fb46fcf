package abuse

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"
)

// How long a neighbour rests between two rounds: enough work to notice harm, not enough to fill
// the store.
const neighbourRest = 2 * time.Millisecond

// neighbour is a good client: it writes, reads back, watches what it writes and keeps a lease.
// Every answer is checked.
type neighbour struct {
	*testing.T
	kv      pb.KVClient
	lease   pb.LeaseClient
	watch   pb.WatchClient
	key     []byte
	stop    context.CancelFunc
	rounds  int
	slowest time.Duration
	group   sync.WaitGroup
}

// newNeighbour starts a good client on a connection. It runs until it is ended.
func newNeighbour(t *testing.T, connection *grpc.ClientConn, most time.Duration) *neighbour {
	t.Helper()
	n := &neighbour{
		T: t, kv: pb.NewKVClient(connection), lease: pb.NewLeaseClient(connection),
		watch: pb.NewWatchClient(connection), key: []byte("neighbour"),
	}
	ctx := contextOf(t, most)
	working, stop := context.WithCancel(ctx)
	n.stop = stop
	events, err := n.watch.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := events.Send(create(&pb.WatchCreateRequest{Key: n.key, PrevKv: true})); err != nil {
		t.Fatal(err)
	}
	if created, err := events.Recv(); err != nil || !created.Created {
		t.Fatal(created, err)
	}
	written := make(chan int64, 1<<20)
	n.group.Go(func() { n.work(ctx, working, written) })
	n.group.Go(func() { n.follow(events, written) })
	n.group.Go(func() { n.renew(ctx, working) })
	return n
}

// end lets the client finish, and fails the test if anything was not as it should be.
func (n *neighbour) end() {
	n.Helper()
	n.stop()
	n.group.Wait()
	if n.rounds < 100 {
		n.Errorf("the neighbour did %d rounds only", n.rounds)
	}
}

// work writes and reads in turns and hands on the revisions of its writes.
func (n *neighbour) work(ctx, working context.Context, written chan<- int64) {
	defer close(written)
	for ; working.Err() == nil; time.Sleep(neighbourRest) {
		began := time.Now()
		value := []byte(fmt.Sprint(n.rounds))
		put, err := n.kv.Put(ctx, &pb.PutRequest{Key: n.key, Value: value})
		if err != nil {
			n.Errorf("round %d: put: %v", n.rounds, err)
			return
		}
		read, err := n.kv.Range(ctx, &pb.RangeRequest{Key: n.key})
		if err != nil || len(read.Kvs) != 1 || string(read.Kvs[0].Value) != string(value) {
			n.Errorf("round %d: read %v, %v", n.rounds, read, err)
			return
		}
		written <- put.Header.Revision
		n.rounds++
		n.slowest = max(n.slowest, time.Since(began))
	}
}

// follow gets each write once, in order, with the value before.
func (n *neighbour) follow(events pb.Watch_WatchClient, written <-chan int64) {
	round := 0
	var queued []*mvccpb.Event
	for revision := range written {
		for len(queued) == 0 {
			response, err := events.Recv()
			if err != nil {
				n.Errorf("round %d: the neighbour's watch: %v", round, err)
				return
			}
			queued = append(queued, response.Events...)
		}
		event := queued[0]
		queued = queued[1:]
		if event.Kv.ModRevision != revision || string(event.Kv.Value) != fmt.Sprint(round) {
			n.Errorf("round %d at revision %d: told of %v", round, revision, event)
			return
		}
		if round > 0 && (event.PrevKv == nil || string(event.PrevKv.Value) != fmt.Sprint(round-1)) {
			n.Errorf("round %d: told of %v before", round, event.PrevKv)
			return
		}
		round++
	}
}

// renew keeps a short lease alive.
func (n *neighbour) renew(ctx, working context.Context) {
	granted, err := n.lease.LeaseGrant(ctx, &pb.LeaseGrantRequest{TTL: 5})
	if err != nil {
		n.Errorf("grant: %v", err)
		return
	}
	stream, err := n.lease.LeaseKeepAlive(ctx)
	if err != nil {
		n.Errorf("keep-alive: %v", err)
		return
	}
	for working.Err() == nil {
		if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: granted.ID}); err != nil {
			n.Errorf("keep-alive: %v", err)
			return
		}
		if answer, err := stream.Recv(); err != nil || answer.TTL != 5 {
			n.Errorf("keep-alive: %v, %v", answer, err)
			return
		}
		select {
		case <-working.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
}
