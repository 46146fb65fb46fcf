package diff

import (
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// requests are those whose every field and every value of an enum must be seen: a field that a
// later version adds is on the list by itself.
var requests = []proto.Message{
	&pb.PutRequest{}, &pb.RangeRequest{}, &pb.DeleteRangeRequest{}, &pb.TxnRequest{}, &pb.RequestOp{},
	&pb.Compare{}, &pb.CompactionRequest{}, &pb.HashKVRequest{},
	&pb.LeaseGrantRequest{}, &pb.LeaseRevokeRequest{}, &pb.LeaseTimeToLiveRequest{}, &pb.LeaseKeepAliveRequest{},
	&pb.LeaseLeasesRequest{}, &pb.WatchRequest{}, &pb.WatchCreateRequest{}, &pb.WatchCancelRequest{},
	&pb.WatchProgressRequest{},
}

// outcomes are answers and branches that must be seen beside them.
var outcomes = []string{
	"Quiet", "Notices", "Abandon", "Restart kill", "Restart stop", "Shared", "Barrier compact",
	"RangeStream",
	"steps beside other clients",
	"TxnRequest at depth 1", "TxnRequest at depth 2", "TxnRequest at depth 3",
	"RangeRequest of one key", "RangeRequest of range", "RangeRequest of prefix", "RangeRequest of from a key on",
	"RangeRequest of empty range",
	"DeleteRangeRequest of one key", "DeleteRangeRequest of range", "DeleteRangeRequest of prefix",
	"DeleteRangeRequest of from a key on", "DeleteRangeRequest of empty range",
	"Compare of one key", "Compare of range", "Compare of prefix", "Compare of from a key on",
	"WatchCreateRequest of one key", "WatchCreateRequest of range", "WatchCreateRequest of prefix",
	"WatchCreateRequest of from a key on", "WatchCreateRequest of empty range",
	"RangeRequest sorted without an order", "RangeRequest.sort_order=unknown",
	"RangeRequest.revision: old", "RangeRequest.revision: newest", "RangeRequest.revision: future",
	"RangeRequest.revision: compacted", "RangeRequest.revision: at the compaction",
	"CompactionRequest.revision: old", "CompactionRequest.revision: newest", "CompactionRequest.revision: future",
	"CompactionRequest.revision: compacted",
	"HashKVRequest.revision: old", "HashKVRequest.revision: newest", "HashKVRequest.revision: future",
	"HashKVRequest.revision: compacted", "HashKVRequest.revision: at the compaction",
	"WatchCreateRequest.start_revision: old", "WatchCreateRequest.start_revision: newest",
	"WatchCreateRequest.start_revision: future", "WatchCreateRequest.start_revision: negative",
	"WatchCreateRequest.start_revision: compacted", "WatchCreateRequest.start_revision: at the compaction",
	"WatchCreateRequest.filters=unknown", "WatchCreateRequest.start_revision: far behind",
	"RangeResponse.more", "transaction: compares hold", "transaction: compares fail",
	"event PUT", "event DELETE", "Event.prev_kv", "KeyValue.lease",
	"watch created", "watch cancelled", "watch ended by compaction", "progress request answered",
	"watch refused: mvcc: watcher range is empty",
	"watch refused: mvcc: duplicate watch ID provided on the WatchStream",
	"watch refused: etcdserver: mvcc: required revision has been compacted",
	"reference: fragments", "tested: fragments", "reference: told of progress", "tested: told of progress",
	"answer: silence",
	`answer: InvalidArgument "etcdserver: key is not provided"`,
	`answer: InvalidArgument "etcdserver: value is provided"`,
	`answer: InvalidArgument "etcdserver: lease is provided"`,
	`answer: InvalidArgument "etcdserver: key not found"`,
	`answer: InvalidArgument "etcdserver: duplicate key given in txn request"`,
	`answer: InvalidArgument "etcdserver: too many operations in txn request"`,
	`answer: InvalidArgument "etcdserver: request is too large"`,
	`answer: InvalidArgument "etcdserver: invalid sort option"`,
	`answer: NotFound "etcdserver: requested lease not found"`,
	`answer: FailedPrecondition "etcdserver: lease already exists"`,
	`answer: OutOfRange "etcdserver: too large lease TTL"`,
	`answer: OutOfRange "etcdserver: mvcc: required revision has been compacted"`,
	`answer: OutOfRange "etcdserver: mvcc: required revision is a future revision"`,
	`answer: Unimplemented "RangeStream does not support custom sort orders"`,
	`answer: Unimplemented "RangeStream does not support revision filters"`,
}

// Required is everything that a comparison must have met.
func Required() []string {
	var names []string
	for _, m := range requests {
		of := m.ProtoReflect().Descriptor()
		names = append(names, string(of.Name()))
		for i := range of.Fields().Len() {
			names = append(names, requiredOf(of, of.Fields().Get(i))...)
		}
	}
	return append(names, outcomes...)
}

func requiredOf(of protoreflect.MessageDescriptor, field protoreflect.FieldDescriptor) (names []string) {
	full := fmt.Sprintf("%s.%s", of.Name(), field.Name())
	if field.Kind() != protoreflect.EnumKind {
		return []string{full}
	}
	for i := range field.Enum().Values().Len() {
		value := field.Enum().Values().Get(i)
		switch {
		case of.Name() == "Compare":
			names = append(names, fmt.Sprintf("Compare %s", value.Name()))
		// What is zero is not written, unless in a list.
		case value.Number() != 0 || field.IsList():
			names = append(names, fmt.Sprintf("%s=%s", full, value.Name()))
		}
	}
	return names
}
