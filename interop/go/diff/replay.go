package diff

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
)

// Script is a history in words, kept in a file: steps, each with the answer that the reference has
// given. It is played on one server alone.
//
// A line is a remark (#), "clients N" for a history of several at once, a step ("> ...") or the
// answer that it must have ("< ...").
type Script struct {
	Remarks []string
	Clients int
	steps   []step
	Answers []string
}

// Parse reads a script.
func Parse(text string) (*Script, error) {
	script := &Script{}
	for number, line := range strings.Split(text, "\n") {
		switch mark, rest, _ := strings.Cut(line, " "); mark {
		case "":
		case "#":
			script.Remarks = append(script.Remarks, rest)
		case "clients":
			if _, err := fmt.Sscan(rest, &script.Clients); err != nil {
				return nil, fmt.Errorf("line %d: %w", number+1, err)
			}
		case ">":
			s, err := parseStep(rest)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", number+1, err)
			}
			script.steps = append(script.steps, s)
		case "<":
			script.Answers = append(script.Answers, rest)
		default:
			return nil, fmt.Errorf("line %d: %q is neither a remark nor a step nor an answer", number+1, line)
		}
	}
	return script, nil
}

func (s *Script) String() string {
	var out strings.Builder
	for _, remark := range s.Remarks {
		fmt.Fprintf(&out, "# %s\n", remark)
	}
	if s.Clients > 0 {
		fmt.Fprintf(&out, "clients %d\n", s.Clients)
	}
	for i, step := range s.steps {
		fmt.Fprintf(&out, "> %s\n", step)
		if i < len(s.Answers) {
			fmt.Fprintf(&out, "< %s\n", s.Answers[i])
		}
	}
	return out.String()
}

// Len is how many steps there are.
func (s *Script) Len() int { return len(s.steps) }

// Play plays a script on a fresh server and gives its answers.
func (s *Script) Play(ctx context.Context, binary, folder string) ([]string, error) {
	played, err := play(ctx, s.Clients, s.steps, peerConfig{binary: binary, folder: folder, name: "server"})
	var answers []string
	for _, answer := range played.answers {
		answers = append(answers, answer.String())
	}
	return answers, err
}

// peerConfig says how a server is started.
type peerConfig struct {
	binary, folder, name string
	flags                []string
	plant                *plant
}

// played is what came of a script on one server.
type played struct {
	answers []answer
	// By how many revisions, in its client's terms, each step went on.
	grew []int64
}

// play plays steps on one fresh server.
func play(ctx context.Context, clients int, steps []step, config peerConfig) (played, error) {
	got := played{answers: make([]answer, len(steps)), grew: make([]int64, len(steps))}
	folder, err := os.MkdirTemp(config.folder, "play")
	if err != nil {
		return got, err
	}
	defer os.RemoveAll(folder)
	p, err := startPeer(config.binary, folder, config.name, config.flags, config.plant)
	if err != nil {
		return got, err
	}
	defer p.close()
	seats, err := takeSeats(ctx, p, clients)
	defer func() {
		for _, s := range seats {
			s.closeStreams()
		}
	}()
	if err != nil {
		return got, err
	}
	for start := 0; start < len(steps); {
		end := start
		for end < len(steps) && !isWhole(steps[end].ask) {
			end++
		}
		got.stretch(ctx, seats, steps, start, end)
		if end < len(steps) {
			got.answers[end] = doWhole(ctx, p, seats, steps[end].ask)
			end++
		}
		start = end
	}
	return got, nil
}

// stretch lets each client do its steps of [start, end), all at once.
func (got *played) stretch(ctx context.Context, seats []*seat, steps []step, start, end int) {
	var all sync.WaitGroup
	for _, s := range seats {
		all.Go(func() {
			for i := start; i < end; i++ {
				if steps[i].client == s.client {
					before := s.revision()
					got.answers[i] = s.do(ctx, steps[i].ask)
					got.grew[i] = s.revision() - before
				}
			}
		})
	}
	all.Wait()
}

func takeSeats(ctx context.Context, p *peer, clients int) ([]*seat, error) {
	var seats []*seat
	for client := range max(clients, 1) {
		s := &seat{peer: p, newest: 1, base: 1, compacted: -1, sessions: map[int]*session{}}
		if clients > 0 {
			s.client = client + 1
		}
		if err := s.openJournal(ctx); err != nil {
			return seats, fmt.Errorf("%s: %w", p.name, err)
		}
		seats = append(seats, s)
	}
	return seats, nil
}

// doWhole does what concerns a server with all its clients.
func doWhole(ctx context.Context, p *peer, seats []*seat, ask any) answer {
	switch ask := ask.(type) {
	case barrier:
		return barrierOn(ctx, p, seats, ask)
	case restart:
		return restartOn(ctx, p, seats, ask)
	}
	return answer{words: "not a step of a whole server"}
}
