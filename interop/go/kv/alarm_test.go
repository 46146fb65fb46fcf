package kv

import (
	"bytes"
	"fmt"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tenet.test/interop/server"
)

const noSpace = "etcdserver: mvcc: database space exceeded"

func showAlarms(answer *pb.AlarmResponse) string {
	text := ""
	for _, alarm := range answer.Alarms {
		text += fmt.Sprintf("%x %v;", alarm.MemberID, alarm.Alarm)
	}
	return text
}

func TestAlarmsAreRaisedListedAndDisarmed(t *testing.T) {
	own := server.For(t)
	b := benchOn(t, own)
	maintenance := pb.NewMaintenanceClient(server.RawOf(t, own))
	step := func(name string, ask *pb.AlarmRequest, want string) {
		t.Helper()
		answer, err := maintenance.Alarm(b.ctx, ask)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		b.want(name, showAlarms(answer), want)
	}
	step("none at first", &pb.AlarmRequest{}, "")
	step("activating no type does nothing", &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, MemberID: 7}, "")
	step("activate", &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, MemberID: 7, Alarm: pb.AlarmType_NOSPACE}, "7 NOSPACE;")
	step("activate again", &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, MemberID: 7, Alarm: pb.AlarmType_NOSPACE}, "7 NOSPACE;")
	step("list", &pb.AlarmRequest{}, "7 NOSPACE;")
	step("list another type", &pb.AlarmRequest{Alarm: pb.AlarmType_CORRUPT}, "")
	step("disarm another type", &pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE, MemberID: 7, Alarm: pb.AlarmType_CORRUPT}, "")
	step("disarm another member", &pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE, MemberID: 8, Alarm: pb.AlarmType_NOSPACE}, "")

	_, err := b.kv.Put(b.ctx, &pb.PutRequest{Key: []byte("a")})
	wantError(t, "put under NOSPACE", err, codes.ResourceExhausted, noSpace)
	_, err = b.txn(&pb.TxnRequest{Failure: []*pb.RequestOp{b.putOp("a", "1")}})
	wantError(t, "txn with a put in any branch", err, codes.ResourceExhausted, noSpace)
	b.wantTxn("txn that writes nothing", &pb.TxnRequest{Success: []*pb.RequestOp{
		opDelete(&pb.DeleteRangeRequest{Key: b.key("x")}),
	}}, "full+0 true {delete +0 0 prev []}")
	if _, err := b.kv.DeleteRange(b.ctx, &pb.DeleteRangeRequest{Key: []byte("a")}); err != nil {
		t.Errorf("delete under NOSPACE: %v", err)
	}

	step("disarm", &pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE, MemberID: 7, Alarm: pb.AlarmType_NOSPACE}, "7 NOSPACE;")
	step("disarm again", &pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE, MemberID: 7, Alarm: pb.AlarmType_NOSPACE}, "")
	b.put("a=1")

	step("corrupt", &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, MemberID: 7, Alarm: pb.AlarmType_CORRUPT}, "7 CORRUPT;")
	_, err = b.kv.Put(b.ctx, &pb.PutRequest{Key: []byte("a")})
	wantError(t, "put under CORRUPT", err, codes.DataLoss, "etcdserver: corrupt cluster")
	_, err = b.kv.DeleteRange(b.ctx, &pb.DeleteRangeRequest{Key: []byte("a")})
	wantError(t, "delete under CORRUPT", err, codes.DataLoss, "etcdserver: corrupt cluster")
	_, err = b.kv.Compact(b.ctx, &pb.CompactionRequest{Revision: 1})
	wantError(t, "compaction under CORRUPT", err, codes.DataLoss, "etcdserver: corrupt cluster")
	if _, err := b.kv.Range(b.ctx, &pb.RangeRequest{Key: []byte("a")}); err != nil {
		t.Errorf("read under CORRUPT: %v", err)
	}
}

func TestQuotaIsReachedAndSpaceIsRecovered(t *testing.T) {
	const quota = 16 << 20
	own := server.For(t, "--quota-backend-bytes", fmt.Sprint(quota))
	b := benchOn(t, own)
	maintenance := pb.NewMaintenanceClient(server.RawOf(t, own))
	value := bytes.Repeat([]byte("v"), 1<<20)
	put := func(i int) error {
		_, err := b.kv.Put(b.ctx, &pb.PutRequest{Key: b.key(fmt.Sprintf("k%02d", i)), Value: value})
		return err
	}
	written := 0
	for ; written < 64; written++ {
		if err := put(written); err != nil {
			wantError(t, "the put that is too much", err, codes.ResourceExhausted, noSpace)
			break
		}
	}
	// etcd lets a batch that is not committed yet go beyond.
	if written < 4 || written > 24 {
		t.Errorf("%d MiB fit into a quota of %d", written, quota)
	}
	member, _ := identity(own.PeerURL())
	answer, err := maintenance.Alarm(b.ctx, &pb.AlarmRequest{})
	if err != nil {
		t.Fatal(err)
	}
	b.want("the alarm", showAlarms(answer), fmt.Sprintf("%x NOSPACE;", member))
	if code := status.Code(put(99)); code != codes.ResourceExhausted {
		t.Errorf("a put while the alarm is on: %v", code)
	}
	shown, err := maintenance.Status(b.ctx, &pb.StatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if len(shown.Errors) != 1 {
		t.Errorf("status shows the errors %q, want the alarm", shown.Errors)
	}

	deleted, err := b.kv.DeleteRange(b.ctx, &pb.DeleteRangeRequest{Key: b.key(""), RangeEnd: b.end("*")})
	if err != nil {
		t.Fatal(err)
	}
	if deleted.Deleted != int64(written) {
		t.Errorf("deleted %d keys, %d were written", deleted.Deleted, written)
	}
	if _, err := b.kv.Compact(b.ctx, &pb.CompactionRequest{Revision: deleted.Header.Revision, Physical: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := maintenance.Defragment(b.ctx, &pb.DefragmentRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := maintenance.Alarm(b.ctx, &pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE, MemberID: member, Alarm: pb.AlarmType_NOSPACE}); err != nil {
		t.Fatal(err)
	}
	if err := put(0); err != nil {
		t.Errorf("a put after space was recovered: %v", err)
	}
}
