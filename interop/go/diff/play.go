// Package diff sends the same random histories to two servers and compares every answer, all that
// watches deliver, and the hash of the whole.
//
// A history is made step by step from a seed and from where it stands: what the reference has
// answered decides what is asked next. It is kept as a list of steps in words, so that it can be
// cut, shortened until only what matters is left, written into a file and played again.
//
// There are two kinds. With one client everything is compared, revisions and hashes included.
// With several at once each has keys of its own and is compared in its own terms: see seat.
package diff

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
)

// Config says which servers are compared, and over how long a history.
type Config struct {
	// Binaries of the two servers: the one that is right, and the one under test.
	Reference, Tested string
	Folder            string
	Seed              uint64
	Steps             int
	// 0: one client, with everything compared. Otherwise how many at once.
	Clients int
	// Values so large that responses of watches are cut into fragments.
	Large bool
	// A long history without compactions, for watches that have much to read.
	Deep bool
	// The name of a mistake that is planted into the tested server's answers, if any.
	Planted string
	Counts  *Counts
	Say     func(format string, args ...any)
}

// Difference is a history whose last step is answered differently.
type Difference struct {
	Clients   int
	Steps     []step
	Reference string
	Tested    string
}

// errStop ends the other clients once a difference is found.
var errStop = errors.New("stopped")

// Run plays one history. No difference is nil.
func Run(ctx context.Context, config Config) (*Difference, error) {
	g, err := newGame(ctx, config)
	if err != nil {
		return nil, err
	}
	defer g.close()
	if config.Clients == 0 {
		err = g.alone(ctx)
	} else {
		err = g.concurrent(ctx)
	}
	if err != nil && !errors.Is(err, errStop) {
		return nil, err
	}
	return g.found, nil
}

// game is a history on its way, on two fresh servers.
type game struct {
	Config
	peers [2]*peer
	// Of each client, its seat at the reference and at the tested server.
	seats [][2]*seat

	mu      sync.Mutex
	history []step
	found   *Difference
}

func newGame(ctx context.Context, config Config) (*game, error) {
	folder, err := os.MkdirTemp(config.Folder, "game")
	if err != nil {
		return nil, err
	}
	g := &game{Config: config}
	g.Folder = folder
	plant, err := newPlant(config.Planted)
	if err != nil {
		return nil, err
	}
	var errs [2]error
	together(g.peers, func(i int, _ *peer) {
		// What the reference has on disk is not the question here.
		if i == 0 {
			g.peers[i], errs[i] = startPeer(config.Reference, folder, "reference", []string{"--unsafe-no-fsync"}, nil)
		} else {
			g.peers[i], errs[i] = startPeer(config.Tested, folder, "tested", nil, plant)
		}
	})
	if err := errors.Join(errs[:]...); err != nil {
		g.close()
		return nil, err
	}
	g.seats = make([][2]*seat, max(config.Clients, 1))
	for i, p := range g.peers {
		seats, err := takeSeats(ctx, p, config.Clients)
		for client, s := range seats {
			g.seats[client][i] = s
		}
		if err != nil {
			g.close()
			return nil, err
		}
	}
	return g, nil
}

func (g *game) close() {
	for _, pair := range g.seats {
		for _, s := range pair {
			if s != nil {
				s.closeStreams()
			}
		}
	}
	for _, p := range g.peers {
		if p != nil {
			p.close()
			g.Counts.Add(p.name+": fragments", p.fragments)
			g.Counts.Add(p.name+": told of progress", p.told)
		}
	}
	os.RemoveAll(filepath.Clean(g.Folder))
}

// alone plays a history of one client.
func (g *game) alone(ctx context.Context) error {
	random := rand.New(rand.NewPCG(g.Seed, 0))
	for range g.Steps {
		if err := g.turn(ctx, 0, askOf(random.Uint64(), g.moment(0))); err != nil {
			return err
		}
	}
	return g.all(ctx, 0, lastAsks(0))
}

// concurrent plays a history of several clients: stretches in which all go on at once, with a
// barrier after each.
func (g *game) concurrent(ctx context.Context) error {
	const stretch = 60
	random := rand.New(rand.NewPCG(g.Seed, 1))
	for done := 0; done < g.Steps; done += stretch * g.Clients {
		var seeds []uint64
		for range g.Clients {
			seeds = append(seeds, random.Uint64())
		}
		err := g.eachClient(func(client int) error {
			own := rand.New(rand.NewPCG(seeds[client], 2))
			for range stretch {
				if err := g.turn(ctx, client, askOf(own.Uint64(), g.moment(client))); err != nil {
					return err
				}
			}
			return g.turn(ctx, client, quiet{})
		})
		if err != nil {
			return err
		}
		if err := g.whole(ctx, barrier{compact: random.IntN(2) == 0}); err != nil {
			return err
		}
		if random.IntN(4) == 0 {
			if err := g.whole(ctx, restart{kill: random.IntN(2) == 0}); err != nil {
				return err
			}
		}
	}
	return g.eachClient(func(client int) error { return g.all(ctx, client, lastAsks(client+1)) })
}

// eachClient does something for all clients at once.
func (g *game) eachClient(do func(client int) error) error {
	errs := make([]error, len(g.seats))
	var all sync.WaitGroup
	for client := range g.seats {
		all.Go(func() { errs[client] = do(client) })
	}
	all.Wait()
	return errors.Join(errs...)
}

func (g *game) all(ctx context.Context, client int, asks []any) error {
	for _, ask := range asks {
		if err := g.turn(ctx, client, ask); err != nil {
			return err
		}
	}
	return nil
}

// turn lets one client do a step on both servers at the same time, and compares.
func (g *game) turn(ctx context.Context, client int, ask any) error {
	if isWhole(ask) {
		return g.whole(ctx, ask)
	}
	pair := g.seats[client]
	if err := g.record(step{pair[0].client, ask}); err != nil {
		return err
	}
	standing := g.moment(client)
	var got [2]answer
	together(pair, func(i int, s *seat) { got[i] = s.do(ctx, ask) })
	g.Counts.step(ask, standing, got[0])
	return g.compare(got)
}

func isWhole(ask any) bool {
	switch ask.(type) {
	case restart, barrier:
		return true
	}
	return false
}

// whole does what concerns a server with all its clients.
func (g *game) whole(ctx context.Context, ask any) error {
	if err := g.record(step{0, ask}); err != nil {
		return err
	}
	var got [2]answer
	together(g.peers, func(i int, p *peer) {
		var seats []*seat
		for _, pair := range g.seats {
			seats = append(seats, pair[i])
		}
		got[i] = doWhole(ctx, p, seats, ask)
	})
	g.Counts.step(ask, moment{}, got[0])
	return g.compare(got)
}

func restartOn(ctx context.Context, p *peer, seats []*seat, ask restart) answer {
	for _, s := range seats {
		s.closeStreams()
	}
	if err := p.again(ask.kill); err != nil {
		return failed(err)
	}
	ctx, cancel := context.WithTimeout(ctx, p.patience())
	defer cancel()
	p.plant.restarted()
	var all answer
	for _, s := range seats {
		one := s.resume(ctx)
		all.lines = append(all.lines, one.lines...)
		all.words += one.words
	}
	return all
}

func (g *game) record(s step) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.found != nil {
		return errStop
	}
	g.history = append(g.history, s)
	return nil
}

func (g *game) compare(got [2]answer) error {
	if got[0].equal(got[1]) {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.found == nil {
		g.found = &Difference{
			Clients: g.Clients, Steps: append([]step{}, g.history...),
			Reference: got[0].String(), Tested: got[1].String(),
		}
	}
	return errStop
}

// moment is where the history stands for a client, by what the reference has said.
func (g *game) moment(client int) moment {
	s := g.seats[client][0]
	at := moment{
		large: g.Large, deep: g.Deep, client: s.client, revision: s.revision(), compacted: s.revisionIn(s.compacted), chosen: int64(len(s.chosen)),
	}
	for number := 1; number <= streamsMax; number++ {
		if on := s.sessions[number]; on != nil {
			on.mu.Lock()
			for id, w := range on.watches {
				at.watches = append(at.watches, place{number, id, w.ask.WatchId == 0})
			}
			on.mu.Unlock()
		}
	}
	at.sortWatches()
	return at
}
