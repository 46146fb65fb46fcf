package peer

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/server/v3/etcdserver/api/rafthttp"
	"go.etcd.io/etcd/server/v3/etcdserver/api/snap"
	stats "go.etcd.io/etcd/server/v3/etcdserver/api/v2stats"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
)

// theirs is etcd's end, in this process.
type theirs struct {
	t         *testing.T
	transport *rafthttp.Transport
	url       string
	tls       transport.TLSInfo
	errors    chan error
	// Snapshots are saved here.
	folder string

	mu          sync.Mutex
	messages    []*raftpb.Message
	unreachable int
	snapshots   []raft.SnapshotStatus
	removed     map[uint64]bool
}

func (e *theirs) Process(_ context.Context, m *raftpb.Message) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.messages = append(e.messages, m)
	return nil
}

func (e *theirs) IsIDRemoved(id uint64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.removed[id]
}

func (e *theirs) ReportUnreachable(uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.unreachable++
}

func (e *theirs) ReportSnapshot(_ uint64, status raft.SnapshotStatus) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.snapshots = append(e.snapshots, status)
}

func (e *theirs) received() []*raftpb.Message {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]*raftpb.Message(nil), e.messages...)
}

func (e *theirs) reported() []raft.SnapshotStatus {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]raft.SnapshotStatus(nil), e.snapshots...)
}

// startTheirs starts etcd's end for a cluster, with TLS or without.
func startTheirs(t *testing.T, cluster types.ID, secure bool) *theirs {
	t.Helper()
	e := &theirs{t: t, errors: make(chan error, 10), folder: t.TempDir(), removed: map[uint64]bool{}}
	if secure {
		tls, err := transport.SelfCert(zap.NewNop(), t.TempDir(), []string{"127.0.0.1:0"}, 1)
		if err != nil {
			t.Fatal(err)
		}
		e.tls = tls
	}
	// As a member listens: with the same deadlines on each read and write.
	scheme := "http"
	if secure {
		scheme = "https"
	}
	listener, err := rafthttp.NewListener(url.URL{Scheme: scheme, Host: "127.0.0.1:0"}, &e.tls)
	if err != nil {
		t.Fatal(err)
	}
	e.url = scheme + "://" + listener.Addr().String()
	e.transport = &rafthttp.Transport{
		Logger:      zap.NewNop(),
		DialTimeout: 2 * time.Second,
		TLSInfo:     e.tls,
		ID:          theirID,
		URLs:        types.MustNewURLs([]string{e.url}),
		ClusterID:   cluster,
		Raft:        e,
		Snapshotter: snap.New(zap.NewNop(), e.folder),
		ServerStats: stats.NewServerStats("theirs", "a1"),
		LeaderStats: stats.NewLeaderStats(zap.NewNop(), "a1"),
		ErrorC:      e.errors,
	}
	if err := e.transport.Start(); err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{
		Handler: e.transport.Handler(), ReadTimeout: 5 * time.Minute,
	}}
	server.Start()
	t.Cleanup(func() {
		e.transport.Stop()
		server.CloseClientConnections()
		listener.Close()
	})
	return e
}

// connect lets both ends reach for each other, at these addresses.
func connect(o *ours, e *theirs, ourURL, theirURL string) {
	o.tell("peer %x %s", theirID, theirURL)
	e.transport.AddPeer(ourID, []string{ourURL})
}

// connected waits until both streams are open in both directions.
func connected(o *ours, e *theirs) {
	o.t.Helper()
	eventually(o.t, "streams to theirs", func() bool { return strings.HasSuffix(o.streams(), " 2") })
	eventually(o.t, "streams to ours", func() bool { return !e.transport.ActiveSince(ourID).IsZero() })
}

// pair is both ends, connected.
func pair(t *testing.T, secure bool) (*ours, *theirs) {
	t.Helper()
	o, e := startOurs(t, secure), startTheirs(t, clusterID, secure)
	connect(o, e, o.url, e.url)
	connected(o, e)
	return o, e
}

// wire is a connection between two addresses that can be cut.
type wire struct {
	url string

	mu    sync.Mutex
	conns []net.Conn
}

// wireTo stands before an address and hands bytes through.
func wireTo(t *testing.T, to string) *wire {
	t.Helper()
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{url: target.Scheme + "://" + listener.Addr().String()}
	go func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			onward, err := net.Dial("tcp", target.Host)
			if err != nil {
				from.Close()
				continue
			}
			w.mu.Lock()
			w.conns = append(w.conns, from, onward)
			w.mu.Unlock()
			go pump(from, onward)
			go pump(onward, from)
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		w.cut()
	})
	return w
}

func pump(from, to net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	from.Close()
	to.Close()
}

// cut breaks all connections that are open.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, conn := range w.conns {
		conn.Close()
	}
	w.conns = nil
}
