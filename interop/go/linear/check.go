// Package linear checks recorded histories with porcupine: the operations against a model of a
// store, then each watch against the order that porcupine has found.
//
// It is a second opinion to the checkers of Tenet and shares nothing with them but the form of the
// file. Revisions only narrow the search: they are part of the answers, so an order must have the
// operations that make revisions in the order of these.
package linear

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"tenet.test/interop/lines"
)

// input is an operation, or the end of a lease by itself.
type input struct {
	op     *lines.Op
	writes bool
	ends   int64
}

// history is what is known before the search.
type history struct {
	ops []*lines.Op
	// Which revisions somebody says to have made, and how many name a revision and make none.
	maker    map[int64]bool
	standing map[int64]int
	// When a revision, or a later one, was shown first.
	shown  []int64
	newest int64
	// The last time in the history.
	newestTime int64
	// What was seen of the revisions without a maker.
	facts           map[int64][]fact
	lostGrants      map[int64]*lines.Op
	lostRevokes     map[int64][]int64
	lostCompactions []*lines.Op
	compactions     []*lines.Op
	// The revisions of those that were acknowledged, in order.
	doneCompactions []int64
}

type fact struct {
	key string
	kv  *lines.KV
}

// Result is what was found.
type Result struct {
	Operations, Watches, Events int
	// Wrong is empty if all is well.
	Wrong []string
}

// Check checks a history. Porcupine gives up after the time limit, which counts as wrong.
func Check(all []lines.Line, limit time.Duration) Result {
	h := gather(all)
	result := Result{Operations: len(h.ops)}
	if wrong := h.form(); wrong != "" {
		result.Wrong = append(result.Wrong, wrong)
		return result
	}
	verdict, info := porcupine.CheckOperationsVerbose(h.model(), h.operations(), limit)
	if verdict != porcupine.Ok {
		result.Wrong = append(result.Wrong, fmt.Sprintf("porcupine finds no order of the operations: %v", verdict))
		return result
	}
	last := h.replay(info)
	for _, op := range h.ops {
		if wrong := oldRead(last, op); wrong != "" {
			result.Wrong = append(result.Wrong, wrong)
		}
	}
	watches := h.watches(all, last)
	result.Watches, result.Events = watches.count, watches.events
	result.Wrong = append(result.Wrong, watches.wrong...)
	return result
}

func gather(all []lines.Line) *history {
	h := &history{
		maker: map[int64]bool{}, standing: map[int64]int{}, facts: map[int64][]fact{},
		lostGrants: map[int64]*lines.Op{}, lostRevokes: map[int64][]int64{}, newest: 1,
	}
	for _, line := range all {
		if line.Op != nil {
			h.add(line.Op)
		}
	}
	slices.Sort(h.doneCompactions)
	first := map[int64]int64{}
	show := func(revision, at int64) {
		h.newest = max(h.newest, revision)
		h.newestTime = max(h.newestTime, at)
		if before, ok := first[revision]; !ok || at < before {
			first[revision] = at
		}
	}
	for _, line := range all {
		switch {
		case line.Op != nil && line.Op.Answer != nil:
			show(line.Op.Revision, line.Op.Return)
			eachKV(line.Op.Answer, func(kv *lines.KV) { h.see(kv.Mod, kv.Key, kv) })
		case line.Told != nil:
			show(line.Told.Revision, line.Told.At)
			for _, event := range line.Told.Events {
				show(event.KV.Mod, line.Told.At)
				kv := &event.KV
				if event.Deleted {
					kv = nil
				}
				h.see(event.KV.Mod, event.KV.Key, kv)
				if event.Prev != nil {
					h.see(event.Prev.Mod, event.Prev.Key, event.Prev)
				}
			}
		}
	}
	h.shown = make([]int64, h.newest+2)
	earliest := int64(math.MaxInt64)
	for revision := h.newest + 1; revision >= 0; revision-- {
		if at, ok := first[revision]; ok {
			earliest = min(earliest, at)
		}
		h.shown[revision] = earliest
	}
	return h
}

func (h *history) add(op *lines.Op) {
	h.ops = append(h.ops, op)
	request := op.Request
	if request.Compact != nil {
		h.compactions = append(h.compactions, op)
		if op.Answer != nil && op.Answer.Done {
			h.doneCompactions = append(h.doneCompactions, request.Compact.Revision)
		}
	}
	switch {
	case op.Answer == nil && request.Grant != nil:
		h.lostGrants[request.Grant.Lease] = op
	case op.Answer == nil && request.Revoke != nil:
		h.lostRevokes[request.Revoke.Lease] = append(h.lostRevokes[request.Revoke.Lease], op.Call)
	case op.Answer == nil && request.Compact != nil:
		h.lostCompactions = append(h.lostCompactions, op)
		slices.SortFunc(h.lostCompactions, func(a, b *lines.Op) int {
			return int(a.Request.Compact.Revision - b.Request.Compact.Revision)
		})
	case op.Answer != nil && wrote(*op.Answer):
		h.maker[op.Revision] = true
	case op.Answer != nil && stands(op):
		h.standing[op.Revision]++
	}
}

func (h *history) see(revision int64, key string, kv *lines.KV) {
	if h.maker[revision] {
		return
	}
	one := fact{key, kv}
	if !slices.ContainsFunc(h.facts[revision], func(other fact) bool { return reflect.DeepEqual(one, other) }) {
		h.facts[revision] = append(h.facts[revision], one)
	}
}

// fits says whether the newest revision of a state is as it was seen.
func (h *history) fits(s *state) bool {
	for _, fact := range h.facts[s.revision] {
		if !slices.ContainsFunc(s.events, func(event lines.Event) bool {
			return event.KV.Key == fact.key && event.Deleted == (fact.kv == nil) && (fact.kv == nil || *fact.kv == event.KV)
		}) {
			return false
		}
	}
	return true
}

func (h *history) shownAt(revision int64) int64 {
	if revision >= int64(len(h.shown)) {
		return math.MaxInt64
	}
	return h.shown[revision]
}

// form finds what needs no search: numbers used twice, makers that come after what they made.
func (h *history) form() string {
	ids, made, leases := map[int64]bool{}, map[int64]bool{}, map[int64]bool{}
	for _, op := range h.ops {
		if ids[op.ID] || op.Return < op.Call {
			return fmt.Sprintf("operation %d is no operation", op.ID)
		}
		ids[op.ID] = true
		if op.Answer == nil {
			continue
		}
		if op.Answer.Grant != nil {
			if leases[op.Answer.Grant.Lease] {
				return fmt.Sprintf("operation %d grants a lease again", op.ID)
			}
			leases[op.Answer.Grant.Lease] = true
		}
		if !wrote(*op.Answer) {
			continue
		}
		if op.Revision < 2 || made[op.Revision] {
			return fmt.Sprintf("operation %d makes revision %d, which was made by another", op.ID, op.Revision)
		}
		made[op.Revision] = true
		if op.Call > h.shownAt(op.Revision) {
			return fmt.Sprintf("operation %d makes revision %d after it was shown", op.ID, op.Revision)
		}
	}
	return ""
}

func wrote(answer lines.Answer) bool {
	switch {
	case answer.Put != nil:
		return true
	case answer.Delete != nil:
		return answer.Delete.Deleted > 0
	case answer.Txn != nil:
		return slices.ContainsFunc(answer.Txn.Results, wrote)
	}
	return false
}

// stands says whether an operation that made no revision names the one at which it was done.
func stands(op *lines.Op) bool {
	request := op.Request
	aside := request.Range != nil && request.Range.Serializable
	return op.Answer.Refused == "" && op.Answer.Lease == nil && request.Compact == nil && !aside
}

func changes(request lines.Request) bool {
	if request.Txn != nil {
		return slices.ContainsFunc(request.Txn.Success, changes) || slices.ContainsFunc(request.Txn.Failure, changes)
	}
	return request.Put != nil || request.Delete != nil || request.Revoke != nil
}

// operations are those that porcupine has to order: all that were answered, those without an answer
// that may have made a revision, and the ends of leases.
func (h *history) operations() (all []porcupine.Operation) {
	for _, op := range h.ops {
		in := &input{op: op}
		until := op.Return
		switch {
		case op.Request.Range != nil && op.Request.Range.Serializable:
			continue
		case op.Answer == nil && !changes(op.Request):
		case op.Answer == nil:
			until = math.MaxInt64
		default:
			in.writes = wrote(*op.Answer)
		}
		if op.Answer != nil || until == math.MaxInt64 {
			all = append(all, porcupine.Operation{ClientId: op.Client + 1, Input: in, Call: op.Call, Return: until})
		}
		id := int64(0)
		if op.Request.Grant != nil {
			id = op.Request.Grant.Lease
			if op.Answer != nil && op.Answer.Grant != nil {
				id = op.Answer.Grant.Lease
			}
		}
		if id != 0 && (op.Answer == nil || op.Answer.Grant != nil) {
			all = append(all, porcupine.Operation{Input: &input{ends: id}, Call: op.Call, Return: math.MaxInt64})
		}
	}
	return all
}

func (h *history) model() porcupine.Model {
	return porcupine.Model{
		Init: func() any {
			return &state{revision: 1, compacted: -1, keys: map[string]*lines.KV{}, leases: map[int64]lease{}}
		},
		Step: func(s, in, _ any) (bool, any) {
			ok, next := h.step(s.(*state), in.(*input))
			return ok, next
		},
		Equal: func(a, b any) bool { return same(a.(*state), b.(*state)) },
		Hash:  func(s any) uint64 { return s.(*state).hash() },
	}
}

// replay does the operations in the order that porcupine has found.
func (h *history) replay(info porcupine.LinearizationInfo) *state {
	var order []porcupine.Operation
	for _, found := range info.PartialLinearizationsOperations()[0] {
		if len(found) > len(order) {
			order = found
		}
	}
	s := h.model().Init().(*state)
	for _, op := range order {
		ok, next := h.step(s, op.Input.(*input))
		if !ok {
			panic("an order that was found does not hold")
		}
		s = next
	}
	return s
}

// oldRead checks a read that may be of any age against the revision that it names.
func oldRead(last *state, op *lines.Op) string {
	if op.Request.Range == nil || !op.Request.Range.Serializable || op.Answer == nil || op.Answer.Range == nil {
		return ""
	}
	revision := op.Request.Range.Revision
	if revision <= 0 {
		revision = op.Revision
	}
	if !reflect.DeepEqual(find(last.at(revision), op.Request.Range), op.Answer.Range) {
		return fmt.Sprintf("operation %d does not find what there was at revision %d", op.ID, revision)
	}
	return ""
}

func eachKV(answer *lines.Answer, visit func(*lines.KV)) {
	switch {
	case answer.Range != nil:
		for i := range answer.Range.KVs {
			visit(&answer.Range.KVs[i])
		}
	case answer.Put != nil && answer.Put.Prev != nil:
		visit(answer.Put.Prev)
	case answer.Delete != nil:
		for i := range answer.Delete.Prevs {
			visit(&answer.Delete.Prevs[i])
		}
	case answer.Txn != nil:
		for i := range answer.Txn.Results {
			eachKV(&answer.Txn.Results[i], visit)
		}
	}
}

func leaseOf(request lines.Request) int64 {
	if request.KeepAlive != nil {
		return request.KeepAlive.Lease
	}
	return request.TimeToLive.Lease
}
