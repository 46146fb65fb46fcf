package abuse

import (
	"context"
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"tenet.test/interop/server"
)

const (
	streams = 100_000
	// These come before the first look at memory: what a server allocates once is not a leak.
	warmUpStreams = 10_000
	workers       = 64
	// Each stream has so many watches at most; they are cancelled in every order.
	watchesMax = 4
	// What may be left of 90,000 streams: less than 400 bytes each.
	growthBytesMax = 32 << 20
	streamsMinutes = 4 * time.Minute
)

// dropper opens streams and drops them, each in one of the ways that clients do it.
type dropper struct {
	*testing.T
	watch  pb.WatchClient
	random *rand.Rand
}

// 100,000 streams come and go on a connection that others use.
func TestStreamsOpenedAndDropped(t *testing.T) {
	own, seed := server.For(t), seedOf(t)
	connection := connect(t, own)
	good := newNeighbour(t, connection, streamsMinutes)
	watch := pb.NewWatchClient(connection)
	began := time.Now()
	dropAll := func(count int, seed int64) {
		var group sync.WaitGroup
		for w := range workers {
			d := &dropper{t, watch, rand.New(rand.NewSource(seed + int64(w)))}
			group.Go(func() {
				for n := w; n < count && !t.Failed(); n += workers {
					d.one(n)
				}
			})
		}
		group.Wait()
		// Only the neighbour's watch is left.
		settles(t, own, "etcd_debugging_mvcc_watch_stream_total", "", 1)
		settles(t, own, "etcd_debugging_mvcc_watcher_total", "", 1)
	}
	dropAll(warmUpStreams, seed)
	before := anonymousBytes(t, own)
	dropAll(streams-warmUpStreams, seed+workers)
	after := leastWithin(10*time.Second, func() int64 { return anonymousBytes(t, own) })
	took := time.Since(began)
	good.end()
	t.Logf("%d streams in %v, memory %s before and %s after; the neighbour did %d rounds, the slowest in %v",
		streams, took.Round(time.Millisecond), megabytes(before), megabytes(after), good.rounds, good.slowest)
	if growth := after - before; growth > growthBytesMax {
		t.Errorf("memory grew by %s over %d streams, %s at most", megabytes(growth), streams-warmUpStreams, megabytes(growthBytesMax))
	}
	started := metric(t, own, "grpc_server_started_total", `grpc_method="Watch"`)
	if started < streams/2 {
		t.Errorf("the server has seen %v streams only", started)
	}
}

// seedOf says what is drawn at random; the environment's SEED repeats a run.
func seedOf(t *testing.T) int64 {
	t.Helper()
	seed := time.Now().UnixNano()
	if text := os.Getenv("SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseInt(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("to repeat: SEED=%d", seed)
	return seed
}

// leastWithin is the least value seen within a time: a collector of garbage takes its while.
func leastWithin(most time.Duration, read func() int64) int64 {
	least := read()
	for deadline := time.Now().Add(most); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		least = min(least, read())
	}
	return least
}

// one opens a stream and drops it. The even ones read what they are sent, the odd ones nothing.
func (d *dropper) one(n int) {
	ctx, drop := context.WithCancel(context.Background())
	defer drop()
	stream, err := d.watch.Watch(ctx)
	if err != nil {
		d.Errorf("stream %d: %v", n, err)
		return
	}
	if n%2 == 0 {
		d.reads(n, stream)
	} else {
		d.readsNothing(n, stream)
	}
}

// reads creates watches, cancels them in some order, and compares each answer.
func (d *dropper) reads(n int, stream pb.Watch_WatchClient) {
	count := 1 + d.random.Intn(watchesMax)
	send := func(request *pb.WatchRequest) {
		if err := stream.Send(request); err != nil {
			d.Errorf("stream %d: %v", n, err)
		}
	}
	for id := range count {
		send(create(&pb.WatchCreateRequest{Key: fmt.Appendf(nil, "quiet/%d", id)}))
	}
	if d.random.Intn(2) == 0 {
		// The stream goes while answers are on their way.
		_, _ = stream.Recv()
		return
	}
	for id := range count {
		answer, err := stream.Recv()
		if err != nil || !answer.Created || answer.WatchId != int64(id) {
			d.Errorf("stream %d: %v, %v, want that watch %d was created", n, answer, err, id)
			return
		}
	}
	order := d.random.Perm(count)
	for _, id := range order {
		send(cancel(int64(id)))
	}
	for _, id := range order {
		answer, err := stream.Recv()
		if err != nil || !answer.Canceled || answer.WatchId != int64(id) {
			d.Errorf("stream %d: %v, %v, want that watch %d was cancelled", n, answer, err, id)
			return
		}
	}
	if d.random.Intn(2) == 0 {
		_ = stream.CloseSend()
	}
}

// readsNothing leaves at any moment, with watches of what is written all the time.
func (d *dropper) readsNothing(n int, stream pb.Watch_WatchClient) {
	count := d.random.Intn(watchesMax + 1)
	var requests []*pb.WatchRequest
	for id := range count {
		request := &pb.WatchCreateRequest{Key: []byte("neighbour"), PrevKv: id%2 == 0, Fragment: true}
		if d.random.Intn(3) == 0 {
			request.StartRevision = 1
		}
		requests = append(requests, create(request))
	}
	for _, id := range d.random.Perm(count + 1) {
		requests = append(requests, cancel(int64(id)))
	}
	// Some cancels come before their watch is there, and some watches are never cancelled.
	if d.random.Intn(2) == 0 {
		d.random.Shuffle(len(requests), func(i, j int) { requests[i], requests[j] = requests[j], requests[i] })
	}
	for _, request := range requests[:d.random.Intn(len(requests)+1)] {
		if err := stream.Send(request); err != nil {
			d.Errorf("stream %d: %v", n, err)
			return
		}
	}
	switch d.random.Intn(4) {
	case 0:
		_ = stream.CloseSend()
	case 1:
		time.Sleep(time.Duration(d.random.Intn(5)) * time.Millisecond)
	}
}
