package diff

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
)

// What a client does with watches. Every answer is waited for, and so are the events before
// anything that depends on them: a cancel, a compaction, a progress request. What is to come is
// known from a watch of the seat's own over all its keys, the journal. When all has come it is
// compared between the servers, one list of events for each watch.

// notAsked stands in place of an answer that etcd leaves open or that differs on purpose; both
// servers are spared the request then.
const notAsked = "not asked"

// Between two looks at something that no stream tells.
const lookInterval = 20 * time.Millisecond

// openJournal starts the watch of all that changes from now on.
func (s *seat) openJournal(ctx context.Context) error {
	journal, err := s.peer.open(0)
	if err != nil {
		return err
	}
	s.journal = journal
	ask := &pb.WatchCreateRequest{RangeEnd: []byte{0}, StartRevision: s.ownNewest() + 1}
	if s.shares() {
		ask.Key, ask.RangeEnd = []byte(s.prefix()), s.endOut(ask.RangeEnd)
	}
	_, err = journal.create(ctx, ask)
	return err
}

// create asks for a watch, in the server's terms, and waits for the answer.
func (s *session) create(ctx context.Context, ask *pb.WatchCreateRequest) (*pb.WatchResponse, error) {
	s.mu.Lock()
	s.asked = ask
	s.mu.Unlock()
	sent := ask
	if s.number != 0 {
		sent = s.peer.plant.asked(ask).(*pb.WatchCreateRequest)
	}
	err := s.call.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: sent}})
	if err != nil {
		return nil, err
	}
	return s.nextControl(ctx)
}

// ping waits until the stream has taken all requests before: it asks for what is always refused.
func (s *session) ping(ctx context.Context) error {
	refused := &pb.WatchCreateRequest{StartRevision: -1}
	s.mu.Lock()
	s.asked = refused
	s.mu.Unlock()
	err := s.call.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: refused}})
	if err != nil {
		return err
	}
	_, err = s.nextControl(ctx)
	return err
}

func (s *session) nextControl(ctx context.Context) (*pb.WatchResponse, error) {
	var next *pb.WatchResponse
	err := s.wait(ctx, func() bool {
		if len(s.control) == 0 {
			return false
		}
		next, s.control = s.control[0], s.control[1:]
		return true
	})
	return next, err
}

func (s *seat) session(number int) (*session, error) {
	if open := s.sessions[number]; open != nil {
		return open, nil
	}
	opened, err := s.peer.open(number)
	if err == nil {
		s.sessions[number] = opened
	}
	return opened, err
}

// onWatch does one request on a stream.
func (s *seat) onWatch(ctx context.Context, ask *onWatch) answer {
	on, err := s.session(ask.stream)
	if err != nil {
		return failed(err)
	}
	switch request := ask.RequestUnion.(type) {
	case *pb.WatchRequest_CreateRequest:
		return s.createWatch(ctx, on, request.CreateRequest)
	case *pb.WatchRequest_CancelRequest:
		return s.cancelWatch(ctx, on, request.CancelRequest.WatchId)
	case *pb.WatchRequest_ProgressRequest:
		return s.askProgress(ctx, on)
	}
	if err := on.call.Send(ask.WatchRequest); err != nil {
		return failed(err)
	}
	return answer{}
}

func (s *seat) createWatch(ctx context.Context, on *session, ask *pb.WatchCreateRequest) answer {
	if ask.WatchId != 0 && on.unclean[ask.WatchId] {
		return answer{words: notAsked}
	}
	created, err := on.create(ctx, ask)
	if err != nil {
		return failed(err)
	}
	all := answer{lines: []line{s.line(on, created)}}
	if created.Canceled || ask.StartRevision == 0 {
		return all
	}
	if ask.StartRevision < s.compacted {
		ended, err := on.nextControl(ctx)
		if err != nil {
			return failed(err)
		}
		all.lines = append(all.lines, s.line(on, ended))
	}
	s.unproven = true
	return all
}

func (s *seat) cancelWatch(ctx context.Context, on *session, id int64) answer {
	w := on.watch(id)
	if w != nil && !w.compacted {
		if err := s.catchUp(ctx, on, id); err != nil {
			return failed(err)
		}
	}
	return s.endWatch(ctx, on, id, w)
}

// abandon cancels a watch of an id that the server has chosen, whatever is on its way: that is not
// compared. The id is not used again, since etcd may give what is late to the next of that id.
func (s *seat) abandon(ctx context.Context, ask *abandon) answer {
	on, err := s.session(ask.stream)
	if err != nil {
		return failed(err)
	}
	w := on.watch(ask.id)
	if w == nil || w.ask.WatchId != 0 {
		return answer{words: notAsked}
	}
	on.mu.Lock()
	on.unclean[ask.id] = true
	on.mu.Unlock()
	return s.endWatch(ctx, on, ask.id, nil)
}

// endWatch cancels, and adds to the answer what of the watch was not compared yet.
func (s *seat) endWatch(ctx context.Context, on *session, id int64, compared *watch) answer {
	known := on.watch(id) != nil
	err := on.call.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{
		CancelRequest: &pb.WatchCancelRequest{WatchId: id}}})
	if err != nil {
		return failed(err)
	}
	if !known {
		return answer{}
	}
	ended, err := on.nextControl(ctx)
	if err != nil {
		return failed(err)
	}
	all := answer{lines: []line{s.line(on, ended)}}
	if compared != nil {
		if compared.ask.ProgressNotify {
			on.mu.Lock()
			on.unclean[id] = true
			on.mu.Unlock()
		}
		all.lines = append(all.lines, s.events(on, id, compared)...)
	}
	return all
}

// askProgress asks until the answer comes, where one is to come: etcd drops the request while a
// watch of the stream reads the history.
func (s *seat) askProgress(ctx context.Context, on *session) answer {
	answered, asked := s.expectsProgress(on)
	if !asked {
		return answer{words: notAsked}
	}
	if err := s.catchUp(ctx, nil, 0); err != nil {
		return failed(err)
	}
	ask := &pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}}
	if !answered {
		if err := on.call.Send(ask); err != nil {
			return failed(err)
		}
		// The stream takes its requests in order: once the next is answered, this one was dropped,
		// and no later change can make it one that is to be answered.
		if err := on.ping(ctx); err != nil {
			return failed(err)
		}
		return answer{words: "silence"}
	}
	for {
		on.mu.Lock()
		on.progress = nil
		on.progressAllowed++
		on.mu.Unlock()
		if err := on.call.Send(ask); err != nil {
			return failed(err)
		}
		var revision int64
		look, done := context.WithTimeout(ctx, lookInterval)
		err := on.wait(look, func() bool {
			if len(on.progress) == 0 {
				return false
			}
			revision = on.progress[0]
			return true
		})
		done()
		if err == nil {
			return answer{lines: []line{s.line(on, &pb.WatchResponse{WatchId: -1, Header: &pb.ResponseHeader{Revision: revision}})}}
		}
		if ctx.Err() != nil || !errors.Is(look.Err(), context.DeadlineExceeded) {
			return failed(err)
		}
	}
}

// expectsProgress tells whether a progress request will be answered, and whether it may be asked:
// with a watch on the stream that a compaction has ended, etcd is silent and Tenet is not.
func (s *seat) expectsProgress(on *session) (answered, asked bool) {
	on.mu.Lock()
	defer on.mu.Unlock()
	answered = len(on.watches) > 0
	for _, w := range on.watches {
		switch {
		case w.compacted, s.shares() && w.ask.StartRevision > s.ownNewest():
			return false, false
		case w.ask.StartRevision > s.newest:
			answered = false
		}
	}
	return answered, true
}

// readJournal waits for the journal to be complete, and gives all changes.
func (s *seat) readJournal(ctx context.Context) error {
	err := s.journal.wait(ctx, func() bool {
		w := s.journal.watches[0]
		return w == nil || w.last >= s.ownNewest()
	})
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	s.journal.mu.Lock()
	defer s.journal.mu.Unlock()
	w := s.journal.watches[0]
	if w == nil {
		return errors.New("the journal has ended")
	}
	for _, event := range w.events {
		s.changes = append(s.changes, change{event.Kv.ModRevision, event.Kv.Key, event.Type == mvccpb.Event_DELETE})
	}
	w.events = nil
	return nil
}

// catchUp waits until watches have all they are to get: one of them, or all.
func (s *seat) catchUp(ctx context.Context, only *session, id int64) error {
	if err := s.readJournal(ctx); err != nil {
		return err
	}
	for _, on := range s.sessions {
		if only != nil && on != only {
			continue
		}
		err := on.wait(ctx, func() bool {
			for i, w := range on.watches {
				if only != nil && i != id || w.compacted {
					continue
				}
				for ; w.checked < len(s.changes); w.checked++ {
					if c := s.changes[w.checked]; w.wants(c) {
						w.due = c.revision
					}
				}
				if w.last < w.due || len(w.parts) > 0 {
					return false
				}
			}
			for i, w := range on.watches {
				if only == nil || i == id {
					w.settled = max(w.settled, s.ownNewest())
				}
			}
			return true
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// settle waits until nothing is on its way to any watch, nor read for one.
func (s *seat) settle(ctx context.Context) error {
	if err := s.catchUp(ctx, nil, 0); err != nil {
		return err
	}
	for s.unproven {
		count, err := s.peer.lagging(ctx)
		if err != nil {
			return err
		}
		if count <= 0 {
			s.unproven = false
			break
		}
		select {
		case <-time.After(lookInterval):
		case <-ctx.Done():
			return fmt.Errorf("%d watches still read the history", count)
		}
	}
	s.noteSettled(s.newest)
	return nil
}

// noteSettled notes that all watches have everything up to a revision: none will ask for it again.
func (s *seat) noteSettled(revision int64) {
	for _, on := range append(slices.Collect(maps.Values(s.sessions)), s.journal) {
		on.mu.Lock()
		for _, w := range on.watches {
			w.last, w.settled = max(w.last, revision), max(w.settled, revision)
		}
		on.mu.Unlock()
	}
}

// quiet is what all watches have got since it was last compared, and what else is not as it should
// be.
func (s *seat) quiet(ctx context.Context) answer {
	if err := s.catchUp(ctx, nil, 0); err != nil {
		all := s.unseen()
		all.words = err.Error()
		return all
	}
	return s.unseen()
}

func (s *seat) unseen() answer {
	var all answer
	for _, number := range slices.Sorted(maps.Keys(s.sessions)) {
		on := s.sessions[number]
		on.mu.Lock()
		for _, r := range on.control {
			all.lines = append(all.lines, s.line(on, r))
		}
		on.control = nil
		for _, broken := range on.broken {
			all.words += fmt.Sprintf("stream %d broken: %s; ", number, broken)
		}
		on.broken = nil
		ids := slices.Sorted(maps.Keys(on.watches))
		on.mu.Unlock()
		for _, id := range ids {
			all.lines = append(all.lines, s.events(on, id, on.watch(id))...)
		}
	}
	return all
}

// events takes what a watch has got.
func (s *seat) events(on *session, id int64, w *watch) []line {
	on.mu.Lock()
	events := w.events
	w.events = nil
	on.mu.Unlock()
	if len(events) == 0 {
		return nil
	}
	return []line{s.line(on, &pb.WatchResponse{WatchId: id, Events: events})}
}

// notices waits until each watch that asked for it was told the newest revision.
func (s *seat) notices(ctx context.Context) answer {
	if err := s.catchUp(ctx, nil, 0); err != nil {
		return failed(err)
	}
	count := 0
	for _, on := range s.sessions {
		err := on.wait(ctx, func() bool {
			told := 0
			for _, w := range on.watches {
				switch {
				case !w.ask.ProgressNotify, w.compacted, w.ask.StartRevision > s.ownNewest():
				case w.told < s.ownNewest():
					return false
				default:
					told++
				}
			}
			count += told
			return true
		})
		if err != nil {
			return failed(fmt.Errorf("progress: %w", err))
		}
	}
	return answer{words: fmt.Sprintf("%d watches were told", count)}
}

// closeStreams ends all streams; the watches are kept to be resumed.
func (s *seat) closeStreams() {
	for _, on := range s.sessions {
		on.close()
	}
	if s.journal != nil {
		s.journal.close()
	}
}

// resume opens the streams again, on a server that was restarted, each watch from what it has.
func (s *seat) resume(ctx context.Context) answer {
	s.unproven, s.forgotten, s.zeroForgotten = true, s.compacted, s.zero
	journal := s.journal
	opened, err := s.peer.open(0)
	if err != nil {
		return failed(err)
	}
	s.journal = opened
	if w := journal.watches[0]; w != nil {
		w.settled = w.last
	}
	if _, err := s.resumeWatch(ctx, opened, 0, journal.watches[0]); err != nil {
		return failed(err)
	}
	var all answer
	for _, number := range slices.Sorted(maps.Keys(s.sessions)) {
		old := s.sessions[number]
		if s.sessions[number], err = s.peer.open(number); err != nil {
			return failed(err)
		}
		on := s.sessions[number]
		on.control, on.broken = nil, old.broken
		for _, id := range slices.Sorted(maps.Keys(old.watches)) {
			if old.watches[id].compacted {
				continue
			}
			created, err := s.resumeWatch(ctx, on, id, old.watches[id])
			if err != nil {
				return failed(err)
			}
			all.lines = append(all.lines, s.line(on, created))
		}
	}
	return all
}

// resumeWatch begins where it was settled that all had come, and forgets what came after: that
// comes again.
func (s *seat) resumeWatch(ctx context.Context, on *session, id int64, old *watch) (*pb.WatchResponse, error) {
	if old == nil {
		return nil, errors.New("there is no watch to resume")
	}
	ask := proto.Clone(old.ask).(*pb.WatchCreateRequest)
	ask.WatchId = id
	ask.StartRevision = old.settled + 1
	created, err := on.create(ctx, ask)
	if err != nil {
		return nil, err
	}
	on.mu.Lock()
	defer on.mu.Unlock()
	if w := on.watches[id]; w != nil {
		kept := slices.DeleteFunc(old.events, func(event *mvccpb.Event) bool {
			return event.Kv.ModRevision > old.settled
		})
		w.events = append(kept, w.events...)
		w.checked, w.due, w.told = old.checked, old.due, min(old.told, old.settled)
	}
	return created, nil
}

// line is a response in the client's terms. Its revision is compared where it is determined: in
// answers to requests, not with events.
func (s *seat) line(on *session, r *pb.WatchResponse) line {
	r = proto.Clone(r).(*pb.WatchResponse)
	clearHeader(r.Header)
	s.translate(r.ProtoReflect(), terms{
		lease: s.leaseIn, revision: s.revisionIn, start: s.revisionIn, exact: s.exactIn, key: s.keyIn,
	})
	return line{fmt.Sprintf("stream %d", on.number), r}
}
