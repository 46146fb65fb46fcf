package watch

import (
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"tenet.test/interop/server"
)

const (
	emptyRange = `"mvcc: watcher range is empty"`
	duplicate  = `"mvcc: duplicate watch ID provided on the WatchStream"`
	compacted  = `"etcdserver: mvcc: required revision has been compacted"`
)

func TestIDs(t *testing.T) {
	b := newBench(t)
	create := func(id int64) { b.create(&pb.WatchCreateRequest{Key: b.key("k"), WatchId: id}) }
	for _, id := range []int64{0, 0, 3, 0, 0, -5, 1 << 40, 3, 0} {
		create(id)
	}
	b.want("0 at +0 created", "1 at +0 created", "3 at +0 created", "2 at +0 created",
		"4 at +0 created", "-5 at +0 created", "1099511627776 at +0 created",
		"-1 at +0 created canceled "+duplicate, "5 at +0 created")
	b.cancel(2)
	b.cancel(77)
	b.cancel(2)
	b.want("2 at +0 canceled")
	create(2)
	create(0)
	b.want("2 at +0 created", "6 at +0 created")
	b.silent()
}

func TestRefusals(t *testing.T) {
	b := newBench(t)
	b.put("a=1")
	b.create(&pb.WatchCreateRequest{Key: b.key("b"), RangeEnd: b.key("a")})
	b.create(&pb.WatchCreateRequest{Key: b.key("b"), RangeEnd: b.key("b")})
	b.create(&pb.WatchCreateRequest{Key: b.key("b"), StartRevision: -1})
	b.create(&pb.WatchCreateRequest{Key: b.key("b"), RangeEnd: b.key("a"), StartRevision: -1})
	b.create(&pb.WatchCreateRequest{Key: b.key("b")})
	b.create(&pb.WatchCreateRequest{Key: b.key("b"), RangeEnd: b.key("a"), WatchId: 9})
	b.want("-1 at +1 created canceled "+emptyRange, "-1 at +1 created canceled "+emptyRange,
		"-1 at +1 created canceled "+compacted, "-1 at +1 created canceled "+compacted,
		"0 at +1 created", "-1 at +1 created canceled "+emptyRange)
	b.create(&pb.WatchCreateRequest{Key: b.key("b"), WatchId: 7})
	b.create(&pb.WatchCreateRequest{Key: b.key("b"), WatchId: 7, StartRevision: -1})
	b.create(&pb.WatchCreateRequest{Key: b.key("b"), WatchId: 7, RangeEnd: b.key("a")})
	b.want("7 at +1 created", "-1 at +1 created canceled "+compacted,
		"-1 at +1 created canceled "+emptyRange)
	b.send(&pb.WatchRequest{})
	b.put("b=1")
	got := []string{b.show(b.next()), b.show(b.next())}
	if got[0] > got[1] {
		got[0], got[1] = got[1], got[0]
	}
	for i, want := range []string{"0 at +2 [PUT b=1@+2+2v1]", "7 at +2 [PUT b=1@+2+2v1]"} {
		if got[i] != want {
			t.Errorf("got %s, want %s", got[i], want)
		}
	}
	b.silent()
}

func TestEvents(t *testing.T) {
	b := newBench(t)
	b.put("a=1")
	b.create(&pb.WatchCreateRequest{Key: b.key(""), RangeEnd: b.all()})
	b.want("0 at +1 created")
	b.put("a=2", "b=1")
	b.delete("a")
	b.delete("a")
	b.txn("c=1", "b", "d=1")
	b.want("0 at +2 [PUT a=2@+1+2v2]", "0 at +3 [PUT b=1@+3+3v1]", "0 at +4 [DELETE a=@0+4v0]",
		"0 at +5 [PUT c=1@+5+5v1] [DELETE b=@0+5v0] [PUT d=1@+5+5v1]")
	b.put("a=3")
	b.want("0 at +6 [PUT a=3@+6+6v1]")
	b.silent()
}

func TestPreviousValues(t *testing.T) {
	b := newBench(t)
	b.create(&pb.WatchCreateRequest{Key: b.key(""), RangeEnd: b.all(), PrevKv: true})
	b.want("0 at +0 created")
	b.put("a=1", "a=2")
	b.txn("a", "b=1")
	b.put("a=3")
	b.txn("a=4", "b=2", "c=1")
	b.want("0 at +1 [PUT a=1@+1+1v1]", "0 at +2 [PUT a=2@+1+2v2 before a=1@+1+1v1]",
		"0 at +3 [DELETE a=@0+3v0 before a=2@+1+2v2] [PUT b=1@+3+3v1]", "0 at +4 [PUT a=3@+4+4v1]",
		"0 at +5 [PUT a=4@+4+5v2 before a=3@+4+4v1] [PUT b=2@+3+5v2 before b=1@+3+3v1] [PUT c=1@+5+5v1]")
}

func TestFilters(t *testing.T) {
	b := newBench(t)
	noPut, noDelete := pb.WatchCreateRequest_NOPUT, pb.WatchCreateRequest_NODELETE
	for _, filters := range [][]pb.WatchCreateRequest_FilterType{{noPut}, {noDelete}, {noPut, noDelete}, {7}} {
		b.create(&pb.WatchCreateRequest{Key: b.key("k"), Filters: filters})
	}
	b.want("0 at +0 created", "1 at +0 created", "2 at +0 created", "3 at +0 created")
	want := func(texts ...string) {
		t.Helper()
		found := map[string]bool{}
		for range texts {
			found[b.show(b.next())] = true
		}
		for _, text := range texts {
			if !found[text] {
				t.Errorf("got %v, want %s", found, text)
			}
		}
	}
	b.put("k=1")
	want("1 at +1 [PUT k=1@+1+1v1]", "3 at +1 [PUT k=1@+1+1v1]")
	b.delete("k")
	want("0 at +2 [DELETE k=@0+2v0]", "3 at +2 [DELETE k=@0+2v0]")
	b.silent()
}

func TestRanges(t *testing.T) {
	own := server.For(t)
	b := benchOn(t, own)
	b.prefix = ""
	for _, of := range []struct{ key, end string }{
		{"b", ""}, {"b", "c"}, {"b", "\x00"}, {"", "\x00"}, {"", ""}, {"\x00", "b"}, {"a", "b\x00"},
	} {
		b.create(&pb.WatchCreateRequest{Key: []byte(of.key), RangeEnd: []byte(of.end)})
		b.next()
	}
	for _, step := range []struct {
		key  string
		want string
	}{
		{"b", "0 1 2 3 6"}, {"ba", "1 2 3"}, {"a", "3 5 6"}, {"c", "2 3"}, {"\x00", "3 4 5"}, {"zz", "2 3"},
	} {
		b.put(step.key + "=1")
		ids := map[string]bool{}
		for range strings.Fields(step.want) {
			text, _, _ := strings.Cut(b.show(b.next()), " ")
			ids[text] = true
		}
		for _, id := range strings.Fields(step.want) {
			if !ids[id] {
				t.Errorf("put of %q reached %v, want %s", step.key, ids, step.want)
			}
		}
		b.silent()
	}
}

func TestStartRevisions(t *testing.T) {
	b := newBench(t)
	b.put("k=1", "other=1", "k=2")
	b.delete("k")
	// All of the past, a part of it, the next revision, and one further on.
	b.create(&pb.WatchCreateRequest{Key: b.key("k"), StartRevision: b.base + 1})
	b.want("0 at +4 created",
		"0 at +4 [PUT k=1@+1+1v1] [PUT k=2@+1+3v2] [DELETE k=@0+4v0]")
	b.create(&pb.WatchCreateRequest{Key: b.key("k"), StartRevision: b.base + 4})
	b.want("1 at +4 created", "1 at +4 [DELETE k=@0+4v0]")
	b.cancel(0)
	b.cancel(1)
	b.want("0 at +4 canceled", "1 at +4 canceled")
	b.create(&pb.WatchCreateRequest{Key: b.key("k"), StartRevision: b.base + 7})
	b.want("2 at +4 created")
	b.put("k=5", "k=6", "k=7", "k=8")
	b.want("2 at +7 [PUT k=7@+5+7v3]", "2 at +8 [PUT k=8@+5+8v4]")
	b.silent()
}

func TestCompactedStart(t *testing.T) {
	own := server.For(t)
	b := benchOn(t, own)
	b.put("a=1", "a=2", "b=1", "a=3")
	b.delete("b")
	b.compact(b.base + 3)
	b.create(&pb.WatchCreateRequest{Key: b.key(""), RangeEnd: b.all(), StartRevision: b.base + 2})
	b.want("0 at +5 created", "0 at 0 canceled compacted +3")
	b.create(&pb.WatchCreateRequest{Key: b.key(""), RangeEnd: b.all(), StartRevision: b.base + 3, PrevKv: true})
	b.want("1 at +5 created",
		"1 at +5 [PUT b=1@+3+3v1] [PUT a=3@+1+4v3 before a=2@+1+2v2] [DELETE b=@0+5v0 before b=1@+3+3v1]")
	b.compact(b.base + 5)
	b.create(&pb.WatchCreateRequest{Key: b.key(""), RangeEnd: b.all(), StartRevision: b.base + 5, PrevKv: true})
	b.want("2 at +5 created", "2 at +5 [DELETE b=@0+5v0]")
	b.cancel(1)
	b.cancel(2)
	b.want("1 at +5 canceled", "2 at +5 canceled")
	// What was ended by compaction keeps its id until it is cancelled, too.
	b.create(&pb.WatchCreateRequest{Key: b.key("x"), WatchId: 4})
	b.create(&pb.WatchCreateRequest{Key: b.key("x"), WatchId: 4, StartRevision: b.base + 2})
	b.create(&pb.WatchCreateRequest{Key: b.key("x"), WatchId: 5, StartRevision: b.base + 2})
	b.want("4 at +5 created", "-1 at +5 created canceled "+duplicate, "5 at +5 created", "5 at 0 canceled compacted +5")
	b.create(&pb.WatchCreateRequest{Key: b.key("x"), WatchId: 5})
	b.want("-1 at +5 created canceled " + duplicate)
	b.cancel(5)
	b.cancel(0)
	b.cancel(0)
	b.want("5 at +5 canceled", "0 at +5 canceled")
	b.create(&pb.WatchCreateRequest{Key: b.key("x"), WatchId: 5})
	b.want("5 at +5 created")
	b.silent()
}

func TestProgressRequests(t *testing.T) {
	b := newBench(t)
	b.askProgress()
	b.silent()
	b.create(&pb.WatchCreateRequest{Key: b.key("a")})
	b.create(&pb.WatchCreateRequest{Key: b.key("b")})
	b.want("0 at +0 created", "1 at +0 created")
	b.askProgress()
	b.want("-1 at +0")
	b.put("other=1", "a=1")
	b.want("0 at +2 [PUT a=1@+2+2v1]")
	b.askProgress()
	b.want("-1 at +2")
	b.create(&pb.WatchCreateRequest{Key: b.key("c"), StartRevision: b.base + 9})
	b.want("2 at +2 created")
	b.askProgress()
	b.silent()
	b.cancel(2)
	b.want("2 at +2 canceled")
	b.askProgress()
	b.want("-1 at +2")
}

func TestProgressNotifications(t *testing.T) {
	own := server.For(t, "--watch-progress-notify-interval", "300ms")
	b := benchOn(t, own)
	b.create(&pb.WatchCreateRequest{Key: b.key("a"), ProgressNotify: true})
	b.create(&pb.WatchCreateRequest{Key: b.key("b")})
	b.want("0 at +0 created", "1 at +0 created", "0 at +0")
	b.put("other=1")
	b.want("0 at +1", "0 at +1")
	b.cancel(0)
	b.want("0 at +1 canceled")
	for i := 0; i < 3; i++ {
		b.silent()
	}
}

func TestFragments(t *testing.T) {
	own := server.For(t)
	b := benchOn(t, own)
	large := func(letter string) string { return strings.Repeat(letter, 700_000) }
	b.txn("a="+large("1"), "b="+large("1"))
	b.create(&pb.WatchCreateRequest{Key: b.key(""), RangeEnd: b.all(), PrevKv: true, Fragment: true})
	b.create(&pb.WatchCreateRequest{Key: b.key(""), RangeEnd: b.all(), Fragment: true})
	b.want("0 at +1 created", "1 at +1 created")
	b.txn("a="+large("2"), "b="+large("2"))
	a := "[PUT a=(700000 bytes)@+1+2v2"
	c := "[PUT b=(700000 bytes)@+1+2v2"
	found := map[string]bool{}
	for i := 0; i < 3; i++ {
		found[b.show(b.next())] = true
	}
	for _, want := range []string{
		"0 at +2 fragment " + a + " before a=(700000 bytes)@+1+1v1]",
		"0 at +2 " + c + " before b=(700000 bytes)@+1+1v1]",
		"1 at +2 " + a + "] " + c + "]",
	} {
		if !found[want] {
			t.Errorf("got %v, want %s", found, want)
		}
	}
}

func TestHalfClosedStreamGoesOn(t *testing.T) {
	b := newBench(t)
	b.create(&pb.WatchCreateRequest{Key: b.key("k")})
	b.want("0 at +0 created")
	if err := b.stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	b.put("k=1", "k=2")
	b.want("0 at +1 [PUT k=1@+1+1v1]", "0 at +2 [PUT k=2@+1+2v2]")
	b.silent()
}
