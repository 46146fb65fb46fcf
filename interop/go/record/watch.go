package record

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"tenet.test/interop/lines"
)

// How often a stream asks how far its watches are.
const progressInterval = 150 * time.Millisecond

// watch is one watch through all its lives.
type watch struct {
	ask lines.Watch
	// next is the first revision that was not told completely.
	next int64
	// late asks for everything, again and again, and is mostly told that it was compacted.
	late bool
}

// stream is a raw stream of watches, opened anew whenever it breaks, with every watch going on
// where it was.
type stream struct {
	owner   *recorder
	client  int
	random  *rand.Rand
	watches []*watch
	// What the responses of the present stream are for, by the server's id.
	byID map[int64]*watch
	id   int64
	// The last id of a watch on it.
	lastID int64
	// Of the present stream; one may send at a time.
	sending sync.Mutex
	wire    pb.Watch_WatchClient
}

func newStream(r *recorder, client int) *stream {
	s := &stream{owner: r, client: client, random: rand.New(rand.NewPCG(r.config.Seed, uint64(client)+2000))}
	for i := range 4 {
		ask := lines.Watch{PrevKV: s.random.IntN(2) == 0, Fragment: s.random.IntN(3) == 0}
		switch (client + i) % 4 {
		case 0:
			ask.Key, ask.End = "\x00", "\x00"
		case 1:
			ask.Key, ask.End = "key/02", "key/09"
			ask.NoPut = s.random.IntN(2) == 0
			ask.NoDelete = !ask.NoPut
		case 2:
			ask.Key = sharedKey
		default:
			ask.Key, ask.End = "key/", "key0"
			ask.Start = 1
		}
		s.watches = append(s.watches, &watch{ask: ask, next: ask.Start})
	}
	late := &watch{ask: lines.Watch{Key: "key/", End: "key0", PrevKV: true}, late: true}
	s.watches = append(s.watches, late)
	return s
}

// follow opens a stream and stays with it until it breaks or every watch was told everything.
func (s *stream) follow(ctx context.Context, server pb.WatchClient) error {
	streamCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	wire, err := server.Watch(streamCtx)
	if err != nil {
		return err
	}
	s.wire, s.id, s.byID = wire, s.owner.nextStream.Add(1), map[int64]*watch{}
	for _, watch := range s.watches {
		if err := s.create(watch); err != nil {
			return err
		}
	}
	go s.askProgress(streamCtx)
	// Now and then a stream is dropped by the client.
	drop := 300 + s.random.IntN(3000)
	for received := 0; ; received++ {
		response, err := wire.Recv()
		if err != nil {
			return err
		}
		again := s.take(response)
		if again != nil {
			if err := s.create(again); err != nil {
				return err
			}
		}
		if s.complete() || (received > drop && s.owner.last.Load() == 0) {
			return nil
		}
	}
}

func (s *stream) run(ctx context.Context) {
	connection, err := grpc.NewClient(s.owner.server.Endpoint(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		s.owner.fail(err)
		return
	}
	defer connection.Close()
	for !s.complete() && ctx.Err() == nil && s.owner.failed() == nil {
		s.owner.wait(ctx)
		if err := s.follow(ctx, pb.NewWatchClient(connection)); err != nil {
			time.Sleep(5 * time.Millisecond)
		}
	}
}

func (s *stream) complete() bool {
	for _, watch := range s.watches {
		if !watch.complete(s.owner) {
			return false
		}
	}
	return true
}

// create asks for a watch, from where it was.
func (s *stream) create(w *watch) error {
	// etcd does not give the id of a watch that was compacted again on the same stream.
	s.lastID++
	id := s.lastID
	if w.late {
		w.next, w.ask.ID = 1, 0
	}
	before := w.ask.ID
	w.ask.ID, w.ask.Stream, w.ask.Client = s.owner.nextWatch.Add(1), s.id, s.client
	w.ask.Call, w.ask.Start, w.ask.Resumes = s.owner.now(), w.next, nil
	if before != 0 {
		w.ask.Resumes = &before
	}
	s.byID[id] = w
	ask := w.ask
	s.owner.write(lines.Line{Watch: &ask})
	request := &pb.WatchCreateRequest{
		Key: []byte(ask.Key), RangeEnd: end(ask.End), StartRevision: ask.Start, PrevKv: ask.PrevKV,
		Fragment: ask.Fragment, WatchId: id,
	}
	if ask.NoPut {
		request.Filters = append(request.Filters, pb.WatchCreateRequest_NOPUT)
	}
	if ask.NoDelete {
		request.Filters = append(request.Filters, pb.WatchCreateRequest_NODELETE)
	}
	return s.send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: request}})
}

func (s *stream) send(request *pb.WatchRequest) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	return s.wire.Send(request)
}

// askProgress asks how far the watches are, until the stream ends.
func (s *stream) askProgress(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(progressInterval):
		}
		progress := &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}
		if s.send(&pb.WatchRequest{RequestUnion: progress}) != nil {
			return
		}
	}
}

// take records a response. It returns a watch that has ended and must be made anew.
func (s *stream) take(response *pb.WatchResponse) *watch {
	told := lines.Told{
		Stream: s.id, At: s.owner.now(), Revision: response.GetHeader().GetRevision(), Created: response.Created,
		Canceled: response.Canceled, Compacted: response.CompactRevision, Fragment: response.Fragment,
		Events: events(response.Events),
	}
	s.owner.saw(told.Revision)
	if response.WatchId == -1 && !response.Created {
		s.owner.write(lines.Line{Told: &told})
		for _, watch := range s.watches {
			watch.moved(told)
		}
		return nil
	}
	watch := s.byID[response.WatchId]
	if watch == nil || (response.Canceled && response.CompactRevision == 0) {
		s.owner.fail(fmt.Errorf("a watch could not be made, or is not known: %v", response))
		return nil
	}
	id := watch.ask.ID
	told.Watch = &id
	s.owner.write(lines.Line{Told: &told})
	watch.moved(told)
	if !told.Canceled || watch.late {
		return nil
	}
	delete(s.byID, response.WatchId)
	return watch
}

// moved takes over how far a watch is.
func (w *watch) moved(told lines.Told) {
	switch {
	case told.Canceled:
		// What was compacted is lost to it: it begins anew, from what is kept.
		w.next, w.ask.ID = told.Compacted, 0
	case told.Created:
		if w.next == 0 {
			w.next = told.Revision + 1
		}
	case len(told.Events) > 0:
		w.next = told.Events[len(told.Events)-1].KV.Mod
		if !told.Fragment {
			w.next++
		}
	case w.next > 0:
		w.next = max(w.next, told.Revision+1)
	}
}

// complete says whether it was told everything that the history has.
func (w *watch) complete(r *recorder) bool {
	last := r.last.Load()
	return w.late || (last > 0 && w.next > last)
}

// official watches through the official client, which resumes by itself.
func (r *recorder) official(ctx context.Context, client int) {
	connection, err := connect(r.server)
	if err != nil {
		r.fail(err)
		return
	}
	defer connection.Close()
	w := &watch{ask: lines.Watch{Key: "key/", End: "key0", PrevKV: client%2 == 0, Client: client}}
	for !w.complete(r) && ctx.Err() == nil && r.failed() == nil {
		if err := r.followOfficial(ctx, connection, w); err != nil {
			r.fail(err)
		}
	}
}

func (r *recorder) followOfficial(ctx context.Context, connection *clientv3.Client, w *watch) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w.ask.ID, w.ask.Stream = r.nextWatch.Add(1), r.nextStream.Add(1)
	w.ask.Call, w.ask.Start = r.now(), w.next
	ask := w.ask
	r.write(lines.Line{Watch: &ask})
	options := []clientv3.OpOption{clientv3.WithRange(ask.End), clientv3.WithCreatedNotify(), clientv3.WithRev(ask.Start)}
	if ask.PrevKV {
		options = append(options, clientv3.WithPrevKV())
	}
	responses := connection.Watch(ctx, ask.Key, options...)
	ticker := time.NewTicker(progressInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			// While the server is away this fails, which does not matter.
			_ = connection.RequestProgress(ctx)
		case response, open := <-responses:
			if !open {
				return ctx.Err()
			}
			told := lines.Told{
				Stream: ask.Stream, Watch: &ask.ID, At: r.now(), Revision: response.Header.Revision, Created: response.Created,
				Canceled: response.Canceled, Compacted: response.CompactRevision, Events: events(response.Events),
			}
			if told.Canceled && told.Compacted == 0 {
				return fmt.Errorf("a watch of the official client has ended: %w", response.Err())
			}
			r.saw(told.Revision)
			r.write(lines.Line{Told: &told})
			w.moved(told)
			if told.Canceled || w.complete(r) {
				return nil
			}
		}
	}
}

func events(from []*mvccpb.Event) (all []lines.Event) {
	for _, one := range from {
		all = append(all, lines.Event{Deleted: one.Type == mvccpb.DELETE, KV: *kv(one.Kv), Prev: kv(one.PrevKv)})
	}
	return all
}
