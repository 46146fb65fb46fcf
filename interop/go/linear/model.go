package linear

import (
	"reflect"
	"slices"

	"tenet.test/interop/lines"
)

const second = int64(1_000_000_000)

// step says whether an operation can take effect in a state with the answer that it got, and what
// is then.
func (h *history) step(s *state, in *input) (bool, *state) {
	switch {
	case in.ends != 0:
		return h.ending(s, in)
	case in.op.Answer == nil:
		return h.lost(s, in)
	case in.op.Answer.Refused != "":
		return h.refused(s, in.op)
	}
	op := in.op
	switch request := op.Request; {
	case request.KeepAlive != nil, request.TimeToLive != nil:
		return h.leaseSeen(s, op)
	case request.Compact != nil:
		return h.compacts(s, request.Compact.Revision)
	case in.writes:
		return h.writes(s, op)
	case op.Revision != s.revision && request.Revoke == nil:
		return false, nil
	case request.Grant != nil:
		return h.grants(s, op)
	case request.Revoke != nil:
		return h.revokes(s, op)
	}
	next, answer := run(s, op.Request)
	if next != s || !reflect.DeepEqual(answer, *op.Answer) {
		return false, nil
	}
	return true, stayed(s)
}

// stayed counts an operation that names this revision and leaves it as it is.
func stayed(s *state) *state {
	next := s.copied()
	next.here++
	return next
}

// mayMove says whether the next revision may be made: all who name this one have been.
func (h *history) mayMove(s *state) bool { return s.here >= h.standing[s.revision] }

func (h *history) writes(s *state, op *lines.Op) (bool, *state) {
	if op.Revision != s.revision+1 || !h.mayMove(s) || h.refusal(s, op.Request) != "" {
		return false, nil
	}
	next, answer := run(s, op.Request)
	if next.revision != op.Revision || !reflect.DeepEqual(answer, *op.Answer) {
		return false, nil
	}
	return true, next
}

// lost: with no answer an operation makes a revision that nobody says to have made, or comes when
// all is over. What it may have changed unseen is looked for where it is needed.
func (h *history) lost(s *state, in *input) (bool, *state) {
	if s.revision >= h.newest {
		return true, s
	}
	if h.maker[s.revision+1] || !h.mayMove(s) || in.op.Call > h.shownAt(s.revision+1) {
		return false, nil
	}
	var next *state
	switch request := in.op.Request; {
	case request.Revoke != nil:
		next = h.without(s, request.Revoke.Lease)
	case request.Grant != nil, request.Compact != nil:
		return false, nil
	default:
		from := h.withLostGrants(s, request, in.op)
		if h.refusal(from, request) != "" {
			return false, nil
		}
		next, _ = run(from, request)
	}
	if next == nil || next.revision == s.revision || !h.fits(next) {
		return false, nil
	}
	return true, next
}

// ending: a lease with keys ends by itself and makes a revision.
func (h *history) ending(s *state, in *input) (bool, *state) {
	if s.revision >= h.newest {
		return true, s
	}
	held, ok := s.leases[in.ends]
	if !ok || h.maker[s.revision+1] || !h.mayMove(s) || held.until > h.shownAt(s.revision+1) {
		return false, nil
	}
	next := h.without(s, in.ends)
	if next == nil || next.revision == s.revision || !h.fits(next) {
		return false, nil
	}
	return true, next
}

// without is the state after a lease has gone with its keys.
func (h *history) without(s *state, id int64) *state {
	if _, ok := s.leases[id]; !ok {
		return nil
	}
	c := s.change()
	c.delete(s.attached(id))
	return c.done().withoutLease(id)
}

func (h *history) grants(s *state, op *lines.Op) (bool, *state) {
	given := op.Answer.Grant
	if _, ok := s.leases[given.Lease]; ok || given.TTL < op.Request.Grant.TTL {
		return false, nil
	}
	return true, stayed(s.withLease(given.Lease, lease{given.TTL, op.Call + given.TTL*second, op.Return}))
}

func (h *history) revokes(s *state, op *lines.Op) (bool, *state) {
	s = h.withLostGrant(s, op.Request.Revoke.Lease, op.Return)
	next := h.without(s, op.Request.Revoke.Lease)
	switch {
	case next == nil || next.revision != op.Revision:
		return false, nil
	case next.revision == s.revision:
		return true, stayed(next)
	}
	// It stood among those that name the revision it has made.
	return h.mayMove(s), stayed(next)
}

func (h *history) compacts(s *state, revision int64) (bool, *state) {
	if revision <= s.compacted || revision > s.revision {
		return false, nil
	}
	// One that was acknowledged is refused after a later one, so it comes first.
	at, _ := slices.BinarySearch(h.doneCompactions, s.compacted+1)
	if at < len(h.doneCompactions) && h.doneCompactions[at] < revision {
		return false, nil
	}
	next := s.copied()
	next.compacted = revision
	return true, next
}

// leaseSeen: a renewal or a question for a lease finds it, or finds it gone.
func (h *history) leaseSeen(s *state, op *lines.Op) (bool, *state) {
	id, answer := leaseOf(op.Request), op.Answer.Lease
	if answer.TTL <= 0 && answer.Granted == 0 {
		return h.gone(s, id, op.Return)
	}
	s = h.withLostGrant(s, id, op.Return)
	held, ok := s.leases[id]
	if !ok {
		return false, nil
	}
	if op.Request.KeepAlive != nil {
		if until := op.Call + held.ttl*second; until > held.until {
			s = s.withLease(id, lease{held.ttl, until, op.Return})
		}
		return answer.TTL == held.ttl, s
	}
	for _, key := range answer.Keys {
		if kv := s.keys[key]; kv == nil || kv.Lease != id {
			return false, nil
		}
	}
	// Of what was given at the same time it cannot be said which came first.
	kept := held.given >= op.Call || answer.TTL >= floor(held.until-op.Return)
	return answer.Granted == held.ttl && kept, s
}

func floor(nanoseconds int64) int64 {
	if nanoseconds < 0 {
		return -((-nanoseconds + second - 1) / second)
	}
	return nanoseconds / second
}

// gone: a lease does not exist, or has ended unseen by now.
func (h *history) gone(s *state, id, by int64) (bool, *state) {
	held, ok := s.leases[id]
	if !ok {
		return true, s
	}
	revoked := slices.ContainsFunc(h.lostRevokes[id], func(call int64) bool { return call <= by })
	if held.until > by && !revoked {
		return false, nil
	}
	next := h.without(s, id)
	if next.revision > s.revision && (next.revision <= h.newest || !h.mayMove(s)) {
		return false, nil
	}
	return true, next
}

func (h *history) withLostGrant(s *state, id, by int64) *state {
	grant, ok := h.lostGrants[id]
	if _, held := s.leases[id]; held || !ok || grant.Call > by || h.used(s, id) {
		return s
	}
	return s.withLease(id, lease{grant.Request.Grant.TTL, grant.Call + grant.Request.Grant.TTL*second, h.newestTime})
}

// used says whether a lease was there before: its grant is not made twice.
func (h *history) used(s *state, id int64) bool {
	for then := s; then != nil; then = then.before {
		if _, ok := then.leases[id]; ok {
			return true
		}
	}
	return false
}

func (h *history) withLostGrants(s *state, request lines.Request, op *lines.Op) *state {
	eachPut(request, func(put *lines.Put) {
		if put.Lease != 0 {
			s = h.withLostGrant(s, put.Lease, h.newestTime)
		}
	})
	return s
}

func eachPut(request lines.Request, visit func(*lines.Put)) {
	if request.Put != nil {
		visit(request.Put)
	}
	if request.Txn != nil {
		for _, next := range append(slices.Clone(request.Txn.Success), request.Txn.Failure...) {
			eachPut(next, visit)
		}
	}
}

// refused: the state says no, perhaps because of something unseen.
func (h *history) refused(s *state, op *lines.Op) (bool, *state) {
	why := op.Answer.Refused
	if h.refusal(s, op.Request) == why {
		return true, s
	}
	switch {
	case why == lines.Compacted && op.Request.Txn == nil:
		above := int64(0)
		if op.Request.Range != nil {
			above = op.Request.Range.Revision
			if above <= 0 {
				return false, nil
			}
		} else {
			above = op.Request.Compact.Revision - 1
		}
		for _, lost := range h.lostCompactions {
			ok, next := h.compacts(s, lost.Request.Compact.Revision)
			if ok && lost.Call <= op.Return && next.compacted > above {
				return true, next
			}
		}
	case why == lines.LeaseNotFound:
		return h.refusedLease(s, op)
	case why == lines.LeaseExists && op.Request.Grant != nil:
		next := h.withLostGrant(s, op.Request.Grant.Lease, op.Return)
		return next != s, next
	}
	return false, nil
}

// refusedLease tries the leases that a request names, one of which must have gone.
func (h *history) refusedLease(s *state, op *lines.Op) (bool, *state) {
	var ids []int64
	if op.Request.Revoke != nil {
		ids = append(ids, op.Request.Revoke.Lease)
	}
	eachPut(op.Request, func(put *lines.Put) { ids = append(ids, put.Lease) })
	for _, id := range ids {
		if _, held := s.leases[id]; !held {
			continue
		}
		ok, next := h.gone(s, id, op.Return)
		if ok && h.refusal(next, op.Request) == op.Answer.Refused {
			return true, next
		}
	}
	return false, nil
}

// refusal is why a request would be refused, or nothing.
func (h *history) refusal(s *state, request lines.Request) string {
	switch {
	case request.Range != nil && request.Range.Revision > s.revision:
		return lines.Future
	case request.Range != nil && request.Range.Revision > 0 && request.Range.Revision < s.compacted:
		return lines.Compacted
	case request.Compact != nil && request.Compact.Revision > s.revision:
		return lines.Future
	case request.Compact != nil && request.Compact.Revision <= s.compacted:
		return lines.Compacted
	case request.Put != nil && request.Put.Lease != 0:
		return unknown(s, request.Put.Lease)
	case request.Revoke != nil:
		return unknown(s, request.Revoke.Lease)
	case request.Grant != nil:
		if _, ok := s.leases[request.Grant.Lease]; ok {
			return lines.LeaseExists
		}
	case request.Txn != nil:
		_, branch := taken(s, request.Txn)
		for _, next := range branch {
			if why := h.refusal(s, next); why != "" {
				return why
			}
		}
	}
	return ""
}

func unknown(s *state, id int64) string {
	if _, ok := s.leases[id]; !ok {
		return lines.LeaseNotFound
	}
	return ""
}

// run carries out a range, put, delete or transaction.
func run(s *state, request lines.Request) (*state, lines.Answer) {
	if request.Range != nil {
		then := s
		if request.Range.Revision > 0 {
			if request.Range.Revision > s.revision || request.Range.Revision < s.compacted {
				return s, lines.Answer{}
			}
			then = s.at(request.Range.Revision)
		}
		return s, lines.Answer{Range: find(then, request.Range)}
	}
	c := s.change()
	answer := c.run(s, request)
	return c.done(), answer
}

// run does a request on top of what the same transaction has changed; compares are of before it.
func (c *change) run(before *state, request lines.Request) (answer lines.Answer) {
	switch {
	case request.Range != nil:
		answer.Range = find(c.view(), request.Range)
	case request.Put != nil:
		prev := c.put(request.Put)
		answer.Put = &lines.PutAnswer{}
		if request.Put.PrevKV {
			answer.Put.Prev = prev
		}
	case request.Delete != nil:
		found := c.view().span(request.Delete.Key, request.Delete.End)
		c.delete(found)
		answer.Delete = &lines.DeleteAnswer{Deleted: int64(len(found))}
		if request.Delete.PrevKV {
			answer.Delete.Prevs = values(found)
		}
	case request.Txn != nil:
		succeeded, branch := taken(before, request.Txn)
		answer.Txn = &lines.TxnAnswer{Succeeded: succeeded}
		for _, next := range branch {
			answer.Txn.Results = append(answer.Txn.Results, c.run(before, next))
		}
	}
	return answer
}

func values(found []*lines.KV) (all []lines.KV) {
	for _, kv := range found {
		all = append(all, *kv)
	}
	return all
}

func find(s *state, r *lines.Range) *lines.RangeAnswer {
	found := s.span(r.Key, r.End)
	answer := &lines.RangeAnswer{Count: int64(len(found))}
	if r.CountOnly {
		return answer
	}
	if r.Limit > 0 && answer.Count > r.Limit {
		found, answer.More = found[:r.Limit], true
	}
	answer.KVs = values(found)
	return answer
}

func taken(s *state, txn *lines.Txn) (bool, []lines.Request) {
	for _, compare := range txn.Compare {
		if !holds(s, compare) {
			return false, txn.Failure
		}
	}
	return true, txn.Success
}

func holds(s *state, c lines.Compare) bool {
	found := s.span(c.Key, c.End)
	if len(found) == 0 {
		// A key that is not there counts as 0, but has no value.
		return c.With.Value == nil && holdsOf(&lines.KV{}, c)
	}
	for _, kv := range found {
		if !holdsOf(kv, c) {
			return false
		}
	}
	return true
}

func holdsOf(kv *lines.KV, c lines.Compare) bool {
	order := 0
	number := func(has int64, with *int64) {
		if with != nil && has != *with {
			order = 1
			if has < *with {
				order = -1
			}
		}
	}
	number(kv.Version, c.With.Version)
	number(kv.Create, c.With.Create)
	number(kv.Mod, c.With.Mod)
	number(kv.Lease, c.With.Lease)
	if c.With.Value != nil && kv.Value != *c.With.Value {
		order = 1
		if kv.Value < *c.With.Value {
			order = -1
		}
	}
	switch c.Result {
	case "equal":
		return order == 0
	case "not_equal":
		return order != 0
	case "greater":
		return order > 0
	}
	return order < 0
}
