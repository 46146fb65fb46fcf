package main

import (
	"context"
	"fmt"
	"math/rand"
	"time"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// history makes requests one after another, so that their order in the log is the order of the
// calls. All that is random comes from rng. Nothing in it depends on time: leases live long
// enough, compactions are waited for.
type history struct {
	conn     *grpc.ClientConn
	peerURL  string
	rng      *rand.Rand
	calls    recorder
	revision int64
	compact  int64
	hashed   int64
	leases   []int64
	learner  uint64
	member   uint64
	// toEnd: the transaction being made deletes up to the end of the key space. A put that keeps
	// value or lease of a key deleted so before it makes every member of etcd 3.7.1 end with a
	// panic, again and again; such a put is not made.
	toEnd bool
}

func newHistory(conn *grpc.ClientConn, peerURL string, rng *rand.Rand) *history {
	return &history{conn: conn, peerURL: peerURL, rng: rng, revision: 1, compact: -1}
}

// headed is any answer of etcd.
type headed interface {
	proto.Message
	GetHeader() *pb.ResponseHeader
}

// call makes one request and records it. What differs between servers is taken out of the header.
func (h *history) call(method string, request proto.Message, response headed) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := h.conn.Invoke(ctx, "/etcdserverpb."+method, request, response)
	if ctx.Err() != nil {
		panic(fmt.Sprint(method, ": ", err))
	}
	if header := response.GetHeader(); err == nil && header != nil {
		h.member = header.MemberId
		header.ClusterId, header.MemberId, header.RaftTerm = 0, 0, 0
		h.revision = max(h.revision, header.Revision)
	}
	h.calls.add(method, request, response, err)
	return err
}

func (h *history) play(revisions int64) error {
	h.call("KV/Range", &pb.RangeRequest{Key: []byte("a")}, &pb.RangeResponse{})
	h.hash(0)
	h.duplicates()
	h.permissions()
	for h.revision < revisions {
		h.step()
		if h.revision/100 > h.hashed {
			h.hashed = h.revision / 100
			h.hashes()
		}
	}
	h.hashes()
	h.call("Maintenance/Hash", &pb.HashRequest{}, &pb.HashResponse{})
	return nil
}

// duplicates asks what counts as a key used twice: some of it depends on the order.
func (h *history) duplicates() {
	put := func(key string) *pb.RequestOp {
		r := &pb.PutRequest{Key: []byte(key), Value: []byte("v")}
		return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: r}}
	}
	del := func(key, end string) *pb.RequestOp {
		r := &pb.DeleteRangeRequest{Key: []byte(key), RangeEnd: []byte(end)}
		return &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: r}}
	}
	nested := func(success, failure []*pb.RequestOp) *pb.RequestOp {
		r := &pb.TxnRequest{Success: success, Failure: failure}
		return &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: r}}
	}
	type ops = []*pb.RequestOp
	for _, branch := range []ops{
		{put("a"), put("a")},
		{put("a"), del("a", "")},
		{del("a", "c"), put("b")},
		{del("a", "c"), put("c")},
		{put("b"), del("a", "\x00")},
		{del("a", "\x00"), put("b")},
		{put("b"), del("c", "a")},
		{del("a", "c"), del("b", "")},
		{nested(ops{put("a")}, ops{put("a")})},
		{nested(ops{put("a")}, ops{del("a", "")})},
		{nested(ops{put("a")}, nil), put("a")},
		{put("a"), nested(ops{del("a", "")}, nil)},
		{nested(ops{put("a")}, nil), del("a", "b")},
		{nested(ops{put("a")}, nil), nested(nil, ops{put("a")})},
		{nested(ops{del("a", "")}, nil), nested(ops{put("a")}, nil)},
		{nested(ops{put("a")}, nil), nested(ops{del("a", "")}, nil)},
		{nested(ops{put("a")}, nil), nested(ops{del("a", "\x00")}, nil)},
		{nested(ops{del("a", "\x00")}, nil), nested(ops{put("a")}, nil)},
	} {
		h.call("KV/Txn", &pb.TxnRequest{Success: branch}, &pb.TxnResponse{})
		h.call("KV/Txn", &pb.TxnRequest{Failure: branch}, &pb.TxnResponse{})
	}
}

// permissions grants what is granted already and the same key several times: only the first
// permission of a key is ever replaced.
func (h *history) permissions() {
	status := func() {
		h.call("Auth/AuthStatus", &pb.AuthStatusRequest{}, &pb.AuthStatusResponse{})
		h.call("Auth/RoleGet", &pb.AuthRoleGetRequest{Role: "p"}, &pb.AuthRoleGetResponse{})
	}
	grant := func(kind authpb.Permission_Type, key, end string) {
		perm := &authpb.Permission{PermType: kind, Key: []byte(key), RangeEnd: []byte(end)}
		r := &pb.AuthRoleGrantPermissionRequest{Name: "p", Perm: perm}
		h.call("Auth/RoleGrantPermission", r, &pb.AuthRoleGrantPermissionResponse{})
		status()
	}
	h.call("Auth/RoleAdd", &pb.AuthRoleAddRequest{Name: "p"}, &pb.AuthRoleAddResponse{})
	grant(authpb.READ, "k", "l")
	grant(authpb.READ, "k", "m")
	grant(authpb.WRITE, "k", "l")
	grant(authpb.WRITE, "k", "m")
	grant(authpb.WRITE, "a", "")
	grant(authpb.READ, "a", "\x00")
	grant(authpb.READ, "b", "a")
	h.call("Auth/UserAdd", &pb.AuthUserAddRequest{Name: "p", Password: "secret"}, &pb.AuthUserAddResponse{})
	for range 2 {
		h.call("Auth/UserGrantRole", &pb.AuthUserGrantRoleRequest{User: "p", Role: "p"}, &pb.AuthUserGrantRoleResponse{})
		status()
	}
	r := &pb.AuthRoleRevokePermissionRequest{Role: "p", Key: []byte("k"), RangeEnd: []byte("m")}
	h.call("Auth/RoleRevokePermission", r, &pb.AuthRoleRevokePermissionResponse{})
	status()
}

func (h *history) step() {
	h.toEnd = false
	switch n := h.rng.Intn(1000); {
	case n < 420:
		h.call("KV/Put", h.put(), &pb.PutResponse{})
	case n < 540:
		h.call("KV/DeleteRange", h.delete(), &pb.DeleteRangeResponse{})
	case n < 760:
		h.call("KV/Txn", h.txn(3, false), &pb.TxnResponse{})
	case n < 800:
		h.call("KV/Txn", h.txn(1, true), &pb.TxnResponse{})
	case n < 850:
		h.call("KV/Range", h.readRange(), &pb.RangeResponse{})
	case n < 862:
		h.compaction()
	case n < 920:
		h.lease()
	case n < 926:
		h.alarm()
	case n < 980:
		h.auth()
	default:
		h.members()
	}
}

func (h *history) key() []byte {
	switch h.rng.Intn(120) {
	case 0:
		return nil
	case 1, 2:
		return []byte("\x00")
	case 3, 4, 5:
		return []byte("bin\xff\xff")
	case 6, 7, 8:
		return []byte("ключ")
	}
	return fmt.Appendf(nil, "%c/%d", 'a'+rune(h.rng.Intn(4)), h.rng.Intn(12))
}

func (h *history) rangeEnd() []byte {
	switch h.rng.Intn(8) {
	case 0, 1, 2, 3:
		return nil
	case 4:
		return []byte("\x00")
	case 5:
		return fmt.Appendf(nil, "%c0", 'a'+rune(h.rng.Intn(4)))
	}
	return h.key()
}

// narrowEnd is a range end that spares most of the keys.
func (h *history) narrowEnd(key []byte) []byte {
	switch n := h.rng.Intn(12); {
	case n < 8 || len(key) == 0:
		return nil
	case n == 8 && h.rng.Intn(8) == 0:
		return []byte("\x00")
	case n == 9:
		return h.key()
	}
	return append(append([]byte{}, key...), '0'+byte(h.rng.Intn(10)))
}

func (h *history) value() []byte {
	v := make([]byte, h.rng.Intn(24))
	for i := range v {
		v[i] = "abcdefgh"[h.rng.Intn(8)]
	}
	return v
}

func (h *history) leaseID() int64 {
	switch n := h.rng.Intn(12); {
	case n < 8 || len(h.leases) == 0:
		return 0
	case n == 8 && h.rng.Intn(4) == 0:
		return 404
	}
	return h.leases[h.rng.Intn(len(h.leases))]
}

// readRevision is mostly now, sometimes in the readable past, sometimes impossible.
func (h *history) readRevision() int64 {
	switch h.rng.Intn(12) {
	case 0:
		return h.compact
	case 1:
		return h.compact - 1
	case 2:
		return h.revision + 1 + h.rng.Int63n(2)
	case 3:
		return -h.rng.Int63n(3)
	case 4, 5:
		return h.compact + h.rng.Int63n(h.revision-h.compact+1)
	}
	return 0
}

func (h *history) put() *pb.PutRequest {
	r := &pb.PutRequest{Key: h.key(), Value: h.value(), Lease: h.leaseID(), PrevKv: h.rng.Intn(3) == 0}
	if h.rng.Intn(8) == 0 && !h.toEnd {
		r.IgnoreValue = true
		if h.rng.Intn(16) != 0 {
			r.Value = nil
		}
	}
	if h.rng.Intn(8) == 0 && !h.toEnd {
		r.IgnoreLease = true
		if h.rng.Intn(16) != 0 {
			r.Lease = 0
		}
	}
	return r
}

func (h *history) delete() *pb.DeleteRangeRequest {
	key := h.key()
	end := h.narrowEnd(key)
	h.toEnd = h.toEnd || string(end) == "\x00"
	return &pb.DeleteRangeRequest{Key: key, RangeEnd: end, PrevKv: h.rng.Intn(3) == 0}
}

func (h *history) readRange() *pb.RangeRequest {
	r := &pb.RangeRequest{Key: h.key(), RangeEnd: h.rangeEnd(), Revision: h.readRevision(), Limit: h.rng.Int63n(4)}
	switch h.rng.Intn(6) {
	case 0:
		r.CountOnly = true
	case 1:
		r.KeysOnly = true
	case 2:
		r.SortOrder = pb.RangeRequest_DESCEND
	case 3:
		r.MinModRevision = h.rng.Int63n(h.revision)
	case 4:
		r.MaxCreateRevision = h.rng.Int63n(h.revision)
	}
	if h.rng.Intn(120) == 0 {
		r.SortOrder = 7
	}
	return r
}

func (h *history) txn(depth int, readOnly bool) *pb.TxnRequest {
	r := &pb.TxnRequest{}
	for range h.rng.Intn(3) {
		r.Compare = append(r.Compare, h.compare())
	}
	r.Success, r.Failure = h.ops(depth, readOnly), h.ops(depth, readOnly)
	return r
}

func (h *history) ops(depth int, readOnly bool) (ops []*pb.RequestOp) {
	for range h.rng.Intn(4) {
		op := &pb.RequestOp{}
		n := h.rng.Intn(10)
		switch {
		case readOnly || n < 2:
			op.Request = &pb.RequestOp_RequestRange{RequestRange: h.readRange()}
		case n < 6:
			op.Request = &pb.RequestOp_RequestPut{RequestPut: h.put()}
		case n < 8:
			op.Request = &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: h.delete()}
		case depth > 0:
			op.Request = &pb.RequestOp_RequestTxn{RequestTxn: h.txn(depth-1, false)}
		case h.rng.Intn(20) != 0:
			continue
		}
		ops = append(ops, op)
	}
	return ops
}

func (h *history) compare() *pb.Compare {
	c := &pb.Compare{
		Result: pb.Compare_CompareResult(h.rng.Intn(4)),
		Target: pb.Compare_CompareTarget(h.rng.Intn(5)),
		Key:    h.key(),
	}
	if h.rng.Intn(40) == 0 {
		c.Result, c.Target = 9, pb.Compare_CompareTarget(h.rng.Intn(10))
	}
	if h.rng.Intn(4) == 0 {
		c.RangeEnd = h.rangeEnd()
	}
	// Mostly the constant that belongs to the target; sometimes another, or none.
	of := int(c.Target)
	if h.rng.Intn(8) == 0 {
		of = h.rng.Intn(6)
	}
	n := h.rng.Int63n(3)
	switch of {
	case 0:
		c.TargetUnion = &pb.Compare_Version{Version: n}
	case 1:
		c.TargetUnion = &pb.Compare_CreateRevision{CreateRevision: h.rng.Int63n(h.revision + 1)}
	case 2:
		c.TargetUnion = &pb.Compare_ModRevision{ModRevision: h.rng.Int63n(h.revision + 1)}
	case 3:
		c.TargetUnion = &pb.Compare_Value{Value: h.value()}
	case 4:
		c.TargetUnion = &pb.Compare_Lease{Lease: h.leaseID()}
	}
	return c
}

// compaction compacts and waits for its physical part, so that hashes do not depend on timing.
func (h *history) compaction() {
	at := h.revision - h.rng.Int63n(150)
	switch h.rng.Intn(8) {
	case 0:
		at = h.compact
	case 1:
		at = h.revision + 1
	}
	r := &pb.CompactionRequest{Revision: at, Physical: true}
	if h.call("KV/Compact", r, &pb.CompactionResponse{}) == nil {
		h.compact = at
		h.hash(at)
		h.hash(at - 1)
		h.hash(0)
	}
}

func (h *history) hashes() {
	h.hash(0)
	h.hash(h.compact + h.rng.Int63n(h.revision-h.compact+1))
	if h.rng.Intn(4) == 0 {
		h.hash(h.readRevision())
	}
}

func (h *history) hash(revision int64) {
	h.call("Maintenance/HashKV", &pb.HashKVRequest{Revision: revision}, &pb.HashKVResponse{})
}

func (h *history) lease() {
	if h.rng.Intn(3) != 0 && len(h.leases) < 20 {
		id := h.rng.Int63n(1<<40) - 1<<38
		ttl := 100_000 + h.rng.Int63n(1000)
		switch h.rng.Intn(8) {
		case 0:
			ttl = 9_000_000_001
		case 1:
			if len(h.leases) > 0 {
				id = h.leases[0]
			}
		}
		r := &pb.LeaseGrantRequest{ID: id, TTL: ttl}
		if h.call("Lease/LeaseGrant", r, &pb.LeaseGrantResponse{}) == nil {
			h.leases = append(h.leases, id)
		}
		return
	}
	id := int64(404)
	at := 0
	if len(h.leases) > 0 && h.rng.Intn(4) != 0 {
		at = h.rng.Intn(len(h.leases))
		id = h.leases[at]
	}
	if h.call("Lease/LeaseRevoke", &pb.LeaseRevokeRequest{ID: id}, &pb.LeaseRevokeResponse{}) == nil {
		h.leases = append(h.leases[:at], h.leases[at+1:]...)
	}
}

// alarm raises an alarm, does a few things under it and lowers it again.
func (h *history) alarm() {
	alarm := pb.AlarmType(h.rng.Intn(3))
	set := func(action pb.AlarmRequest_AlarmAction) {
		r := &pb.AlarmRequest{Action: action, MemberID: h.member, Alarm: alarm}
		h.call("Maintenance/Alarm", r, &pb.AlarmResponse{})
	}
	set(pb.AlarmRequest_ACTIVATE)
	for range h.rng.Intn(12) {
		if h.rng.Intn(4) == 0 {
			h.lease()
		}
		switch h.rng.Intn(4) {
		case 0:
			h.call("KV/Put", h.put(), &pb.PutResponse{})
		case 1:
			h.call("KV/DeleteRange", h.delete(), &pb.DeleteRangeResponse{})
		case 2:
			h.call("KV/Txn", h.txn(2, false), &pb.TxnResponse{})
		case 3:
			h.compaction()
		}
	}
	set(pb.AlarmRequest_GET)
	set(pb.AlarmRequest_DEACTIVATE)
	set(pb.AlarmRequest_DEACTIVATE)
}

func (h *history) auth() {
	name := func(of string) string {
		if h.rng.Intn(12) == 0 {
			return ""
		}
		return fmt.Sprintf("%s%d", of, h.rng.Intn(4))
	}
	user, role := name("u"), name("r")
	if h.rng.Intn(10) == 0 {
		user, role = "root", "root"
	}
	switch h.rng.Intn(14) {
	case 0, 1:
		r := &pb.AuthUserAddRequest{Name: user, Password: "secret"}
		if h.rng.Intn(3) == 0 {
			r.Options = &authpb.UserAddOptions{NoPassword: h.rng.Intn(2) == 0}
		}
		h.call("Auth/UserAdd", r, &pb.AuthUserAddResponse{})
	case 2:
		h.call("Auth/UserDelete", &pb.AuthUserDeleteRequest{Name: user}, &pb.AuthUserDeleteResponse{})
	case 3:
		r := &pb.AuthUserChangePasswordRequest{Name: user, Password: "other"}
		h.call("Auth/UserChangePassword", r, &pb.AuthUserChangePasswordResponse{})
	case 4, 5:
		r := &pb.AuthUserGrantRoleRequest{User: user, Role: role}
		h.call("Auth/UserGrantRole", r, &pb.AuthUserGrantRoleResponse{})
	case 6:
		r := &pb.AuthUserRevokeRoleRequest{Name: user, Role: role}
		h.call("Auth/UserRevokeRole", r, &pb.AuthUserRevokeRoleResponse{})
	case 7:
		h.call("Auth/UserGet", &pb.AuthUserGetRequest{Name: user}, &pb.AuthUserGetResponse{})
		h.call("Auth/UserList", &pb.AuthUserListRequest{}, &pb.AuthUserListResponse{})
	case 8, 9:
		h.call("Auth/RoleAdd", &pb.AuthRoleAddRequest{Name: role}, &pb.AuthRoleAddResponse{})
	case 10:
		h.call("Auth/RoleDelete", &pb.AuthRoleDeleteRequest{Role: role}, &pb.AuthRoleDeleteResponse{})
	case 11:
		h.call("Auth/RoleGet", &pb.AuthRoleGetRequest{Role: role}, &pb.AuthRoleGetResponse{})
		h.call("Auth/RoleList", &pb.AuthRoleListRequest{}, &pb.AuthRoleListResponse{})
	case 12:
		r := &pb.AuthRoleGrantPermissionRequest{Name: role}
		if h.rng.Intn(8) != 0 {
			r.Perm = &authpb.Permission{PermType: authpb.Permission_Type(h.rng.Intn(3)), Key: h.key(), RangeEnd: h.rangeEnd()}
		}
		h.call("Auth/RoleGrantPermission", r, &pb.AuthRoleGrantPermissionResponse{})
	case 13:
		r := &pb.AuthRoleRevokePermissionRequest{Role: role, Key: h.key(), RangeEnd: h.rangeEnd()}
		h.call("Auth/RoleRevokePermission", r, &pb.AuthRoleRevokePermissionResponse{})
		h.call("Auth/AuthStatus", &pb.AuthStatusRequest{}, &pb.AuthStatusResponse{})
		h.call("Auth/AuthDisable", &pb.AuthDisableRequest{}, &pb.AuthDisableResponse{})
	}
}

// members adds, moves and removes a learner. A learner that never runs does not matter to a
// cluster of one voter.
func (h *history) members() {
	urls := []string{fmt.Sprintf("http://127.0.0.1:%d", 1+h.rng.Intn(9))}
	if h.rng.Intn(6) == 0 {
		urls = append(urls, h.peerURL)
	}
	switch h.rng.Intn(4) {
	case 0, 1:
		added := &pb.MemberAddResponse{}
		r := &pb.MemberAddRequest{PeerURLs: urls, IsLearner: true}
		if h.call("Cluster/MemberAdd", r, added) == nil {
			h.learner = added.Member.ID
		}
	case 2:
		h.call("Cluster/MemberUpdate", &pb.MemberUpdateRequest{ID: h.learner, PeerURLs: urls}, &pb.MemberUpdateResponse{})
	case 3:
		// Once it is gone, removing it again is refused.
		h.call("Cluster/MemberRemove", &pb.MemberRemoveRequest{ID: h.learner}, &pb.MemberRemoveResponse{})
	}
}
