package diff

import (
	"context"
	"fmt"
	"sync"
)

// Many says how many histories are played, and how.
type Many struct {
	Config
	// Steps of all histories together; Config.Steps is of one.
	Total int
	// Histories that are played at the same time.
	AtOnce int
}

// kindOf is the n-th history: of ten, three are of several clients, one has large values and one is
// deep.
func (m *Many) kindOf(n int) Config {
	config := m.Config
	config.Seed += uint64(n)
	switch n % 10 {
	case 1, 4, 7:
		config.Clients = 4
	case 2:
		config.Large = true
		config.Steps = max(config.Steps/4, 1)
	case 5:
		config.Deep = true
		config.Steps += deepRevisions
	}
	return config
}

// Run plays histories until their steps are enough, and gives the first difference with the
// history that it was found in.
func (m *Many) Run(ctx context.Context) (*Difference, Config, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	var first *Difference
	var of Config
	var failure error
	next, steps := 0, 0
	take := func() (config Config, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		if steps >= m.Total || first != nil || failure != nil {
			return config, false
		}
		config = m.kindOf(next)
		next, steps = next+1, steps+config.Steps
		return config, true
	}
	var all sync.WaitGroup
	for range max(m.AtOnce, 1) {
		all.Go(func() {
			for config, ok := take(); ok; config, ok = take() {
				found, err := Run(ctx, config)
				mu.Lock()
				switch {
				case err != nil && failure == nil && first == nil:
					failure, of = fmt.Errorf("seed %d: %w", config.Seed, err), config
				case found != nil && first == nil:
					// What others find now is their being cancelled.
					first, of = found, config
					cancel()
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if first != nil {
		failure = nil
	}
	return first, of, failure
}
