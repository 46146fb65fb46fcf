package diff

import (
	"bytes"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
)

// Leases of the game live for very long, so that none ends by itself: what depends on the clock is
// tested elsewhere. Ids are given, so that they may be in keys, whose hash is compared. A few are
// chosen by the servers, which choose differently: see seat.

const longTTL = 100_000

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
