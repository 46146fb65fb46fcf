package peer

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/lease"
	"go.etcd.io/etcd/server/v3/lease/leasehttp"
	"go.uber.org/zap"

	"tenet.test/interop/server"
)

// What etcd's members ask ours, with etcd's own code.
func TestTheirQuestionsToOurs(t *testing.T) {
	o := startOurs(t, false)
	rt, err := transport.NewTimeoutTransport(transport.TLSInfo{}, time.Second, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()

	cluster, err := etcdserver.GetClusterFromRemotePeers(zap.NewNop(), []string{o.url}, rt)
	if err != nil {
		t.Fatal(err)
	}
	if cluster.ID() != clusterID || len(cluster.Members()) != 1 || cluster.Members()[0].Name != "m1" {
		t.Errorf("members: %v of %v", cluster.Members(), cluster.ID())
	}
	if ttl, err := leasehttp.RenewHTTP(ctx, 7, o.url+leasehttp.LeasePrefix, rt); err != nil || ttl != 60 {
		t.Errorf("renewal: %d %v", ttl, err)
	}
	left, err := leasehttp.TimeToLiveHTTP(ctx, 7, true, o.url+leasehttp.LeaseInternalPrefix, rt)
	if err != nil {
		t.Fatal(err)
	}
	if got := left.LeaseTimeToLiveResponse; got.TTL != 59 || got.GrantedTTL != 60 || string(got.Keys[0]) != "k" {
		t.Errorf("time to live: %v", got)
	}
	for id, want := range map[lease.LeaseID]error{2: lease.ErrLeaseNotFound, 3: leasehttp.ErrLeaseHTTPTimeout} {
		if _, err := leasehttp.RenewHTTP(ctx, id, o.url+leasehttp.LeasePrefix, rt); !errors.Is(err, want) {
			t.Errorf("renewal of %d: %v", id, err)
		}
		if _, err := leasehttp.TimeToLiveHTTP(ctx, id, false, o.url+leasehttp.LeaseInternalPrefix, rt); !errors.Is(err, want) {
			t.Errorf("time to live of %d: %v", id, err)
		}
	}
	client := &http.Client{Transport: rt}
	hash, err := etcdserver.HashByRev(ctx, clusterID, client, o.url, 5)
	if err != nil {
		t.Fatal(err)
	}
	if hash.Hash != 0xfffffff0 || hash.CompactRevision != -1 || hash.HashRevision != 5 || hash.Header.Revision != 8 {
		t.Errorf("hash: %v", hash)
	}
	for revision, want := range map[int64]error{1: rpctypes.ErrCompacted, 9: rpctypes.ErrFutureRev} {
		if _, err := etcdserver.HashByRev(ctx, clusterID, client, o.url, revision); !errors.Is(err, want) {
			t.Errorf("hash at %d: %v", revision, err)
		}
	}
	if _, err := etcdserver.HashByRev(ctx, 0xdead, client, o.url, 5); !errors.Is(err, rpctypes.ErrClusterIDMismatch) {
		t.Errorf("hash for another cluster: %v", err)
	}
}

// What ours asks of a running etcd.
func TestOurQuestionsToTheirs(t *testing.T) {
	o := startOurs(t, false)
	binary := os.Getenv("ETCD")
	if binary == "" {
		t.Fatal("ETCD is not set: give the path of the real etcd")
	}
	s, err := server.Start(server.Options{Binary: binary, Folder: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Kill()
	for what, parts := range map[string][]string{
		"members":    {"Ok(MembersAnswer { cluster: ", `\"name\":\"default\"`},
		"version":    {`server: "3.7.1"`, `cluster: Some("3.7.0")`},
		"downgrade":  {"Ok(false)"},
		"hashkv":     {"Ok(Hash(HashKv { revision: 1", "compact_revision: -1"},
		"keepalive":  {"Ok(Err(NotFound))"},
		"timetolive": {"Ok(Err(NotFound))"},
		"promote":    {"Ok(Err(NotFound))"},
	} {
		eventually(t, "answer to "+what, func() bool {
			// The cluster's version is decided a little later than everything else.
			answer := o.ask(what, s.PeerURL())
			for _, part := range parts {
				if !strings.Contains(answer, part) {
					t.Logf("%s: %s", what, answer)
					return false
				}
			}
			return true
		})
	}
}
