// Package record writes down what concurrent clients ask of a server, what they are answered and
// when, and what watches are told, while the server is killed, started again, stopped and
// continued. It judges nothing; docs/histories.md describes what it writes.
package record

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"tenet.test/interop/lines"
	"tenet.test/interop/server"
)

// Config says how hard and how long.
type Config struct {
	Binary string
	Folder string
	Flags  []string
	Seed   uint64
	// Operations are recorded at most, Time passes at most.
	Operations int64
	Time       time.Duration
	Clients    int
	// Streams of watches, beside two watches of the official client.
	Streams int
	// Pause is how long a client waits between two operations, on average.
	Pause time.Duration
	// Kills and Stops are spread over the time.
	Kills, Stops int
	Out          io.Writer
	Say          func(format string, args ...any)
}

// Report counts what was recorded.
type Report struct {
	Seed       uint64 `json:"seed"`
	Operations int64  `json:"operations"`
	Lost       int64  `json:"without_answer"`
	Events     int64  `json:"events"`
	Watches    int64  `json:"watches"`
	Resumed    int64  `json:"resumed_watches"`
	Kills      int    `json:"kills"`
	Stops      int    `json:"stops"`
	Revision   int64  `json:"revision"`
}

const (
	// How long a stopped server is left alone, at least and at most. Some calls give up meanwhile.
	stopMin, stopMax = 200 * time.Millisecond, 1600 * time.Millisecond
	// How long watches may take at the end to tell everything.
	drainTimeout = 30 * time.Second
)

// recorder is the state of a whole run.
type recorder struct {
	config Config
	server *server.Server
	began  time.Time
	report Report

	lock sync.Mutex
	out  *bufio.Writer
	// failure is what ends the run: an answer that no server may give, or a full disk.
	failure error

	nextOp, nextWatch, nextStream atomic.Int64
	// The newest revision that any client was shown.
	revision atomic.Int64
	// When the history ends: the revision that every watch has to reach.
	last   atomic.Int64
	leases leasePool

	// up is closed while the server may be asked; done when clients must end.
	upLock sync.Mutex
	up     chan struct{}
	done   chan struct{}
	stop   sync.Once
}

// Run records one history.
func Run(config Config) (Report, error) {
	r := &recorder{
		config: config, began: time.Now(), out: bufio.NewWriterSize(config.Out, 1<<20),
		up: make(chan struct{}), done: make(chan struct{}), report: Report{Seed: config.Seed},
	}
	var err error
	r.server, err = server.Start(server.Options{Binary: config.Binary, Folder: config.Folder, Flags: config.Flags})
	if err != nil {
		return r.report, err
	}
	defer r.server.Close()
	r.open()

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var watchers, clients sync.WaitGroup
	for id := range config.Streams {
		watchers.Go(func() { newStream(r, id).run(ctx) })
	}
	for id := range 2 {
		watchers.Go(func() { r.official(ctx, config.Streams+id) })
	}
	for id := range config.Clients {
		clients.Go(func() { r.client(ctx, id) })
	}
	r.faults()
	clients.Wait()
	if r.failed() == nil {
		r.fail(r.finish(ctx))
	}
	r.report.Revision = r.last.Load()
	// Watches end by themselves once they were told everything.
	ended := make(chan struct{})
	go func() { watchers.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(drainTimeout):
		r.fail(fmt.Errorf("the watches were not told everything up to revision %d within %v", r.last.Load(), drainTimeout))
	}
	cancel()
	<-ended
	r.fail(r.out.Flush())
	return r.report, r.failed()
}

// faults kills and stops the server at random moments, then ends the load.
func (r *recorder) faults() {
	random := rand.New(rand.NewPCG(r.config.Seed, 1))
	total := r.config.Kills + r.config.Stops
	kills := r.config.Kills
	for left := total; left > 0; left-- {
		remaining := r.config.Time - time.Since(r.began)
		if !r.sleep(time.Duration(random.Int64N(max(1, 2*int64(remaining)/int64(left+1))))) {
			// The operations are used up: what is left of the faults is done at the end.
			r.config.Say("the load has ended with %d faults still to come", left)
			return
		}
		var err error
		if random.IntN(left) < kills {
			kills--
			err = r.kill(random)
		} else {
			err = r.pause(random)
		}
		if err != nil {
			r.fail(err)
			return
		}
	}
	r.sleep(r.config.Time - time.Since(r.began))
	r.end()
}

// sleep waits; false if the load has ended before.
func (r *recorder) sleep(wait time.Duration) bool {
	select {
	case <-r.done:
		return false
	case <-time.After(wait):
		return true
	}
}

// kill lets no new calls begin, so that each client loses at most the one that is under way.
func (r *recorder) kill(random *rand.Rand) error {
	r.shut()
	defer r.open()
	r.note("kill")
	if err := r.server.Kill(); err != nil {
		return err
	}
	r.report.Kills++
	time.Sleep(time.Duration(random.Int64N(int64(200 * time.Millisecond))))
	if err := r.server.Again(); err != nil {
		return err
	}
	r.note("started")
	return nil
}

func (r *recorder) pause(random *rand.Rand) error {
	r.note("stop")
	if err := syscall.Kill(r.server.ProcessID(), syscall.SIGSTOP); err != nil {
		return err
	}
	r.report.Stops++
	time.Sleep(stopMin + time.Duration(random.Int64N(int64(stopMax-stopMin))))
	if err := syscall.Kill(r.server.ProcessID(), syscall.SIGCONT); err != nil {
		return err
	}
	r.note("continue")
	return nil
}

// finish reads everything once more, which settles up to where watches have to come, and then
// changes a key that all of them want in both ways: one that waits for a revision to come would
// be told nothing otherwise.
func (r *recorder) finish(ctx context.Context) error {
	connection, err := connect(r.server)
	if err != nil {
		return err
	}
	defer connection.Close()
	c := newClient(r, r.config.Clients, connection)
	read := c.ask(ctx, lines.Request{Range: &lines.Range{Key: "\x00", End: "\x00"}})
	r.last.Store(read.Revision)
	put := c.ask(ctx, lines.Request{Put: c.put(sharedKey)})
	del := c.ask(ctx, lines.Request{Delete: &lines.Delete{Key: sharedKey}})
	if read.Answer == nil || put.Answer == nil || del.Answer == nil {
		return errors.New("the last requests got no answer")
	}
	return nil
}

func (r *recorder) end() { r.stop.Do(func() { close(r.done) }) }

func (r *recorder) ended() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

func (r *recorder) open() {
	r.upLock.Lock()
	defer r.upLock.Unlock()
	close(r.up)
}

func (r *recorder) shut() {
	r.upLock.Lock()
	defer r.upLock.Unlock()
	r.up = make(chan struct{})
}

// wait waits until the server may be asked.
func (r *recorder) wait(ctx context.Context) {
	r.upLock.Lock()
	up := r.up
	r.upLock.Unlock()
	select {
	case <-up:
	case <-ctx.Done():
	}
}

// now is the time in the history. It is the monotonic clock.
func (r *recorder) now() int64 { return int64(time.Since(r.began)) }

func (r *recorder) note(what string) {
	r.write(lines.Line{Fault: &lines.Fault{What: what, At: r.now()}})
	r.config.Say("%8.3f s: %s", time.Since(r.began).Seconds(), what)
}

func (r *recorder) write(line lines.Line) {
	text, err := json.Marshal(line)
	r.lock.Lock()
	defer r.lock.Unlock()
	if err == nil {
		_, err = r.out.Write(append(text, '\n'))
	}
	if err != nil && r.failure == nil {
		r.failure = err
	}
	switch {
	case line.Op != nil:
		r.report.Operations++
		if line.Op.Answer == nil {
			r.report.Lost++
		}
	case line.Watch != nil:
		r.report.Watches++
		if line.Watch.Resumes != nil {
			r.report.Resumed++
		}
	case line.Told != nil:
		r.report.Events += int64(len(line.Told.Events))
	}
}

// fail ends the run, if there is an error.
func (r *recorder) fail(err error) {
	if err == nil {
		return
	}
	r.lock.Lock()
	if r.failure == nil {
		r.failure = err
	}
	r.lock.Unlock()
	r.end()
}

func (r *recorder) failed() error {
	r.lock.Lock()
	defer r.lock.Unlock()
	return r.failure
}

// saw notes a revision that was shown.
func (r *recorder) saw(revision int64) {
	for {
		before := r.revision.Load()
		if revision <= before || r.revision.CompareAndSwap(before, revision) {
			return
		}
	}
}
