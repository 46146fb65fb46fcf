package linear

import (
	"fmt"
	"reflect"

	"tenet.test/interop/lines"
)

// followed is a watch and what it has to be told next.
type followed struct {
	ask *lines.Watch
	// begun and over say where it is in its life; what comes after something wrong is not looked at.
	begun, over, wrong bool
	start              int64
	// due are the events that it wants, all of them, in order; told is how many it has had.
	due  []lines.Event
	told int
	// whole says that the last response may not be gone on with.
	whole bool
	// complete is the revision up to which it was said to be told everything.
	complete int64
}

type watches struct {
	count, events int
	wrong         []string
	log           []lines.Event
	newest        int64
	compactions   []*lines.Op
	byID          map[int64]*followed
	byStream      map[int64][]*followed
}

// watches follows every watch along the revisions of the order that was found. The rule is one: what
// a watch is told next is what comes next of what it wants.
func (h *history) watches(all []lines.Line, last *state) *watches {
	w := &watches{compactions: h.compactions, newest: last.revision, byID: map[int64]*followed{}, byStream: map[int64][]*followed{}}
	for s := last; s.before != nil; s = s.before {
		if s.revision != s.before.revision {
			w.log = append(w.log, reversed(s.events)...)
		}
		for s.before.before != nil && s.before.revision == s.revision {
			s = s.before
		}
	}
	w.log = reversed(w.log)
	for _, line := range all {
		switch {
		case line.Watch != nil:
			w.count++
			f := &followed{ask: line.Watch}
			w.byID[f.ask.ID] = f
			w.byStream[f.ask.Stream] = append(w.byStream[f.ask.Stream], f)
		case line.Told != nil:
			w.take(line.Told)
		}
	}
	return w
}

func reversed(events []lines.Event) []lines.Event {
	back := make([]lines.Event, 0, len(events))
	for i := len(events) - 1; i >= 0; i-- {
		back = append(back, events[i])
	}
	return back
}

func (w *watches) fail(f *followed, format string, args ...any) {
	w.wrong = append(w.wrong, fmt.Sprintf("watch %d: ", f.ask.ID)+fmt.Sprintf(format, args...))
	f.wrong = true
}

func (w *watches) take(told *lines.Told) {
	if told.Watch == nil {
		for _, f := range w.byStream[told.Stream] {
			if f.begun && !f.over && !f.wrong {
				w.completeUpTo(f, told.Revision)
			}
		}
		return
	}
	f := w.byID[*told.Watch]
	if f == nil {
		w.wrong = append(w.wrong, fmt.Sprintf("nobody has asked for watch %d", *told.Watch))
		return
	}
	switch {
	case f.wrong:
	case f.over:
		w.fail(f, "is told something after its end")
	case told.Created && f.begun, !told.Created && !f.begun:
		w.fail(f, "does not begin once, before all else")
	case told.Created:
		w.begin(f, told.Revision)
	case told.Canceled:
		w.cancel(f, told)
	case len(told.Events) == 0:
		w.completeUpTo(f, told.Revision)
	default:
		w.tell(f, told)
	}
}

func (w *watches) begin(f *followed, revision int64) {
	f.begun, f.start = true, f.ask.Start
	if f.start == 0 {
		f.start = revision + 1
	}
	for _, event := range w.log {
		kind := !f.ask.NoPut
		if event.Deleted {
			kind = !f.ask.NoDelete
		}
		if kind && event.KV.Mod >= f.start && lines.Contains(f.ask.Key, f.ask.End, event.KV.Key) {
			f.due = append(f.due, event)
		}
	}
}

func (w *watches) cancel(f *followed, told *lines.Told) {
	if told.Compacted != 0 {
		asked := false
		for _, op := range w.compactions {
			asked = asked || op.Request.Compact.Revision == told.Compacted && op.Call <= told.At
		}
		if !asked || f.start >= told.Compacted {
			w.fail(f, "ends by a compaction at %d for no reason", told.Compacted)
		}
	}
	f.over = true
}

func (w *watches) completeUpTo(f *followed, revision int64) {
	if revision < f.start {
		return
	}
	if f.told < len(f.due) && f.due[f.told].KV.Mod <= revision {
		w.fail(f, "is said to be complete up to %d before it was told of %s in %d", revision, f.due[f.told].KV.Key, f.due[f.told].KV.Mod)
	}
	f.complete = max(f.complete, revision)
}

func (w *watches) tell(f *followed, told *lines.Told) {
	if f.whole && f.told > 0 && f.due[f.told-1].KV.Mod == told.Events[0].KV.Mod {
		w.fail(f, "gets revision %d in two responses", told.Events[0].KV.Mod)
		return
	}
	for _, event := range told.Events {
		w.events++
		if f.told == len(f.due) {
			w.fail(f, "is told of revision %d, and nothing is left to be told", event.KV.Mod)
			return
		}
		due := f.due[f.told]
		if event.KV.Mod > told.Revision || event.Deleted != due.Deleted || event.KV != due.KV {
			w.fail(f, "is told of %s in %d, but %s in %d comes next", event.KV.Key, event.KV.Mod, due.KV.Key, due.KV.Mod)
			return
		}
		if !w.previous(f, event, due, told) {
			w.fail(f, "is told wrongly what was before revision %d", event.KV.Mod)
			return
		}
		f.told++
	}
	f.whole = !told.Fragment
	if told.Fragment && !f.ask.Fragment {
		w.fail(f, "gets a response in parts")
	}
}

// previous says whether what was before is told rightly; it may be missing once it was compacted.
func (w *watches) previous(f *followed, event, due lines.Event, told *lines.Told) bool {
	if !f.ask.PrevKV {
		return event.Prev == nil
	}
	if event.Prev == nil && due.Prev != nil {
		for _, op := range w.compactions {
			if op.Request.Compact.Revision >= event.KV.Mod && op.Call <= told.At {
				return true
			}
		}
	}
	return reflect.DeepEqual(event.Prev, due.Prev)
}
