// Package crash kills a server again and again while many writers are at work, starts it anew, and
// compares what it has with what it had acknowledged.
//
// Writers own their keys, so each knows what may be there: everything that was acknowledged, and
// of what was under way at the kill either all or nothing.
package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"tenet.test/interop/server"
)

// Config says how hard and how long.
type Config struct {
	Binary  string
	Folder  string
	Flags   []string
	Cycles  int
	Writers int
	Seed    uint64
	// Say is told about each cycle.
	Say func(format string, args ...any)
}

// Report counts what happened.
type Report struct {
	Cycles       int    `json:"cycles"`
	Kills        int    `json:"kills"`
	Seed         uint64 `json:"seed"`
	Acknowledged int    `json:"acknowledged_writes"`
	Unknown      int    `json:"writes_under_way_at_a_kill"`
	Checked      int    `json:"writes_checked_at_their_revision"`
	Compactions  int    `json:"acknowledged_compactions"`
	// Start times, from the start of the process until it answers linearizable reads.
	StartMsP50 int64 `json:"start_ms_p50"`
	StartMsP99 int64 `json:"start_ms_p99"`
	StartMsMax int64 `json:"start_ms_max"`
	// Violations is empty if the server kept its word.
	Violations []string `json:"violations"`
}

const (
	connections = 4
	// How long writers work before the kill, at least and at most.
	loadMin, loadMax = 50 * time.Millisecond, 400 * time.Millisecond
	// How many violations are told before the rest is dropped.
	violationsMax = 20
)

// run is the state of a whole run.
type run struct {
	config  Config
	random  *rand.Rand
	server  *server.Server
	writers []*writer
	report  Report
	// The highest revision that any answer has shown.
	revision int64
	// The highest revision whose compaction was acknowledged, and the highest that was asked for.
	compacted, compactAsked int64
	starts                  []time.Duration
}

// Run makes the configured number of cycles. It fails only if the machinery does; what the server
// did wrong is in the report.
func Run(ctx context.Context, config Config) (Report, error) {
	r := &run{
		config: config,
		random: rand.New(rand.NewPCG(config.Seed, 0)),
		report: Report{Seed: config.Seed, Violations: []string{}},
	}
	for id := range config.Writers {
		r.writers = append(r.writers, newWriter(id, config.Seed))
	}
	var err error
	r.server, err = server.Start(server.Options{Binary: config.Binary, Folder: config.Folder, Flags: config.Flags})
	if err != nil {
		return r.report, err
	}
	defer r.server.Close()
	for r.report.Cycles < config.Cycles {
		if err := r.cycle(ctx); err != nil {
			return r.report, fmt.Errorf("cycle %d: %w", r.report.Cycles+1, err)
		}
		if len(r.report.Violations) > 0 {
			return r.report, nil
		}
	}
	if least := config.Cycles * config.Writers / 4; r.report.Acknowledged < least {
		return r.report, fmt.Errorf("only %d writes were acknowledged, fewer than %d prove nothing", r.report.Acknowledged, least)
	}
	r.report.StartMsP50, r.report.StartMsP99, r.report.StartMsMax = quantiles(r.starts)
	return r.report, nil
}

func (r *run) cycle(ctx context.Context) error {
	if err := r.loadAndKill(ctx); err != nil {
		return err
	}
	if err := r.startAgain(); err != nil {
		return err
	}
	checked, err := r.check(ctx)
	if err != nil {
		return err
	}
	r.report.Cycles++
	r.report.Checked += checked
	r.config.Say("cycle %d: %d writes acknowledged so far, %d checked now, revision %d, start %v",
		r.report.Cycles, r.report.Acknowledged, checked, r.revision, r.starts[len(r.starts)-1].Round(time.Millisecond))
	return nil
}

// loadAndKill lets all writers work until the server is killed under them.
func (r *run) loadAndKill(ctx context.Context) error {
	clients, closeAll, err := r.connect()
	if err != nil {
		return err
	}
	defer closeAll()
	var group sync.WaitGroup
	for i, writer := range r.writers {
		group.Go(func() { writer.work(ctx, clients[i%len(clients)]) })
	}
	if r.random.IntN(3) == 0 {
		after := between(r.random, 0, loadMax)
		group.Go(func() { r.compact(ctx, clients[0], after) })
	}
	time.Sleep(between(r.random, loadMin, loadMax))
	if err := r.server.Kill(); err != nil {
		return err
	}
	r.report.Kills++
	group.Wait()
	for _, writer := range r.writers {
		r.report.Acknowledged += writer.acknowledgedNow()
		r.report.Unknown += writer.unknownNow()
		r.revision = max(r.revision, writer.revision)
		if err := writer.refused(); err != nil {
			r.violation("writer %d was refused: %v", writer.id, err)
		}
	}
	return nil
}

// compact throws away history up to the newest revision, once, if the server lives that long.
func (r *run) compact(ctx context.Context, client pb.KVClient, after time.Duration) {
	time.Sleep(after)
	answer, err := client.Range(ctx, &pb.RangeRequest{Key: []byte("x"), CountOnly: true})
	if err != nil {
		return
	}
	r.compactAsked = answer.Header.Revision
	if _, err := client.Compact(ctx, &pb.CompactionRequest{Revision: r.compactAsked, Physical: r.compactAsked%2 == 0}); err == nil {
		r.compacted = r.compactAsked
		r.report.Compactions++
	}
}

// startAgain starts the server, which must need no help; sometimes it is killed while it recovers.
func (r *run) startAgain() error {
	for r.random.IntN(4) == 0 {
		if err := r.server.Launch(); err != nil {
			return err
		}
		time.Sleep(between(r.random, 0, 100*time.Millisecond))
		if err := r.server.Kill(); err != nil {
			return err
		}
		r.report.Kills++
	}
	before := time.Now()
	if err := r.server.Again(); err != nil {
		return err
	}
	r.starts = append(r.starts, time.Since(before))
	return nil
}

func (r *run) connect() (clients []pb.KVClient, closeAll func(), err error) {
	var open []*grpc.ClientConn
	closeAll = func() {
		for _, connection := range open {
			connection.Close()
		}
	}
	for range connections {
		connection, err := grpc.NewClient(r.server.Endpoint(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		open = append(open, connection)
		clients = append(clients, pb.NewKVClient(connection))
	}
	return clients, closeAll, nil
}

func (r *run) violation(format string, args ...any) {
	if len(r.report.Violations) < violationsMax {
		r.report.Violations = append(r.report.Violations, fmt.Sprintf(format, args...))
	}
}

func between(random *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(random.Int64N(int64(high-low)))
}
