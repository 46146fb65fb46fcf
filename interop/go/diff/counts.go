package diff

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Counts is how often each option was asked for, and each kind of answer came: what a comparison
// without a difference is worth. It is safe for several histories at once; nil counts nothing.
type Counts struct {
	mu sync.Mutex
	of map[string]int
}

// Add counts something.
func (c *Counts) Add(name string, more int) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = map[string]int{}
	}
	c.of[name] += more
}

// Of is how often something was seen.
func (c *Counts) Of(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.of[name]
}

// responseRevisionsMax is how many revisions a response to a watch holds.
const responseRevisionsMax = 1000

const (
	countSteps    = "steps"
	countReads    = "reads"
	countOldReads = "reads at an old revision, answered"
)

// step counts a step and what came of it at the reference.
func (c *Counts) step(ask any, at moment, got answer) {
	if c == nil {
		return
	}
	seen := tally{at: at, of: map[string]int{}}
	seen.add(countSteps)
	if at.client != 0 {
		seen.add("steps beside other clients")
	}
	seen.ask(ask)
	seen.answer(ask, got)
	for name, more := range seen.of {
		c.Add(name, more)
	}
}

// tally counts one step.
type tally struct {
	at moment
	of map[string]int
}

func (t *tally) add(format string, args ...any) { t.of[fmt.Sprintf(format, args...)]++ }

func (t *tally) ask(ask any) {
	m := message(ask)
	if m == nil {
		words := strings.Fields(askText(ask))
		switch ask.(type) {
		case restart, barrier:
			t.add("%s %s", words[0], words[1])
		default:
			t.add("%s", words[0])
		}
		return
	}
	if _, ok := ask.(*stream); ok {
		t.add("RangeStream")
	}
	t.message(m.ProtoReflect(), 0)
}

// message counts the fields that are set, with the kind of value where there are few.
func (t *tally) message(m protoreflect.Message, depth int) {
	name := m.Descriptor().Name()
	t.add("%s", name)
	t.ranges(m.Interface())
	if name == "TxnRequest" {
		t.add("TxnRequest at depth %d", depth)
		depth++
	}
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		full := fmt.Sprintf("%s.%s", name, field.Name())
		if field.IsList() {
			t.add("%s", full)
			for i := range value.List().Len() {
				t.value(full, field, value.List().Get(i), depth)
			}
			return true
		}
		t.value(full, field, value, depth)
		return true
	})
}

func (t *tally) value(full string, field protoreflect.FieldDescriptor, value protoreflect.Value, depth int) {
	switch field.Kind() {
	case protoreflect.MessageKind:
		if field.Message().Name() == "ResponseHeader" {
			return
		}
		if !field.IsList() {
			t.add("%s", full)
		}
		t.message(value.Message(), depth)
	case protoreflect.EnumKind:
		number := value.Enum()
		if of := field.Enum().Values().ByNumber(number); of != nil {
			t.add("%s=%s", full, of.Name())
		} else {
			t.add("%s=unknown", full)
		}
	case protoreflect.Int64Kind:
		t.add("%s", full)
		if strings.HasSuffix(full, "Request.revision") || strings.HasSuffix(full, ".start_revision") {
			t.add("%s: %s", full, t.when(value.Int()))
			if value.Int() > 0 && t.at.revision-value.Int() > responseRevisionsMax {
				t.add("%s: far behind", full)
			}
		}
	default:
		t.add("%s", full)
	}
}

func (t *tally) when(revision int64) string {
	switch {
	case revision < 0:
		return "negative"
	case revision < t.at.compacted:
		return "compacted"
	case revision == t.at.compacted:
		return "at the compaction"
	case revision < t.at.revision:
		return "old"
	case revision == t.at.revision:
		return "newest"
	}
	return "future"
}

// ranges counts the forms of ranges: of the enums' zeroes and of keys nothing else is seen.
func (t *tally) ranges(m proto.Message) {
	ranged, ok := m.(interface {
		GetKey() []byte
		GetRangeEnd() []byte
	})
	if !ok {
		return
	}
	key, end := ranged.GetKey(), ranged.GetRangeEnd()
	form := "range"
	switch {
	case len(end) == 0:
		form = "one key"
	case end[0] == 0:
		form = "from a key on"
	case bytes.Compare(key, end) >= 0:
		form = "empty range"
	case len(key) == len(end) && bytes.Equal(key[:len(key)-1], end[:len(end)-1]) && key[len(key)-1]+1 == end[len(end)-1]:
		form = "prefix"
	}
	name := m.ProtoReflect().Descriptor().Name()
	t.add("%s of %s", name, form)
	switch m := m.(type) {
	case *pb.RangeRequest:
		if m.SortOrder == 0 && m.SortTarget != 0 {
			t.add("RangeRequest sorted without an order")
		}
	case *pb.Compare:
		t.add("Compare %v", m.Target)
		t.add("Compare %v", m.Result)
	}
}

var digits = regexp.MustCompile(`[0-9]+`)

func (t *tally) answer(ask any, got answer) {
	switch {
	case got.words == "":
	case message(ask) != nil:
		t.add("answer: %s", digits.ReplaceAllString(got.words, "N"))
	}
	for _, line := range got.lines {
		t.response(line.message)
		t.message(line.message.ProtoReflect(), 0)
	}
	if m, ok := message(ask).(*pb.RangeRequest); ok {
		t.add(countReads)
		if got.words == "" && m.Revision > 0 && m.Revision < t.at.revision {
			t.add(countOldReads)
		}
	}
}

// response counts what is not to be seen from single fields.
func (t *tally) response(m proto.Message) {
	switch m := m.(type) {
	case *pb.TxnResponse:
		t.add("transaction: %v", map[bool]string{true: "compares hold", false: "compares fail"}[m.Succeeded])
	case *pb.WatchResponse:
		switch {
		case m.CompactRevision != 0:
			t.add("watch ended by compaction")
		case m.Created && m.Canceled:
			t.add("watch refused: %s", m.CancelReason)
		case m.Created:
			t.add("watch created")
		case m.Canceled:
			t.add("watch cancelled")
		case len(m.Events) == 0:
			t.add("progress request answered")
		}
		for _, event := range m.Events {
			t.add("event %v", event.Type)
		}
	}
}

// Print writes all counts, by name.
func (c *Counts) Print(to io.Writer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(c.of)) {
		fmt.Fprintf(to, "%9d  %s\n", c.of[name], name)
	}
	if reads := c.of[countReads]; reads > 0 {
		fmt.Fprintf(to, "%8d%%  of reads at an old revision\n", 100*c.of[countOldReads]/reads)
	}
}

// oldReadsShareMin is how many of a hundred reads must be at old revisions.
const oldReadsShareMin = 30

// Missing names what of the list was seen less often than it must be.
func (c *Counts) Missing(least int) (missing []string) {
	for _, name := range Required() {
		if seen := c.Of(name); seen < least {
			missing = append(missing, fmt.Sprintf("%s: %d", name, seen))
		}
	}
	if 100*c.Of(countOldReads) < oldReadsShareMin*c.Of(countReads) {
		missing = append(missing, fmt.Sprintf("%s: less than %d%% of reads", countOldReads, oldReadsShareMin))
	}
	return missing
}
