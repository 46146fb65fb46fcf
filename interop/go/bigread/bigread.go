// Package bigread measures what a server's memory grows by while clients read everything it has,
// in one answer each, or in the chunks of a stream, one of them slowly.
//
// Memory is what the process has of its own (RssAnon): files that the system keeps in memory are
// not counted. The clients hold nothing and check every key-value.
package bigread

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"tenet.test/interop/server"
)

const (
	slowBytesPerSecond = 1 << 10
	opsPerTxn          = 100
	writers            = 8
	// How long a server has to settle after its start, and how long a slow reader stays after the
	// others have all.
	settleTime = 2 * time.Second
	sampleTime = 10 * time.Millisecond
)

// Case is who reads at once.
type Case struct {
	// Method is Range or RangeStream.
	Method string `json:"method"`
	// Fast readers read as fast as they can, slow ones 1 KB in a second.
	Fast int `json:"fast"`
	Slow int `json:"slow"`
}

// Cases are those that are of interest.
var Cases = []Case{
	{"Range", 1, 0}, {"Range", 5, 0}, {"Range", 4, 1},
	{"RangeStream", 1, 0}, {"RangeStream", 5, 0}, {"RangeStream", 4, 1},
}

func (c Case) String() string {
	return fmt.Sprintf("%s, %d at once and %d at 1 KB/s", c.Method, c.Fast, c.Slow)
}

// Growth is what a case came to.
type Growth struct {
	Case
	BeforeBytes int64   `json:"before_bytes"`
	PeakBytes   int64   `json:"peak_bytes"`
	Seconds     float64 `json:"seconds"`
}

// Bytes that memory grew by at its highest.
func (g Growth) Bytes() int64 { return g.PeakBytes - g.BeforeBytes }

// Load writes keys with values of random bytes. A value begins with its key.
func Load(ctx context.Context, s *server.Server, keys, valueBytes int) error {
	connection, err := grpc.NewClient(s.Endpoint(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	kv := pb.NewKVClient(connection)
	var group sync.WaitGroup
	failed := make(chan error, writers)
	for w := range writers {
		group.Go(func() {
			random := rand.New(rand.NewSource(int64(w)))
			for first := w * opsPerTxn; first < keys; first += writers * opsPerTxn {
				txn := &pb.TxnRequest{}
				for n := first; n < min(first+opsPerTxn, keys); n++ {
					put := &pb.PutRequest{Key: fmt.Appendf(nil, "/bigread/%014d", n), Value: make([]byte, valueBytes)}
					_, _ = random.Read(put.Value)
					copy(put.Value, put.Key)
					txn.Success = append(txn.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: put}})
				}
				if _, err := kv.Txn(ctx, txn); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	group.Wait()
	close(failed)
	return <-failed
}

// Measure starts the server anew, lets the readers of a case read, and tells what memory grew by.
func Measure(ctx context.Context, s *server.Server, c Case, keys int) (Growth, error) {
	growth := Growth{Case: c}
	if err := s.Stop(); err != nil {
		return growth, err
	}
	if err := s.Again(); err != nil {
		return growth, err
	}
	time.Sleep(settleTime)
	before, err := AnonymousBytes(s.ProcessID())
	if err != nil {
		return growth, err
	}
	growth.BeforeBytes = before
	peak := watchPeak(s.ProcessID())
	began := time.Now()
	err = readAll(ctx, s.Address(), c, keys)
	growth.Seconds = time.Since(began).Seconds()
	growth.PeakBytes = peak()
	return growth, err
}

func readAll(ctx context.Context, address string, c Case, keys int) error {
	slowCtx, stop := context.WithCancel(ctx)
	defer stop()
	var slow, fast sync.WaitGroup
	failed := make(chan error, c.Slow+c.Fast)
	for range c.Slow {
		slow.Go(func() {
			_, err := reader{address, c.Method, slowBytesPerSecond}.read(slowCtx)
			if !errors.Is(err, context.Canceled) {
				failed <- fmt.Errorf("the slow reader ended: %w", err)
			}
		})
	}
	for range c.Fast {
		fast.Go(func() {
			found, err := reader{address: address, method: c.Method}.read(ctx)
			if err == nil && (found.keys != int64(keys) || found.count != int64(keys) || found.more) {
				err = fmt.Errorf("%+v of %d keys", found, keys)
			}
			if err != nil {
				failed <- err
			}
		})
	}
	fast.Wait()
	if c.Slow > 0 {
		time.Sleep(settleTime)
	}
	stop()
	slow.Wait()
	close(failed)
	return <-failed
}

// watchPeak looks at a process's memory until the returned function is called, which gives the most
// that was seen.
func watchPeak(process int) func() int64 {
	var peak atomic.Int64
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			if bytes, err := AnonymousBytes(process); err == nil {
				peak.Store(max(peak.Load(), bytes))
			}
			select {
			case <-done:
				return
			case <-time.After(sampleTime):
			}
		}
	}()
	return func() int64 {
		close(done)
		<-ended
		return peak.Load()
	}
}

// AnonymousBytes is the memory that a process has of its own.
func AnonymousBytes(process int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", process))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, is := strings.CutPrefix(line, "RssAnon:"); is {
			kilobytes, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kilobytes * 1024, err
		}
	}
	return 0, errors.New("the process has no RssAnon")
}
