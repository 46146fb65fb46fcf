package record

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"tenet.test/interop/lines"
)

// send makes one request on the wire; the answer is in the form of the history.
func (c *client) send(ctx context.Context, request lines.Request) (int64, *lines.Answer, error) {
	switch {
	case request.Range != nil:
		answer, err := c.kv.Range(ctx, rangeRequest(request.Range))
		return result(answer, err, func() lines.Answer { return lines.Answer{Range: rangeAnswer(answer)} })
	case request.Put != nil:
		answer, err := c.kv.Put(ctx, putRequest(request.Put))
		return result(answer, err, func() lines.Answer { return lines.Answer{Put: &lines.PutAnswer{Prev: kv(answer.PrevKv)}} })
	case request.Delete != nil:
		answer, err := c.kv.DeleteRange(ctx, deleteRequest(request.Delete))
		return result(answer, err, func() lines.Answer { return lines.Answer{Delete: deleteAnswer(answer)} })
	case request.Txn != nil:
		answer, err := c.kv.Txn(ctx, txnRequest(request.Txn))
		return result(answer, err, func() lines.Answer { return lines.Answer{Txn: txnAnswer(answer)} })
	case request.Compact != nil:
		answer, err := c.kv.Compact(ctx, &pb.CompactionRequest{Revision: request.Compact.Revision})
		return result(answer, err, done)
	case request.Grant != nil:
		answer, err := c.lease.LeaseGrant(ctx, &pb.LeaseGrantRequest{ID: request.Grant.Lease, TTL: request.Grant.TTL})
		return result(answer, err, func() lines.Answer {
			return lines.Answer{Grant: &lines.Grant{Lease: answer.ID, TTL: answer.TTL}}
		})
	case request.Revoke != nil:
		answer, err := c.lease.LeaseRevoke(ctx, &pb.LeaseRevokeRequest{ID: request.Revoke.Lease})
		return result(answer, err, done)
	case request.TimeToLive != nil:
		answer, err := c.lease.LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: request.TimeToLive.Lease, Keys: true})
		return result(answer, err, func() lines.Answer { return lines.Answer{Lease: timeToLive(answer)} })
	}
	answer, err := c.renew(ctx, request.KeepAlive.Lease)
	return result(answer, err, func() lines.Answer { return lines.Answer{Lease: &lines.LeaseAnswer{TTL: answer.TTL}} })
}

type headed interface{ GetHeader() *pb.ResponseHeader }

func result(answer headed, err error, body func() lines.Answer) (int64, *lines.Answer, error) {
	if err != nil {
		return 0, nil, err
	}
	made := body()
	return answer.GetHeader().GetRevision(), &made, nil
}

func done() lines.Answer { return lines.Answer{Done: true} }

// renew asks on a stream of its own, which is made anew after whatever went wrong.
func (c *client) renew(ctx context.Context, lease int64) (*pb.LeaseKeepAliveResponse, error) {
	if c.renewals == nil {
		streamCtx, cancel := context.WithCancel(context.Background())
		stream, err := c.lease.LeaseKeepAlive(streamCtx)
		if err != nil {
			cancel()
			return nil, err
		}
		c.renewals, c.stopRenewals = stream, cancel
	}
	// A stream has no time limit of its own: the call ends it.
	unbind := context.AfterFunc(ctx, c.stopRenewals)
	err := c.renewals.Send(&pb.LeaseKeepAliveRequest{ID: lease})
	var answer *pb.LeaseKeepAliveResponse
	// After a failed Send the reason comes with Recv.
	answer, recvErr := c.renewals.Recv()
	if !unbind() || err != nil || recvErr != nil {
		c.dropRenewals()
	}
	return answer, recvErr
}

func (c *client) dropRenewals() {
	if c.renewals != nil {
		c.stopRenewals()
		c.renewals = nil
	}
}

func rangeRequest(r *lines.Range) *pb.RangeRequest {
	return &pb.RangeRequest{
		Key: []byte(r.Key), RangeEnd: end(r.End), Revision: r.Revision, Limit: r.Limit,
		CountOnly: r.CountOnly, Serializable: r.Serializable,
	}
}

func putRequest(p *lines.Put) *pb.PutRequest {
	return &pb.PutRequest{Key: []byte(p.Key), Value: []byte(p.Value), Lease: p.Lease, PrevKv: p.PrevKV}
}

func deleteRequest(d *lines.Delete) *pb.DeleteRangeRequest {
	return &pb.DeleteRangeRequest{Key: []byte(d.Key), RangeEnd: end(d.End), PrevKv: d.PrevKV}
}

func txnRequest(t *lines.Txn) *pb.TxnRequest {
	request := &pb.TxnRequest{Success: ops(t.Success), Failure: ops(t.Failure)}
	for _, compare := range t.Compare {
		request.Compare = append(request.Compare, compareOf(compare))
	}
	return request
}

func ops(branch []lines.Request) (all []*pb.RequestOp) {
	for _, next := range branch {
		op := &pb.RequestOp{}
		switch {
		case next.Range != nil:
			op.Request = &pb.RequestOp_RequestRange{RequestRange: rangeRequest(next.Range)}
		case next.Put != nil:
			op.Request = &pb.RequestOp_RequestPut{RequestPut: putRequest(next.Put)}
		case next.Delete != nil:
			op.Request = &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: deleteRequest(next.Delete)}
		case next.Txn != nil:
			op.Request = &pb.RequestOp_RequestTxn{RequestTxn: txnRequest(next.Txn)}
		}
		all = append(all, op)
	}
	return all
}

func compareOf(c lines.Compare) *pb.Compare {
	results := map[string]pb.Compare_CompareResult{
		"equal": pb.Compare_EQUAL, "not_equal": pb.Compare_NOT_EQUAL,
		"greater": pb.Compare_GREATER, "less": pb.Compare_LESS,
	}
	compare := &pb.Compare{Key: []byte(c.Key), RangeEnd: end(c.End), Result: results[c.Result]}
	switch with := c.With; {
	case with.Version != nil:
		compare.Target, compare.TargetUnion = pb.Compare_VERSION, &pb.Compare_Version{Version: *with.Version}
	case with.Create != nil:
		compare.Target, compare.TargetUnion = pb.Compare_CREATE, &pb.Compare_CreateRevision{CreateRevision: *with.Create}
	case with.Mod != nil:
		compare.Target, compare.TargetUnion = pb.Compare_MOD, &pb.Compare_ModRevision{ModRevision: *with.Mod}
	case with.Lease != nil:
		compare.Target, compare.TargetUnion = pb.Compare_LEASE, &pb.Compare_Lease{Lease: *with.Lease}
	case with.Value != nil:
		compare.Target, compare.TargetUnion = pb.Compare_VALUE, &pb.Compare_Value{Value: []byte(*with.Value)}
	}
	return compare
}

func end(text string) []byte {
	if text == "" {
		return nil
	}
	return []byte(text)
}

func rangeAnswer(r *pb.RangeResponse) *lines.RangeAnswer {
	return &lines.RangeAnswer{KVs: kvs(r.Kvs), Count: r.Count, More: r.More}
}

func deleteAnswer(r *pb.DeleteRangeResponse) *lines.DeleteAnswer {
	return &lines.DeleteAnswer{Deleted: r.Deleted, Prevs: kvs(r.PrevKvs)}
}

func txnAnswer(r *pb.TxnResponse) *lines.TxnAnswer {
	answer := &lines.TxnAnswer{Succeeded: r.Succeeded}
	for _, op := range r.Responses {
		var next lines.Answer
		switch one := op.Response.(type) {
		case *pb.ResponseOp_ResponseRange:
			next.Range = rangeAnswer(one.ResponseRange)
		case *pb.ResponseOp_ResponsePut:
			next.Put = &lines.PutAnswer{Prev: kv(one.ResponsePut.PrevKv)}
		case *pb.ResponseOp_ResponseDeleteRange:
			next.Delete = deleteAnswer(one.ResponseDeleteRange)
		case *pb.ResponseOp_ResponseTxn:
			next.Txn = txnAnswer(one.ResponseTxn)
		}
		answer.Results = append(answer.Results, next)
	}
	return answer
}

func timeToLive(r *pb.LeaseTimeToLiveResponse) *lines.LeaseAnswer {
	answer := &lines.LeaseAnswer{TTL: r.TTL, Granted: r.GrantedTTL}
	for _, key := range r.Keys {
		answer.Keys = append(answer.Keys, string(key))
	}
	return answer
}

func kvs(from []*mvccpb.KeyValue) (all []lines.KV) {
	for _, one := range from {
		all = append(all, *kv(one))
	}
	return all
}

func kv(from *mvccpb.KeyValue) *lines.KV {
	if from == nil {
		return nil
	}
	return &lines.KV{
		Key: string(from.Key), Value: string(from.Value), Create: from.CreateRevision,
		Mod: from.ModRevision, Version: from.Version, Lease: from.Lease,
	}
}
