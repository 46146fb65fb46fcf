package diff

import (
	"context"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	// How many histories are tried to find a short one; each starts two servers.
	triesMax = 400
	// How long it is tried.
	shrinkMax = 2 * time.Minute
)

// Shrink looks for a short history with a difference: it takes away ever smaller parts, then single
// fields of requests, as long as some difference is left. What it gives has the reference's
// answers, and is nil if the difference does not come again.
func Shrink(ctx context.Context, config Config, found *Difference) (*Script, *Difference) {
	s := shrinking{Config: config, until: time.Now().Add(shrinkMax), left: triesMax}
	s.Clients = found.Clients
	if !s.try(ctx, found.Steps) {
		return nil, found
	}
	for again := true; again; {
		before := len(s.steps)
		s.takeAway(ctx)
		again = len(s.steps) < before
	}
	s.clearFields(ctx)
	script := &Script{Clients: found.Clients, steps: s.steps}
	for _, answer := range s.reference.answers {
		script.Answers = append(script.Answers, answer.String())
	}
	last := len(s.steps) - 1
	return script, &Difference{
		Clients: found.Clients, Steps: s.steps, Reference: s.reference.answers[s.at].String(),
		Tested: s.tested.answers[min(s.at, last)].String(),
	}
}

// shrinking holds the shortest history so far.
type shrinking struct {
	Config
	until             time.Time
	left              int
	steps             []step
	reference, tested played
	at                int
}

// try plays a history and keeps it if there is a difference.
func (s *shrinking) try(ctx context.Context, steps []step) bool {
	if s.left == 0 || len(steps) == 0 || time.Now().After(s.until) {
		return false
	}
	s.left--
	plant, err := newPlant(s.Planted)
	if err != nil {
		return false
	}
	configs := [2]peerConfig{
		{binary: s.Reference, folder: s.Folder, name: "reference", flags: []string{"--unsafe-no-fsync"}},
		{binary: s.Tested, folder: s.Folder, name: "tested", plant: plant},
	}
	var got [2]played
	var errs [2]error
	together(configs, func(i int, config peerConfig) { got[i], errs[i] = play(ctx, s.Clients, steps, config) })
	if errs[0] != nil || errs[1] != nil {
		return false
	}
	for i := range steps {
		if got[0].answers[i].equal(got[1].answers[i]) {
			continue
		}
		if s.Clients == 0 {
			// What follows is not needed.
			steps = steps[:i+1]
			for side := range got {
				got[side].answers = got[side].answers[:i+1]
			}
		}
		s.steps, s.reference, s.tested, s.at = steps, got[0], got[1], i
		return true
	}
	return false
}

func (s *shrinking) takeAway(ctx context.Context) {
	for part := max(len(s.steps)/2, 1); part >= 1; part /= 2 {
		for start := 0; start < len(s.steps); {
			if !s.try(ctx, without(s.steps, s.reference.grew, start, min(start+part, len(s.steps)))) {
				start += part
			}
		}
	}
}

// without leaves out steps [start, end), and lowers the revisions in what follows by those that
// are no longer there.
func without(steps []step, grew []int64, start, end int) []step {
	gone := map[int][]int64{}
	newest := map[int]int64{}
	for i, s := range steps[:end] {
		for range grew[i] {
			newest[s.client]++
			if i >= start {
				// The first change is at revision 2.
				gone[s.client] = append(gone[s.client], newest[s.client]+1)
			}
		}
	}
	left := slices.Clone(steps[:start])
	for _, s := range steps[end:] {
		if m := message(s.ask); m != nil && len(gone[s.client]) > 0 {
			m = proto.Clone(m)
			lower(m.ProtoReflect(), gone[s.client])
			s.ask = withMessage(s.ask, m)
		}
		left = append(left, s)
	}
	return left
}

func lower(m protoreflect.Message, gone []int64) {
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.Kind() == protoreflect.MessageKind && field.IsList():
			for i := range value.List().Len() {
				lower(value.List().Get(i).Message(), gone)
			}
		case field.Kind() == protoreflect.MessageKind:
			lower(value.Message(), gone)
		case field.Kind() == protoreflect.Int64Kind && strings.HasSuffix(string(field.Name()), "revision"):
			below, found := slices.BinarySearch(gone, value.Int())
			if found {
				below++
			}
			m.Set(field, protoreflect.ValueOfInt64(value.Int()-int64(below)))
		}
		return true
	})
}

// clearFields takes away single fields of requests, and single parts of lists.
func (s *shrinking) clearFields(ctx context.Context) {
	for i := 0; i < len(s.steps); i++ {
		for n := 0; ; {
			m := message(s.steps[i].ask)
			if m == nil {
				break
			}
			m = proto.Clone(m)
			at := n
			if !clearNth(m.ProtoReflect(), &at) {
				break
			}
			steps := slices.Clone(s.steps)
			steps[i].ask = withMessage(s.steps[i].ask, m)
			if !s.try(ctx, steps) {
				n++
			}
			if i >= len(s.steps) {
				break
			}
		}
	}
}

// clearNth takes away the n-th thing that can be, counting through a message, and tells whether
// there was one.
func clearNth(m protoreflect.Message, n *int) bool {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if !m.Has(field) {
			continue
		}
		if !field.IsList() {
			if *n == 0 {
				m.Clear(field)
				return true
			}
			*n--
			if field.Kind() == protoreflect.MessageKind && clearNth(m.Mutable(field).Message(), n) {
				return true
			}
			continue
		}
		list := m.Mutable(field).List()
		for k := range list.Len() {
			if *n == 0 {
				for ; k+1 < list.Len(); k++ {
					list.Set(k, list.Get(k+1))
				}
				list.Truncate(list.Len() - 1)
				return true
			}
			*n--
			if field.Kind() == protoreflect.MessageKind && clearNth(list.Get(k).Message(), n) {
				return true
			}
		}
	}
	return false
}
