// Command raftcost measures what a proposed entry costs in Go's raft, driven as
// crates/raft/examples/propose_cost drives ours: everything between the proposal and the report
// that it is applied, on all members, with logs in memory and storage work taken as messages.
package main

import (
	"fmt"
	"runtime"
	"sort"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

const (
	entries   = 300_000
	dataBytes = 256
	rounds    = 5
)

type member struct {
	*raft.RawNode
	storage *raft.MemoryStorage
	applied uint64
}

type cluster struct {
	members  []*member
	messages []*raftpb.Message
}

type quiet struct{ raft.Logger }

func (quiet) Debug(...any)            {}
func (quiet) Debugf(string, ...any)   {}
func (quiet) Info(...any)             {}
func (quiet) Infof(string, ...any)    {}
func (quiet) Warning(...any)          {}
func (quiet) Warningf(string, ...any) {}

func newCluster(voters int) *cluster {
	c := &cluster{}
	var peers []raft.Peer
	for id := 1; id <= voters; id++ {
		peers = append(peers, raft.Peer{ID: uint64(id)})
	}
	for id := 1; id <= voters; id++ {
		storage := raft.NewMemoryStorage()
		node, err := raft.NewRawNode(&raft.Config{
			ID:                 uint64(id),
			ElectionTick:       10,
			HeartbeatTick:      1,
			Storage:            storage,
			AsyncStorageWrites: true,
			MaxSizePerMsg:      1 << 20,
			MaxInflightMsgs:    512,
			CheckQuorum:        true,
			PreVote:            true,
			Logger:             quiet{&raft.DefaultLogger{}},
		})
		check(err)
		check(node.Bootstrap(peers))
		c.members = append(c.members, &member{RawNode: node, storage: storage})
	}
	c.settle()
	check(c.members[0].Campaign())
	c.settle()
	if c.members[0].BasicStatus().RaftState != raft.StateLeader {
		panic("the first member does not lead")
	}
	return c
}

// settle lets everybody work until nothing is left to do.
func (c *cluster) settle() {
	for {
		for _, m := range c.members {
			for m.HasReady() {
				c.work(m)
			}
		}
		if len(c.messages) == 0 {
			return
		}
		messages := c.messages
		c.messages = nil
		for _, message := range messages {
			check(c.members[message.GetTo()-1].Step(message))
		}
	}
}

func (c *cluster) work(m *member) {
	for _, message := range m.Ready().Messages {
		switch message.GetTo() {
		case raft.LocalAppendThread:
			check(m.storage.Append(message.GetEntries()))
			c.respond(m, message)
		case raft.LocalApplyThread:
			c.apply(m, message.GetEntries())
			c.respond(m, message)
		default:
			c.messages = append(c.messages, message)
		}
	}
}

// respond steps a member's own answers at once and sends the others.
func (c *cluster) respond(m *member, message *raftpb.Message) {
	for _, response := range message.GetResponses() {
		if response.GetTo() == m.BasicStatus().ID {
			check(m.Step(response))
		} else {
			c.messages = append(c.messages, response)
		}
	}
}

func (c *cluster) apply(m *member, committed []*raftpb.Entry) {
	for _, entry := range committed {
		if entry.GetType() == raftpb.EntryConfChange {
			change := &raftpb.ConfChange{}
			check(proto.Unmarshal(entry.GetData(), change))
			m.ApplyConfChange(change)
		}
	}
	m.applied = committed[len(committed)-1].GetIndex()
	first, err := m.storage.FirstIndex()
	check(err)
	if m.applied-first > 20_000 {
		check(m.storage.Compact(m.applied - 10_000))
	}
}

func (c *cluster) run(count, batch int, data []byte) {
	for range count / batch {
		proposal := &raftpb.Message{Type: raftpb.MsgProp.Enum(), From: proto.Uint64(1)}
		for range batch {
			proposal.Entries = append(proposal.Entries, &raftpb.Entry{Data: data})
		}
		check(c.members[0].Step(proposal))
		c.settle()
	}
	last, err := c.members[0].storage.LastIndex()
	check(err)
	for _, m := range c.members {
		if m.applied != last {
			panic(fmt.Sprintf("applied %d of %d", m.applied, last))
		}
	}
}

func main() {
	data := make([]byte, dataBytes)
	fmt.Printf("%d entries of %d bytes, median of %d rounds\n", entries, dataBytes, rounds)
	fmt.Println("voters  batch  ns/entry  allocations/entry")
	for _, voters := range []int{1, 3} {
		for _, batch := range []int{1, 10, 100} {
			var times []float64
			for range rounds {
				c := newCluster(voters)
				c.run(10_000, batch, data)
				runtime.GC()
				start := time.Now()
				c.run(entries, batch, data)
				times = append(times, float64(time.Since(start).Nanoseconds())/entries)
			}
			sort.Float64s(times)
			c := newCluster(voters)
			c.run(10_000, batch, data)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			c.run(entries/10, batch, data)
			runtime.ReadMemStats(&after)
			allocations := float64(after.Mallocs-before.Mallocs) / (entries / 10)
			fmt.Printf("%6d %6d %9.0f %18.2f\n", voters, batch, times[rounds/2], allocations)
		}
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
