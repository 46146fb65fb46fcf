// Package cluster tests several members of one cluster, from outside: the same tests run on the real
// etcd, on Tenet, and on clusters of both.
package cluster

import (
	"context"
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tenet.test/interop/server"
)

const patience = 60 * time.Second

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually tries until something holds.
func eventually(t *testing.T, what string, holds func() error) {
	t.Helper()
	var last error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if last = holds(); last == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, last)
}

// leader is the place of the member that all of some others follow.
func leader(t *testing.T, c *server.Cluster, places ...int) (place int) {
	t.Helper()
	client := c.ClientFor(t, places...)
	eventually(t, "no leader", func() error {
		var ids = map[uint64]int{}
		var followed uint64
		for _, i := range places {
			status, err := client.Status(within(t), c.Members[i].Endpoint())
			if err != nil {
				return err
			}
			ids[status.Header.MemberId] = i
			if status.Leader == 0 || followed != 0 && followed != status.Leader {
				return fmt.Errorf("%d follows %x, another %x", i, status.Leader, followed)
			}
			followed = status.Leader
		}
		found, known := ids[followed]
		if !known {
			return fmt.Errorf("%x leads and was not asked", followed)
		}
		place = found
		return nil
	})
	return place
}

// agree waits until members hold the same, by their hashes, at the revision of the first.
func agree(t *testing.T, c *server.Cluster, places ...int) {
	t.Helper()
	client := c.ClientFor(t, places...)
	eventually(t, "members differ", func() error {
		var first *clientv3.HashKVResponse
		for _, i := range places {
			revision := int64(0)
			if first != nil {
				revision = first.Header.Revision
			}
			hash, err := client.HashKV(within(t), c.Members[i].Endpoint(), revision)
			if err != nil {
				return err
			}
			if first == nil {
				first = hash
			}
			if hash.Hash != first.Hash || hash.CompactRevision != first.CompactRevision {
				return fmt.Errorf("member %d has hash %x compacted at %d, the first %x at %d, revision %d",
					i, hash.Hash, hash.CompactRevision, first.Hash, first.CompactRevision, first.Header.Revision)
			}
		}
		return nil
	})
}

func put(t *testing.T, client *clientv3.Client, count int, prefix string) {
	t.Helper()
	for i := range count {
		if _, err := client.Put(within(t), fmt.Sprintf("%s/%04d", prefix, i), fmt.Sprintf("v%d", i)); err != nil {
			t.Fatalf("put %d: %v", i, err)
		}
	}
}
