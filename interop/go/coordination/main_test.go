// Package coordination asks a server for locks and elections, by its services and by the official
// client's own protocol, and both together.
//
// Each expectation was taken from the real etcd: run the package with SERVER=etcd to see that they
// hold there.
package coordination

import (
	"context"
	"os"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	electionpb "go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	lockpb "go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tenet.test/interop/server"
)

var shared *server.Server

func TestMain(m *testing.M) {
	os.Exit(server.RunWith(&shared, m))
}

type bench struct {
	*testing.T
	ctx      context.Context
	client   *clientv3.Client
	lock     lockpb.LockClient
	election electionpb.ElectionClient
}

func newBench(t *testing.T) *bench {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	client, err := shared.Client()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	connection := client.ActiveConnection()
	return &bench{t, ctx, client, lockpb.NewLockClient(connection), electionpb.NewElectionClient(connection)}
}

func (b *bench) lease() int64 {
	b.Helper()
	granted, err := b.client.Grant(b.ctx, 60)
	if err != nil {
		b.Fatal(err)
	}
	return int64(granted.ID)
}

func (b *bench) name() []byte { return []byte(b.Name()) }

func wantUnknown(t *testing.T, what string, err error, text string) {
	t.Helper()
	if got := status.Convert(err); err == nil || got.Code() != codes.Unknown || got.Message() != text {
		t.Errorf("%s: got %v, want Unknown %q", what, err, text)
	}
}
