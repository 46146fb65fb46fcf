// Package abuse does to a server what bad clients do, beside good ones on the same connection:
// streams opened and dropped by the hundred thousand, streams that nobody reads. The good ones
// must not notice, and the server must end with the memory it began with.
//
// Memory is what the process has of its own (RssAnon): mapped files come and go as the system
// likes. The bounds hold for the real etcd as well: run the package with SERVER=etcd.
package abuse

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"tenet.test/interop/bigread"
	"tenet.test/interop/server"
)

func connect(t *testing.T, s *server.Server) *grpc.ClientConn {
	t.Helper()
	connection, err := grpc.NewClient(s.Endpoint(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	return connection
}

func create(request *pb.WatchCreateRequest) *pb.WatchRequest {
	return &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: request}}
}

func cancel(id int64) *pb.WatchRequest {
	return &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{CancelRequest: &pb.WatchCancelRequest{WatchId: id}}}
}

// anonymousBytes is the memory that the process has of its own.
func anonymousBytes(t *testing.T, s *server.Server) int64 {
	t.Helper()
	bytes, err := bigread.AnonymousBytes(s.ProcessID())
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}

// metric is the sum of a metric over the lines whose labels contain a text.
func metric(t *testing.T, s *server.Server, name, labels string) float64 {
	t.Helper()
	answer, err := http.Get("http://" + s.Address() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	sum, found := 0.0, false
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		rest, is := strings.CutPrefix(lines.Text(), name)
		if !is || !strings.Contains(rest, labels) {
			continue
		}
		value, err := strconv.ParseFloat(rest[strings.LastIndex(rest, " ")+1:], 64)
		if err != nil {
			t.Fatal(err)
		}
		sum, found = sum+value, true
	}
	if !found {
		t.Fatalf("the server has no metric %s with %q", name, labels)
	}
	return sum
}

// settles waits until a metric has a value.
func settles(t *testing.T, s *server.Server, name, labels string, want float64) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		got := metric(t, s, name, labels)
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s %s is %v after 30 s, want %v", name, labels, got, want)
		}
	}
}

func contextOf(t *testing.T, most time.Duration) context.Context {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), most)
	t.Cleanup(stop)
	return ctx
}

func megabytes(bytes int64) string { return fmt.Sprintf("%.1f MB", float64(bytes)/(1<<20)) }
