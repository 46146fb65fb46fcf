package diff

import (
	"fmt"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// A plant is a mistake between the comparison and the tested server: it changes what is asked or
// answered, as a server with that mistake would. It works on the server's own terms. A comparison
// that does not find each of them within its number of steps proves nothing about that feature.
//
// A nil plant changes nothing.
type plant struct {
	// Any may be nil.
	ask    func(proto.Message)
	answer func(ask any, answer proto.Message)
	watch  func(on *session, r *pb.WatchResponse) []*pb.WatchResponse
	race   func(*pb.TxnResponse)

	mu       sync.Mutex
	restarts int
	// How often the mistake could have been made, for those that are made now and then.
	chances int
	// What a mistake remembers of keys and watches.
	keys  map[string]int64
	first map[int64]bool
}

func newPlant(name string) (*plant, error) {
	if name == "" {
		return nil, nil
	}
	plants := mistakes[name]
	if plants == nil {
		return nil, fmt.Errorf("no mistake is called %q", name)
	}
	p := &plant{keys: map[string]int64{}, first: map[int64]bool{}}
	plants(p)
	return p, nil
}

func (p *plant) asked(ask any) any {
	if p == nil || p.ask == nil {
		return ask
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	changed := proto.Clone(message(ask))
	eachMessage(changed.ProtoReflect(), p.ask)
	return withMessage(ask, changed)
}

func (p *plant) answered(ask any, answer proto.Message) {
	if p == nil || p.answer == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer(ask, answer)
}

func (p *plant) watched(on *session, r *pb.WatchResponse) []*pb.WatchResponse {
	// The journal is the comparison's own.
	if p == nil || p.watch == nil || on.number == 0 {
		return []*pb.WatchResponse{r}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.watch(on, r)
}

func (p *plant) restarted() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.restarts++
	clear(p.first)
}

// oneIn is true for every n-th chance.
func (p *plant) oneIn(n int) bool {
	p.chances++
	return p.chances%n == 0
}

// eachMessage shows a message and all within it.
func eachMessage(m protoreflect.Message, show func(proto.Message)) {
	show(m.Interface())
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.Kind() != protoreflect.MessageKind:
		case field.IsList():
			for i := range value.List().Len() {
				eachMessage(value.List().Get(i).Message(), show)
			}
		default:
			eachMessage(value.Message(), show)
		}
		return true
	})
}

// inAsks is a mistake in one kind of request, wherever it stands.
func inAsks[M proto.Message](change func(M)) func(*plant) {
	return func(p *plant) {
		p.ask = func(m proto.Message) {
			if m, ok := m.(M); ok {
				change(m)
			}
		}
	}
}

// inAnswers is a mistake in one kind of answer.
func inAnswers[A proto.Message](change func(p *plant, ask any, answer A)) func(*plant) {
	return func(p *plant) {
		p.answer = func(ask any, answer proto.Message) {
			if answer, ok := answer.(A); ok {
				change(p, ask, answer)
			}
		}
	}
}

// inResponses is a mistake in what watches get.
func inResponses(change func(p *plant, on *session, r *pb.WatchResponse)) func(*plant) {
	return instead(func(p *plant, on *session, r *pb.WatchResponse) []*pb.WatchResponse {
		change(p, on, r)
		return []*pb.WatchResponse{r}
	})
}

// instead gives other responses in the place of one.
func instead(change func(p *plant, on *session, r *pb.WatchResponse) []*pb.WatchResponse) func(*plant) {
	return func(p *plant) {
		p.watch = func(on *session, r *pb.WatchResponse) []*pb.WatchResponse { return change(p, on, r) }
	}
}

func (p *plant) raced(answer *pb.TxnResponse) {
	if p != nil && p.race != nil {
		p.race(answer)
	}
}
