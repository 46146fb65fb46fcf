// Package kubernetes asks a server what a kube-apiserver asks its store, call by call, with the
// client that it uses. There is a test for each kind of call, and for the flags that Kubernetes'
// own tests start a program called etcd with.
package kubernetes

import (
	"context"
	"os"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/kubernetes"

	"tenet.test/interop/server"
)

var shared *server.Server

func TestMain(m *testing.M) {
	os.Exit(server.RunWith(&shared, m, "--watch-progress-notify-interval", "1s"))
}

// bench is one resource of an apiserver: a client of its own and the keys under a prefix.
type bench struct {
	*testing.T
	ctx    context.Context
	client *kubernetes.Client
	prefix string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	client, err := kubernetes.New(clientv3.Config{
		Endpoints:            []string{shared.Endpoint()},
		DialTimeout:          20 * time.Second,
		DialKeepAliveTime:    30 * time.Second,
		DialKeepAliveTimeout: 10 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return &bench{t, ctx, client, "/registry/" + t.Name() + "/"}
}

func (b *bench) create(name, value string) int64 {
	b.Helper()
	put, err := b.client.Kubernetes.OptimisticPut(b.ctx, b.prefix+name, []byte(value), 0, kubernetes.PutOptions{})
	if err != nil || !put.Succeeded {
		b.Fatalf("create %s: %v, %v", name, put, err)
	}
	return put.Revision
}

// revision asks as the apiserver does: a range of one on a key that does not exist.
func (b *bench) revision() int64 {
	b.Helper()
	got, err := b.client.Kubernetes.Get(b.ctx, b.prefix[:len(b.prefix)-1], kubernetes.GetOptions{})
	if err != nil || got.KV != nil || got.Revision == 0 {
		b.Fatalf("current revision: %v, %v", got, err)
	}
	return got.Revision
}
