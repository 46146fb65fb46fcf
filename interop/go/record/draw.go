package record

import (
	"fmt"

	"tenet.test/interop/lines"
)

// Keys are few, so that clients meet; every value is written once.
const (
	keys      = 16
	quietKeys = 12
)

// sharedKey is one that every watch wants.
const sharedKey = "key/05"

func (c *client) key() string { return fmt.Sprintf("key/%02d", c.random.IntN(keys)) }

// span is one key, a range of some, or everything.
func (c *client) span() (key, end string) {
	switch c.random.IntN(5) {
	case 0:
		return "\x00", "\x00"
	case 1, 2:
		from := c.random.IntN(keys)
		return fmt.Sprintf("key/%02d", from), fmt.Sprintf("key/%02d", from+1+c.random.IntN(5))
	}
	return c.key(), ""
}

// draw decides what to do next.
func (c *client) draw() lines.Request {
	switch n := c.random.IntN(100); {
	case n < 34:
		return lines.Request{Put: c.put(c.key())}
	case n < 41:
		return lines.Request{Delete: c.delete()}
	case n < 58:
		return lines.Request{Txn: c.txn(1)}
	case n < 84:
		return lines.Request{Range: c.read()}
	case n < 86:
		return lines.Request{Grant: c.grant()}
	case n < 94:
		return c.ofLease()
	case n < 98:
		// Few write these, so that they are still there when their lease ends.
		put := c.put(fmt.Sprintf("key/quiet%d", c.random.IntN(quietKeys)))
		put.Lease, _ = c.run.leases.any(c.random)
		return lines.Request{Put: put}
	case c.random.IntN(4) == 0:
		return lines.Request{Compact: &lines.Compact{Revision: max(2, c.run.revision.Load()-int64(c.random.IntN(150)))}}
	}
	return lines.Request{Range: &lines.Range{Key: c.key(), Revision: c.run.revision.Load() + int64(c.random.IntN(40))}}
}

func (c *client) put(key string) *lines.Put {
	c.written++
	put := &lines.Put{Key: key, Value: fmt.Sprintf("c%d-%d", c.id, c.written), PrevKV: c.random.IntN(3) == 0}
	if c.random.IntN(4) == 0 {
		put.Lease, _ = c.run.leases.any(c.random)
	}
	return put
}

func (c *client) delete() *lines.Delete {
	del := &lines.Delete{PrevKV: c.random.IntN(3) == 0}
	del.Key, del.End = c.span()
	if del.Key == "\x00" && c.random.IntN(4) != 0 {
		del.Key, del.End = c.key(), ""
	}
	return del
}

func (c *client) read() *lines.Range {
	read := &lines.Range{Serializable: c.random.IntN(12) == 0, CountOnly: c.random.IntN(12) == 0}
	read.Key, read.End = c.span()
	if c.random.IntN(6) == 0 {
		read.Limit = 1 + c.random.Int64N(4)
	}
	if c.random.IntN(5) == 0 {
		read.Revision = max(0, c.run.revision.Load()-c.random.Int64N(120))
	}
	return read
}

// grant chooses its id half of the time; the server chooses others.
func (c *client) grant() *lines.Grant {
	grant := &lines.Grant{TTL: 2 + c.random.Int64N(3)}
	if c.random.IntN(2) == 0 {
		c.written++
		grant.Lease = int64(c.id+1)*1_000_000 + int64(c.written)
		if c.random.IntN(4) == 0 {
			// Others may use it whether the answer comes or not.
			c.run.leases.add(grant.Lease)
		}
	}
	return grant
}

func (c *client) ofLease() lines.Request {
	id, ok := c.run.leases.any(c.random)
	if !ok {
		return lines.Request{Grant: c.grant()}
	}
	switch n := c.random.IntN(20); {
	// Every third lease is seldom renewed, and ends.
	case n < 12 && (id%3 != 0 || n == 0):
		return lines.Request{KeepAlive: &lines.Lease{Lease: id}}
	case n < 19:
		return lines.Request{TimeToLive: &lines.Lease{Lease: id}}
	}
	return lines.Request{Revoke: &lines.Lease{Lease: id}}
}

// txn compares up to two keys and then changes or reads up to three, each of its own.
func (c *client) txn(depth int) *lines.Txn {
	txn := &lines.Txn{}
	for range c.random.IntN(3) {
		txn.Compare = append(txn.Compare, c.compare())
	}
	txn.Success, txn.Failure = c.branch(depth), c.branch(depth)
	return txn
}

func (c *client) compare() lines.Compare {
	compare := lines.Compare{Key: c.key(), Result: []string{"equal", "not_equal", "greater", "less"}[c.random.IntN(4)]}
	if c.random.IntN(6) == 0 {
		compare.End = compare.Key + "~"
	}
	number := c.random.Int64N(4)
	revision := c.run.revision.Load() - c.random.Int64N(60)
	switch c.random.IntN(6) {
	case 0, 1:
		compare.With.Version = &number
	case 2:
		compare.With.Create = &revision
	case 3:
		compare.With.Mod = &revision
	case 4:
		lease, _ := c.run.leases.any(c.random)
		compare.With.Lease = &lease
	default:
		value := fmt.Sprintf("c%d-%d", c.random.IntN(c.run.config.Clients), c.random.IntN(c.written+1))
		compare.With.Value = &value
	}
	return compare
}

func (c *client) branch(depth int) []lines.Request {
	var branch []lines.Request
	free := c.random.Perm(keys)
	for i := range c.random.IntN(4) {
		key := fmt.Sprintf("key/%02d", free[i])
		switch n := c.random.IntN(10); {
		case n < 5:
			put := c.put(key)
			if i > 0 {
				// Leases are told of keys one at a time, not as a transaction.
				put.Lease = 0
			}
			branch = append(branch, lines.Request{Put: put})
		case n < 7:
			branch = append(branch, lines.Request{Delete: &lines.Delete{Key: key, PrevKV: n == 5}})
		default:
			read := &lines.Range{}
			read.Key, read.End = c.span()
			branch = append(branch, lines.Request{Range: read})
		}
	}
	if depth > 0 && len(branch) == 0 {
		branch = append(branch, lines.Request{Txn: c.txn(depth - 1)})
	}
	return branch
}
