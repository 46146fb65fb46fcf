package diff

import (
	"bytes"
	"maps"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
)

// mistakes are those that can be planted, at least one for each feature.
var mistakes = map[string]func(*plant){
	"range: the order is ascending whatever is asked": inAsks(func(ask *pb.RangeRequest) {
		if ask.SortOrder == pb.RangeRequest_DESCEND {
			ask.SortOrder = pb.RangeRequest_ASCEND
		}
	}),
	"range: sorted by creation instead of change": inAsks(func(ask *pb.RangeRequest) {
		if ask.SortTarget == pb.RangeRequest_MOD {
			ask.SortTarget = pb.RangeRequest_CREATE
		}
	}),
	"range: the count ends at the limit": inAnswers(func(_ *plant, _ any, answer *pb.RangeResponse) {
		if answer.More {
			answer.Count = int64(len(answer.Kvs))
		}
	}),
	"range: more is not told": inAnswers(func(_ *plant, _ any, answer *pb.RangeResponse) { answer.More = false }),
	"range: keys_only gives values": inAsks(func(ask *pb.RangeRequest) {
		ask.KeysOnly = false
	}),
	"range: count_only gives keys": inAsks(func(ask *pb.RangeRequest) { ask.CountOnly = false }),
	"range: an old revision is read one later": inAsks(func(ask *pb.RangeRequest) {
		if ask.Revision > 2 {
			ask.Revision++
		}
	}),
	"range: min_mod_revision is exclusive": inAsks(func(ask *pb.RangeRequest) {
		if ask.MinModRevision > 0 {
			ask.MinModRevision++
		}
	}),
	"range: max_create_revision is ignored": inAsks(func(ask *pb.RangeRequest) { ask.MaxCreateRevision = 0 }),
	"range: from a key on misses the key": inAsks(func(ask *pb.RangeRequest) {
		if string(ask.RangeEnd) == "\x00" && len(ask.Key) > 0 {
			ask.Key = append(ask.Key, 0)
		}
	}),
	"range: a read is behind the newest write": newestReadIsLate,
	"stream: the last part is lost": func(p *plant) {
		p.answer = func(ask any, answer proto.Message) {
			_, ok := ask.(*stream)
			if all, of := answer.(*pb.RangeResponse); ok && of && len(all.Kvs) > 1 {
				all.Kvs = all.Kvs[:len(all.Kvs)-1]
			}
		}
	},
	"put: prev_kv is of the wrong revision": inAnswers(func(_ *plant, _ any, answer *pb.PutResponse) {
		if answer.PrevKv.GetVersion() > 1 {
			answer.PrevKv.Version--
			answer.PrevKv.ModRevision--
		}
	}),
	"put: ignore_value is ignored": inAsks(func(ask *pb.PutRequest) { ask.IgnoreValue = false }),
	"put: ignore_lease is ignored": inAsks(func(ask *pb.PutRequest) { ask.IgnoreLease = false }),
	"delete: prev_kvs misses one": inAnswers(func(_ *plant, _ any, answer *pb.DeleteRangeResponse) {
		if len(answer.PrevKvs) > 1 {
			answer.PrevKvs = answer.PrevKvs[1:]
		}
	}),
	"delete: deleted counts ranges": inAnswers(func(_ *plant, _ any, answer *pb.DeleteRangeResponse) {
		answer.Deleted = min(answer.Deleted, 1)
	}),
	"txn: a compare is turned around": inAsks(func(ask *pb.Compare) {
		if ask.Result == pb.Compare_GREATER {
			ask.Result = pb.Compare_LESS
		}
	}),
	"txn: a compare of a range looks at one key": inAsks(func(ask *pb.Compare) { ask.RangeEnd = nil }),
	"txn: a compare of leases holds always": inAsks(func(ask *pb.Compare) {
		if ask.Target == pb.Compare_LEASE {
			ask.Target, ask.Result = pb.Compare_VERSION, pb.Compare_NOT_EQUAL
			ask.TargetUnion = &pb.Compare_Version{Version: -1}
		}
	}),
	"txn: a nested one takes the other branch": inAsks(func(ask *pb.RequestOp) {
		if txn := ask.GetRequestTxn(); txn != nil {
			txn.Success, txn.Failure = txn.Failure, txn.Success
		}
	}),
	"compaction: one revision too few": inAsks(func(ask *pb.CompactionRequest) { ask.Revision = max(ask.Revision-1, 0) }),
	"hash: of another revision": inAsks(func(ask *pb.HashKVRequest) {
		if ask.Revision > 2 {
			ask.Revision--
		}
	}),
	"hash: wrong": inAnswers(func(_ *plant, _ any, answer *pb.HashKVResponse) { answer.Hash++ }),

	"lease: a put without lease leaves the key with it": detachedByPutIsLost,
	"lease: the time granted is wrong": inAnswers(func(_ *plant, _ any, answer *pb.LeaseTimeToLiveResponse) {
		if answer.GrantedTTL > 0 {
			answer.GrantedTTL--
		}
	}),
	"lease: its keys are not told": inAnswers(func(_ *plant, _ any, answer *pb.LeaseTimeToLiveResponse) {
		answer.Keys = nil
	}),
	"lease: the list misses one": inAnswers(func(_ *plant, _ any, answer *pb.LeaseLeasesResponse) {
		if len(answer.Leases) > 1 {
			answer.Leases = answer.Leases[:len(answer.Leases)-1]
		}
	}),
	"lease: a renewal of none is answered with a time": inAnswers(func(_ *plant, _ any, answer *pb.LeaseKeepAliveResponse) {
		answer.TTL = max(answer.TTL, 1)
	}),
	"lease: revoking it deletes nothing": inAsks(func(ask *pb.LeaseRevokeRequest) { ask.ID = 78 }),

	"watch: the filter is inverted": inAsks(func(ask *pb.WatchCreateRequest) {
		for i, filter := range ask.Filters {
			ask.Filters[i] = 1 - filter
		}
	}),
	"watch: prev_kv is of the wrong revision": inEvents(func(_ *plant, event *mvccpb.Event) {
		if event.PrevKv.GetVersion() > 1 {
			event.PrevKv.Version--
			event.PrevKv.ModRevision--
		}
	}),
	"watch: a delete has no prev_kv": inEvents(func(_ *plant, event *mvccpb.Event) {
		if event.Type == mvccpb.Event_DELETE {
			event.PrevKv = nil
		}
	}),
	"watch: an event is lost now and then":       instead(eventIsLost),
	"watch: a response comes twice now and then": instead(responseComesTwice),
	"watch: events out of order": inResponses(func(_ *plant, _ *session, r *pb.WatchResponse) {
		if last := len(r.Events) - 1; last > 0 {
			r.Events[last], r.Events[last-1] = r.Events[last-1], r.Events[last]
		}
	}),
	"watch: a revision in two responses":      instead(revisionIsSplit),
	"watch: an event is lost after a restart": instead(firstIsLostAfterRestart),
	"watch: an event comes again after a restart": inAsks(func(ask *pb.WatchCreateRequest) {
		if ask.StartRevision > 2 {
			ask.StartRevision--
		}
	}),
	"watch: it begins one revision late": inAsks(func(ask *pb.WatchCreateRequest) {
		if ask.StartRevision > 0 {
			ask.StartRevision++
		}
	}),
	"watch: a negative start is now": inAsks(func(ask *pb.WatchCreateRequest) { ask.StartRevision = max(ask.StartRevision, 0) }),
	"watch: the end of the range belongs to it": inAsks(func(ask *pb.WatchCreateRequest) {
		if len(ask.RangeEnd) > 0 && ask.RangeEnd[0] != 0 {
			ask.RangeEnd = append(ask.RangeEnd, 0)
		}
	}),
	"watch: the compact revision is one off": inResponses(func(_ *plant, _ *session, r *pb.WatchResponse) {
		if r.CompactRevision > 0 {
			r.CompactRevision++
		}
	}),
	"watch: refused without a reason":                              inResponses(func(_ *plant, _ *session, r *pb.WatchResponse) { r.CancelReason = "" }),
	"watch: a chosen id is not kept":                               inAsks(func(ask *pb.WatchCreateRequest) { ask.WatchId = 0 }),
	"watch: cancelled, but it goes on":                             instead(goesOnAfterCancel),
	"watch: a progress request is answered with an older revision": inProgress(-1, func(r *pb.WatchResponse) { r.Header.Revision-- }),
	"watch: told of progress that it has not made":                 inProgress(0, func(r *pb.WatchResponse) { r.Header.Revision += 1 << 30 }),
	"watch: told of progress without asking":                       inAsks(func(ask *pb.WatchCreateRequest) { ask.ProgressNotify = true }),
	"watch: never told of progress":                                inAsks(func(ask *pb.WatchCreateRequest) { ask.ProgressNotify = false }),
	"watch: the last fragment looks like one more": inResponses(func(_ *plant, on *session, r *pb.WatchResponse) {
		if w := on.watch(r.WatchId); w != nil && len(w.parts) > 0 {
			r.Fragment = true
		}
	}),
	"watch: fragments that nobody asked for": inAsks(func(ask *pb.WatchCreateRequest) { ask.Fragment = true }),

	"clients: two win a race": func(p *plant) {
		p.race = func(answer *pb.TxnResponse) { answer.Succeeded = true }
	},
	"clients: one reads what another wrote": inAnswers(func(_ *plant, _ any, answer *pb.RangeResponse) {
		for _, kv := range answer.Kvs {
			if kv.Key[0] == '2' {
				kv.ModRevision++
			}
		}
	}),
}

// Mistakes are the names of all that can be planted.
func Mistakes() []string { return slices.Sorted(maps.Keys(mistakes)) }

func inEvents(change func(*plant, *mvccpb.Event)) func(*plant) {
	return inResponses(func(p *plant, _ *session, r *pb.WatchResponse) {
		for _, event := range r.Events {
			change(p, event)
		}
	})
}

// inProgress changes responses that tell progress: answers to requests (id -1) or others.
func inProgress(id int64, change func(*pb.WatchResponse)) func(*plant) {
	return inResponses(func(_ *plant, _ *session, r *pb.WatchResponse) {
		plain := !r.Created && !r.Canceled && len(r.Events) == 0
		if plain && (r.WatchId == -1) == (id == -1) {
			change(r)
		}
	})
}

func newestReadIsLate(p *plant) {
	var newest int64
	p.answer = func(_ any, answer proto.Message) {
		if headed, ok := answer.(interface{ GetHeader() *pb.ResponseHeader }); ok {
			newest = max(newest, headed.GetHeader().GetRevision())
		}
	}
	p.ask = func(m proto.Message) {
		if ask, ok := m.(*pb.RangeRequest); ok && ask.Revision == 0 && newest > 2 && p.oneIn(10) {
			ask.Revision = newest - 1
		}
	}
}

// detachedByPutIsLost keeps showing keys that a put has taken off a lease.
func detachedByPutIsLost(p *plant) {
	p.answer = func(ask any, answer proto.Message) {
		switch ask := ask.(type) {
		case *pb.PutRequest:
			if ask.Lease != 0 {
				p.keys[string(ask.Key)] = ask.Lease
			}
		case *pb.LeaseTimeToLiveRequest:
			answer := answer.(*pb.LeaseTimeToLiveResponse)
			for key, lease := range p.keys {
				known := func(other []byte) bool { return string(other) == key }
				if ask.Keys && lease == ask.ID && answer.GrantedTTL > 0 && !slices.ContainsFunc(answer.Keys, known) {
					answer.Keys = append(answer.Keys, []byte(key))
				}
			}
		}
	}
}

func eventIsLost(p *plant, _ *session, r *pb.WatchResponse) []*pb.WatchResponse {
	if len(r.Events) > 0 && p.oneIn(200) {
		r.Events = r.Events[:len(r.Events)-1]
		if len(r.Events) == 0 {
			return nil
		}
	}
	return []*pb.WatchResponse{r}
}

func responseComesTwice(p *plant, _ *session, r *pb.WatchResponse) []*pb.WatchResponse {
	if len(r.Events) > 0 && p.oneIn(200) {
		return []*pb.WatchResponse{r, r}
	}
	return []*pb.WatchResponse{r}
}

func revisionIsSplit(p *plant, _ *session, r *pb.WatchResponse) []*pb.WatchResponse {
	last := len(r.Events) - 1
	if last < 1 || r.Events[last].Kv.ModRevision != r.Events[last-1].Kv.ModRevision {
		return []*pb.WatchResponse{r}
	}
	rest := proto.Clone(r).(*pb.WatchResponse)
	rest.Events = rest.Events[last:]
	r.Events = r.Events[:last]
	return []*pb.WatchResponse{r, rest}
}

func firstIsLostAfterRestart(p *plant, on *session, r *pb.WatchResponse) []*pb.WatchResponse {
	id := int64(on.number)<<20 + r.WatchId
	if len(r.Events) == 0 || p.restarts == 0 || p.first[id] {
		return []*pb.WatchResponse{r}
	}
	p.first[id] = true
	return nil
}

// goesOnAfterCancel gives the last events of a watch once more when it is cancelled.
func goesOnAfterCancel(p *plant, on *session, r *pb.WatchResponse) []*pb.WatchResponse {
	if r.Canceled && r.WatchId >= 0 && r.CompactRevision == 0 {
		return []*pb.WatchResponse{r, {Header: r.Header, WatchId: r.WatchId, Events: []*mvccpb.Event{
			{Kv: &mvccpb.KeyValue{Key: bytes.Clone([]byte("a")), ModRevision: r.Header.Revision}}}}}
	}
	return []*pb.WatchResponse{r}
}
