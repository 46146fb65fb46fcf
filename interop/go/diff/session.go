package diff

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
)

// A session is one watch stream to one server. How events come together in responses depends on
// the moment; a session takes them apart, checks what is promised whatever the moment, and keeps
// for each watch the events, to be compared when all have come. Promised is:
//
//   - a watch gets nothing before it is announced and nothing after its end;
//   - events come in the order of their revisions, each once, none before the start of the watch;
//   - the events of one revision come in one response, or in fragments of one if that was asked
//     for, and a fragment is smaller than what is allowed;
//   - a response's revision is not below that of its events, and after one without events nothing
//     older comes;
//   - responses without events come only to watches that asked for progress.
type session struct {
	number int
	call   pb.Watch_WatchClient
	cancel context.CancelFunc
	peer   *peer
	ended  chan struct{}

	mu sync.Mutex
	// Closed and replaced whenever something came.
	news chan struct{}
	// What is to be created next, in the server's terms.
	asked   *pb.WatchCreateRequest
	watches map[int64]*watch
	// Answers to requests, in order.
	control []*pb.WatchResponse
	// Revisions of answers to progress requests, and how many may come at most.
	progress        []int64
	progressAllowed int
	broken          []string
	err             error
	// Ids that an answer which is still on its way may be meant for.
	unclean map[int64]bool
}

type watch struct {
	// In the server's terms.
	ask  *pb.WatchCreateRequest
	from int64
	// The first change of the journal that this watch was not yet held against, and the newest
	// revision that it is to get.
	checked int
	due     int64

	// Not yet compared, and those of a response that is not whole yet.
	events []*mvccpb.Event
	parts  []*mvccpb.Event
	// The newest revision up to which it has everything, and told by a response without events.
	last, told int64
	// The newest revision of an event that came. A notice of progress may have been on its way since
	// before all was known to have come, but not since before an event.
	newest int64
	// What is known, at the same step of a history on every server, to have come. A watch is resumed
	// from there: how far it really was when a server was killed depends on the moment.
	settled int64
	// Ended by a compaction; the id stays taken.
	compacted bool
}

func (p *peer) open(number int) (*session, error) {
	ctx, cancel := context.WithCancel(context.Background())
	call, err := p.watch.Watch(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	s := &session{
		number: number, call: call, cancel: cancel, peer: p, ended: make(chan struct{}),
		news: make(chan struct{}), watches: map[int64]*watch{}, unclean: map[int64]bool{},
	}
	go s.receive()
	return s, nil
}

func (s *session) close() {
	s.cancel()
	<-s.ended
}

func (s *session) receive() {
	defer close(s.ended)
	for {
		response, err := s.call.Recv()
		responses := []*pb.WatchResponse{response}
		if err == nil {
			if err := s.peer.checkIdentity(response); err != nil {
				s.mu.Lock()
				s.breaks("%v", err)
				s.mu.Unlock()
			}
			responses = s.peer.plant.watched(s, response)
		}
		s.mu.Lock()
		for _, response := range responses {
			if err == nil {
				s.take(response)
			}
		}
		s.err = err
		close(s.news)
		s.news = make(chan struct{})
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (s *session) watch(id int64) *watch {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.watches[id]
}

// wait waits until a condition holds, which is looked at under the lock.
func (s *session) wait(ctx context.Context, condition func() bool) error {
	for {
		s.mu.Lock()
		holds, news, err := condition(), s.news, s.err
		s.mu.Unlock()
		switch {
		case holds:
			return nil
		case err != nil:
			return fmt.Errorf("stream %d ended: %w", s.number, err)
		}
		select {
		case <-news:
		case <-ctx.Done():
			return fmt.Errorf("stream %d: what must come has not", s.number)
		}
	}
}

func (s *session) breaks(format string, args ...any) {
	s.broken = append(s.broken, fmt.Sprintf(format, args...))
}

func (s *session) take(r *pb.WatchResponse) {
	w := s.watches[r.WatchId]
	switch {
	case r.Created:
		s.takeCreated(r)
	case r.Canceled && w == nil:
		s.breaks("%d: the end of no watch", r.WatchId)
	case r.Canceled:
		if len(w.parts) > 0 {
			s.breaks("%d: ends within a revision", r.WatchId)
		}
		s.control = append(s.control, r)
		if r.CompactRevision != 0 {
			w.compacted = true
		} else {
			delete(s.watches, r.WatchId)
		}
	case r.WatchId == -1 && len(r.Events) == 0:
		s.takeProgress(r)
	case w == nil:
		if !s.unclean[r.WatchId] {
			s.breaks("%d: a response to no watch", r.WatchId)
		}
	case w.compacted:
		s.breaks("%d: a response after the end", r.WatchId)
	default:
		s.takeEvents(w, r)
	}
}

func (s *session) takeCreated(r *pb.WatchResponse) {
	s.control = append(s.control, r)
	if len(r.Events) > 0 {
		s.breaks("%d: events in an announcement", r.WatchId)
	}
	if s.asked == nil {
		s.breaks("%d: an announcement that nobody asked for", r.WatchId)
		return
	}
	if !r.Canceled {
		from := s.asked.StartRevision
		if from == 0 {
			from = r.Header.GetRevision() + 1
		}
		s.watches[r.WatchId] = &watch{ask: s.asked, from: from, last: from - 1, settled: from - 1}
	}
	s.asked = nil
}

func (s *session) takeProgress(r *pb.WatchResponse) {
	revision := r.Header.GetRevision()
	if s.progressAllowed == 0 {
		s.breaks("progress that nobody asked for")
		return
	}
	s.progressAllowed--
	s.progress = append(s.progress, revision)
	for _, w := range s.watches {
		w.told = max(w.told, revision)
	}
}

func (s *session) takeEvents(w *watch, r *pb.WatchResponse) {
	id, revision := r.WatchId, r.Header.GetRevision()
	if len(r.Events) == 0 {
		switch {
		case !w.ask.ProgressNotify:
			s.breaks("%d: a response without events", id)
		case len(w.parts) > 0 || revision < w.newest:
			s.breaks("%d: progress to %d, but not all before it has come", id, revision)
		}
		w.told = max(w.told, revision)
		s.peer.count(&s.peer.told)
		return
	}
	if r.Fragment {
		s.peer.count(&s.peer.fragments)
	}
	if r.Fragment && !w.ask.Fragment {
		s.breaks("%d: a fragment that nobody asked for", id)
	}
	if w.ask.Fragment && len(r.Events) > 1 && proto.Size(r) > fragmentBytesMax {
		s.breaks("%d: a fragment of %d bytes", id, proto.Size(r))
	}
	w.parts = append(w.parts, r.Events...)
	if r.Fragment {
		return
	}
	whole := w.parts
	w.parts = nil
	newest := w.last
	for _, event := range whole {
		at := event.GetKv().GetModRevision()
		if at <= w.last || at < newest || at > revision || at <= w.told {
			s.breaks("%d: an event of revision %d in a response of %d, after %d and progress to %d",
				id, at, revision, newest, w.told)
		}
		newest = max(newest, at)
	}
	w.last, w.newest = newest, newest
	w.events = append(w.events, whole...)
}

// wants tells whether a watch is to get a change.
func (w *watch) wants(c change) bool {
	for _, filter := range w.ask.Filters {
		if filter == pb.WatchCreateRequest_NOPUT && !c.isDelete || filter == pb.WatchCreateRequest_NODELETE && c.isDelete {
			return false
		}
	}
	key, end := w.ask.Key, w.ask.RangeEnd
	if len(key) == 0 {
		key = []byte{0}
	}
	switch {
	case c.revision < w.from:
		return false
	case len(end) == 0:
		return bytes.Equal(c.key, key)
	case len(end) == 1 && end[0] == 0:
		return bytes.Compare(c.key, key) >= 0
	}
	return bytes.Compare(c.key, key) >= 0 && bytes.Compare(c.key, end) < 0
}

// change is what the journal keeps of an event.
type change struct {
	revision int64
	key      []byte
	isDelete bool
}
