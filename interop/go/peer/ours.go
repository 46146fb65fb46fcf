// Package peer lets etcd's own transport between members be the other end of ours.
//
// Ours is a small program that takes commands and prints what reaches it (PEER in the environment;
// crates/peer/examples/peer_end.rs). Theirs is the package rafthttp of etcd 3.7.1, unchanged.
package peer

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

const (
	ourID     = 0xb2
	theirID   = 0xa1
	clusterID = 0xc1
	// Bound of every wait.
	patience = 30 * time.Second
)

// ours is our end, as a process.
type ours struct {
	t     *testing.T
	url   string
	input io.WriteCloser

	mu    sync.Mutex
	lines []string
}

// startOurs starts our end, with TLS or without.
func startOurs(t *testing.T, secure bool) *ours {
	t.Helper()
	program := os.Getenv("PEER")
	if program == "" {
		t.Fatal("PEER is not set: give the path of peer_end, an example of tenet-peer")
	}
	arguments := []string{fmt.Sprintf("%x", ourID), fmt.Sprintf("%x", clusterID)}
	if secure {
		arguments = append(arguments, t.TempDir())
	}
	command := exec.Command(program, arguments...)
	command.Stderr = os.Stderr
	input, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	o := &ours{t: t, input: input}
	go o.read(output)
	t.Cleanup(func() {
		input.Close()
		// It ends with its input, and must not have ended before.
		if err := command.Wait(); err != nil {
			t.Errorf("our end: %v", err)
		}
	})
	ready := o.await("ready", func(line string) bool { return strings.HasPrefix(line, "ready ") })
	o.url = strings.TrimPrefix(ready, "ready ")
	return o
}

func (o *ours) read(output io.Reader) {
	scanner := bufio.NewScanner(output)
	scanner.Buffer(nil, 64<<20)
	for scanner.Scan() {
		o.mu.Lock()
		o.lines = append(o.lines, scanner.Text())
		o.mu.Unlock()
	}
}

func (o *ours) tell(format string, values ...any) {
	o.t.Helper()
	if _, err := fmt.Fprintf(o.input, format+"\n", values...); err != nil {
		o.t.Fatalf("our end is gone: %v", err)
	}
}

func (o *ours) send(m *raftpb.Message) {
	o.t.Helper()
	o.tell("send %s", encode(o.t, m))
}

// seen gives all lines so far that begin with a word, without it.
func (o *ours) seen(word string) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var found []string
	for _, line := range o.lines {
		if rest, ok := strings.CutPrefix(line, word+" "); ok {
			found = append(found, rest)
		}
	}
	return found
}

// messages gives all messages that have reached our end.
func (o *ours) messages() []*raftpb.Message {
	o.t.Helper()
	var found []*raftpb.Message
	for _, text := range o.seen("message") {
		found = append(found, decode(o.t, text))
	}
	return found
}

func (o *ours) await(what string, fits func(string) bool) string {
	o.t.Helper()
	var found string
	eventually(o.t, what, func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		for _, line := range o.lines {
			if fits(line) {
				found = line
				return true
			}
		}
		return false
	})
	return found
}

// streams asks how many streams our end has to theirs.
func (o *ours) streams() string {
	before := len(o.seen("streams"))
	o.tell("streams %x", theirID)
	var lines []string
	eventually(o.t, "an answer", func() bool {
		lines = o.seen("streams")
		return len(lines) > before
	})
	return lines[len(lines)-1]
}

// ask lets our end ask another member a question.
func (o *ours) ask(what, url string) string {
	o.t.Helper()
	before := len(o.seen("answer"))
	o.tell("ask %s %s", what, url)
	var lines []string
	eventually(o.t, "an answer", func() bool {
		lines = o.seen("answer")
		return len(lines) > before
	})
	return lines[before]
}

func eventually(t *testing.T, what string, found func() bool) {
	t.Helper()
	for began := time.Now(); !found(); time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > patience {
			t.Fatalf("no %s after %v", what, patience)
		}
	}
}

func encode(t *testing.T, m *raftpb.Message) string {
	t.Helper()
	bytes, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(bytes)
}

func decode(t *testing.T, text string) *raftpb.Message {
	t.Helper()
	bytes, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	m := &raftpb.Message{}
	if err := proto.Unmarshal(bytes, m); err != nil {
		t.Fatal(err)
	}
	return m
}

// plain is what a message says: fields that are missing and fields that are zero mean the same.
func plain(m *raftpb.Message) string {
	var entries []string
	for _, e := range m.GetEntries() {
		entries = append(entries, fmt.Sprintf("%v/%d/%d/%x", e.GetType(), e.GetTerm(), e.GetIndex(), e.GetData()))
	}
	snapshot := m.GetSnapshot()
	meta := snapshot.GetMetadata()
	return fmt.Sprintf("%v %x->%x term=%d log=%d/%d commit=%d reject=%v/%d context=%x entries=%v snapshot=%d/%d/%v/%x",
		m.GetType(), m.GetFrom(), m.GetTo(), m.GetTerm(), m.GetLogTerm(), m.GetIndex(), m.GetCommit(),
		m.GetReject(), m.GetRejectHint(), m.GetContext(), entries,
		meta.GetIndex(), meta.GetTerm(), meta.GetConfState().GetVoters(), snapshot.GetData())
}
