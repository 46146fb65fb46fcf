package library

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"strconv"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

var levels = []struct {
	name  string
	level concurrency.Isolation
}{
	{"ReadCommitted", concurrency.ReadCommitted},
	{"RepeatableReads", concurrency.RepeatableReads},
	{"Serializable", concurrency.Serializable},
	{"SerializableSnapshot", concurrency.SerializableSnapshot},
}

func (b *bench) transact(level concurrency.Isolation, apply func(concurrency.STM) error, options ...concurrency.STMOption) error {
	options = append(options, concurrency.WithIsolation(level), concurrency.WithAbortContext(b.ctx))
	_, err := concurrency.NewSTM(b.client, apply, options...)
	return err
}

// A transaction reads a, another client writes, the transaction reads b and writes c. Each level
// says what of this is a conflict, and which b is seen.
func TestWhatConflictsWithATransaction(t *testing.T) {
	attempts := map[string]map[string]int{
		"ReadCommitted":        {"a": 1, "b": 1, "c": 1, "d": 1},
		"RepeatableReads":      {"a": 2, "b": 1, "c": 1, "d": 1},
		"Serializable":         {"a": 2, "b": 2, "c": 1, "d": 1},
		"SerializableSnapshot": {"a": 2, "b": 2, "c": 2, "d": 1},
	}
	firstB := map[string]string{
		"ReadCommitted": "new", "RepeatableReads": "new", "Serializable": "old", "SerializableSnapshot": "old",
	}
	for _, isolation := range levels {
		for _, written := range []string{"a", "b", "c", "d"} {
			t.Run(isolation.name+"/"+written, func(t *testing.T) {
				b := newBench(t)
				for _, name := range []string{"a", "b", "c", "d"} {
					b.put(name, "old")
				}
				var seen []string
				err := b.transact(isolation.level, func(stm concurrency.STM) error {
					first := stm.Get(b.key("a"))
					if len(seen) == 0 {
						b.put(written, "new")
					}
					seen = append(seen, first+" "+stm.Get(b.key("b"))+" "+stm.Get(b.key("a")))
					stm.Put(b.key("c"), "mine")
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				b.want("attempts", len(seen), attempts[isolation.name][written])
				wantB := "old"
				if written == "b" {
					wantB = firstB[isolation.name]
				}
				b.want("the first attempt saw", seen[0], "old "+wantB+" old")
				if len(seen) > 1 {
					want := map[string]string{"a": "new old new", "b": "old new old", "c": "old old old"}[written]
					b.want("the second attempt saw", seen[1], want)
				}
				b.want("c", b.value("c"), "mine")
			})
		}
	}
}

// Money moves between accounts from many clients at once; none is made and none is lost.
func TestTransactionsUnderContention(t *testing.T) {
	const accounts, each, clients, transfers = 6, 100, 5, 30
	for _, isolation := range levels[1:] {
		for _, prefetch := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/prefetch=%t", isolation.name, prefetch), func(t *testing.T) {
				b := newBench(t)
				var options []concurrency.STMOption
				for n := range accounts {
					b.put(strconv.Itoa(n), strconv.Itoa(each))
					if prefetch {
						options = append(options, concurrency.WithPrefetch(b.key(strconv.Itoa(n))))
					}
				}
				var group sync.WaitGroup
				for c := range clients {
					group.Go(func() {
						random := rand.New(rand.NewSource(int64(c)))
						for range transfers {
							from, to := random.Intn(accounts), random.Intn(accounts)
							if err := b.transact(isolation.level, b.transfer(from, to, 1+random.Intn(9)), options...); err != nil {
								t.Error(err)
							}
						}
					})
				}
				group.Wait()
				b.want("transfers counted", b.value("count"), clients*transfers)
				total := 0
				for n := range accounts {
					amount, err := strconv.Atoi(b.value(strconv.Itoa(n)))
					if err != nil {
						t.Error(err)
					}
					total += amount
				}
				b.want("money", total, accounts*each)
			})
		}
	}
}

func (b *bench) transfer(from, to, amount int) func(concurrency.STM) error {
	return func(stm concurrency.STM) error {
		add := func(name string, by int) {
			// A counter is not there at first.
			had, _ := strconv.Atoi(stm.Get(b.key(name)))
			stm.Put(b.key(name), strconv.Itoa(had+by))
		}
		add(strconv.Itoa(from), -amount)
		add(strconv.Itoa(to), amount)
		add("count", 1)
		return nil
	}
}

func TestWhatATransactionDoes(t *testing.T) {
	b := newBench(t)
	revision := b.put("a", "1").Header.Revision
	b.put("gone", "1")
	lease, err := b.client.Grant(b.ctx, 60)
	if err != nil {
		t.Fatal(err)
	}
	for _, isolation := range levels {
		err := b.transact(isolation.level, func(stm concurrency.STM) error {
			b.want("revision", stm.Rev(b.key("a")), revision)
			b.want("revision of nothing", stm.Rev(b.key("none")), 0)
			b.want("the first of several", stm.Get(b.key("a"), b.key("gone")), "1")
			stm.Put(b.key("new"), isolation.name, clientv3.WithLease(lease.ID))
			b.want("what was just written", stm.Get(b.key("new")), isolation.name)
			stm.Del(b.key("gone"))
			b.want("what was just deleted", stm.Get(b.key("gone")), "")
			return nil
		})
		if err != nil {
			t.Error(isolation.name, err)
		}
		b.want("written", b.value("new"), isolation.name)
		b.want("deleted", b.value("gone"), "")
		b.put("gone", "1")
	}
	if _, err := b.client.Revoke(b.ctx, lease.ID); err != nil {
		t.Fatal(err)
	}
	b.want("with its lease", b.value("new"), "")
}

func TestTransactionsThatFail(t *testing.T) {
	b := newBench(t)
	refused := errors.New("no")
	for _, isolation := range levels {
		err := b.transact(isolation.level, func(stm concurrency.STM) error {
			stm.Put(b.key("k"), "v")
			return refused
		})
		if !errors.Is(err, refused) {
			t.Errorf("%s: %v", isolation.name, err)
		}
		err = b.transact(isolation.level, func(stm concurrency.STM) error {
			for n := range 129 {
				stm.Put(b.key(strconv.Itoa(n)), "v")
			}
			return nil
		})
		b.wantError(isolation.name+", 129 writes", err, "etcdserver: too many operations in txn request")
		aborted, cancel := context.WithCancel(b.ctx)
		_, err = concurrency.NewSTM(b.client, func(stm concurrency.STM) error {
			stm.Put(b.key("k"), "v")
			cancel()
			return nil
		}, concurrency.WithIsolation(isolation.level), concurrency.WithAbortContext(aborted))
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s, aborted: %v", isolation.name, err)
		}
	}
	b.want("nothing was written", b.all(), map[string]string{})
}
