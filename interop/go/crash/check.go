package crash

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// checkers is how many reads are under way at a time.
const checkers = 64

// check compares the server with what the writers know, and forgets what it has checked. It
// returns how many acknowledged writes were looked up at their own revision.
func (r *run) check(ctx context.Context) (int, error) {
	clients, closeAll, err := r.connect()
	if err != nil {
		return 0, err
	}
	defer closeAll()
	if err := r.checkRevisions(ctx, clients[0]); err != nil {
		return 0, err
	}
	var lock sync.Mutex
	var failure error
	checked := 0
	work := make(chan *writer)
	var group sync.WaitGroup
	for i := range checkers {
		group.Go(func() {
			for writer := range work {
				found, count, err := r.checkWriter(ctx, clients[i%len(clients)], writer)
				lock.Lock()
				checked += count
				for _, text := range found {
					r.violation("writer %d: %s", writer.id, text)
				}
				if err != nil {
					failure = err
				}
				lock.Unlock()
			}
		})
	}
	for _, writer := range r.writers {
		work <- writer
	}
	close(work)
	group.Wait()
	return checked, failure
}

// checkRevisions looks whether the revision or a compaction went back.
func (r *run) checkRevisions(ctx context.Context, client pb.KVClient) error {
	answer, err := client.Range(ctx, &pb.RangeRequest{Key: []byte("x"), CountOnly: true})
	if err != nil {
		return err
	}
	if answer.Header.Revision < r.revision {
		r.violation("the revision went back from %d to %d", r.revision, answer.Header.Revision)
	}
	r.revision = max(r.revision, answer.Header.Revision)
	if r.compacted <= 1 {
		return nil
	}
	_, err = client.Range(ctx, &pb.RangeRequest{Key: []byte("x"), Revision: r.compacted - 1})
	if status.Code(err) != codes.OutOfRange {
		r.violation("the compaction at %d was acknowledged, but revision %d answers %v", r.compacted, r.compacted-1, err)
	}
	return nil
}

// checkWriter compares one writer's keys and the writes that were answered since the last check.
func (r *run) checkWriter(ctx context.Context, client pb.KVClient, w *writer) (found []string, checked int, err error) {
	var now [keysOfWriter]state
	for index := range now {
		now[index], err = read(ctx, client, w, index, 0)
		if err != nil {
			return found, 0, err
		}
	}
	found = append(found, w.compare(now)...)
	for _, done := range w.answered {
		// History below a compaction is gone, and one that was only asked for may have happened.
		if done.revision < r.compactAsked {
			continue
		}
		checked++
		for _, index := range done.keys {
			then, err := read(ctx, client, w, index, done.revision)
			if err != nil {
				return found, checked, err
			}
			if then.value != done.value {
				found = append(found, fmt.Sprintf("key %d at revision %d holds %d, acknowledged was %d",
					index, done.revision, then.value, done.value))
			}
		}
	}
	w.answered, w.underWay = nil, nil
	w.keys = now
	return found, checked, nil
}

// compare says what is wrong with the newest state of the keys: each holds what was acknowledged,
// or what the request under way would leave, and that in all its keys or in none.
func (w *writer) compare(now [keysOfWriter]state) (found []string) {
	var taken, left int
	for index, has := range now {
		known := w.keys[index]
		touched := w.underWay != nil && slices.Contains(w.underWay.keys, index)
		switch {
		case touched && has.value == w.underWay.value && has.value != known.value:
			taken++
		case has != known:
			found = append(found, fmt.Sprintf("key %d holds %d of revision %d, acknowledged was %d of revision %d",
				index, has.value, has.revision, known.value, known.revision))
		case touched:
			left++
		}
	}
	if taken > 0 && left > 0 {
		found = append(found, fmt.Sprintf("the transaction %d under way at the kill was done by half", w.underWay.value))
	}
	return found
}

// read returns what a key holds at a revision, 0 for the newest.
func read(ctx context.Context, client pb.KVClient, w *writer, index int, revision int64) (state, error) {
	answer, err := client.Range(ctx, &pb.RangeRequest{Key: w.key(index), Revision: revision})
	if err != nil {
		return state{}, fmt.Errorf("reading %s at %d: %w", w.key(index), revision, err)
	}
	if len(answer.Kvs) == 0 {
		return state{}, nil
	}
	kv := answer.Kvs[0]
	var id int
	var value int64
	if _, err := fmt.Sscanf(string(kv.Value), "w%03d-%012d", &id, &value); err != nil || id != w.id {
		return state{}, fmt.Errorf("%s holds %q, which its writer never wrote", kv.Key, kv.Value)
	}
	return state{value: value, revision: kv.ModRevision}, nil
}

func quantiles(times []time.Duration) (p50, p99, highest int64) {
	if len(times) == 0 {
		return 0, 0, 0
	}
	sorted := slices.Sorted(slices.Values(times))
	at := func(q float64) int64 { return sorted[int(q*float64(len(sorted)-1))].Milliseconds() }
	return at(0.5), at(0.99), at(1)
}
