package diff

import (
	"bytes"
	"slices"
	"sort"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// A seat is what one client is on one server. Requests are made, and answers compared, in the
// client's own terms; a seat turns them into the server's and back.
//
// Ids of leases that servers choose are always translated: the k-th of them is written as
// chosenBase-k. A client that is alone has the servers' revisions and keys. Of several clients at
// once, each has keys and lease ids of its own, and counts revisions as if it were alone: the
// k-th change of its own keys is revision k+1, whatever the server has called it. Since nobody
// else changes these keys, each of its answers is determined, whatever the others do meanwhile.

const (
	chosenBase = -1_000_000
	// Ids of given leases are smaller than this; those of several clients are this far apart.
	leasesApart = 1000
	// Beyond any revision that a server will reach.
	farFuture = int64(1) << 40
)

type seat struct {
	peer   *peer
	client int
	// The lease ids that this server has chosen.
	chosen []int64
	// The newest revision this client knows of; the server's.
	newest int64
	// The revision of the last compaction; the server's, or -1.
	compacted int64
	// What that was at the last restart. Whether the hash of a compaction before it is still known
	// is open.
	forgotten int64
	// Compacted at revision 0, and restarted since: both servers take the hash that this has left
	// for that of the newest revision, which 0 asks for too, as long as they know it.
	zero, zeroForgotten bool
	// Several clients: the revision before the client's first, and those of its changes.
	base int64
	own  []int64

	sessions map[int]*session
	journal  *session
	// What the journal has told so far.
	changes []change
	// How many of them are known to be among own.
	learned int
	// Watches of the past have been made whose reading was not proven to be over.
	unproven bool
}

func (s *seat) shares() bool { return s.client != 0 }

func (s *seat) prefix() string { return string(rune('0'+s.client)) + "/" }

// revision is the newest one in the client's terms.
func (s *seat) revision() int64 {
	if s.shares() {
		return 1 + int64(len(s.own))
	}
	return s.newest
}

// ownNewest is that revision in the server's terms.
func (s *seat) ownNewest() int64 {
	if !s.shares() {
		return s.newest
	}
	if len(s.own) == 0 {
		return s.base
	}
	return s.own[len(s.own)-1]
}

// outgoing is a request in the server's terms.
func (s *seat) outgoing(ask any) any {
	copied := proto.Clone(message(ask))
	s.translate(copied.ProtoReflect(), terms{
		lease: s.leaseOut, revision: s.revisionOut, start: s.startOut, exact: s.revisionOut, key: s.keyOut,
	})
	if s.shares() {
		s.endsOut(copied.ProtoReflect())
	}
	return withMessage(ask, copied)
}

// incoming puts an answer into the client's terms, after noting what it tells.
func (s *seat) incoming(ask any, answer proto.Message) {
	if ask, ok := ask.(*pb.LeaseGrantRequest); ok && ask.ID == 0 {
		s.chosen = append(s.chosen, answer.(*pb.LeaseGrantResponse).ID)
	}
	if all, ok := answer.(*pb.LeaseLeasesResponse); ok && s.shares() {
		all.Leases = slices.DeleteFunc(all.Leases, func(of *pb.LeaseStatus) bool { return s.leaseIn(of.ID) == of.ID })
	}
	s.translate(answer.ProtoReflect(), terms{
		lease: s.leaseIn, revision: s.revisionIn, start: s.revisionIn, exact: s.exactIn, key: s.keyIn,
	})
}

// terms say how each kind of value is translated.
type terms struct {
	lease, revision, start, exact func(int64) int64
	key                           func([]byte) []byte
}

func (s *seat) translate(m protoreflect.Message, to terms) {
	name := m.Descriptor().Name()
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		change := func(to func(int64) int64) { m.Set(field, protoreflect.ValueOfInt64(to(value.Int()))) }
		switch {
		case field.Kind() == protoreflect.MessageKind && field.IsList():
			for i := range value.List().Len() {
				s.translate(value.List().Get(i).Message(), to)
			}
		case field.Kind() == protoreflect.MessageKind:
			s.translate(value.Message(), to)
		case field.Name() == "lease", field.Name() == "ID" && strings.HasPrefix(string(name), "Lease"):
			change(to.lease)
		case !s.shares():
		case field.Name() == "start_revision":
			change(to.start)
		case name == "KeyValue" && strings.HasSuffix(string(field.Name()), "_revision"):
			change(to.exact)
		case field.Kind() == protoreflect.Int64Kind && strings.HasSuffix(string(field.Name()), "revision"):
			change(to.revision)
		case field.Name() == "key":
			m.Set(field, protoreflect.ValueOfBytes(to.key(value.Bytes())))
		case field.Name() == "keys" && field.IsList():
			for i := range value.List().Len() {
				value.List().Set(i, protoreflect.ValueOfBytes(to.key(value.List().Get(i).Bytes())))
			}
		}
		return true
	})
}

// endsOut puts the ends of ranges into the client's key space, and the empty key of a watch, which
// means the first key of all.
func (s *seat) endsOut(m protoreflect.Message) {
	switch ask := m.Interface().(type) {
	case *pb.RangeRequest:
		ask.RangeEnd = s.endOut(ask.RangeEnd)
	case *pb.DeleteRangeRequest:
		ask.RangeEnd = s.endOut(ask.RangeEnd)
	case *pb.Compare:
		ask.RangeEnd = s.endOut(ask.RangeEnd)
	case *pb.WatchCreateRequest:
		ask.RangeEnd = s.endOut(ask.RangeEnd)
		if len(ask.Key) == 0 {
			ask.Key = []byte(s.prefix())
		}
	}
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.Kind() != protoreflect.MessageKind:
		case field.IsList():
			for i := range value.List().Len() {
				s.endsOut(value.List().Get(i).Message())
			}
		default:
			s.endsOut(value.Message())
		}
		return true
	})
}

func (s *seat) endOut(end []byte) []byte {
	switch {
	case len(end) == 0:
		return nil
	case string(end) == "\x00":
		return []byte(s.prefix()[:1] + "0")
	}
	return s.keyOut(end)
}

func (s *seat) keyOut(key []byte) []byte {
	if len(key) == 0 {
		return key
	}
	return append([]byte(s.prefix()), key...)
}

func (s *seat) keyIn(key []byte) []byte { return bytes.TrimPrefix(key, []byte(s.prefix())) }

func (s *seat) leaseOut(id int64) int64 {
	k := chosenBase - id
	switch {
	case id <= chosenBase && k < int64(len(s.chosen)):
		return s.chosen[k]
	case id > 0 && id < leasesApart:
		return id + int64(s.client)*leasesApart
	case id < 0 && id > -leasesApart:
		return id - int64(s.client)*leasesApart
	}
	return id
}

func (s *seat) leaseIn(id int64) int64 {
	if k := slices.Index(s.chosen, id); k >= 0 {
		return chosenBase - int64(k)
	}
	apart := int64(s.client) * leasesApart
	switch {
	case id > apart && id < apart+leasesApart:
		return id - apart
	case id < -apart && id > -apart-leasesApart:
		return id + apart
	}
	return id
}

func (s *seat) revisionOut(revision int64) int64 {
	k := revision - 2
	switch {
	case !s.shares(), revision <= 0:
		return revision
	case k < 0:
		return s.base
	case k < int64(len(s.own)):
		return s.own[k]
	}
	return farFuture + revision
}

// startOut is for the beginning of a watch: from the client's next change on is as late as it can
// be said.
func (s *seat) startOut(revision int64) int64 {
	if s.shares() && revision > s.revision() {
		return s.ownNewest() + 1
	}
	return s.revisionOut(revision)
}

// revisionIn is how far the client was at a revision of the server.
func (s *seat) revisionIn(revision int64) int64 {
	if !s.shares() || revision <= 0 {
		return revision
	}
	after := sort.Search(len(s.own), func(i int) bool { return s.own[i] > revision })
	return 1 + int64(after)
}

// exactIn is for what must be a revision of the client; another's is shown as a negative number.
func (s *seat) exactIn(revision int64) int64 {
	if _, found := slices.BinarySearch(s.own, revision); s.shares() && revision > 0 && !found {
		return -revision
	}
	return s.revisionIn(revision)
}

// follow notes what an answer tells about revisions, in the server's terms.
func (s *seat) follow(ask any, answer proto.Message) {
	headed, ok := answer.(interface{ GetHeader() *pb.ResponseHeader })
	if !ok {
		return
	}
	revision := headed.GetHeader().GetRevision()
	s.newest = max(s.newest, revision)
	if s.shares() && writes(answer) {
		s.own = append(s.own, revision)
	}
	if ask, ok := ask.(*pb.CompactionRequest); ok {
		s.compacted = ask.Revision
		s.zero = s.zero || ask.Revision == 0
	}
}

// writes tells whether an answer says that a key was changed.
func writes(answer proto.Message) bool {
	switch answer := answer.(type) {
	case *pb.PutResponse:
		return true
	case *pb.DeleteRangeResponse:
		return answer.Deleted > 0
	case *pb.TxnResponse:
		return slices.ContainsFunc(answer.Responses, func(op *pb.ResponseOp) bool {
			switch op := op.Response.(type) {
			case *pb.ResponseOp_ResponsePut:
				return true
			case *pb.ResponseOp_ResponseDeleteRange:
				return op.ResponseDeleteRange.Deleted > 0
			case *pb.ResponseOp_ResponseTxn:
				return writes(op.ResponseTxn)
			}
			return false
		})
	}
	return false
}
