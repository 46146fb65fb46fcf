// Package fulldisk fills the disk of a server, takes what is left away from it, kills it, and
// walks the way back: start, delete, compact, disarm, write.
package fulldisk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"tenet.test/interop/server"
)

const (
	valueBytes = 64 << 10
	// Keys that are left when the others are deleted.
	keys = 10
	// What the way back may take.
	patience = 60 * time.Second
)

// Report is what was seen on the way.
type Report struct {
	DiskBytes uint64 `json:"disk_bytes"`
	// Puts that were acknowledged before one was refused.
	Acknowledged int `json:"acknowledged"`
	// Free space when the first put was refused.
	FreeWhenRefused uint64 `json:"free_bytes_when_refused"`
	// What was taken away then, to the last byte.
	TakenAway uint64 `json:"taken_away_bytes"`
	// Seconds from the start on the full disk to the first linearizable read.
	StartSeconds float64 `json:"start_seconds"`
	// Free space after keys were deleted and compacted, with nothing given back by others.
	FreeAfterCompaction uint64 `json:"free_bytes_after_compaction"`
	// Seconds from the first delete to the first put.
	RecoverySeconds float64 `json:"recovery_seconds"`
	// Acknowledged puts that were not there at any of the looks.
	Lost int `json:"lost"`
}

type run struct {
	folder string
	server *server.Server
	client *clientv3.Client
	report *Report
}

// Run needs a small file system at the folder's "data".
func Run(ctx context.Context, binary, folder string, flags []string) (Report, error) {
	r := run{folder: folder, report: &Report{}}
	all, _, err := r.space()
	if err != nil {
		return *r.report, err
	}
	r.report.DiskBytes = all
	if r.server, err = server.Start(server.Options{Binary: binary, Folder: folder, Flags: flags}); err != nil {
		return *r.report, err
	}
	defer r.server.Close()
	steps := []struct {
		name string
		do   func(context.Context) error
	}{
		{"connect", r.connect}, {"fill", r.fill}, {"see the alarm", r.seeAlarm},
		{"take the rest away", r.takeRest}, {"read from a full disk", r.readAll},
		{"kill and start on a full disk", r.restart}, {"see the alarm after the start", r.seeAlarm},
		{"read after the start", r.readAll}, {"be refused", r.beRefused},
		{"recover", r.recover}, {"kill and start again", r.restart}, {"read at the end", r.readFew},
	}
	for _, step := range steps {
		if err := step.do(ctx); err != nil {
			return *r.report, fmt.Errorf("%s: %w; the end of the server's log: %s", step.name, err, r.server.LogTail())
		}
	}
	return *r.report, r.server.Stop()
}

// space is how much there is of the small file system, and how much of it is free.
func (r *run) space() (all, free uint64, err error) {
	var found syscall.Statfs_t
	if err := syscall.Statfs(filepath.Join(r.folder, "data"), &found); err != nil {
		return 0, 0, err
	}
	return found.Blocks * uint64(found.Bsize), found.Bavail * uint64(found.Bsize), nil
}

func (r *run) connect(context.Context) (err error) {
	r.client, err = r.server.Client()
	return err
}

func key(i int) string { return fmt.Sprintf("k%05d", i) }

func value(i int) string {
	return strings.Repeat(fmt.Sprintf("%08d", i), valueBytes/8)
}

func (r *run) fill(ctx context.Context) error {
	for i := 0; ; i++ {
		_, err := r.client.Put(ctx, key(i), value(i))
		if errors.Is(err, rpctypes.ErrNoSpace) {
			_, free, err := r.space()
			r.report.FreeWhenRefused = free
			if i < 10*keys {
				return fmt.Errorf("only %d values of %d bytes fit: %w", i, valueBytes, err)
			}
			return err
		}
		if err != nil {
			return fmt.Errorf("put %d is answered with another error: %w", i, err)
		}
		r.report.Acknowledged++
	}
}

func (r *run) seeAlarm(ctx context.Context) error {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		answer, err := r.client.AlarmList(ctx)
		if err != nil {
			return err
		}
		if len(answer.Alarms) == 1 && answer.Alarms[0].Alarm == pb.AlarmType_NOSPACE {
			return nil
		}
	}
	return errors.New("no alarm is raised")
}

// takeRest fills the file system with a file of somebody else's.
func (r *run) takeRest(context.Context) error {
	file, err := os.Create(filepath.Join(r.folder, "data", "of-somebody-else"))
	if err != nil {
		return err
	}
	defer file.Close()
	for _, size := range []int{1 << 20, 4096, 1} {
		piece := make([]byte, size)
		for {
			written, err := file.Write(piece)
			r.report.TakenAway += uint64(written)
			if errors.Is(err, syscall.ENOSPC) {
				break
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *run) readAll(ctx context.Context) error { return r.read(ctx, r.report.Acknowledged) }

func (r *run) readFew(ctx context.Context) error { return r.read(ctx, keys) }

// read compares all keys, count of them, with what was acknowledged.
func (r *run) read(ctx context.Context, count int) error {
	for i := range count {
		answer, err := r.client.Get(ctx, key(i))
		if err != nil {
			return err
		}
		if len(answer.Kvs) != 1 || string(answer.Kvs[0].Value) != value(i) {
			r.report.Lost++
		}
	}
	if r.report.Lost > 0 {
		return fmt.Errorf("%d of %d acknowledged keys are gone", r.report.Lost, count)
	}
	answer, err := r.client.Get(ctx, "k", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return err
	}
	if answer.Count != int64(count) {
		return fmt.Errorf("%d keys are there, not %d", answer.Count, count)
	}
	return nil
}

func (r *run) restart(ctx context.Context) error {
	if err := r.server.Kill(); err != nil {
		return err
	}
	began := time.Now()
	if err := r.server.Again(); err != nil {
		return err
	}
	if r.report.StartSeconds == 0 {
		r.report.StartSeconds = time.Since(began).Seconds()
	}
	_, err := r.client.Get(ctx, key(0))
	return err
}

func (r *run) beRefused(ctx context.Context) error {
	if _, err := r.client.Put(ctx, "another", "x"); !errors.Is(err, rpctypes.ErrNoSpace) {
		return fmt.Errorf("a put on a full disk: %v", err)
	}
	return nil
}

func (r *run) recover(ctx context.Context) error {
	began := time.Now()
	var last *clientv3.DeleteResponse
	for from := keys; from < r.report.Acknowledged; from += 100 {
		to := min(from+100, r.report.Acknowledged)
		var err error
		if last, err = r.client.Delete(ctx, key(from), clientv3.WithRange(key(to))); err != nil {
			return fmt.Errorf("delete: %w", err)
		}
	}
	if _, err := r.client.Compact(ctx, last.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		return fmt.Errorf("compact: %w", err)
	}
	if _, err := r.client.Defragment(ctx, r.client.Endpoints()[0]); err != nil {
		return fmt.Errorf("defragment: %w", err)
	}
	_, free, err := r.space()
	if err != nil {
		return err
	}
	r.report.FreeAfterCompaction = free
	// Whoever disarms before there is room is told so again by the next put.
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		if _, err := r.client.AlarmDisarm(ctx, &clientv3.AlarmMember{}); err != nil {
			return fmt.Errorf("disarm: %w", err)
		}
		_, err := r.client.Put(ctx, key(0), value(0))
		if err == nil {
			break
		}
		if !errors.Is(err, rpctypes.ErrNoSpace) || time.Now().After(deadline) {
			return fmt.Errorf("the put after the recovery: %w", err)
		}
	}
	r.report.RecoverySeconds = time.Since(began).Seconds()
	return nil
}
