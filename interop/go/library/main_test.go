// Package library runs what the official client builds on top of plain calls: transactional
// memory, sessions, mutexes and elections, leasing, ordering, namespaces and mirrors.
//
// Each expectation was taken from the real etcd: run the package with SERVER=etcd to see that they
// hold there. With TRANSPORT=unix all of it goes over a unix socket.
package library

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tenet.test/interop/server"
)

var shared *server.Server

func TestMain(m *testing.M) {
	os.Exit(server.RunWith(&shared, m))
}

// bench is what a test works with: a client and keys under a prefix of its own.
type bench struct {
	*testing.T
	ctx    context.Context
	client *clientv3.Client
	prefix string
}

func newBench(t *testing.T) *bench { return benchOn(t, shared) }

func benchOn(t *testing.T, s *server.Server) *bench {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	return &bench{t, ctx, server.ClientOf(t, s), t.Name() + "/"}
}

func (b *bench) key(name string) string { return b.prefix + name }

func (b *bench) put(name, value string, options ...clientv3.OpOption) *clientv3.PutResponse {
	b.Helper()
	answer, err := b.client.Put(b.ctx, b.key(name), value, options...)
	if err != nil {
		b.Fatal(err)
	}
	return answer
}

// value is what the server has under a key, "" if nothing.
func (b *bench) value(name string) string {
	b.Helper()
	answer, err := b.client.Get(b.ctx, b.key(name))
	if err != nil {
		b.Fatal(err)
	}
	if len(answer.Kvs) == 0 {
		return ""
	}
	return string(answer.Kvs[0].Value)
}

// all is everything under the test's prefix, by full key.
func (b *bench) all() map[string]string {
	b.Helper()
	answer, err := b.client.Get(b.ctx, b.prefix, clientv3.WithPrefix())
	if err != nil {
		b.Fatal(err)
	}
	found := map[string]string{}
	for _, kv := range answer.Kvs {
		found[string(kv.Key)] = string(kv.Value)
	}
	return found
}

func (b *bench) want(what string, got, want any) {
	b.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		b.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// wantError compares the text of an error.
func (b *bench) wantError(what string, err error, text string) {
	b.Helper()
	if err == nil || err.Error() != text {
		b.Errorf("%s: got %v, want %q", what, err, text)
	}
}

// until waits for a condition, with a bound.
func (b *bench) until(what string, holds func() bool) {
	b.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); {
		if time.Now().After(deadline) {
			b.Fatalf("within 20 s it did not come true that %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
