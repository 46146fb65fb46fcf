package record

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tenet.test/interop/lines"
	"tenet.test/interop/server"
)

// How long a call may take. Some give up while the server is stopped, some wait for it.
var callTimeouts = []time.Duration{700 * time.Millisecond, 5 * time.Second}

// client asks one thing after another, through the official client's own retries.
type client struct {
	run    *recorder
	id     int
	random *rand.Rand
	kv     pb.KVClient
	lease  pb.LeaseClient
	// The stream of renewals, none after an error.
	renewals     pb.Lease_LeaseKeepAliveClient
	stopRenewals context.CancelFunc
	written      int
}

func newClient(r *recorder, id int, connection *clientv3.Client) *client {
	return &client{
		run: r, id: id,
		random: rand.New(rand.NewPCG(r.config.Seed, uint64(id)+1000)),
		kv:     clientv3.RetryKVClient(connection),
		lease:  clientv3.RetryLeaseClient(connection),
	}
}

func connect(s *server.Server) (*clientv3.Client, error) { return s.Client() }

// client works until the load ends.
func (r *recorder) client(ctx context.Context, id int) {
	connection, err := connect(r.server)
	if err != nil {
		r.fail(err)
		return
	}
	defer connection.Close()
	c := newClient(r, id, connection)
	defer c.dropRenewals()
	for !r.ended() {
		r.wait(ctx)
		op := c.ask(ctx, c.draw())
		if op.ID >= r.config.Operations {
			r.end()
		}
		if op.Answer == nil {
			// Whether the server is gone is found out by whoever has killed it.
			time.Sleep(2 * time.Millisecond)
			continue
		}
		c.learn(op)
		if r.config.Pause > 0 {
			time.Sleep(time.Duration(c.random.Int64N(2 * int64(r.config.Pause))))
		}
	}
}

// ask makes a request and records it.
func (c *client) ask(ctx context.Context, request lines.Request) lines.Op {
	timeout := callTimeouts[c.random.IntN(len(callTimeouts))]
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	op := lines.Op{ID: c.run.nextOp.Add(1), Client: c.id, Call: c.run.now(), Request: request}
	revision, answer, err := c.send(ctx, request)
	op.Return = c.run.now()
	if err != nil {
		answer, err = refusal(err)
		if err != nil {
			c.run.fail(err)
		}
	}
	op.Revision, op.Answer = revision, answer
	c.run.saw(revision)
	c.run.write(lines.Line{Op: &op})
	return op
}

// refusal tells an answer that says no from one that was lost. Anything else is no answer that the
// load may get.
func refusal(err error) (*lines.Answer, error) {
	switch status.Code(err) {
	case codes.NotFound:
		return &lines.Answer{Refused: lines.LeaseNotFound}, nil
	case codes.FailedPrecondition:
		return &lines.Answer{Refused: lines.LeaseExists}, nil
	case codes.OutOfRange:
		if status.Convert(err).Message() == "etcdserver: mvcc: required revision has been compacted" {
			return &lines.Answer{Refused: lines.Compacted}, nil
		}
		return &lines.Answer{Refused: lines.Future}, nil
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return nil, nil
	}
	return nil, err
}

// learn keeps what later requests can use.
func (c *client) learn(op lines.Op) {
	switch {
	case op.Request.Grant != nil && op.Answer.Grant != nil:
		c.run.leases.add(op.Answer.Grant.Lease)
	case op.Request.KeepAlive != nil && op.Answer.Lease.TTL <= 0,
		op.Request.Revoke != nil:
		// A lease that is gone is asked for once more or twice.
		if c.random.IntN(3) == 0 {
			id := op.Request.KeepAlive
			if id == nil {
				id = op.Request.Revoke
			}
			c.run.leases.drop(id.Lease)
		}
	}
}

// leasePool holds leases that any client may use.
type leasePool struct {
	lock sync.Mutex
	ids  []int64
}

// leasesMax is how many leases are in use at a time.
const leasesMax = 24

func (p *leasePool) add(id int64) {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.ids = append(p.ids, id)
	if len(p.ids) > leasesMax {
		p.ids = p.ids[1:]
	}
}

func (p *leasePool) drop(id int64) {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.ids = slices.DeleteFunc(p.ids, func(other int64) bool { return other == id })
}

func (p *leasePool) any(random *rand.Rand) (int64, bool) {
	p.lock.Lock()
	defer p.lock.Unlock()
	if len(p.ids) == 0 {
		return 0, false
	}
	return p.ids[random.IntN(len(p.ids))], true
}
