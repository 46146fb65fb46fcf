package diff

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
)

// moment is what the making of a step may look at: where the history stands for a client, in its
// own terms.
type moment struct {
	// 0: alone.
	client    int
	revision  int64
	compacted int64
	// How many leases have been granted with ids of the servers' choice.
	chosen  int64
	watches []place
	// Values are large, now and then.
	large bool
	// Nothing is compacted, and the history begins with more changes than one response to a watch
	// holds.
	deep bool
}

// deepRevisions is more than either server puts into one response.
const deepRevisions = 1200

// place is where a watch is: its stream and id, and whether the server has chosen the id.
type place struct {
	stream int
	id     int64
	auto   bool
}

func (at *moment) sortWatches() {
	slices.SortFunc(at.watches, func(one, other place) int {
		return cmp.Or(cmp.Compare(one.stream, other.stream), cmp.Compare(one.id, other.id))
	})
}

// keys of the game: few, so that requests meet, with a prefix among them.
var keys = []string{"a", "b", "b/1", "b/2", "b/3", "c", "d", "d/x", "e", "f"}

// maker makes one step.
type maker struct {
	*rand.Rand
	moment
}

// askOf makes the step of a seed.
func askOf(seed uint64, at moment) any {
	m := maker{Rand: rand.New(rand.NewPCG(seed, 1)), moment: at}
	if m.client != 0 {
		return m.besideOthers()
	}
	if m.deep && m.revision < deepRevisions {
		return &pb.PutRequest{Key: m.key(), Value: m.value()}
	}
	switch kind := m.IntN(10_000); {
	case kind < 300 && !m.deep:
		return &pb.CompactionRequest{Revision: m.pastRevision(), Physical: !m.chance(4)}
	case kind < 700:
		return m.hashKV()
	case kind < 716:
		return restart{kill: m.chance(2)}
	}
	return m.common()
}

// besideOthers leaves out what would change what others are answered; that is done at barriers.
func (m maker) besideOthers() any {
	if m.chance(20) {
		// Others who are about as far are in the same race.
		return shared{int(m.revision / 10)}
	}
	return m.common()
}

func (m maker) common() any {
	switch kind := m.IntN(1000); {
	case kind < 270:
		return m.put()
	case kind < 430:
		return m.rangeOf()
	case kind < 480:
		return m.stream()
	case kind < 550:
		return m.deleteRange()
	case kind < 700:
		return sparingEtcd(m.txn(3))
	case kind < 810:
		return m.lease()
	case kind < 975:
		return m.watching()
	case kind < 977:
		return m.tooLarge()
	case kind < 980:
		return notices{}
	}
	return quiet{}
}

// lastAsks end a history.
func lastAsks(client int) []any {
	asks := []any{quiet{}, notices{}, &pb.LeaseLeasesRequest{}, &pb.RangeRequest{Key: []byte("a"), RangeEnd: []byte{0}}}
	if client == 0 {
		// The hash of all that is left comes last.
		asks = append(asks, &pb.HashKVRequest{})
	}
	return asks
}

// tooLarge is refused for its size, of one kind or the other.
func (m maker) tooLarge() proto.Message {
	if m.chance(2) {
		return &pb.PutRequest{Key: m.key(), Value: []byte(strings.Repeat("x", requestBytesMax+1))}
	}
	ask := &pb.TxnRequest{}
	for i := range 129 {
		ask.Success = append(ask.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestRange{
			RequestRange: &pb.RangeRequest{Key: []byte(keys[i%len(keys)])}}})
	}
	return ask
}

// stream asks for a range in parts. A target without an order is left out: etcd sorts and cuts
// each part by itself then, so that keys are missing or come twice.
func (m maker) stream() *stream {
	ask := m.rangeOf()
	if ask.SortOrder == pb.RangeRequest_NONE {
		ask.SortTarget = pb.RangeRequest_KEY
	}
	if !m.chance(4) {
		// The rest is refused.
		ask.SortOrder, ask.SortTarget = 0, 0
		ask.MinModRevision, ask.MaxModRevision, ask.MinCreateRevision, ask.MaxCreateRevision = 0, 0, 0, 0
	}
	return &stream{ask}
}

func (m maker) key() []byte { return []byte(keys[m.IntN(len(keys))]) }

func (m maker) value() []byte {
	value := fmt.Appendf(nil, "v%d", m.IntN(5))
	if m.large && !m.chance(3) {
		return append(value, largeRest...)
	}
	return value
}

// largeRest makes a value of which ten fill more than a fragment, and one fits into a request.
var largeRest = bytes.Repeat([]byte("x"), 62_000)

// chance is true once in n times.
func (m maker) chance(n int) bool { return m.IntN(n) == 0 }

// end is the end of a range that begins at a key: mostly none, or one of the special forms.
func (m maker) end(key []byte) []byte {
	switch m.IntN(6) {
	case 0:
		return []byte{0}
	case 1:
		prefixEnd := slices.Clone(key)
		prefixEnd[len(prefixEnd)-1]++
		return prefixEnd
	case 2:
		return m.key()
	}
	return nil
}

// pastRevision is mostly one that can be read, sometimes one that cannot.
func (m maker) pastRevision() int64 {
	return m.compacted - 1 + m.Int64N(max(m.revision-m.compacted, 0)+4)
}

// readRevision is mostly an old one that can be read.
func (m maker) readRevision() int64 {
	oldest := max(m.compacted, 1)
	if m.client != 0 {
		// The compaction is at a revision of nobody's.
		oldest++
	}
	if oldest >= m.revision || m.chance(4) {
		return m.pastRevision()
	}
	return oldest + m.Int64N(m.revision-oldest)
}

func (m maker) put() *pb.PutRequest {
	ask := &pb.PutRequest{Key: m.key(), Value: m.value(), PrevKv: m.chance(2)}
	switch m.IntN(20) {
	case 0:
		ask.IgnoreValue, ask.Value = true, nil
	case 1:
		ask.IgnoreLease = true
	case 2:
		ask.Key = nil
	case 3:
		ask.IgnoreValue = true
	case 4, 5, 6, 7, 8:
		ask.Lease = m.givenLease()
	case 9:
		ask.Lease, ask.IgnoreLease = m.givenLease(), m.chance(3)
	}
	return ask
}

func (m maker) rangeOf() *pb.RangeRequest {
	ask := &pb.RangeRequest{Key: m.key()}
	ask.RangeEnd = m.end(ask.Key)
	if !m.chance(3) {
		ask.Revision = m.readRevision()
	}
	ask.Serializable = m.chance(4)
	if m.chance(3) {
		ask.Limit = m.Int64N(5) - 1
	}
	if m.chance(3) {
		ask.SortOrder = pb.RangeRequest_SortOrder(m.IntN(3))
		ask.SortTarget = pb.RangeRequest_SortTarget(m.IntN(5))
		if m.chance(30) {
			ask.SortOrder, ask.SortTarget = ask.SortOrder+3, 0
		}
	}
	if m.chance(100) {
		ask.Key = nil
	}
	if m.chance(4) {
		filters := []*int64{&ask.MinModRevision, &ask.MaxModRevision, &ask.MinCreateRevision, &ask.MaxCreateRevision}
		*filters[m.IntN(len(filters))] = m.pastRevision()
	}
	switch m.IntN(6) {
	case 0:
		ask.CountOnly = true
	case 1:
		// Without values, the groups that a sort by value leaves open could not be told.
		ask.KeysOnly = ask.SortTarget != pb.RangeRequest_VALUE
	}
	return ask
}

func (m maker) deleteRange() *pb.DeleteRangeRequest {
	ask := &pb.DeleteRangeRequest{Key: m.key(), PrevKv: m.chance(2)}
	ask.RangeEnd = m.end(ask.Key)
	return ask
}

func (m maker) txn(depth int) *pb.TxnRequest {
	ask := &pb.TxnRequest{}
	for range m.IntN(3) {
		ask.Compare = append(ask.Compare, m.compare())
	}
	ask.Success, ask.Failure = m.ops(depth), m.ops(depth)
	return ask
}

// sparingEtcd takes out what ends the process of etcd 3.7.1: a put that keeps the value or lease
// of a key which the same transaction has deleted before. (Tenet refuses the transaction.)
func sparingEtcd(ask *pb.TxnRequest) *pb.TxnRequest {
	if deletes(ask) {
		keepNothing(ask)
	}
	return ask
}

func deletes(ask *pb.TxnRequest) bool {
	return slices.ContainsFunc(branches(ask), func(op *pb.RequestOp) bool {
		return op.GetRequestDeleteRange() != nil ||
			op.GetRequestTxn() != nil && deletes(op.GetRequestTxn())
	})
}

func keepNothing(ask *pb.TxnRequest) {
	for _, op := range branches(ask) {
		if put := op.GetRequestPut(); put != nil {
			put.IgnoreValue, put.IgnoreLease = false, false
		}
		// etcd's check for keys that are written twice does not see deletions to the end of the
		// key space, and a compaction exactly at such a transaction loses what it put again.
		if gone := op.GetRequestDeleteRange(); gone != nil && string(gone.RangeEnd) == "\x00" {
			gone.RangeEnd = []byte("z")
		}
		if nested := op.GetRequestTxn(); nested != nil {
			keepNothing(nested)
		}
	}
}

func branches(ask *pb.TxnRequest) []*pb.RequestOp {
	return slices.Concat(ask.Success, ask.Failure)
}

func (m maker) ops(depth int) (ops []*pb.RequestOp) {
	for range m.IntN(4) {
		op := &pb.RequestOp{}
		switch kind := m.IntN(10); {
		case kind < 5:
			op.Request = &pb.RequestOp_RequestPut{RequestPut: m.put()}
		case kind < 7:
			op.Request = &pb.RequestOp_RequestRange{RequestRange: m.rangeOf()}
		case kind < 9 || depth == 0:
			op.Request = &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: m.deleteRange()}
		default:
			op.Request = &pb.RequestOp_RequestTxn{RequestTxn: m.txn(depth - 1)}
		}
		ops = append(ops, op)
	}
	return ops
}

func (m maker) compare() *pb.Compare {
	ask := &pb.Compare{Key: m.key(), Result: pb.Compare_CompareResult(m.IntN(4))}
	switch m.IntN(5) {
	case 0:
		ask.Target, ask.TargetUnion = pb.Compare_VERSION, &pb.Compare_Version{Version: m.Int64N(4)}
	case 1:
		ask.Target, ask.TargetUnion = pb.Compare_CREATE, &pb.Compare_CreateRevision{CreateRevision: m.pastRevision()}
	case 2:
		ask.Target, ask.TargetUnion = pb.Compare_MOD, &pb.Compare_ModRevision{ModRevision: m.pastRevision()}
	case 3:
		ask.Target, ask.TargetUnion = pb.Compare_VALUE, &pb.Compare_Value{Value: m.value()}
	case 4:
		ask.Target, ask.TargetUnion = pb.Compare_LEASE, &pb.Compare_Lease{Lease: m.givenLease() * m.Int64N(2)}
	}
	if m.chance(4) {
		ask.RangeEnd = m.end(ask.Key)
	}
	return ask
}

func (m maker) hashKV() *pb.HashKVRequest {
	if m.chance(2) {
		return &pb.HashKVRequest{}
	}
	return &pb.HashKVRequest{Revision: m.pastRevision()}
}
