// Package raftscript runs scripts of commands through the environment that Go's raft tests itself
// with. Beside that environment's own commands it knows those that the project's transcripts have
// in addition: restart, read-index, report-snapshot, repeat-msgs, reverse-msgs.
package raftscript

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/cockroachdb/datadriven"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/rafttest"
	"google.golang.org/protobuf/proto"
)

// Panicked begins the last output of a script that ended in a panic.
const Panicked = "panic: "

// Run runs a script and returns what each command printed. A panic ends the script.
func Run(script string) []string {
	run := &run{t: new(testing.T)}
	run.env = rafttest.NewInteractionEnv(&rafttest.InteractionOpts{
		SetRandomizedElectionTimeout: setElectionTimeout,
		OnConfig:                     func(config *raft.Config) { run.configure(config) },
	})
	// Only the reason of a panic is wanted from the log.
	run.env.Output.Lvl = 4
	var outputs []string
	for _, command := range parse(script) {
		output, ok := run.guarded(command)
		outputs = append(outputs, output)
		if !ok {
			break
		}
	}
	return outputs
}

type run struct {
	t          *testing.T
	env        *rafttest.InteractionEnv
	maxMessage uint64
}

func (r *run) configure(config *raft.Config) {
	if r.maxMessage != 0 {
		config.MaxSizePerMsg = r.maxMessage
	}
	// By default it would be the size of a message.
	if config.MaxCommittedSizePerReady == 0 {
		config.MaxCommittedSizePerReady = math.MaxUint64
	}
}

// A command that the environment finds malformed ends its goroutine, so each has one of its own.
func (r *run) guarded(command datadriven.TestData) (output string, ok bool) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		output = Panicked + "the environment refused " + command.Cmd
		defer func() {
			if reason := recover(); reason != nil {
				output = Panicked + fmt.Sprint(reason)
			}
		}()
		output = r.handle(command)
		ok = true
	}()
	<-done
	return output, ok
}

func (r *run) handle(command datadriven.TestData) string {
	switch command.Cmd {
	case "add-nodes":
		r.maxMessage = 0
		command.CmdArgs = slices.DeleteFunc(command.CmdArgs, func(arg datadriven.CmdArg) bool {
			if arg.Key != "max-size-per-msg" {
				return false
			}
			r.maxMessage, _ = strconv.ParseUint(arg.Vals[0], 10, 64)
			return true
		})
		return r.env.Handle(r.t, command)
	case "restart":
		if err := r.restart(number(command, 0)); err != nil {
			return err.Error()
		}
	case "read-index":
		r.node(command).ReadIndex([]byte(command.CmdArgs[1].Key))
	case "report-snapshot":
		status := raft.SnapshotFailure
		if value, found := option(command, "ok"); found && value == "true" {
			status = raft.SnapshotFinish
		}
		r.node(command).ReportSnapshot(number(command, 1), status)
	case "repeat-msgs":
		for _, at := range r.messagesTo(number(command, 0)) {
			copied := proto.Clone(r.env.Messages[at]).(*raftpb.Message)
			r.env.Messages = append(r.env.Messages, copied)
		}
	case "reverse-msgs":
		places := r.messagesTo(number(command, 0))
		for i, j := 0, len(places)-1; i < j; i, j = i+1, j-1 {
			a, b := &r.env.Messages[places[i]], &r.env.Messages[places[j]]
			*a, *b = *b, *a
		}
	default:
		return r.env.Handle(r.t, command)
	}
	return "ok"
}

func (r *run) node(command datadriven.TestData) *rafttest.Node {
	return &r.env.Nodes[number(command, 0)-1]
}

// messagesTo is where the messages from others to one member are.
func (r *run) messagesTo(id uint64) []int {
	var places []int
	for at, message := range r.env.Messages {
		local := message.GetFrom() == id || raft.IsLocalMsgTarget(message.GetFrom())
		if message.GetTo() == id && !local {
			places = append(places, at)
		}
	}
	return places
}

// A member that has run starts in the configuration that its state machine was in.
type restarted struct {
	rafttest.Storage
	state func() (*raftpb.HardState, *raftpb.ConfState)
}

func (s restarted) InitialState() (*raftpb.HardState, *raftpb.ConfState, error) {
	hard, conf := s.state()
	return hard, conf, nil
}

// restart loses everything of a member that was not written.
func (r *run) restart(id uint64) error {
	node := &r.env.Nodes[id-1]
	latest := node.History[len(node.History)-1]
	hard, _, err := node.Storage.InitialState()
	if err != nil {
		return err
	}
	applied := latest.GetMetadata().GetIndex()
	hard = &raftpb.HardState{
		Term:   new(hard.GetTerm()),
		Vote:   new(hard.GetVote()),
		Commit: new(max(hard.GetCommit(), applied)),
	}
	config := *node.Config
	config.Applied = applied
	config.Storage = restarted{node.Storage, func() (*raftpb.HardState, *raftpb.ConfState) {
		return hard, latest.GetMetadata().GetConfState()
	}}
	started, err := raft.NewRawNode(&config)
	if err != nil {
		return err
	}
	node.RawNode = started
	node.AppendWork, node.ApplyWork = nil, nil
	return nil
}

// setElectionTimeout reaches what only raft's own tests may set.
func setElectionTimeout(node *raft.RawNode, timeout int) {
	core := reflect.ValueOf(node).Elem().FieldByName("raft").Elem()
	field := core.FieldByName("randomizedElectionTimeout")
	*(*int)(unsafe.Pointer(field.UnsafeAddr())) = timeout
}

func number(command datadriven.TestData, at int) uint64 {
	value, err := strconv.ParseUint(command.CmdArgs[at].Key, 10, 64)
	if err != nil {
		panic(err)
	}
	return value
}

func option(command datadriven.TestData, key string) (string, bool) {
	for _, arg := range command.CmdArgs {
		if arg.Key == key && len(arg.Vals) == 1 {
			return arg.Vals[0], true
		}
	}
	return "", false
}

// parse reads commands, each with its input, as they stand in a transcript; what follows the
// separator is left out.
func parse(script string) []datadriven.TestData {
	var commands []datadriven.TestData
	lines := strings.Split(script, "\n")
	for at := 0; at < len(lines); at++ {
		if line := strings.TrimSpace(lines[at]); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, args, err := datadriven.ParseLine(lines[at])
		if err != nil {
			panic(err)
		}
		var input []string
		for at++; at < len(lines) && lines[at] != "----"; at++ {
			input = append(input, lines[at])
		}
		commands = append(commands, datadriven.TestData{
			Cmd: name, CmdArgs: args, Input: strings.Join(input, "\n"),
		})
	}
	return commands
}
