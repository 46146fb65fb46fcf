package crash

import (
	"context"
	"fmt"
	"math/rand/v2"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// keysOfWriter is how many keys a writer owns; neighbours 0 and 1, 2 and 3, … are pairs that one
// transaction may write together.
const keysOfWriter = 8

// state is what one key can hold. Values count up with every write of the writer; 0 is "no key".
type state struct {
	value    int64
	revision int64
}

// write is one request of a writer: what it leaves in which of its keys.
type write struct {
	keys  []int
	value int64 // 0 deletes
	// The revision of the answer, 0 while there is none.
	revision int64
}

// writer owns some keys and changes them, one request at a time.
type writer struct {
	id     int
	random *rand.Rand
	next   int64
	// What each key holds, as far as answers say.
	keys [keysOfWriter]state
	// The request that had no answer at the last kill.
	underWay *write
	// The requests answered since the last check.
	answered []write
	// The highest revision seen in an answer.
	revision int64
	// Why the last round of work ended.
	failure error
}

func newWriter(id int, seed uint64) *writer {
	return &writer{id: id, random: rand.New(rand.NewPCG(seed, uint64(id)+1)), next: 1}
}

func (w *writer) key(index int) []byte { return fmt.Appendf(nil, "w%03d/%d", w.id, index) }

func (w *writer) text(value int64) []byte { return fmt.Appendf(nil, "w%03d-%012d", w.id, value) }

// work writes until the first error, which the kill brings.
func (w *writer) work(ctx context.Context, client pb.KVClient) {
	for ctx.Err() == nil {
		next := w.draw()
		w.underWay = &next
		revision, err := w.send(ctx, client, next)
		if err != nil {
			w.failure = err
			return
		}
		next.revision = revision
		w.underWay = nil
		w.revision = max(w.revision, revision)
		w.settle(next)
		w.answered = append(w.answered, next)
	}
}

// draw decides what to do next: mostly put, sometimes write a pair or delete.
func (w *writer) draw() write {
	w.next++
	index := w.random.IntN(keysOfWriter)
	switch kind := w.random.IntN(10); {
	case kind < 2:
		return write{keys: []int{index &^ 1, index | 1}, value: w.next}
	case kind < 3:
		return write{keys: []int{index}}
	}
	return write{keys: []int{index}, value: w.next}
}

func (w *writer) send(ctx context.Context, client pb.KVClient, next write) (int64, error) {
	put := func(index int) *pb.PutRequest {
		return &pb.PutRequest{Key: w.key(index), Value: w.text(next.value)}
	}
	switch {
	case next.value == 0:
		answer, err := client.DeleteRange(ctx, &pb.DeleteRangeRequest{Key: w.key(next.keys[0])})
		if err != nil {
			return 0, err
		}
		return answer.Header.Revision, nil
	case len(next.keys) == 2:
		ask := &pb.TxnRequest{}
		for _, index := range next.keys {
			ask.Success = append(ask.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: put(index)}})
		}
		answer, err := client.Txn(ctx, ask)
		if err != nil {
			return 0, err
		}
		return answer.Header.Revision, nil
	default:
		answer, err := client.Put(ctx, put(next.keys[0]))
		if err != nil {
			return 0, err
		}
		return answer.Header.Revision, nil
	}
}

// settle takes over what a write has left behind.
func (w *writer) settle(done write) {
	for _, index := range done.keys {
		w.keys[index] = state{value: done.value, revision: done.revision}
		if done.value == 0 {
			w.keys[index].revision = 0
		}
	}
}

// refused tells an error that the server gave as an answer, where only the kill may end the work.
func (w *writer) refused() error {
	if status.Code(w.failure) == codes.Unavailable {
		return nil
	}
	return w.failure
}

func (w *writer) acknowledgedNow() int { return len(w.answered) }

func (w *writer) unknownNow() int {
	if w.underWay == nil {
		return 0
	}
	return 1
}
