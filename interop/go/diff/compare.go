package diff

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"tenet.test/interop/server"
)

// Config says which servers are compared, and over how long a history.
type Config struct {
	// Binaries of the two servers: the one that is right, and the one under test.
	Reference, Tested string
	Folder            string
	Seed              uint64
	Requests          int
	// Spoil, if any, changes answers of the tested server: to see that a difference is found.
	Spoil func(ask, answer proto.Message)
	Say   func(format string, args ...any)
}

// Difference is the first request whose answers differ, at the end of the shortest history found.
type Difference struct {
	History   []string
	Reference string
	Tested    string
}

// shortenMax bounds how many histories are tried to find a short one; each starts two servers.
const shortenMax = 60

// Run compares one history. No difference is nil.
func Run(ctx context.Context, config Config) (*Difference, error) {
	random := rand.New(rand.NewPCG(config.Seed, 0))
	seeds := make([]uint64, config.Requests)
	for i := range seeds {
		seeds[i] = random.Uint64()
	}
	c := comparison{Config: config}
	difference, err := c.play(ctx, seeds)
	if err != nil || difference == nil {
		return nil, err
	}
	config.Say("a difference after %d requests; looking for a shorter history", len(difference.History))
	return c.shorten(ctx, seeds[:min(len(seeds), len(difference.History))], difference)
}

type comparison struct {
	Config
	played int
}

// shorten removes ever smaller parts of a history as long as some difference is left.
func (c *comparison) shorten(ctx context.Context, seeds []uint64, found *Difference) (*Difference, error) {
	for part := len(seeds) / 2; part >= 1; part /= 2 {
		for start := 0; start < len(seeds); {
			if c.played >= shortenMax {
				return found, nil
			}
			end := min(start+part, len(seeds))
			shorter := append(append([]uint64{}, seeds[:start]...), seeds[end:]...)
			difference, err := c.play(ctx, shorter)
			if err != nil {
				return found, err
			}
			if difference == nil {
				start = end
				continue
			}
			found = difference
			seeds = shorter[:min(len(shorter), len(difference.History))]
		}
	}
	return found, nil
}

// play runs a history on two fresh servers up to the first difference.
func (c *comparison) play(ctx context.Context, seeds []uint64) (*Difference, error) {
	c.played++
	reference, closeReference, err := c.start(c.Reference, "reference")
	if err != nil {
		return nil, err
	}
	defer closeReference()
	tested, closeTested, err := c.start(c.Tested, "tested")
	if err != nil {
		return nil, err
	}
	defer closeTested()

	at := moment{revision: 1, compacted: -1}
	var history []string
	for i := range len(seeds) + 1 {
		// The hash of all that is left of the history comes last.
		var ask proto.Message = &pb.HashKVRequest{}
		if i < len(seeds) {
			ask = request(seeds[i], at)
		}
		history = append(history, show(ask))
		right := reference.answer(ctx, ask)
		other := tested.answer(ctx, ask)
		if c.Spoil != nil {
			c.Spoil(ask, other.message)
		}
		if r, o := right.show(ask), other.show(ask); r != o {
			return &Difference{History: history, Reference: r, Tested: o}, nil
		}
		at.follow(ask, right)
	}
	return nil, nil
}

func (c *comparison) start(binary, name string) (*peer, func(), error) {
	folder := filepath.Join(c.Folder, fmt.Sprintf("%s-%d", name, c.played))
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, nil, err
	}
	s, err := server.Start(server.Options{Binary: binary, Folder: folder})
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	connection, err := grpc.NewClient(s.Endpoint(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		s.Close()
		return nil, nil, err
	}
	closeAll := func() {
		connection.Close()
		s.Close()
		os.RemoveAll(folder)
	}
	return &peer{
		kv:          pb.NewKVClient(connection),
		lease:       pb.NewLeaseClient(connection),
		maintenance: pb.NewMaintenanceClient(connection),
	}, closeAll, nil
}

// follow moves on with what the answer says.
func (at *moment) follow(ask proto.Message, got outcome) {
	if header, ok := got.message.(interface{ GetHeader() *pb.ResponseHeader }); ok && got.err == nil {
		if revision := header.GetHeader().GetRevision(); revision > at.revision {
			at.revision = revision
		}
	}
	if ask, ok := ask.(*pb.CompactionRequest); ok && got.err == nil {
		at.compacted = ask.Revision
	}
	if ask, ok := ask.(*pb.LeaseGrantRequest); ok && got.err == nil && ask.ID == 0 {
		at.chosen++
	}
}

// peer is one of the two servers.
type peer struct {
	kv          pb.KVClient
	lease       pb.LeaseClient
	maintenance pb.MaintenanceClient
	// The lease ids that this server has chosen.
	chosen []int64
}

// outcome is an answer or an error.
type outcome struct {
	message proto.Message
	err     error
}

func (p *peer) answer(ctx context.Context, ask proto.Message) outcome {
	got := p.call(ctx, p.outgoing(ask))
	p.incoming(ask, got)
	return got
}

func (p *peer) call(ctx context.Context, ask proto.Message) outcome {
	switch ask := ask.(type) {
	case *pb.PutRequest:
		return outcomeOf(p.kv.Put(ctx, ask))
	case *pb.RangeRequest:
		return outcomeOf(p.kv.Range(ctx, ask))
	case *stream:
		return outcomeOf(p.rangeStream(ctx, ask.RangeRequest))
	case *pb.DeleteRangeRequest:
		return outcomeOf(p.kv.DeleteRange(ctx, ask))
	case *pb.TxnRequest:
		return outcomeOf(p.kv.Txn(ctx, ask))
	case *pb.CompactionRequest:
		return outcomeOf(p.kv.Compact(ctx, ask))
	case *pb.LeaseGrantRequest:
		return outcomeOf(p.lease.LeaseGrant(ctx, ask))
	case *pb.LeaseRevokeRequest:
		return outcomeOf(p.lease.LeaseRevoke(ctx, ask))
	case *pb.LeaseTimeToLiveRequest:
		return outcomeOf(p.lease.LeaseTimeToLive(ctx, ask))
	case *pb.LeaseLeasesRequest:
		return outcomeOf(p.lease.LeaseLeases(ctx, ask))
	case *pb.LeaseKeepAliveRequest:
		return outcomeOf(p.keepAlive(ctx, ask))
	case *pb.HashKVRequest:
		return outcomeOf(p.maintenance.HashKV(ctx, ask))
	}
	return outcome{err: fmt.Errorf("no call for %T", ask)}
}

func outcomeOf[M proto.Message](message M, err error) outcome { return outcome{message, err} }

// rangeStream merges the parts of a stream.
func (p *peer) rangeStream(ctx context.Context, ask *pb.RangeRequest) (*pb.RangeResponse, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	parts, err := p.kv.RangeStream(ctx, ask)
	if err != nil {
		return nil, err
	}
	whole := &pb.RangeResponse{}
	for {
		part, err := parts.Recv()
		if err == io.EOF {
			return whole, nil
		}
		if err != nil {
			return nil, err
		}
		proto.Merge(whole, part.RangeResponse)
	}
}

func (o outcome) show(ask proto.Message) string {
	if o.err != nil {
		failed := status.Convert(o.err)
		return fmt.Sprintf("%v %q", failed.Code(), failed.Message())
	}
	answer := proto.Clone(o.message)
	normalize(ask, answer)
	return text(answer)
}

func show(ask proto.Message) string {
	if ask, ok := ask.(*stream); ok {
		return "RangeStream " + text(ask.RangeRequest)
	}
	return string(ask.ProtoReflect().Descriptor().Name()) + " " + text(ask)
}

// text writes a message on one line. The library varies blanks on purpose; the binary encoding
// that the order of fields comes from does not.
func text(message proto.Message) string {
	raw, err := prototext.MarshalOptions{}.Marshal(message)
	if err != nil {
		return err.Error()
	}
	return squeeze(string(raw))
}

func squeeze(text string) string {
	out := make([]byte, 0, len(text))
	for i := range len(text) {
		if text[i] == ' ' && len(out) > 0 && out[len(out)-1] == ' ' {
			continue
		}
		out = append(out, text[i])
	}
	return string(out)
}
