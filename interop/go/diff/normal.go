package diff

import (
	"bytes"
	"cmp"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
)

// normalize takes out of an answer what may differ between two servers that are both right: their
// identities, and the order of what a sort leaves open.
func normalize(ask, answer proto.Message) {
	switch answer := answer.(type) {
	case *pb.RangeResponse:
		clearHeader(answer.Header)
		switch ask := ask.(type) {
		case *pb.RangeRequest:
			settleTies(ask, answer)
		case *stream:
			settleTies(ask.RangeRequest, answer)
		}
	case *pb.PutResponse:
		clearHeader(answer.Header)
	case *pb.DeleteRangeResponse:
		clearHeader(answer.Header)
	case *pb.CompactionResponse:
		clearHeader(answer.Header)
	case *pb.HashKVResponse:
		clearHeader(answer.Header)
	case *pb.LeaseGrantResponse, *pb.LeaseRevokeResponse, *pb.LeaseKeepAliveResponse,
		*pb.LeaseTimeToLiveResponse, *pb.LeaseLeasesResponse:
		normalizeLease(answer)
	case *pb.TxnResponse:
		clearHeader(answer.Header)
		normalizeTxn(ask.(*pb.TxnRequest), answer)
	}
}

func clearHeader(header *pb.ResponseHeader) {
	if header != nil {
		header.ClusterId, header.MemberId, header.RaftTerm = 0, 0, 0
	}
}

func normalizeTxn(ask *pb.TxnRequest, answer *pb.TxnResponse) {
	branch := ask.Failure
	if answer.Succeeded {
		branch = ask.Success
	}
	for i, op := range answer.Responses {
		if i >= len(branch) {
			return
		}
		switch r := op.Response.(type) {
		case *pb.ResponseOp_ResponseRange:
			normalize(branch[i].GetRequestRange(), r.ResponseRange)
		case *pb.ResponseOp_ResponseTxn:
			if inner := branch[i].GetRequestTxn(); inner != nil {
				normalize(inner, r.ResponseTxn)
			}
		}
	}
}

// settleTies brings keys that a sort leaves in any order into key order, and blanks those of the
// last group if a limit may have cut it: which of them are in the answer is open too.
func settleTies(ask *pb.RangeRequest, answer *pb.RangeResponse) {
	if ask.SortTarget == pb.RangeRequest_KEY {
		return
	}
	tied := func(one, other *mvccpb.KeyValue) bool {
		return compareBy(ask.SortTarget, one, other) == 0
	}
	kvs := answer.Kvs
	for start := 0; start < len(kvs); {
		end := start + 1
		for end < len(kvs) && tied(kvs[start], kvs[end]) {
			end++
		}
		group := kvs[start:end]
		slices.SortFunc(group, func(one, other *mvccpb.KeyValue) int { return bytes.Compare(one.Key, other.Key) })
		if end == len(kvs) && answer.More {
			for i, kv := range group {
				group[i] = onlySortedBy(ask.SortTarget, kv)
			}
		}
		start = end
	}
}

func compareBy(target pb.RangeRequest_SortTarget, one, other *mvccpb.KeyValue) int {
	switch target {
	case pb.RangeRequest_VERSION:
		return cmp.Compare(one.Version, other.Version)
	case pb.RangeRequest_CREATE:
		return cmp.Compare(one.CreateRevision, other.CreateRevision)
	case pb.RangeRequest_MOD:
		return cmp.Compare(one.ModRevision, other.ModRevision)
	case pb.RangeRequest_VALUE:
		return bytes.Compare(one.Value, other.Value)
	}
	return bytes.Compare(one.Key, other.Key)
}

func onlySortedBy(target pb.RangeRequest_SortTarget, kv *mvccpb.KeyValue) *mvccpb.KeyValue {
	switch target {
	case pb.RangeRequest_VERSION:
		return &mvccpb.KeyValue{Version: kv.Version}
	case pb.RangeRequest_CREATE:
		return &mvccpb.KeyValue{CreateRevision: kv.CreateRevision}
	case pb.RangeRequest_MOD:
		return &mvccpb.KeyValue{ModRevision: kv.ModRevision}
	}
	return &mvccpb.KeyValue{Value: kv.Value}
}
