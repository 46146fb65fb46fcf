package kv

import (
	"fmt"
	"io"
	"math"
	"sort"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"

	"tenet.test/interop/server"
)

const (
	leaseNotFound = "etcdserver: requested lease not found"
	leaseExists   = "etcdserver: lease already exists"
	leaseTooLong  = "etcdserver: too large lease TTL"
)

// leaseBench is a bench with leases; ids of a test are its own.
type leaseBench struct {
	*bench
	lease pb.LeaseClient
}

func newLeaseBench(t *testing.T) *leaseBench { return leaseBenchOn(t, shared) }

func leaseBenchOn(t *testing.T, s *server.Server) *leaseBench {
	t.Helper()
	return &leaseBench{benchOn(t, s), pb.NewLeaseClient(server.RawOf(t, s))}
}

func (b *leaseBench) grant(id, ttl int64) {
	b.Helper()
	if _, err := b.lease.LeaseGrant(b.ctx, &pb.LeaseGrantRequest{ID: id, TTL: ttl}); err != nil {
		b.Fatal(err)
	}
}

func (b *leaseBench) putOn(lease int64, names ...string) {
	b.Helper()
	for _, name := range names {
		ask := &pb.PutRequest{Key: b.key(name), Value: []byte("v"), Lease: lease}
		if _, err := b.kv.Put(b.ctx, ask); err != nil {
			b.Fatal(err)
		}
	}
}

// keysOn are the names of the keys on a lease, sorted: their order is not promised.
func (b *leaseBench) keysOn(lease int64) string {
	b.Helper()
	answer, err := b.lease.LeaseTimeToLive(b.ctx, &pb.LeaseTimeToLiveRequest{ID: lease, Keys: true})
	if err != nil {
		b.Fatal(err)
	}
	names := make([]string, len(answer.Keys))
	for i, key := range answer.Keys {
		names[i] = strings.TrimPrefix(string(key), b.prefix)
	}
	sort.Strings(names)
	return strings.Join(names, " ")
}

func (b *leaseBench) left(lease int64) int64 {
	b.Helper()
	answer, err := b.lease.LeaseTimeToLive(b.ctx, &pb.LeaseTimeToLiveRequest{ID: lease})
	if err != nil {
		b.Fatal(err)
	}
	return answer.TTL
}

// all shows what is left of the test's keys, and the newest revision.
func (b *leaseBench) all() string {
	b.Helper()
	answer, err := b.kv.Range(b.ctx, &pb.RangeRequest{Key: b.key(""), RangeEnd: b.end("*")})
	if err != nil {
		b.Fatal(err)
	}
	return b.showRange(answer) + " at " + b.rev(answer.Header.Revision)
}

func TestLeaseGrant(t *testing.T) {
	b := newLeaseBench(t)
	for _, test := range []struct {
		name     string
		id, ttl  int64
		want     int64
		code     codes.Code
		wantText string
	}{
		{"a given id", 10_001, 100, 100, codes.OK, ""},
		{"the id again", 10_001, 100, 0, codes.FailedPrecondition, leaseExists},
		{"the id again, with a time that is too long", 10_001, 9_000_000_001, 0, codes.OutOfRange, leaseTooLong},
		{"a negative id", -10_001, 100, 100, codes.OK, ""},
		{"the lowest id", math.MinInt64, 100, 100, codes.OK, ""},
		{"the shortest time", 10_002, 2, 2, codes.OK, ""},
		{"a shorter time", 10_003, 1, 2, codes.OK, ""},
		{"no time", 10_004, 0, 2, codes.OK, ""},
		{"a negative time", 10_005, -7, 2, codes.OK, ""},
		{"the lowest time", 10_006, math.MinInt64, 2, codes.OK, ""},
		{"the longest time", 10_007, 9_000_000_000, 9_000_000_000, codes.OK, ""},
		{"a longer time", 10_008, 9_000_000_001, 0, codes.OutOfRange, leaseTooLong},
		{"the highest time", 10_009, math.MaxInt64, 0, codes.OutOfRange, leaseTooLong},
	} {
		answer, err := b.lease.LeaseGrant(b.ctx, &pb.LeaseGrantRequest{ID: test.id, TTL: test.ttl})
		wantError(t, test.name, err, test.code, test.wantText)
		if err == nil && (answer.ID != test.id || answer.TTL != test.want || answer.Error != "") {
			t.Errorf("%s: %v, want TTL %d", test.name, answer, test.want)
		}
		if err == nil {
			b.want(test.name+", header", b.showHeader(answer.Header), "full+0")
		}
	}
	seen := map[int64]bool{}
	for range 3 {
		answer, err := b.lease.LeaseGrant(b.ctx, &pb.LeaseGrantRequest{TTL: 100})
		if err != nil {
			t.Fatal(err)
		}
		member, _ := identity(shared.PeerURL())
		if answer.ID <= 0 || seen[answer.ID] || uint64(answer.ID)>>48 != member&0x7fff {
			t.Errorf("id %x was chosen by member %x, after %v", answer.ID, member, seen)
		}
		seen[answer.ID] = true
	}
}

func TestKeysOnLeases(t *testing.T) {
	b := newLeaseBench(t)
	b.grant(20_001, 100)
	b.grant(20_002, 100)
	step := func(name, wantFirst, wantSecond string) {
		t.Helper()
		b.want(name+", the first lease", b.keysOn(20_001), wantFirst)
		b.want(name+", the second lease", b.keysOn(20_002), wantSecond)
	}
	put := func(ask *pb.PutRequest) {
		t.Helper()
		if _, err := b.kv.Put(b.ctx, ask); err != nil {
			t.Fatal(err)
		}
	}
	b.putOn(20_001, "c", "a", "b")
	step("put", "a b c", "")
	b.putOn(20_002, "a")
	step("moved", "b c", "a")
	put(&pb.PutRequest{Key: b.key("a"), Value: []byte("w"), IgnoreLease: true})
	step("ignore_lease", "b c", "a")
	put(&pb.PutRequest{Key: b.key("b"), IgnoreValue: true, Lease: 20_002})
	step("ignore_value", "c", "a b")
	put(&pb.PutRequest{Key: b.key("b"), Value: []byte("w")})
	step("put without a lease", "c", "a")
	b.want("keys", b.all(), "[a=w@+2+5v3 lease 20002 b=w@+3+7v3 c=v@+1+1v1 lease 20001] count 3 at +7")
	if _, err := b.kv.DeleteRange(b.ctx, &pb.DeleteRangeRequest{Key: b.key("a"), RangeEnd: b.key("d")}); err != nil {
		t.Fatal(err)
	}
	step("deleted", "", "")
	txn := &pb.TxnRequest{
		Compare: []*pb.Compare{{Key: b.key("a"), Target: pb.Compare_LEASE, TargetUnion: &pb.Compare_Lease{Lease: 0}}},
		Success: []*pb.RequestOp{
			{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: b.key("a"), Lease: 20_001}}},
			{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: b.key("b"), Lease: 20_002}}},
		},
	}
	if _, err := b.kv.Txn(b.ctx, txn); err != nil {
		t.Fatal(err)
	}
	step("in a transaction", "a", "b")
	txn.Compare = nil
	txn.Success[1].GetRequestPut().Lease = 20_003
	_, err := b.kv.Txn(b.ctx, txn)
	wantError(t, "an unknown lease in a transaction", err, codes.NotFound, leaseNotFound)
	step("nothing of it", "a", "b")
}

func TestLeaseRevokeDeletesAllKeysAtOneRevision(t *testing.T) {
	b := newLeaseBench(t)
	b.grant(30_001, 100)
	b.putOn(30_001, "b", "a", "c", "gone")
	b.put("other=1")
	if _, err := b.kv.DeleteRange(b.ctx, &pb.DeleteRangeRequest{Key: b.key("gone")}); err != nil {
		t.Fatal(err)
	}
	answer, err := b.lease.LeaseRevoke(b.ctx, &pb.LeaseRevokeRequest{ID: 30_001})
	if err != nil {
		t.Fatal(err)
	}
	b.want("header", b.showHeader(answer.Header), "full+7")
	b.want("keys", b.all(), "[other=1@+5+5v1] count 1 at +7")
	_, err = b.lease.LeaseRevoke(b.ctx, &pb.LeaseRevokeRequest{ID: 30_001})
	wantError(t, "again", err, codes.NotFound, leaseNotFound)
	_, err = b.lease.LeaseRevoke(b.ctx, &pb.LeaseRevokeRequest{})
	wantError(t, "no id", err, codes.NotFound, leaseNotFound)
	_, err = b.kv.Put(b.ctx, &pb.PutRequest{Key: b.key("a"), Lease: 30_001})
	wantError(t, "a put on it", err, codes.NotFound, leaseNotFound)

	// A lease without keys makes no revision, and its id can be granted again.
	b.grant(30_001, 100)
	answer, err = b.lease.LeaseRevoke(b.ctx, &pb.LeaseRevokeRequest{ID: 30_001})
	if err != nil {
		t.Fatal(err)
	}
	b.want("header without keys", b.showHeader(answer.Header), "full+7")
}

func TestLeaseTimeToLive(t *testing.T) {
	b := newLeaseBench(t)
	b.grant(40_001, 100)
	b.putOn(40_001, "a")
	answer, err := b.lease.LeaseTimeToLive(b.ctx, &pb.LeaseTimeToLiveRequest{ID: 40_001})
	if err != nil {
		t.Fatal(err)
	}
	if answer.ID != 40_001 || answer.GrantedTTL != 100 || answer.TTL < 90 || answer.TTL > 99 || len(answer.Keys) != 0 {
		t.Errorf("%v", answer)
	}
	b.want("header", b.showHeader(answer.Header), "full+1")
	for _, id := range []int64{0, 40_002} {
		answer, err = b.lease.LeaseTimeToLive(b.ctx, &pb.LeaseTimeToLiveRequest{ID: id, Keys: true})
		if err != nil {
			t.Fatal(err)
		}
		if answer.ID != id || answer.GrantedTTL != 0 || answer.TTL != -1 || len(answer.Keys) != 0 {
			t.Errorf("unknown: %v", answer)
		}
		b.want("header of an unknown one", b.showHeader(answer.Header), "full+1")
	}
	deadline := time.Now().Add(20 * time.Second)
	for b.left(40_001) > 97 && time.Now().Before(deadline) {
		time.Sleep(50 * time.Millisecond)
	}
	if left := b.left(40_001); left > 97 {
		t.Errorf("%d seconds are left after twenty", left)
	}
}

func TestLeaseLeasesAreSortedByTheirEnd(t *testing.T) {
	b := leaseBenchOn(t, server.For(t))
	list := func() string {
		answer, err := b.lease.LeaseLeases(b.ctx, &pb.LeaseLeasesRequest{})
		if err != nil {
			t.Fatal(err)
		}
		b.want("header", b.showHeader(answer.Header), "full+0")
		text := ""
		for _, lease := range answer.Leases {
			text += fmt.Sprintf("%d ", lease.ID)
		}
		return text
	}
	b.want("none", list(), "")
	b.grant(3, 300)
	b.grant(-1, 100)
	b.grant(2, 200)
	b.want("three", list(), "-1 2 3 ")
	if _, err := b.lease.LeaseRevoke(b.ctx, &pb.LeaseRevokeRequest{ID: 2}); err != nil {
		t.Fatal(err)
	}
	b.want("two", list(), "-1 3 ")
}

func TestLeaseKeepAlive(t *testing.T) {
	b := newLeaseBench(t)
	b.grant(50_001, 100)
	b.grant(50_002, 7)
	stream, err := b.lease.LeaseKeepAlive(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	// All asked before any answer is read; an unknown lease ends nothing.
	asked := []int64{50_001, 50_003, 50_002, 0, 50_001, -1}
	for _, id := range asked {
		if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range asked {
		answer, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		want := map[int64]int64{50_001: 100, 50_002: 7}[id]
		if answer.ID != id || answer.TTL != want {
			t.Errorf("lease %d: %v, want TTL %d", id, answer, want)
		}
		b.want("header", b.showHeader(answer.Header), "full+0")
	}
	if _, err := b.lease.LeaseRevoke(b.ctx, &pb.LeaseRevokeRequest{ID: 50_001}); err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: 50_001}); err != nil {
		t.Fatal(err)
	}
	if answer, err := stream.Recv(); err != nil || answer.TTL != 0 {
		t.Errorf("revoked: %v, %v", answer, err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != io.EOF {
		t.Errorf("after the client's end: %v, want the server's end", err)
	}
}

func TestLeasesEndInTimeAndTakeTheirKeysAtOneRevisionEach(t *testing.T) {
	b := newLeaseBench(t)
	before := time.Now()
	b.grant(60_001, 2)
	b.grant(60_002, 2)
	b.putOn(60_001, "a1", "a2", "a3")
	b.putOn(60_002, "b1")
	b.put("stays=1")
	for {
		answer, err := b.kv.Range(b.ctx, &pb.RangeRequest{Key: b.key(""), RangeEnd: b.end("*")})
		if err != nil {
			t.Fatal(err)
		}
		took := time.Since(before)
		if answer.Count < 5 && took < 2*time.Second {
			t.Fatalf("%s after %v", b.showRange(answer), took)
		}
		// Never a part of a lease's keys.
		if n := answer.Count; n != 5 && n != 4 && n != 2 && n != 1 {
			t.Fatalf("%s: a part of a lease", b.showRange(answer))
		}
		if answer.Count == 1 {
			b.want("in the end", b.all(), "[stays=1@+5+5v1] count 1 at +7")
			break
		}
		if took > 10*time.Second {
			t.Fatalf("%s after %v", b.showRange(answer), took)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if left := b.left(60_001); left != -1 {
		t.Errorf("%d seconds are left of an ended lease", left)
	}
	_, err := b.lease.LeaseRevoke(b.ctx, &pb.LeaseRevokeRequest{ID: 60_001})
	wantError(t, "a revoke afterwards", err, codes.NotFound, leaseNotFound)
}

func TestTheOfficialClientKeepsALeaseAlive(t *testing.T) {
	client := server.ClientOf(t, shared)
	ctx := contextOf(t)
	lease, err := client.Grant(ctx, 2)
	if err != nil {
		t.Fatal(err)
	}
	key := t.Name()
	if _, err := client.Put(ctx, key, "v", clientv3.WithLease(lease.ID)); err != nil {
		t.Fatal(err)
	}
	answers, err := client.KeepAlive(ctx, lease.ID)
	if err != nil {
		t.Fatal(err)
	}
	renewals := 0
	for until := time.After(5 * time.Second); renewals >= 0; {
		select {
		case answer, open := <-answers:
			if !open || answer.TTL != 2 {
				t.Fatalf("%v, open %t", answer, open)
			}
			renewals++
			continue
		case <-until:
		}
		break
	}
	if renewals < 3 {
		t.Errorf("%d renewals in five seconds", renewals)
	}
	if answer, err := client.Get(ctx, key); err != nil || answer.Count != 1 {
		t.Fatalf("%v, %v: the lease did not live", answer, err)
	}
	if once, err := client.KeepAliveOnce(ctx, lease.ID); err != nil || once.TTL != 2 {
		t.Errorf("%v, %v", once, err)
	}
	if _, err := client.Revoke(ctx, lease.ID); err != nil {
		t.Fatal(err)
	}
	// The client learns that the lease is gone and closes the channel.
	deadline := time.After(20 * time.Second)
	for open := true; open; {
		select {
		case _, open = <-answers:
		case <-deadline:
			t.Fatal("the client goes on renewing a lease that is gone")
		}
	}
}

func TestRestartKeepsLeases(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(*server.Server) error
	}{
		{"stopped", (*server.Server).Stop},
		{"killed", (*server.Server).Kill},
	} {
		t.Run(test.name, func(t *testing.T) {
			own := server.For(t)
			b := leaseBenchOn(t, own)
			b.grant(1, 100)
			b.grant(2, 3)
			b.grant(3, 100)
			b.putOn(1, "a", "b")
			b.putOn(2, "c")
			b.putOn(3, "d")
			if _, err := b.lease.LeaseRevoke(b.ctx, &pb.LeaseRevokeRequest{ID: 3}); err != nil {
				t.Fatal(err)
			}
			if err := test.end(own); err != nil {
				t.Fatal(err)
			}
			if err := own.Again(); err != nil {
				t.Fatal(err)
			}
			again := leaseBenchOn(t, own)
			again.prefix, again.base = b.prefix, b.base
			again.want("keys", again.all(),
				"[a=v@+1+1v1 lease 1 b=v@+2+2v1 lease 1 c=v@+3+3v1 lease 2] count 3 at +5")
			again.want("on the lease", again.keysOn(1), "a b")
			// An election timeout comes on top, and nothing else.
			if left := again.left(1); left < 90 || left > 101 {
				t.Errorf("%d seconds are left of a hundred", left)
			}
			if left := again.left(3); left != -1 {
				t.Errorf("%d seconds are left of a revoked lease", left)
			}
			client := server.ClientOf(t, own)
			if once, err := client.KeepAliveOnce(again.ctx, 1); err != nil || once.TTL != 100 {
				t.Errorf("%v, %v", once, err)
			}
			for deadline := time.Now().Add(15 * time.Second); ; {
				if again.left(2) == -1 {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal("the short lease does not end")
				}
				time.Sleep(20 * time.Millisecond)
			}
			again.want("afterwards", again.all(),
				"[a=v@+1+1v1 lease 1 b=v@+2+2v1 lease 1] count 2 at +6")
		})
	}
}

func TestNoSpaceRefusesGrantsButNotRevokes(t *testing.T) {
	own := server.For(t)
	b := leaseBenchOn(t, own)
	b.grant(1, 100)
	b.grant(2, 3)
	b.putOn(1, "a")
	b.putOn(2, "b")
	member, _ := identity(own.PeerURL())
	maintenance := pb.NewMaintenanceClient(server.RawOf(t, own))
	alarm := &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, MemberID: member, Alarm: pb.AlarmType_NOSPACE}
	if _, err := maintenance.Alarm(b.ctx, alarm); err != nil {
		t.Fatal(err)
	}
	_, err := b.lease.LeaseGrant(b.ctx, &pb.LeaseGrantRequest{TTL: 10})
	wantError(t, "a grant", err, codes.ResourceExhausted, noSpace)
	if _, err := b.lease.LeaseRevoke(b.ctx, &pb.LeaseRevokeRequest{ID: 1}); err != nil {
		t.Errorf("a revoke: %v", err)
	}
	for deadline := time.Now().Add(15 * time.Second); b.left(2) != -1; {
		if time.Now().After(deadline) {
			t.Fatal("under the alarm no lease ends")
		}
		time.Sleep(20 * time.Millisecond)
	}
	b.want("keys", b.all(), "[] count 0 at +4")
}
