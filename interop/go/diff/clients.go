package diff

import (
	"context"
	"fmt"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// What several clients at once do beside what each does in its own keys: races for shared keys,
// of which only the outcome for all is determined, and barriers, where all meet.

var (
	sharedCount = []byte("~count")
	barrierKey  = []byte("~barrier")
	markerKey   = []byte("~marker")
)

func raceKey(race int) []byte { return fmt.Appendf(nil, "~race/%d", race) }

// race creates a shared key if nobody has, and counts in another. Who wins is open; that one does,
// and that the others see it, is not.
func (s *seat) race(ctx context.Context, ask shared) answer {
	put := func(key []byte) *pb.RequestOp {
		return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: key}}}
	}
	key := raceKey(ask.race)
	got := s.peer.call(ctx, &pb.TxnRequest{
		Compare: []*pb.Compare{{Key: key, Target: pb.Compare_CREATE, TargetUnion: &pb.Compare_CreateRevision{}}},
		Success: []*pb.RequestOp{put(key), put(sharedCount)},
		Failure: []*pb.RequestOp{
			{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: key}}}, put(sharedCount)},
	})
	if got.err != nil {
		return failed(got.err)
	}
	txn := got.message.(*pb.TxnResponse)
	s.peer.plant.raced(txn)
	s.newest = max(s.newest, txn.Header.Revision)
	if txn.Succeeded {
		s.peer.mu.Lock()
		s.peer.wins[ask.race]++
		s.peer.mu.Unlock()
		return answer{words: "raced"}
	}
	if kvs := txn.Responses[0].GetResponseRange().GetKvs(); len(kvs) != 1 || kvs[0].Version != 1 {
		return answer{words: fmt.Sprintf("lost a race for a key that is %v", kvs)}
	}
	return answer{words: "raced"}
}

// learnRevoke finds out at which revision a lease's keys went, if it had any: the answer's own
// revision may be another client's. What follows is a change of this client, so the journal shows
// all before it.
func (s *seat) learnRevoke(ctx context.Context) error {
	got := s.peer.call(ctx, &pb.PutRequest{Key: s.keyOut(markerKey)})
	if got.err != nil {
		return got.err
	}
	marker := got.message.(*pb.PutResponse).Header.Revision
	known := s.ownNewest()
	s.newest = max(s.newest, marker)
	s.own = append(s.own, marker)
	if err := s.readJournal(ctx); err != nil {
		return err
	}
	s.own = s.own[:len(s.own)-1]
	for _, c := range s.changes[s.learned:] {
		if c.revision > known {
			known = c.revision
			s.own = append(s.own, known)
		}
	}
	s.learned = len(s.changes)
	return nil
}

// barrier is done on one server, by all its clients, when none does anything else.
func barrierOn(ctx context.Context, p *peer, seats []*seat, ask barrier) answer {
	ctx, cancel := context.WithTimeout(ctx, p.patience())
	defer cancel()
	for _, s := range seats {
		if err := s.settle(ctx); err != nil {
			return failed(err)
		}
	}
	// Two changes that are nobody's: the second is above all that any client has seen.
	var revision int64
	for range 2 {
		got := p.call(ctx, &pb.PutRequest{Key: barrierKey})
		if got.err != nil {
			return failed(got.err)
		}
		revision = got.message.(*pb.PutResponse).Header.Revision
	}
	all := outcomeOfRaces(ctx, p)
	if ask.compact {
		got := p.call(ctx, &pb.CompactionRequest{Revision: revision, Physical: true})
		if got.err != nil {
			return failed(got.err)
		}
	}
	for _, s := range seats {
		s.newest = revision
		s.noteSettled(revision)
		if ask.compact {
			s.compacted = revision
		}
		// The client's newest change is not among what was compacted.
		if after := s.request(ctx, &pb.PutRequest{Key: markerKey}); after.words != "" {
			return after
		}
	}
	return all
}

func outcomeOfRaces(ctx context.Context, p *peer) answer {
	got := p.call(ctx, &pb.RangeRequest{Key: sharedCount})
	if got.err != nil {
		return failed(got.err)
	}
	counted := int64(0)
	for _, kv := range got.message.(*pb.RangeResponse).Kvs {
		counted = kv.Version
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	words := fmt.Sprintf("counted to %d", counted)
	for race, wins := range p.wins {
		if wins != 1 {
			words += fmt.Sprintf(", race %d was won %d times", race, wins)
		}
	}
	return answer{words: words + fmt.Sprintf(", %d races", len(p.wins))}
}

// together runs something for each of two, at the same time.
func together[T any](of [2]T, do func(int, T)) {
	var both sync.WaitGroup
	both.Go(func() { do(1, of[1]) })
	do(0, of[0])
	both.Wait()
}
