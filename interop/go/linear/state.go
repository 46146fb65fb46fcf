package linear

import (
	"hash/fnv"
	"maps"
	"slices"
	"strings"

	"tenet.test/interop/lines"
)

// state is a store after some operations. It is never changed: every step makes a new one, which
// shares what has stayed the same.
type state struct {
	revision  int64
	compacted int64
	keys      map[string]*lines.KV
	leases    map[int64]lease
	// How many operations that left the revision as it is were done at it.
	here int
	// What the newest revision has changed, and the state that it was made from.
	events []lines.Event
	before *state
	// A hash of all revisions so far.
	chain uint64
}

type lease struct {
	ttl int64
	// It may not end by itself before; given says when the client knew.
	until, given int64
}

func (s *state) copied() *state {
	next := *s
	return &next
}

// at is the store as it was at a revision.
func (s *state) at(revision int64) *state {
	then := s
	for then.revision > revision {
		then = then.before
	}
	return then
}

// span lists what is there in the order of the keys.
func (s *state) span(key, end string) (found []*lines.KV) {
	if end == "" {
		if kv := s.keys[key]; kv != nil {
			found = append(found, kv)
		}
		return found
	}
	for one, kv := range s.keys {
		if lines.Contains(key, end, one) {
			found = append(found, kv)
		}
	}
	slices.SortFunc(found, func(a, b *lines.KV) int { return strings.Compare(a.Key, b.Key) })
	return found
}

func (s *state) attached(id int64) (found []*lines.KV) {
	for _, kv := range s.keys {
		if kv.Lease == id {
			found = append(found, kv)
		}
	}
	slices.SortFunc(found, func(a, b *lines.KV) int { return strings.Compare(a.Key, b.Key) })
	return found
}

func (s *state) withLease(id int64, l lease) *state {
	next := s.copied()
	next.leases = maps.Clone(s.leases)
	next.leases[id] = l
	return next
}

func (s *state) withoutLease(id int64) *state {
	next := s.copied()
	next.leases = maps.Clone(s.leases)
	delete(next.leases, id)
	return next
}

// change is a revision that is being made.
type change struct {
	from   *state
	keys   map[string]*lines.KV
	events []lines.Event
}

func (s *state) change() *change { return &change{from: s, keys: maps.Clone(s.keys)} }

func (c *change) view() *state {
	view := *c.from
	view.keys = c.keys
	return &view
}

func (c *change) put(put *lines.Put) *lines.KV {
	prev := c.keys[put.Key]
	kv := &lines.KV{Key: put.Key, Value: put.Value, Lease: put.Lease, Mod: c.from.revision + 1, Create: c.from.revision + 1, Version: 1}
	if prev != nil {
		kv.Create, kv.Version = prev.Create, prev.Version+1
	}
	c.keys[put.Key] = kv
	c.events = append(c.events, lines.Event{KV: *kv, Prev: prev})
	return prev
}

func (c *change) delete(found []*lines.KV) {
	for _, kv := range found {
		delete(c.keys, kv.Key)
		c.events = append(c.events, lines.Event{Deleted: true, KV: lines.KV{Key: kv.Key, Mod: c.from.revision + 1}, Prev: kv})
	}
}

// done is the state with the new revision, or the old one if nothing has changed.
func (c *change) done() *state {
	if len(c.events) == 0 {
		return c.from
	}
	next := c.from.copied()
	next.revision, next.here, next.keys = c.from.revision+1, 0, c.keys
	next.events, next.before = c.events, c.from
	hash := fnv.New64a()
	for _, event := range c.events {
		hash.Write([]byte(event.KV.Key + "\x00" + event.KV.Value + "\x00"))
		number := [3]int64{event.KV.Version, event.KV.Lease, int64(c.from.chain)}
		for _, n := range number {
			for shift := 0; shift < 64; shift += 8 {
				hash.Write([]byte{byte(n >> shift)})
			}
		}
	}
	next.chain = hash.Sum64()
	return next
}

func same(a, b *state) bool {
	return a.revision == b.revision && a.chain == b.chain && a.here == b.here && a.compacted == b.compacted &&
		maps.Equal(a.leases, b.leases)
}

func (s *state) hash() uint64 { return s.chain*31 + uint64(s.revision)*7 + uint64(s.here) }
