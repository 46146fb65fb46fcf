package peer

import (
	"fmt"
	"sort"
	"strings"
	"testing"

	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

func entry(kind raftpb.EntryType, term, index uint64, data string) *raftpb.Entry {
	e := &raftpb.Entry{Term: proto.Uint64(term), Index: proto.Uint64(index)}
	if kind != raftpb.EntryNormal {
		e.Type = kind.Enum()
	}
	if data != "" {
		e.Data = []byte(data)
	}
	return e
}

// everyKind is a message of each type that travels, with the fields that etcd sets.
func everyKind(from, to uint64) []*raftpb.Message {
	of := func(kind raftpb.MessageType) *raftpb.Message {
		return &raftpb.Message{Type: kind.Enum(), From: proto.Uint64(from), To: proto.Uint64(to), Term: proto.Uint64(3)}
	}
	prop := of(raftpb.MsgProp)
	prop.Term = nil
	prop.Entries = []*raftpb.Entry{{Data: []byte("write")}, {Type: raftpb.EntryConfChange.Enum(), Data: []byte("change")}}
	app := of(raftpb.MsgApp)
	app.LogTerm, app.Index, app.Commit = proto.Uint64(2), proto.Uint64(7), proto.Uint64(6)
	app.Entries = []*raftpb.Entry{
		entry(raftpb.EntryNormal, 3, 8, ""), entry(raftpb.EntryConfChange, 3, 9, "c"), entry(raftpb.EntryNormal, 3, 10, strings.Repeat("x", 100_000)),
	}
	appResp := of(raftpb.MsgAppResp)
	appResp.Index = proto.Uint64(10)
	reject := of(raftpb.MsgAppResp)
	reject.Index, reject.LogTerm, reject.Reject, reject.RejectHint = proto.Uint64(9), proto.Uint64(2), proto.Bool(true), proto.Uint64(4)
	vote := of(raftpb.MsgVote)
	vote.LogTerm, vote.Index, vote.Context = proto.Uint64(2), proto.Uint64(7), []byte("CampaignTransfer")
	voteResp := of(raftpb.MsgVoteResp)
	voteResp.Reject = proto.Bool(true)
	beat := of(raftpb.MsgHeartbeat)
	beat.Commit, beat.Context = proto.Uint64(0), []byte("12345678")
	beatResp := of(raftpb.MsgHeartbeatResp)
	beatResp.Context = []byte("12345678")
	read := of(raftpb.MsgReadIndex)
	read.Term = nil
	read.Entries = []*raftpb.Entry{{Data: []byte("12345678")}}
	readResp := of(raftpb.MsgReadIndexResp)
	readResp.Index, readResp.Entries = proto.Uint64(7), read.Entries
	preVote := of(raftpb.MsgPreVote)
	preVote.LogTerm, preVote.Index = proto.Uint64(2), proto.Uint64(7)
	return []*raftpb.Message{
		prop, app, appResp, reject, vote, voteResp, beat, beatResp, of(raftpb.MsgTransferLeader), of(raftpb.MsgTimeoutNow),
		read, readResp, preVote, of(raftpb.MsgPreVoteResp),
	}
}

func texts(messages []*raftpb.Message) []string {
	var all []string
	for _, m := range messages {
		all = append(all, plain(m))
	}
	// There are two streams, and proposals have a queue of their own at theirs.
	sort.Strings(all)
	return all
}

func same(t *testing.T, way string, sent, came []*raftpb.Message) {
	t.Helper()
	s, c := texts(sent), texts(came)
	for i := range s {
		if s[i] != c[i] {
			t.Fatalf("%s:\nsent %.300s\ncame %.300s", way, s[i], c[i])
		}
	}
}

func TestMessagesOfEveryType(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%v", secure), func(t *testing.T) {
			o, e := pair(t, secure)
			sent := everyKind(theirID, ourID)
			e.transport.Send(sent)
			eventually(t, "messages at ours", func() bool { return len(o.seen("message")) == len(sent) })
			same(t, "theirs to ours", sent, o.messages())
			sent = everyKind(ourID, theirID)
			for _, m := range sent {
				o.send(m)
			}
			eventually(t, "messages at theirs", func() bool { return len(e.received()) == len(sent) })
			same(t, "ours to theirs", sent, e.received())
		})
	}
}

func TestPostsWhileThereIsNoStream(t *testing.T) {
	o, e := startOurs(t, false), startTheirs(t, clusterID, false)
	// Only theirs knows ours: ours opens no stream, and answers where it was called from.
	e.transport.AddPeer(ourID, []string{o.url})
	sent := everyKind(theirID, ourID)
	e.transport.Send(sent)
	eventually(t, "messages at ours", func() bool { return len(o.seen("message")) == len(sent) })
	same(t, "theirs to ours", sent, o.messages())
	if got := o.streams(); got != fmt.Sprintf("%x 0", theirID) {
		t.Fatalf("streams: %s", got)
	}
	answer := everyKind(ourID, theirID)
	for _, m := range answer {
		o.send(m)
	}
	eventually(t, "messages at theirs", func() bool { return len(e.received()) == len(answer) })
	same(t, "ours to theirs", answer, e.received())
}

// appends is what a leader sends: entries in sequence, with now and then a new term, a gap or a
// step back, so that both forms of the stream are used.
func appends(from, to uint64, count int) []*raftpb.Message {
	var sent []*raftpb.Message
	term, logTerm, index := uint64(1), uint64(0), uint64(0)
	for i := range count {
		switch {
		case i%97 == 96:
			term++
		case i%61 == 60:
			index += 5
		case i%53 == 52:
			index /= 2
		}
		m := &raftpb.Message{
			Type: raftpb.MsgApp.Enum(), From: proto.Uint64(from), To: proto.Uint64(to), Term: proto.Uint64(term),
			LogTerm: proto.Uint64(logTerm), Index: proto.Uint64(index), Commit: proto.Uint64(uint64(i)),
		}
		for range i % 4 {
			index++
			m.Entries = append(m.Entries, entry(raftpb.EntryNormal, term, index, strings.Repeat("y", i*31%3000)))
			logTerm = term
		}
		sent = append(sent, m)
	}
	return sent
}

func TestAppendedEntriesInOrder(t *testing.T) {
	o, e := pair(t, false)
	inOrder := func(way string, sent, came []*raftpb.Message) {
		t.Helper()
		for i := range sent {
			if plain(sent[i]) != plain(came[i]) {
				t.Fatalf("%s, message %d:\nsent %.300s\ncame %.300s", way, i, plain(sent[i]), plain(came[i]))
			}
		}
	}
	sent := appends(theirID, ourID, 2000)
	e.transport.Send(sent)
	eventually(t, "messages at ours", func() bool { return len(o.seen("message")) == len(sent) })
	inOrder("theirs to ours", sent, o.messages())
	sent = appends(ourID, theirID, 2000)
	for _, m := range sent {
		o.send(m)
	}
	eventually(t, "messages at theirs", func() bool { return len(e.received()) == len(sent) })
	inOrder("ours to theirs", sent, e.received())
}

func TestBrokenStreamsAreOpenedAgain(t *testing.T) {
	o, e := startOurs(t, false), startTheirs(t, clusterID, false)
	toOurs, toTheirs := wireTo(t, o.url), wireTo(t, e.url)
	connect(o, e, toOurs.url, toTheirs.url)
	for round := range 6 {
		connected(o, e)
		beat := func(from, to uint64) *raftpb.Message {
			return &raftpb.Message{
				Type: raftpb.MsgHeartbeat.Enum(), From: proto.Uint64(from), To: proto.Uint64(to),
				Term: proto.Uint64(uint64(100 + round)),
			}
		}
		arrived := func(messages []*raftpb.Message) bool {
			for _, m := range messages {
				if m.GetTerm() == uint64(100+round) {
					return true
				}
			}
			return false
		}
		// What is sent into a connection that is breaking may get lost, as raft expects.
		eventually(t, "a message at ours", func() bool {
			e.transport.Send([]*raftpb.Message{beat(theirID, ourID)})
			return arrived(o.messages())
		})
		eventually(t, "a message at theirs", func() bool {
			o.send(beat(ourID, theirID))
			return arrived(e.received())
		})
		toOurs.cut()
		if round%2 == 0 {
			toTheirs.cut()
		}
	}
}

// Idle streams live on signs of life: theirs gives up after 5 s of silence, and so does ours.
func TestIdleStreamsLive(t *testing.T) {
	o, e := pair(t, false)
	since := e.transport.ActiveSince(ourID)
	silent(t, 8)
	if now := e.transport.ActiveSince(ourID); now != since {
		t.Fatalf("theirs lost ours meanwhile: active since %v, before %v", now, since)
	}
	if lines := o.seen("unreachable"); len(lines) > 0 {
		t.Fatalf("ours lost theirs meanwhile: %v", lines)
	}
}

func TestOtherClusterIsRefused(t *testing.T) {
	o, e := startOurs(t, false), startTheirs(t, types.ID(0xdead), false)
	connect(o, e, o.url, e.url)
	for range 3 {
		e.transport.Send(everyKind(theirID, ourID))
		for _, m := range everyKind(ourID, theirID) {
			o.send(m)
		}
		silent(t, 1)
	}
	if n := len(o.seen("message")) + len(e.received()); n > 0 {
		t.Fatalf("%d messages went from one cluster to another", n)
	}
	if got := o.streams(); got != fmt.Sprintf("%x 0", theirID) {
		t.Fatalf("streams: %s", got)
	}
	if len(o.seen("unreachable")) == 0 {
		t.Fatal("that theirs refuses was not reported")
	}
}

func TestRemovedMembersAreTold(t *testing.T) {
	t.Run("ours says it", func(t *testing.T) {
		o, e := startOurs(t, false), startTheirs(t, clusterID, false)
		o.tell("removed %x", theirID)
		e.transport.AddPeer(ourID, []string{o.url})
		err := <-e.errors
		if err.Error() != "the member has been permanently removed from the cluster" {
			t.Fatal(err)
		}
		e.transport.Send(everyKind(theirID, ourID))
		eventually(t, "report", func() bool {
			e.mu.Lock()
			defer e.mu.Unlock()
			return e.unreachable > 0
		})
		if n := len(o.seen("message")); n > 0 {
			t.Fatalf("%d messages of a removed member were taken", n)
		}
	})
	t.Run("theirs says it", func(t *testing.T) {
		o, e := startOurs(t, false), startTheirs(t, clusterID, false)
		e.mu.Lock()
		e.removed[ourID] = true
		e.mu.Unlock()
		o.tell("peer %x %s", theirID, e.url)
		o.await("the word", func(line string) bool { return line == fmt.Sprintf("removed says %x", theirID) })
	})
	t.Run("who is not known is not removed", func(t *testing.T) {
		o, e := startOurs(t, false), startTheirs(t, clusterID, false)
		e.transport.AddPeer(ourID, []string{o.url})
		silent(t, 2)
		if len(e.errors) > 0 {
			t.Fatal(<-e.errors)
		}
	})
}
