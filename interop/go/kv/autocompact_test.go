package kv

import (
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tenet.test/interop/server"
)

// A history that is older than the period goes by itself, and what is newest stays.
func TestHistoryGoesByItself(t *testing.T) {
	own := server.For(t, "--auto-compaction-retention=2s")
	client, ctx := server.ClientOf(t, own), contextOf(t)
	first, err := client.Put(ctx, "a", "1")
	if err != nil {
		t.Fatal(err)
	}
	old := clientv3.WithRev(first.Header.Revision)
	if _, err := client.Put(ctx, "a", "2"); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Get(ctx, "a", old); err != nil {
		t.Fatalf("before the period has passed: %v", err)
	}
	for {
		_, err := client.Get(ctx, "a", old)
		if err != nil && err.Error() == "etcdserver: mvcc: required revision has been compacted" {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	answer, err := client.Get(ctx, "a")
	if err != nil || len(answer.Kvs) != 1 || string(answer.Kvs[0].Value) != "2" {
		t.Fatalf("%v, %v", answer, err)
	}
}
