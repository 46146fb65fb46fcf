package kv

import (
	"crypto/sha1"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"

	"tenet.test/interop/server"
)

// identity computes member and cluster id of a single member, which follow from its flags: the
// first eight bytes of SHA-1 over the peer URL and the cluster token, and of SHA-1 over the id.
func identity(peerURL string) (member, cluster uint64) {
	hash := sha1.Sum([]byte(peerURL + "etcd-cluster"))
	member = binary.BigEndian.Uint64(hash[:8])
	hash = sha1.Sum(hash[:8])
	return member, binary.BigEndian.Uint64(hash[:8])
}

func TestIdentityFollowsFromTheFlags(t *testing.T) {
	b := newBench(t)
	member, cluster := identity(shared.PeerURL())
	answer, err := b.kv.Range(b.ctx, &pb.RangeRequest{Key: []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	if h := answer.Header; h.MemberId != member || h.ClusterId != cluster {
		t.Errorf("member %x of cluster %x, want %x of %x", h.MemberId, h.ClusterId, member, cluster)
	}
	if term := answer.Header.RaftTerm; term != 2 {
		t.Errorf("a fresh member leads term %d, want 2", term)
	}
}

func TestMemberList(t *testing.T) {
	cluster := pb.NewClusterClient(server.RawOf(t, shared))
	member, clusterID := identity(shared.PeerURL())
	for _, linearizable := range []bool{true, false} {
		answer, err := cluster.MemberList(contextOf(t), &pb.MemberListRequest{Linearizable: linearizable})
		if err != nil {
			t.Fatal(err)
		}
		want := &pb.MemberListResponse{
			Header: &pb.ResponseHeader{ClusterId: clusterID, MemberId: member, RaftTerm: 2},
			Members: []*pb.Member{{
				ID:         member,
				Name:       "default",
				PeerURLs:   []string{shared.PeerURL()},
				ClientURLs: []string{"http://" + shared.Address()},
			}},
		}
		if !proto.Equal(answer, want) {
			t.Errorf("linearizable %t:\n got: %v\nwant: %v", linearizable, answer, want)
		}
	}
}

func TestStatus(t *testing.T) {
	own := server.For(t, "--quota-backend-bytes", "123456789")
	b := benchOn(t, own)
	b.put("a=1")
	status, err := pb.NewMaintenanceClient(server.RawOf(t, own)).Status(b.ctx, &pb.StatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	member, cluster := identity(own.PeerURL())
	wantHeader := &pb.ResponseHeader{ClusterId: cluster, MemberId: member, Revision: 2, RaftTerm: 2}
	if !proto.Equal(status.Header, wantHeader) {
		t.Errorf("header %v, want %v", status.Header, wantHeader)
	}
	got := fmt.Sprintf("%s %s leader %t term %d quota %d learner %t errors %v downgrade %v",
		status.Version, status.StorageVersion, status.Leader == member, status.RaftTerm,
		status.DbSizeQuota, status.IsLearner, status.Errors, status.DowngradeInfo)
	b.want("status", got, "3.7.1 3.7.0 leader true term 2 quota 123456789 learner false errors [] downgrade ")
	if status.DowngradeInfo == nil {
		t.Error("downgradeInfo is absent, want it empty")
	}
	if status.RaftIndex == 0 || status.RaftAppliedIndex != status.RaftIndex {
		t.Errorf("raft index %d, applied %d; want the same, above 0", status.RaftIndex, status.RaftAppliedIndex)
	}
	if status.DbSize <= 0 || status.DbSizeInUse <= 0 || status.DbSizeInUse > status.DbSize {
		t.Errorf("size %d, in use %d; want 0 < in use <= size", status.DbSize, status.DbSizeInUse)
	}
}

func TestDefaultQuotaIsShown(t *testing.T) {
	status, err := pb.NewMaintenanceClient(server.RawOf(t, shared)).Status(contextOf(t), &pb.StatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if status.DbSizeQuota != 2<<30 {
		t.Errorf("quota %d, want %d", status.DbSizeQuota, 2<<30)
	}
}

func TestHashKV(t *testing.T) {
	own := server.For(t)
	b := benchOn(t, own)
	maintenance := pb.NewMaintenanceClient(server.RawOf(t, own))
	hash := func(revision int64) (string, error) {
		answer, err := maintenance.HashKV(b.ctx, &pb.HashKVRequest{Revision: revision})
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%d compact %d at %d", answer.Hash, answer.CompactRevision, answer.HashRevision), nil
	}
	want := func(name string, revision int64, want string) {
		t.Helper()
		got, err := hash(revision)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		b.want(name, got, want)
	}
	put := func(key, value string) {
		t.Helper()
		if _, err := b.kv.Put(b.ctx, &pb.PutRequest{Key: []byte(key), Value: []byte(value)}); err != nil {
			t.Fatal(err)
		}
	}
	want("empty", 0, "1084519789 compact -1 at 1")
	put("a", "1")
	put("b", "2")
	put("a", "3")
	if _, err := b.kv.DeleteRange(b.ctx, &pb.DeleteRangeRequest{Key: []byte("b")}); err != nil {
		t.Fatal(err)
	}
	want("at 3", 3, hash3)
	want("the newest", 0, hash5)
	want("the newest by number", 5, hash5)
	want("a negative revision", -1, "1084519789 compact -1 at -1")
	_, err := hash(6)
	wantError(t, "the future", err, codes.OutOfRange, future)

	if _, err := b.kv.Compact(b.ctx, &pb.CompactionRequest{Revision: 4, Physical: true}); err != nil {
		t.Fatal(err)
	}
	want("at the compaction, kept from before it", 4, hash4)
	want("above the compaction", 5, hash5Compacted)
	_, err = hash(3)
	wantError(t, "below the compaction", err, codes.OutOfRange, compacted)
}

// Taken from the real etcd for the history of TestHashKV.
const (
	hash3          = "1827592406 compact -1 at 3"
	hash5          = "1125682900 compact -1 at 5"
	hash4          = "2069675932 compact -1 at 4"
	hash5Compacted = "1468967122 compact 4 at 5"
)

func TestHash(t *testing.T) {
	maintenance := pb.NewMaintenanceClient(server.RawOf(t, shared))
	b := newBench(t)
	hash := func() uint32 {
		answer, err := maintenance.Hash(b.ctx, &pb.HashRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return answer.Hash
	}
	before := hash()
	b.put("a=1")
	if after := hash(); after == before {
		t.Errorf("the hash %d did not change with a put", after)
	}
}

func TestDefragment(t *testing.T) {
	b := newBench(t)
	b.put("a=1")
	answer, err := pb.NewMaintenanceClient(server.RawOf(t, shared)).Defragment(b.ctx, &pb.DefragmentRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if answer.Header != nil {
		t.Errorf("header %v, want none", answer.Header)
	}
	b.put("a=2")
}

func TestHealth(t *testing.T) {
	health := healthpb.NewHealthClient(server.RawOf(t, shared))
	ctx := contextOf(t)
	answer, err := health.Check(ctx, &healthpb.HealthCheckRequest{})
	if err != nil || answer.Status != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("check: %v, %v", answer, err)
	}
	_, err = health.Check(ctx, &healthpb.HealthCheckRequest{Service: "etcdserverpb.KV"})
	wantError(t, "another service", err, codes.NotFound, "unknown service")
	list, err := health.List(ctx, &healthpb.HealthListRequest{})
	if err != nil || len(list.Statuses) != 1 || list.Statuses[""].GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("list: %v, %v", list, err)
	}
	watch := func(service string) healthpb.HealthCheckResponse_ServingStatus {
		stream, err := health.Watch(ctx, &healthpb.HealthCheckRequest{Service: service})
		if err != nil {
			t.Fatal(err)
		}
		first, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return first.Status
	}
	if got := watch(""); got != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("watch: %v", got)
	}
	if got := watch("x"); got != healthpb.HealthCheckResponse_SERVICE_UNKNOWN {
		t.Errorf("watch of another service: %v", got)
	}
}

// rawMessage travels as the bytes it is.
type rawMessage []byte

type rawCodec struct{}

func (rawCodec) Marshal(v any) ([]byte, error) { return *v.(*rawMessage), nil }

func (rawCodec) Unmarshal(data []byte, v any) error {
	*v.(*rawMessage) = append([]byte{}, data...)
	return nil
}

func (rawCodec) Name() string { return "proto" }

func TestCallsThatAreNotUnderstood(t *testing.T) {
	connection := server.RawOf(t, shared)
	ctx := contextOf(t)
	call := func(method string, message rawMessage, options ...grpc.CallOption) error {
		var answer rawMessage
		return connection.Invoke(ctx, method, &message, &answer, append(options, grpc.ForceCodec(rawCodec{}))...)
	}
	wantError(t, "an unknown method", call("/etcdserverpb.KV/Nonsense", nil), codes.Unimplemented,
		"unknown method Nonsense for service etcdserverpb.KV")
	wantError(t, "an unknown service", call("/nonsense.Service/Call", nil), codes.Unimplemented,
		"unknown service nonsense.Service")
	if err := call("/etcdserverpb.KV/Range", rawMessage("\x0a\x01x")); err != nil {
		t.Errorf("a good message: %v", err)
	}
	if err := call("/etcdserverpb.KV/Range", rawMessage("\x0a\x01x\xfa\x3f\x01y")); err != nil {
		t.Errorf("an unknown field is passed over: %v", err)
	}
	err := call("/etcdserverpb.KV/Range", rawMessage("\x0a\x7fx"))
	if text := err.Error(); !strings.HasPrefix(text, "rpc error: code = Internal desc = grpc: error unmarshalling request: ") {
		t.Errorf("a message that is cut short: %s", text)
	}
	if err := call("/etcdserverpb.KV/Range", rawMessage("\x0a\x01x"), grpc.UseCompressor("gzip")); err != nil {
		t.Errorf("gzip: %v", err)
	}
}

func get(t *testing.T, path string) (int, string, string) {
	t.Helper()
	answer, err := http.Get("http://" + shared.Address() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body), answer.Header.Get("Content-Type")
}

func TestHTTP(t *testing.T) {
	for _, test := range []struct {
		path, want string
	}{
		{"/version", `200 {"etcdserver":"3.7.1","etcdcluster":"3.7.0","storage":"3.7.0"}`},
		{"/health", `200 {"health":"true","reason":""}`},
		{"/health?serializable=true", `200 {"health":"true","reason":""}`},
		{"/livez", "200 ok\n"},
		{"/readyz", "200 ok\n"},
		{"/nonsense", "404 404 page not found\n"},
	} {
		status, body, _ := get(t, test.path)
		if got := fmt.Sprintf("%d %s", status, body); got != test.want {
			t.Errorf("%s\n got: %q\nwant: %q", test.path, got, test.want)
		}
	}
	_, body, _ := get(t, "/version")
	if !json.Valid([]byte(body)) {
		t.Errorf("/version is not JSON: %s", body)
	}
	status, body, kind := get(t, "/metrics")
	if status != http.StatusOK || !strings.HasPrefix(kind, "text/plain; version=0.0.4") {
		t.Errorf("/metrics: %d %s", status, kind)
	}
	for _, name := range []string{
		"etcd_server_has_leader 1", "etcd_server_is_leader 1", "etcd_server_id{",
		"etcd_server_version{server_version=\"3.7.1\"} 1", "etcd_cluster_version{cluster_version=\"3.7\"} 1",
		"etcd_disk_wal_fsync_duration_seconds_count", "etcd_mvcc_put_total", "etcd_mvcc_range_total",
		"etcd_mvcc_db_total_size_in_bytes", "etcd_server_proposals_committed_total",
		"etcd_server_proposals_applied_total", "etcd_server_proposals_pending",
		"grpc_server_handled_total{", "etcd_server_quota_backend_bytes",
	} {
		if !strings.Contains(body, "\n"+name) {
			t.Errorf("/metrics has no line that begins with %q", name)
		}
	}
}
