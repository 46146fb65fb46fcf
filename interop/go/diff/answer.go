package diff

import (
	"context"
	"fmt"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// answer is what a step came to on one server, in the client's terms: it is equal on both.
type answer struct {
	lines []line
	// An error, or what no message says.
	words string
}

type line struct {
	label   string
	message proto.Message
}

func failed(err error) answer {
	of := status.Convert(err)
	return answer{words: fmt.Sprintf("%v %q", of.Code(), of.Message())}
}

// equal compares without making texts, since there are many answers and few differences.
func (a answer) equal(other answer) bool {
	if a.words != other.words || len(a.lines) != len(other.lines) {
		return false
	}
	for i, line := range a.lines {
		if line.label != other.lines[i].label || !proto.Equal(line.message, other.lines[i].message) {
			return false
		}
	}
	return true
}

func (a answer) String() string {
	var parts []string
	if a.words != "" {
		parts = append(parts, a.words)
	}
	for _, line := range a.lines {
		parts = append(parts, strings.TrimSpace(line.label+" "+text(line.message)))
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, " | ")
}

// do does one step, all but those that concern a whole server.
func (s *seat) do(ctx context.Context, ask any) answer {
	ctx, cancel := context.WithTimeout(ctx, s.peer.patience())
	defer cancel()
	switch ask := ask.(type) {
	case quiet:
		return s.quiet(ctx)
	case notices:
		return s.notices(ctx)
	case *abandon:
		return s.abandon(ctx, ask)
	case *onWatch:
		return s.onWatch(ctx, s.outgoing(ask).(*onWatch))
	case shared:
		return s.race(ctx, ask)
	}
	return s.request(ctx, ask)
}

// request does a call of KV, Lease or Maintenance.
func (s *seat) request(ctx context.Context, ask any) answer {
	if _, ok := ask.(*pb.CompactionRequest); ok {
		// Which watches are behind it must not depend on how fast they are.
		if err := s.settle(ctx); err != nil {
			return failed(err)
		}
	}
	if hash, ok := ask.(*pb.HashKVRequest); ok && s.isForgotten(hash.Revision) {
		return answer{words: notAsked}
	}
	out := s.outgoing(ask)
	got := s.peer.call(ctx, s.peer.plant.asked(out).(proto.Message))
	if got.err != nil {
		return failed(got.err)
	}
	s.peer.plant.answered(out, got.message)
	s.follow(out, got.message)
	if _, ok := ask.(*pb.LeaseRevokeRequest); ok && s.shares() {
		if err := s.learnRevoke(ctx); err != nil {
			return failed(err)
		}
	}
	s.incoming(ask, got.message)
	normalize(ask.(proto.Message), got.message)
	return answer{lines: []line{{"", got.message}}}
}

// isForgotten tells whether the hash at a revision was kept by a compaction before a restart.
func (s *seat) isForgotten(revision int64) bool {
	if revision == 0 {
		if s.zeroForgotten {
			return true
		}
		revision = s.newest
	}
	return revision > 0 && revision <= s.forgotten
}
