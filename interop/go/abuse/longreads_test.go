package abuse

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"tenet.test/interop/bigread"
	"tenet.test/interop/server"
)

const (
	longReadKeys  = 100_000
	longReadValue = 600
	// Parts of what the real etcd grows by for unary calls.
	unaryGrowthMax  = 0.33
	streamGrowthMax = 0.1
)

// Clients read all that there is, at once, one of them slowly. Whatever they do, a server has to
// give each of them everything; the growth of memory is compared with that of the real etcd in
// ETCD.
func TestLongReads(t *testing.T) {
	own := measureLongReads(t, server.Options{Folder: t.TempDir(), Binary: os.Getenv("SERVER")})
	etcd := os.Getenv("ETCD")
	if etcd == "" || same(etcd, os.Getenv("SERVER")) {
		t.Log("no other server to compare with in ETCD")
		return
	}
	other := measureLongReads(t, server.Options{Folder: t.TempDir(), Binary: etcd})
	for n, c := range longReads {
		most := unaryGrowthMax
		if c.Method == "RangeStream" {
			most = streamGrowthMax
		}
		// Streams are compared with unary calls too.
		unary := other[n%2].Bytes()
		if part := float64(own[n].Bytes()) / float64(unary); part > most {
			t.Errorf("%v: memory grew by %s, %.2f of the %s of etcd's unary calls, %v at most",
				c, megabytes(own[n].Bytes()), part, megabytes(unary), most)
		}
	}
}

var longReads = []bigread.Case{
	{Method: "Range", Fast: 5}, {Method: "Range", Fast: 4, Slow: 1},
	{Method: "RangeStream", Fast: 5}, {Method: "RangeStream", Fast: 4, Slow: 1},
}

func measureLongReads(t *testing.T, options server.Options) []bigread.Growth {
	t.Helper()
	s, err := server.Start(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	ctx := contextOf(t, 4*time.Minute)
	if err := bigread.Load(ctx, s, longReadKeys, longReadValue); err != nil {
		t.Fatal(err)
	}
	var all []bigread.Growth
	for _, c := range longReads {
		growth, err := bigread.Measure(ctx, s, c, longReadKeys)
		if err != nil {
			t.Fatalf("%v: %v", c, err)
		}
		t.Logf("%s: %v: memory %s before, grew by %s, %.1f s",
			filepath.Base(options.Binary), c, megabytes(growth.BeforeBytes), megabytes(growth.Bytes()), growth.Seconds)
		all = append(all, growth)
	}
	return all
}

func same(a, b string) bool {
	left, leftErr := os.Stat(a)
	right, rightErr := os.Stat(b)
	return leftErr == nil && rightErr == nil && os.SameFile(left, right)
}
