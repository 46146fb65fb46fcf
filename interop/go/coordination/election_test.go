package coordination

import (
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	electionpb "go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
)

func (b *bench) campaign(lease int64, value string) (*electionpb.CampaignResponse, error) {
	return b.election.Campaign(b.ctx, &electionpb.CampaignRequest{Name: b.name(), Lease: lease, Value: []byte(value)})
}

func (b *bench) leads(value string) {
	b.Helper()
	leader, err := b.election.Leader(b.ctx, &electionpb.LeaderRequest{Name: b.name()})
	if err != nil || string(leader.Kv.Value) != value {
		b.Errorf("the leader is %v (%v), want %s", leader, err, value)
	}
}

func TestElection(t *testing.T) {
	b := newBench(t)
	_, err := b.election.Leader(b.ctx, &electionpb.LeaderRequest{Name: b.name()})
	wantUnknown(t, "nobody leads", err, "election: no leader")
	first, second := b.lease(), b.lease()
	won, err := b.campaign(first, "one")
	if err != nil {
		t.Fatal(err)
	}
	key := fmt.Sprintf("%s/%x", b.Name(), first)
	if l := won.Leader; string(l.Name) != b.Name() || string(l.Key) != key || l.Lease != first || l.Rev != won.Header.Revision {
		t.Errorf("elected as %v at %d", l, won.Header.Revision)
	}
	b.leads("one")
	// Again with another value: the value is proclaimed, the rank kept.
	again, err := b.campaign(first, "uno")
	if err != nil || again.Leader.Rev != won.Leader.Rev {
		t.Errorf("again: %v, %v", again, err)
	}
	b.leads("uno")

	elected := make(chan error, 1)
	go func() {
		_, err := b.campaign(second, "two")
		elected <- err
	}()
	select {
	case <-elected:
		t.Fatal("two lead")
	case <-time.After(300 * time.Millisecond):
	}
	if _, err := b.election.Proclaim(b.ctx, &electionpb.ProclaimRequest{Leader: won.Leader, Value: []byte("eins")}); err != nil {
		t.Fatal(err)
	}
	b.leads("eins")
	if _, err := b.election.Resign(b.ctx, &electionpb.ResignRequest{Leader: won.Leader}); err != nil {
		t.Fatal(err)
	}
	if err := <-elected; err != nil {
		t.Fatal(err)
	}
	b.leads("two")
	_, err = b.election.Proclaim(b.ctx, &electionpb.ProclaimRequest{Leader: won.Leader, Value: []byte("x")})
	wantUnknown(t, "a proclamation of one who has resigned", err, "election: not leader")
	if _, err := b.election.Resign(b.ctx, &electionpb.ResignRequest{Leader: won.Leader}); err != nil {
		t.Error(err)
	}
	_, err = b.election.Proclaim(b.ctx, &electionpb.ProclaimRequest{Value: []byte("x")})
	wantUnknown(t, "no leader named", err, `"leader" field must be provided`)
	_, err = b.election.Resign(b.ctx, &electionpb.ResignRequest{})
	wantUnknown(t, "no leader named", err, `"leader" field must be provided`)
	_, err = b.campaign(99999, "x")
	wantUnknown(t, "an unknown lease", err, "etcdserver: requested lease not found")
}

func TestObserve(t *testing.T) {
	b := newBench(t)
	stream, err := b.election.Observe(b.ctx, &electionpb.LeaderRequest{Name: b.name()})
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan string, 100)
	go func() {
		for {
			response, err := stream.Recv()
			if err != nil {
				return
			}
			told <- string(response.Kv.Value)
		}
	}()
	want := func(value string) {
		t.Helper()
		select {
		case got := <-told:
			if got != value {
				t.Errorf("told %s, want %s", got, value)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("not told %s", value)
		}
	}
	time.Sleep(100 * time.Millisecond)
	won, err := b.campaign(b.lease(), "one")
	if err != nil {
		t.Fatal(err)
	}
	want("one")
	for _, value := range []string{"uno", "eins"} {
		if _, err := b.election.Proclaim(b.ctx, &electionpb.ProclaimRequest{Leader: won.Leader, Value: []byte(value)}); err != nil {
			t.Fatal(err)
		}
		want(value)
	}
	if _, err := b.election.Resign(b.ctx, &electionpb.ResignRequest{Leader: won.Leader}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	if _, err := b.campaign(b.lease(), "two"); err != nil {
		t.Fatal(err)
	}
	want("two")
}

// The service and the client's own elections see each other.
func TestElectionWithClients(t *testing.T) {
	b := newBench(t)
	session, err := concurrency.NewSession(b.client, concurrency.WithTTL(5))
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	election := concurrency.NewElection(session, b.Name())
	if err := election.Campaign(b.ctx, "client"); err != nil {
		t.Fatal(err)
	}
	b.leads("client")
	elected := make(chan error, 1)
	go func() {
		_, err := b.campaign(b.lease(), "service")
		elected <- err
	}()
	time.Sleep(200 * time.Millisecond)
	// The client's lease ends with its session.
	if _, err := b.client.Revoke(b.ctx, clientv3.LeaseID(session.Lease())); err != nil {
		t.Fatal(err)
	}
	if err := <-elected; err != nil {
		t.Fatal(err)
	}
	leader, err := election.Leader(b.ctx)
	if err != nil || string(leader.Kvs[0].Value) != "service" {
		t.Errorf("the client sees %v, %v", leader, err)
	}
}
