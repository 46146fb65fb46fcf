package diff

import (
	"bytes"
	"context"
	"slices"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Leases of the game live for very long, so that none ends by itself: what depends on the clock is
// tested elsewhere. Ids are given, so that they may be in keys, whose hash is compared. A few are
// chosen by the servers, which choose differently: in requests and answers the k-th of them is
// written as chosenBase-k, and each server's own id is put in its place on the way.

const (
	chosenBase = -1_000_000
	longTTL    = 100_000
)

// givenLease is one of few ids, which may or may not be granted; 77 never is.
func (m maker) givenLease() int64 {
	ids := []int64{101, 102, 103, 104, -105, 77}
	return ids[m.IntN(len(ids))]
}

func (m maker) anyLease() int64 {
	switch kind := m.IntN(8); {
	case kind == 0:
		return 0
	case kind < 3 && m.chosen > 0:
		return chosenBase - m.Int64N(m.chosen)
	}
	return m.givenLease()
}

func (m maker) lease() proto.Message {
	switch kind := m.IntN(12); {
	case kind < 5:
		ask := &pb.LeaseGrantRequest{ID: m.givenLease(), TTL: longTTL + m.Int64N(1000)}
		for ask.ID == 77 {
			ask.ID = m.givenLease()
		}
		switch m.IntN(8) {
		case 0:
			ask.ID = 0
		case 1:
			ask.TTL = 9_000_000_000 + m.Int64N(3) - 1
		}
		return ask
	case kind < 7:
		return &pb.LeaseRevokeRequest{ID: m.anyLease()}
	case kind < 9:
		return &pb.LeaseTimeToLiveRequest{ID: m.anyLease(), Keys: m.chance(2)}
	case kind < 11:
		return &pb.LeaseKeepAliveRequest{ID: m.anyLease()}
	}
	return &pb.LeaseLeasesRequest{}
}

// keepAlive asks once on a stream of its own.
func (p *peer) keepAlive(ctx context.Context, ask *pb.LeaseKeepAliveRequest) (*pb.LeaseKeepAliveResponse, error) {
	stream, err := p.lease.LeaseKeepAlive(ctx)
	if err != nil {
		return nil, err
	}
	defer stream.CloseSend()
	if err := stream.Send(ask); err != nil {
		return nil, err
	}
	return stream.Recv()
}

// outgoing puts this server's own ids in the place of those of the game.
func (p *peer) outgoing(ask proto.Message) proto.Message {
	if _, ok := ask.(*stream); ok {
		return ask
	}
	ask = proto.Clone(ask)
	mapLeases(ask.ProtoReflect(), func(id int64) int64 {
		if k := chosenBase - id; id <= chosenBase && k < int64(len(p.chosen)) {
			return p.chosen[k]
		}
		return id
	})
	return ask
}

// incoming does the reverse, and notes an id that the server has chosen.
func (p *peer) incoming(ask proto.Message, got outcome) {
	if got.err != nil {
		return
	}
	if ask, ok := ask.(*pb.LeaseGrantRequest); ok && ask.ID == 0 {
		p.chosen = append(p.chosen, got.message.(*pb.LeaseGrantResponse).ID)
	}
	mapLeases(got.message.ProtoReflect(), func(id int64) int64 {
		if k := slices.Index(p.chosen, id); k >= 0 {
			return chosenBase - int64(k)
		}
		return id
	})
}

// mapLeases changes every lease id in a message.
func mapLeases(message protoreflect.Message, change func(int64) int64) {
	ofLease := strings.HasPrefix(string(message.Descriptor().Name()), "Lease")
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.Kind() == protoreflect.MessageKind && field.IsList():
			for i := range value.List().Len() {
				mapLeases(value.List().Get(i).Message(), change)
			}
		case field.Kind() == protoreflect.MessageKind:
			mapLeases(value.Message(), change)
		case field.Name() == "lease", ofLease && field.Name() == "ID":
			message.Set(field, protoreflect.ValueOfInt64(change(value.Int())))
		}
		return true
	})
}

// normalizeLease takes out what depends on the clock, and orders that are not promised.
func normalizeLease(answer proto.Message) {
	switch answer := answer.(type) {
	case *pb.LeaseGrantResponse:
		clearHeader(answer.Header)
	case *pb.LeaseRevokeResponse:
		clearHeader(answer.Header)
	case *pb.LeaseKeepAliveResponse:
		clearHeader(answer.Header)
	case *pb.LeaseTimeToLiveResponse:
		clearHeader(answer.Header)
		// A history takes far less than this.
		if answer.GrantedTTL-answer.TTL <= 1000 && answer.TTL < answer.GrantedTTL {
			answer.TTL = answer.GrantedTTL
		}
		slices.SortFunc(answer.Keys, bytes.Compare)
	case *pb.LeaseLeasesResponse:
		clearHeader(answer.Header)
		// Two that were granted within a moment end in either order.
		slices.SortFunc(answer.Leases, func(one, other *pb.LeaseStatus) int {
			return int(one.ID - other.ID)
		})
	}
}
