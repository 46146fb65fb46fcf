package abuse

import (
	"fmt"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"tenet.test/interop/server"
)

const (
	unreadStreams = 40
	// Written each time: 40 MB, which 40 watchers would make 1.6 GB of if the server kept for each
	// what it does not read.
	unreadPuts  = 40_000
	unreadValue = 1_000
	// What those who do not read may cost beside the history itself, which is kept in any case.
	unreadGrowth = 128 << 20
)

// Watchers that never read do not grow the server with what is written, and do not hold up others,
// on connections of their own and on the one that others use.
func TestWatchersThatNeverRead(t *testing.T) {
	own := server.For(t)
	connection := connect(t, own)
	kv := pb.NewKVClient(connection)
	writeMany(t, kv)
	first := anonymousBytes(t, own)
	writeMany(t, kv)
	before := anonymousBytes(t, own)

	const most = 4 * time.Minute
	ctx := contextOf(t, most)
	for n := range unreadStreams {
		at := connection
		if n%2 == 0 {
			at = connect(t, own)
		}
		stream, err := pb.NewWatchClient(at).Watch(ctx)
		if err != nil {
			t.Fatal(err)
		}
		request := &pb.WatchCreateRequest{Key: []byte("many/"), RangeEnd: []byte("many0"), PrevKv: n%4 == 0}
		if err := stream.Send(create(request)); err != nil {
			t.Fatal(err)
		}
		if created, err := stream.Recv(); err != nil || !created.Created {
			t.Fatal(created, err)
		}
	}
	good := newNeighbour(t, connection, most)
	writeMany(t, kv)
	after := leastWithin(5*time.Second, func() int64 { return anonymousBytes(t, own) })
	good.end()
	history := max(0, before-first)
	t.Logf("memory %s, %s after the same writes without watchers, %s with; the neighbour did %d rounds, the slowest in %v",
		megabytes(first), megabytes(before), megabytes(after), good.rounds, good.slowest)
	if growth := after - before - history; growth > unreadGrowth {
		t.Errorf("watchers that do not read cost %s, %s at most", megabytes(growth), megabytes(unreadGrowth))
	}
}

// Calls whose answers are large and never read are bounded too: the windows of a connection are.
func TestAnswersThatAreNeverRead(t *testing.T) {
	own := server.For(t)
	kv := pb.NewKVClient(connect(t, own))
	writeMany(t, kv)
	before := anonymousBytes(t, own)
	ctx := contextOf(t, 2*time.Minute)
	// Each asks for all keys again and again, as a stream, and reads nothing of it.
	for range 4 {
		connection := connect(t, own)
		for range 25 {
			stream, err := connection.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/etcdserverpb.KV/RangeStream")
			if err != nil {
				t.Fatal(err)
			}
			if err := stream.SendMsg(&pb.RangeRequest{Key: []byte("many/"), RangeEnd: []byte("many0")}); err != nil {
				t.Fatal(err)
			}
			if err := stream.CloseSend(); err != nil {
				t.Fatal(err)
			}
		}
	}
	good := newNeighbour(t, connect(t, own), 2*time.Minute)
	after := leastWithin(5*time.Second, func() int64 { return anonymousBytes(t, own) })
	good.end()
	t.Logf("memory %s before and %s after", megabytes(before), megabytes(after))
	if growth := after - before; growth > unreadGrowth {
		t.Errorf("memory grew by %s, %s at most", megabytes(growth), megabytes(unreadGrowth))
	}
}

// writeMany writes values over 1,000 keys, from many writers.
func writeMany(t *testing.T, kv pb.KVClient) {
	t.Helper()
	const writers = 64
	ctx := contextOf(t, 2*time.Minute)
	value := make([]byte, unreadValue)
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for n := w; n < unreadPuts; n += writers {
				put := &pb.PutRequest{Key: fmt.Appendf(nil, "many/%d", n%1_000), Value: value}
				if _, err := kv.Put(ctx, put); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
}
