package kv

import (
	"context"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"

	"tenet.test/interop/server"
)

func TestRestartKeepsEverything(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(*server.Server) error
	}{
		{"stopped", (*server.Server).Stop},
		{"killed", (*server.Server).Kill},
	} {
		t.Run(test.name, func(t *testing.T) {
			own := server.For(t)
			b := benchOn(t, own)
			b.put("a=1", "b=1", "a=2")
			if _, err := b.kv.Compact(b.ctx, &pb.CompactionRequest{Revision: b.base + 2, Physical: true}); err != nil {
				t.Fatal(err)
			}
			member, _ := identity(own.PeerURL())
			maintenance := pb.NewMaintenanceClient(server.RawOf(t, own))
			if _, err := maintenance.Alarm(b.ctx, &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, MemberID: member, Alarm: pb.AlarmType_NOSPACE}); err != nil {
				t.Fatal(err)
			}
			hash, err := maintenance.HashKV(b.ctx, &pb.HashKVRequest{})
			if err != nil {
				t.Fatal(err)
			}

			if err := test.end(own); err != nil {
				t.Fatal(err)
			}
			if err := own.Again(); err != nil {
				t.Fatal(err)
			}

			again := &bench{T: t, ctx: b.ctx, kv: pb.NewKVClient(server.RawOf(t, own)), prefix: b.prefix, base: b.base}
			answer, err := again.kv.Range(b.ctx, &pb.RangeRequest{Key: b.key(""), RangeEnd: b.end("*")})
			if err != nil {
				t.Fatal(err)
			}
			again.want("keys", again.showRange(answer), "[a=2@+1+3v2 b=1@+2+2v1] count 2")
			again.want("revision", again.rev(answer.Header.Revision), "+3")
			if answer.Header.RaftTerm != 3 {
				t.Errorf("term %d after the first restart, want 3", answer.Header.RaftTerm)
			}
			_, err = again.kv.Range(b.ctx, &pb.RangeRequest{Key: b.key("a"), Revision: b.base + 1})
			wantError(t, "below the compaction", err, codes.OutOfRange, compacted)
			_, err = again.kv.Put(b.ctx, &pb.PutRequest{Key: b.key("a")})
			wantError(t, "the alarm is still on", err, codes.ResourceExhausted, noSpace)
			now, err := pb.NewMaintenanceClient(server.RawOf(t, own)).HashKV(b.ctx, &pb.HashKVRequest{})
			if err != nil {
				t.Fatal(err)
			}
			if now.Hash != hash.Hash || now.CompactRevision != hash.CompactRevision {
				t.Errorf("hash %d, compact revision %d; before the restart %d, %d", now.Hash, now.CompactRevision, hash.Hash, hash.CompactRevision)
			}
		})
	}
}

func TestTheOfficialClientSurvivesARestart(t *testing.T) {
	own := server.For(t)
	client := server.ClientOf(t, own)
	ctx := contextOf(t)
	if _, err := client.Put(ctx, "k", "1"); err != nil {
		t.Fatal(err)
	}
	if err := own.Kill(); err != nil {
		t.Fatal(err)
	}
	// A read may be repeated, so the client does until the server is back.
	read := make(chan error, 1)
	go func() {
		answer, err := client.Get(ctx, "k")
		if err == nil && string(answer.Kvs[0].Value) != "1" {
			t.Errorf("read %q, want 1", answer.Kvs[0].Value)
		}
		read <- err
	}()
	// A write may not: it fails at once, or it waits for a connection until its time is over.
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if _, err := client.Put(short, "k", "lost"); err == nil {
		t.Error("a put without a server succeeded")
	}
	if err := own.Again(); err != nil {
		t.Fatal(err)
	}
	if err := <-read; err != nil {
		t.Errorf("the read across the restart: %v", err)
	}
	// The connection comes back by itself.
	for _, value := range []string{"2", "3"} {
		if _, err := client.Put(ctx, "k", value); err != nil {
			t.Errorf("put %s after the restart: %v", value, err)
		}
	}
	answer, err := client.Get(ctx, "k", clientv3.WithRev(0))
	if err != nil {
		t.Fatal(err)
	}
	if kv := answer.Kvs[0]; string(kv.Value) != "3" || kv.Version != 3 {
		t.Errorf("value %q of version %d, want 3 of version 3: a write was lost or done twice", kv.Value, kv.Version)
	}
}

func TestStopEndsWithConnectionsOpen(t *testing.T) {
	own := server.For(t)
	client := server.ClientOf(t, own)
	if _, err := client.Put(contextOf(t), "k", "1"); err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	if err := own.Stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(before); took > 5*time.Second {
		t.Errorf("the server took %v to end with a connection open, 5 s is the most", took)
	}
}
