package diff

import (
	"context"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"

	"tenet.test/interop/server"
)

func configOf(t *testing.T) Config {
	t.Helper()
	binary, err := server.Binary()
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		Reference: binary, Tested: binary, Folder: t.TempDir(), Requests: 300, Seed: 1,
		Say: t.Logf,
	}
}

func contextOf(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestAServerDoesNotDifferFromItself(t *testing.T) {
	difference, err := Run(contextOf(t), configOf(t))
	if err != nil {
		t.Fatal(err)
	}
	if difference != nil {
		t.Errorf("%+v", difference)
	}
}

func TestAPlantedDifferenceIsFoundAndTheHistoryGetsShort(t *testing.T) {
	config := configOf(t)
	config.Requests = 400
	config.Spoil = func(_, answer proto.Message) {
		// Of several deleted keys the last is forgotten.
		if answer, ok := answer.(*pb.DeleteRangeResponse); ok && len(answer.PrevKvs) > 1 {
			answer.PrevKvs = answer.PrevKvs[:len(answer.PrevKvs)-1]
		}
	}
	difference, err := Run(contextOf(t), config)
	if err != nil {
		t.Fatal(err)
	}
	if difference == nil {
		t.Fatal("not found")
	}
	last := difference.History[len(difference.History)-1]
	if !strings.HasPrefix(last, "DeleteRangeRequest") {
		t.Errorf("the last request is %s, want the delete", last)
	}
	// Two keys must be written before they can be deleted together.
	if len(difference.History) > 4 {
		t.Errorf("%d requests are left:\n%s", len(difference.History), strings.Join(difference.History, "\n"))
	}
}

func TestRequestsCoverEveryKindAndRepeatFromTheirSeed(t *testing.T) {
	at := moment{revision: 100, compacted: 20, chosen: 3}
	kinds := map[string]int{}
	for seed := range uint64(1000) {
		ask := request(seed, at)
		if show(ask) != show(request(seed, at)) {
			t.Fatalf("seed %d gives different requests", seed)
		}
		kinds[strings.Fields(show(ask))[0]]++
	}
	for _, kind := range []string{"PutRequest", "RangeRequest", "RangeStream", "DeleteRangeRequest", "TxnRequest", "CompactionRequest", "HashKVRequest",
		"LeaseGrantRequest", "LeaseRevokeRequest", "LeaseTimeToLiveRequest", "LeaseKeepAliveRequest", "LeaseLeasesRequest"} {
		if kinds[kind] < 10 {
			t.Errorf("%d of 1000 requests are a %s", kinds[kind], kind)
		}
	}
}

func TestTiesAreNoDifferenceButSortedKeysAre(t *testing.T) {
	ask := &pb.RangeRequest{SortTarget: pb.RangeRequest_VALUE, SortOrder: pb.RangeRequest_ASCEND}
	answer := func(more bool, pairs ...string) *pb.RangeResponse {
		answer := &pb.RangeResponse{More: more}
		for _, pair := range pairs {
			answer.Kvs = append(answer.Kvs, &mvccpb.KeyValue{Key: []byte(pair[:1]), Value: []byte(pair[1:])})
		}
		normalize(ask, answer)
		return answer
	}
	if !proto.Equal(answer(false, "a1", "b1", "c2"), answer(false, "b1", "a1", "c2")) {
		t.Error("the order of ties makes a difference")
	}
	if proto.Equal(answer(false, "a1", "c2"), answer(false, "c2", "a1")) {
		t.Error("the order of what is sorted makes none")
	}
	if !proto.Equal(answer(true, "a1", "b2"), answer(true, "a1", "c2")) {
		t.Error("which of the ties at a limit is shown makes a difference")
	}
	if proto.Equal(answer(false, "a1", "b2"), answer(false, "a1", "c2")) {
		t.Error("a wrong key makes none")
	}
}
