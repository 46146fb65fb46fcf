package kv

import (
	"fmt"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
)

func opPut(ask *pb.PutRequest) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: ask}}
}

func opRange(ask *pb.RangeRequest) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: ask}}
}

func opDelete(ask *pb.DeleteRangeRequest) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: ask}}
}

func opTxn(ask *pb.TxnRequest) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: ask}}
}

func (b *bench) putOp(name, value string) *pb.RequestOp {
	return opPut(&pb.PutRequest{Key: b.key(name), Value: []byte(value)})
}

func (b *bench) txn(ask *pb.TxnRequest) (string, error) {
	answer, err := b.kv.Txn(b.ctx, ask)
	if err != nil {
		return "", err
	}
	return b.showTxn(answer), nil
}

func (b *bench) wantTxn(name string, ask *pb.TxnRequest, want string) {
	b.Helper()
	got, err := b.txn(ask)
	if err != nil {
		b.Errorf("%s: %v", name, err)
		return
	}
	b.want(name, got, want)
}

const (
	equal    = pb.Compare_EQUAL
	greater  = pb.Compare_GREATER
	less     = pb.Compare_LESS
	notEqual = pb.Compare_NOT_EQUAL
)

func TestTxnCompares(t *testing.T) {
	b := newBench(t)
	b.put("a=1", "b=2", "b=3")
	version := func(key string, result pb.Compare_CompareResult, v int64) *pb.Compare {
		return &pb.Compare{Key: b.key(key), Target: pb.Compare_VERSION, Result: result, TargetUnion: &pb.Compare_Version{Version: v}}
	}
	create := func(key string, result pb.Compare_CompareResult, r int64) *pb.Compare {
		return &pb.Compare{Key: b.key(key), Target: pb.Compare_CREATE, Result: result, TargetUnion: &pb.Compare_CreateRevision{CreateRevision: r}}
	}
	mod := func(key string, result pb.Compare_CompareResult, r int64) *pb.Compare {
		return &pb.Compare{Key: b.key(key), Target: pb.Compare_MOD, Result: result, TargetUnion: &pb.Compare_ModRevision{ModRevision: r}}
	}
	value := func(key string, result pb.Compare_CompareResult, v string) *pb.Compare {
		return &pb.Compare{Key: b.key(key), Target: pb.Compare_VALUE, Result: result, TargetUnion: &pb.Compare_Value{Value: []byte(v)}}
	}
	lease := func(key string, result pb.Compare_CompareResult, l int64) *pb.Compare {
		return &pb.Compare{Key: b.key(key), Target: pb.Compare_LEASE, Result: result, TargetUnion: &pb.Compare_Lease{Lease: l}}
	}
	to := func(compare *pb.Compare, end string) *pb.Compare {
		compare.RangeEnd = b.end(end)
		return compare
	}
	for _, test := range []struct {
		name     string
		compares []*pb.Compare
		want     bool
	}{
		{"none", nil, true},
		{"version equal", []*pb.Compare{version("b", equal, 2)}, true},
		{"version greater", []*pb.Compare{version("b", greater, 2)}, false},
		{"version less", []*pb.Compare{version("b", less, 3)}, true},
		{"version not equal", []*pb.Compare{version("b", notEqual, 1)}, true},
		{"create equal", []*pb.Compare{create("b", equal, b.base+2)}, true},
		{"mod equal", []*pb.Compare{mod("b", equal, b.base+3)}, true},
		{"mod less", []*pb.Compare{mod("b", less, b.base+3)}, false},
		{"value equal", []*pb.Compare{value("a", equal, "1")}, true},
		{"value greater is by bytes", []*pb.Compare{value("a", greater, "0zzz")}, true},
		{"lease equal none", []*pb.Compare{lease("a", equal, 0)}, true},
		{"lease greater", []*pb.Compare{lease("a", greater, 0)}, false},
		{"all must hold", []*pb.Compare{version("b", equal, 2), value("a", equal, "2")}, false},
		{"missing: version 0", []*pb.Compare{version("x", equal, 0)}, true},
		{"missing: create 0", []*pb.Compare{create("x", equal, 0)}, true},
		{"missing: mod 0", []*pb.Compare{mod("x", equal, 0)}, true},
		{"missing: lease 0", []*pb.Compare{lease("x", equal, 0)}, true},
		{"missing: no value is equal", []*pb.Compare{value("x", equal, "")}, false},
		{"missing: no value is unequal", []*pb.Compare{value("x", notEqual, "1")}, false},
		{"range: all hold", []*pb.Compare{to(version("a", greater, 0), "c")}, true},
		{"range: one does not", []*pb.Compare{to(version("a", equal, 1), "c")}, false},
		{"range: empty is like missing", []*pb.Compare{to(version("x", equal, 0), "z")}, true},
		{"range: empty has no value", []*pb.Compare{to(value("x", notEqual, "1"), "z")}, false},
		{"a constant of another target is 0", []*pb.Compare{{Key: b.key("x"), Target: pb.Compare_MOD, Result: equal, TargetUnion: &pb.Compare_Version{Version: 7}}}, true},
		{"no constant is 0", []*pb.Compare{{Key: b.key("b"), Target: pb.Compare_VERSION, Result: greater}}, true},
		{"an unknown result holds", []*pb.Compare{{Key: b.key("b"), Target: pb.Compare_VERSION, Result: 9}}, true},
		{"an unknown target is equal", []*pb.Compare{{Key: b.key("b"), Target: 9, Result: equal}}, true},
		{"an unknown target is not greater", []*pb.Compare{{Key: b.key("b"), Target: 9, Result: greater}}, false},
	} {
		b.wantTxn(test.name, &pb.TxnRequest{Compare: test.compares}, fmt.Sprintf("full+3 %t {}", test.want))
	}
}

func TestTxnOperations(t *testing.T) {
	b := newBench(t)
	b.put("a=1")
	b.wantTxn("a read sees the write before it, all in one revision", &pb.TxnRequest{Success: []*pb.RequestOp{
		b.putOp("b", "2"),
		opRange(&pb.RangeRequest{Key: b.key(""), RangeEnd: b.end("*")}),
		opPut(&pb.PutRequest{Key: b.key("a"), Value: []byte("3"), PrevKv: true}),
		opRange(&pb.RangeRequest{Key: b.key("a")}),
	}}, "full+2 true {put +2 prev none; range +2 [a=1@+1+1v1 b=2@+2+2v1] count 2; put +2 prev a=1@+1+1v1; range +2 [a=3@+1+2v2] count 1}")
	b.wantTxn("a read before the write", &pb.TxnRequest{Success: []*pb.RequestOp{
		opRange(&pb.RangeRequest{Key: b.key("a")}),
		b.putOp("c", "1"),
	}}, "full+3 true {range +2 [a=3@+1+2v2] count 1; put +3 prev none}")
	b.wantTxn("a delete that finds nothing makes no revision", &pb.TxnRequest{Success: []*pb.RequestOp{
		opDelete(&pb.DeleteRangeRequest{Key: b.key("x")}),
	}}, "full+3 true {delete +3 0 prev []}")
	b.wantTxn("deletes may overlap", &pb.TxnRequest{Success: []*pb.RequestOp{
		opDelete(&pb.DeleteRangeRequest{Key: b.key("a"), RangeEnd: b.end("c"), PrevKv: true}),
		opDelete(&pb.DeleteRangeRequest{Key: b.key(""), RangeEnd: b.end("*"), PrevKv: true}),
	}}, "full+4 true {delete +4 2 prev [a=3@+1+2v2 b=2@+2+2v1]; delete +4 1 prev [c=1@+3+3v1]}")
	b.wantTxn("the other branch", &pb.TxnRequest{
		Compare: []*pb.Compare{{Key: b.key("a"), Target: pb.Compare_VERSION, Result: greater, TargetUnion: &pb.Compare_Version{Version: 0}}},
		Success: []*pb.RequestOp{b.putOp("a", "yes")},
		Failure: []*pb.RequestOp{b.putOp("a", "no"), opRange(&pb.RangeRequest{Key: b.key("a")})},
	}, "full+5 false {put +5 prev none; range +5 [a=no@+5+5v1] count 1}")
	b.wantTxn("only reads", &pb.TxnRequest{Success: []*pb.RequestOp{
		opRange(&pb.RangeRequest{Key: b.key("a")}),
		opRange(&pb.RangeRequest{Key: b.key("a"), Serializable: true, Revision: b.base + 2}),
	}}, "full+5 true {range +5 [a=no@+5+5v1] count 1; range +5 [a=3@+1+2v2] count 1}")
	b.wantTxn("nothing", &pb.TxnRequest{}, "full+5 true {}")
}

func TestTxnNesting(t *testing.T) {
	b := newBench(t)
	b.put("a=1")
	isVersion := func(key string, version int64) []*pb.Compare {
		return []*pb.Compare{{Key: b.key(key), Target: pb.Compare_VERSION, Result: equal, TargetUnion: &pb.Compare_Version{Version: version}}}
	}
	b.wantTxn("inner compares see the state before the whole", &pb.TxnRequest{Success: []*pb.RequestOp{
		b.putOp("b", "2"),
		opTxn(&pb.TxnRequest{
			Compare: isVersion("b", 1),
			Success: []*pb.RequestOp{b.putOp("c", "seen")},
			Failure: []*pb.RequestOp{b.putOp("c", "unseen")},
		}),
		opTxn(&pb.TxnRequest{Compare: isVersion("a", 1), Success: []*pb.RequestOp{
			opTxn(&pb.TxnRequest{Success: []*pb.RequestOp{opRange(&pb.RangeRequest{Key: b.key(""), RangeEnd: b.end("*")})}}),
		}}),
	}}, "full+2 true {put +2 prev none; txn 0 false {put +2 prev none}; txn 0 true {txn 0 true {range +2 [a=1@+1+1v1 b=2@+2+2v1 c=unseen@+2+2v1] count 3}}}")
	b.wantTxn("an inner transaction of reads", &pb.TxnRequest{Success: []*pb.RequestOp{
		opTxn(&pb.TxnRequest{Success: []*pb.RequestOp{opRange(&pb.RangeRequest{Key: b.key("a")})}}),
	}}, "full+2 true {txn 0 true {range +2 [a=1@+1+1v1] count 1}}")
}

func TestTxnErrors(t *testing.T) {
	b := newBench(t)
	b.put("a=1")
	ops := func(ops ...*pb.RequestOp) *pb.TxnRequest { return &pb.TxnRequest{Success: ops} }
	many := func(count int, prefix string) []*pb.RequestOp {
		ops := make([]*pb.RequestOp, count)
		for i := range ops {
			ops[i] = b.putOp(fmt.Sprintf("%s%d", prefix, i), "v")
		}
		return ops
	}
	compares := make([]*pb.Compare, 129)
	for i := range compares {
		compares[i] = &pb.Compare{Key: b.key("a"), Target: pb.Compare_VERSION, Result: greater}
	}
	const (
		tooMany   = "etcdserver: too many operations in txn request"
		duplicate = "etcdserver: duplicate key given in txn request"
	)
	for _, test := range []struct {
		name string
		ask  *pb.TxnRequest
		code codes.Code
		text string
	}{
		{"129 operations", &pb.TxnRequest{Success: many(129, "m")}, codes.InvalidArgument, tooMany},
		{"129 in the other branch", &pb.TxnRequest{Failure: many(129, "m")}, codes.InvalidArgument, tooMany},
		{"129 compares", &pb.TxnRequest{Compare: compares}, codes.InvalidArgument, tooMany},
		{"an inner one gets what the outer left", ops(append(many(100, "o"), opTxn(&pb.TxnRequest{Success: many(28, "i")}))...), codes.InvalidArgument, tooMany},
		{"two puts of a key", ops(b.putOp("b", "1"), b.putOp("b", "2")), codes.InvalidArgument, duplicate},
		{"a put under a delete", ops(b.putOp("b", "1"), opDelete(&pb.DeleteRangeRequest{Key: b.key(""), RangeEnd: b.end("*")})), codes.InvalidArgument, duplicate},
		{"a put beside the same put inside", ops(b.putOp("b", "1"), opTxn(&pb.TxnRequest{Failure: []*pb.RequestOp{b.putOp("b", "2")}})), codes.InvalidArgument, duplicate},
		{"the same put in two inner ones", ops(opTxn(ops(b.putOp("b", "1"))), opTxn(ops(b.putOp("b", "1")))), codes.InvalidArgument, duplicate},
		{"a compare without a key", &pb.TxnRequest{Compare: []*pb.Compare{{}}}, codes.InvalidArgument, "etcdserver: key is not provided"},
		{"a put without a key", ops(opPut(&pb.PutRequest{})), codes.InvalidArgument, "etcdserver: key is not provided"},
		{"a range without a key", ops(opRange(&pb.RangeRequest{})), codes.InvalidArgument, "etcdserver: key is not provided"},
		{"a delete without a key", ops(opDelete(&pb.DeleteRangeRequest{})), codes.InvalidArgument, "etcdserver: key is not provided"},
		{"a range with an unknown order", ops(opRange(&pb.RangeRequest{Key: b.key("a"), SortOrder: 7})), codes.InvalidArgument, "etcdserver: invalid sort option"},
		{"an operation that asks nothing", ops(&pb.RequestOp{}), codes.InvalidArgument, "etcdserver: key not found"},
		{"the future", ops(opRange(&pb.RangeRequest{Key: b.key("a"), Revision: b.base + 1000})), codes.OutOfRange, "etcdserver: mvcc: required revision is a future revision"},
		{"the future beside a put", ops(b.putOp("n", "1"), opRange(&pb.RangeRequest{Key: b.key("a"), Revision: b.base + 1000})), codes.OutOfRange, "etcdserver: mvcc: required revision is a future revision"},
		{"a negative revision", ops(opRange(&pb.RangeRequest{Key: b.key("a"), Revision: -2})), codes.OutOfRange, "etcdserver: mvcc: required revision has been compacted"},
		{"an unknown lease", ops(b.putOp("n", "1"), opPut(&pb.PutRequest{Key: b.key("a"), Lease: 4711})), codes.NotFound, "etcdserver: requested lease not found"},
		{"ignore_value of a missing key", ops(b.putOp("n", "1"), opPut(&pb.PutRequest{Key: b.key("x"), IgnoreValue: true})), codes.InvalidArgument, "etcdserver: key not found"},
	} {
		_, err := b.txn(test.ask)
		wantError(t, test.name, err, test.code, test.text)
	}
	answer, err := b.kv.Range(b.ctx, &pb.RangeRequest{Key: b.key(""), RangeEnd: b.end("*")})
	if err != nil {
		t.Fatal(err)
	}
	b.want("nothing was written", b.showRange(answer), "[a=1@+1+1v1] count 1")
	b.want("no revision was made", b.rev(answer.Header.Revision), "+1")

	if _, err := b.txn(&pb.TxnRequest{Success: many(128, "m")}); err != nil {
		t.Errorf("128 operations: %v", err)
	}
	if _, err := b.txn(ops(append(many(100, "o"), opTxn(&pb.TxnRequest{Success: many(27, "i")}))...)); err != nil {
		t.Errorf("101 operations with 27 inside: %v", err)
	}
	exclusive := &pb.TxnRequest{Success: []*pb.RequestOp{b.putOp("b", "1")}, Failure: []*pb.RequestOp{b.putOp("b", "2")}}
	if _, err := b.txn(ops(opTxn(exclusive))); err != nil {
		t.Errorf("both branches of an inner one may put the same key: %v", err)
	}
}
