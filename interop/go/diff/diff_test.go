package diff

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"

	"tenet.test/interop/server"
)

// configOf compares the server with itself.
func configOf(t *testing.T) Config {
	t.Helper()
	binary, err := server.Binary()
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		Reference: binary, Tested: binary, Folder: t.TempDir(), Steps: 200, Seed: 1, Counts: &Counts{},
	}
}

func contextOf(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestAServerDoesNotDifferFromItself(t *testing.T) {
	// Of every kind: alone, several clients, large values.
	many := Many{Config: configOf(t), Total: 500, AtOnce: 3}
	found, _, err := many.Run(contextOf(t))
	if err != nil {
		t.Fatal(err)
	}
	if found != nil {
		t.Errorf("%v\nreference: %s\ntested:    %s", found.Steps, found.Reference, found.Tested)
	}
	if steps := many.Counts.Of("steps"); steps < 500 {
		t.Errorf("%d steps were counted, want 500", steps)
	}
}

func TestAPlantedDifferenceIsFoundAndTheHistoryGetsShort(t *testing.T) {
	config := configOf(t)
	config.Steps, config.Planted = 400, "delete: prev_kvs misses one"
	ctx := contextOf(t)
	found, err := Run(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	if found == nil {
		t.Fatal("not found")
	}
	script, _ := Shrink(ctx, config, found)
	if script == nil {
		t.Fatal("the difference did not come again")
	}
	// Two keys must be written before they can be deleted together.
	if script.Len() > 3 {
		t.Errorf("%d steps are left:\n%s", script.Len(), script)
	}
	again, err := Parse(script.String())
	if err != nil || again.String() != script.String() {
		t.Errorf("%v: the script reads as\n%s\nbut was\n%s", err, again, script)
	}
}

// Each kept history was a difference once, or shows something that is easily got wrong. Their
// answers are the real etcd's.
func TestKeptHistories(t *testing.T) {
	binary, err := server.Binary()
	if err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob("testdata/*.script")
	if err != nil || len(paths) == 0 {
		t.Fatal("no histories are kept", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".script"), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			script, err := Parse(string(text))
			if err != nil {
				t.Fatal(err)
			}
			if script.Len() == 0 || len(script.Answers) != script.Len() {
				t.Fatalf("%d steps with %d answers", script.Len(), len(script.Answers))
			}
			answers, err := script.Play(contextOf(t), binary, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range script.Answers {
				if answers[i] != want {
					t.Errorf("%s\ngot  %s\nwant %s", script.steps[i], answers[i], want)
				}
			}
		})
	}
}

func TestStepsRepeatFromTheirSeedAndFromTheirText(t *testing.T) {
	at := moment{revision: 100, compacted: 20, chosen: 3, watches: []place{{1, 0, true}, {2, -5, false}}}
	kinds := map[string]int{}
	for seed := range uint64(20_000) {
		at.client = int(seed % 2)
		s := step{at.client, askOf(seed, at)}
		if s.String() != (step{at.client, askOf(seed, at)}).String() {
			t.Fatalf("seed %d gives different steps", seed)
		}
		read, err := parseStep(s.String())
		if err != nil || read.String() != s.String() {
			t.Fatalf("%q reads as %q: %v", s, read, err)
		}
		kinds[strings.Fields(askText(s.ask))[0]]++
	}
	for _, kind := range []string{"PutRequest", "RangeRequest", "RangeStream", "DeleteRangeRequest", "TxnRequest", "CompactionRequest", "HashKVRequest",
		"LeaseGrantRequest", "LeaseRevokeRequest", "LeaseTimeToLiveRequest", "LeaseKeepAliveRequest", "LeaseLeasesRequest",
		"Watch", "Abandon", "Quiet", "Notices", "Restart", "Shared"} {
		if kinds[kind] < 5 {
			t.Errorf("%d of 20,000 steps are a %s", kinds[kind], kind)
		}
	}
}

func TestWhatIsLeftOfAHistoryKeepsItsMeaning(t *testing.T) {
	steps := []step{
		{0, &pb.PutRequest{Key: []byte("a")}}, // revision 2
		{0, &pb.PutRequest{Key: []byte("b")}}, // revision 3
		{0, &pb.PutRequest{Key: []byte("c")}}, // revision 4
		{0, &pb.RangeRequest{Key: []byte("a"), Revision: 2}},
		{0, &pb.RangeRequest{Key: []byte("a"), Revision: 3}},
		{0, &pb.RangeRequest{Key: []byte("a"), Revision: 4, MaxModRevision: -1}},
	}
	left := without(steps, []int64{1, 1, 1, 0, 0, 0}, 1, 2)
	want := []int64{2, 2, 3}
	for i, revision := range want {
		if got := left[i+2].ask.(*pb.RangeRequest).Revision; got != revision {
			t.Errorf("read %d is at revision %d, want %d", i, got, revision)
		}
	}
	if got := left[4].ask.(*pb.RangeRequest).MaxModRevision; got != -1 {
		t.Errorf("-1 became %d", got)
	}
}

func TestRarityIsNoticed(t *testing.T) {
	counts := &Counts{}
	for _, name := range Required() {
		counts.Add(name, 100)
	}
	counts.Add(countReads, 100)
	counts.Add(countOldReads, 30)
	if missing := counts.Missing(100); len(missing) > 0 {
		t.Errorf("missing %v", missing)
	}
	if missing := counts.Missing(101); len(missing) != len(Required()) {
		t.Errorf("%d things are missing, want %d", len(missing), len(Required()))
	}
	counts.Add(countReads, 1)
	if missing := counts.Missing(100); len(missing) != 1 {
		t.Errorf("missing %v, want the reads at old revisions", missing)
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
