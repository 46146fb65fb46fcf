package diff

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"tenet.test/interop/server"
)

const (
	// One call, or one wait for what a watch is to get. Far above what either server needs, so
	// that a loaded machine makes no difference.
	stepTimeout = 30 * time.Second
	// The same where a mistake is planted, so that what never comes does not take long to find.
	plantedTimeout = 3 * time.Second
	// Small, so that requests too large and responses in fragments are cheap.
	requestBytesMax = 64 << 10
	// What a response may hold before it is cut into fragments: the above and gRPC's share.
	fragmentBytesMax = requestBytesMax + 512<<10
	noticeInterval   = "100ms"
)

// peer is one of the two servers.
type peer struct {
	name   string
	server *server.Server
	// Changes what this server is asked and answers, to see that it is found.
	plant *plant

	connection  *grpc.ClientConn
	kv          pb.KVClient
	lease       pb.LeaseClient
	maintenance pb.MaintenanceClient
	watch       pb.WatchClient

	mu sync.Mutex
	// Who the server says it is, by its first answer.
	identity *pb.ResponseHeader
	// Who won races; how many fragments and progress notifications came.
	wins            map[int]int
	fragments, told int
}

func startPeer(binary, folder, name string, flags []string, plant *plant) (*peer, error) {
	folder = filepath.Join(folder, name)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	flags = append([]string{
		"--max-request-bytes", fmt.Sprint(requestBytesMax),
		"--watch-progress-notify-interval", noticeInterval,
	}, flags...)
	var s *server.Server
	err := unlessTaken(func() (err error) {
		s, err = server.Start(server.Options{Binary: binary, Folder: folder, Flags: flags})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	p := &peer{name: name, server: s, plant: plant, wins: map[int]int{}}
	return p, p.connect()
}

// unlessTaken starts a server, once more if another process has taken its port meanwhile: with
// hundreds of servers that happens.
func unlessTaken(start func() error) (err error) {
	for range 5 {
		if err = start(); err == nil || !strings.Contains(strings.ToLower(err.Error()), "address already in use") {
			break
		}
	}
	return err
}

func (p *peer) connect() error {
	connection, err := grpc.NewClient(p.server.Endpoint(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(1<<30), grpc.MaxCallRecvMsgSize(1<<30)))
	if err != nil {
		return err
	}
	p.connection = connection
	p.kv = pb.NewKVClient(connection)
	p.lease = pb.NewLeaseClient(connection)
	p.maintenance = pb.NewMaintenanceClient(connection)
	p.watch = pb.NewWatchClient(connection)
	return nil
}

func (p *peer) close() {
	if p.connection != nil {
		p.connection.Close()
	}
	p.server.Close()
	os.RemoveAll(p.server.Folder())
}

// again ends the process and starts it anew.
func (p *peer) again(kill bool) error {
	end := p.server.Stop
	if kill {
		end = p.server.Kill
	}
	p.connection.Close()
	if err := end(); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	if err := unlessTaken(p.server.Again); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	return p.connect()
}

// outcome is an answer or an error.
type outcome struct {
	message proto.Message
	err     error
}

func outcomeOf[M proto.Message](message M, err error) outcome { return outcome{message, err} }

func (p *peer) call(ctx context.Context, ask proto.Message) outcome {
	got := p.callAny(ctx, ask)
	if got.err == nil {
		got.err = p.checkIdentity(got.message)
	}
	return got
}

func (p *peer) callAny(ctx context.Context, ask proto.Message) outcome {
	switch ask := ask.(type) {
	case *pb.PutRequest:
		return outcomeOf(p.kv.Put(ctx, ask))
	case *pb.RangeRequest:
		return outcomeOf(p.kv.Range(ctx, ask))
	case *stream:
		return outcomeOf(p.rangeStream(ctx, ask.RangeRequest))
	case *pb.DeleteRangeRequest:
		return outcomeOf(p.kv.DeleteRange(ctx, ask))
	case *pb.TxnRequest:
		return outcomeOf(p.kv.Txn(ctx, ask))
	case *pb.CompactionRequest:
		return outcomeOf(p.kv.Compact(ctx, ask))
	case *pb.LeaseGrantRequest:
		return outcomeOf(p.lease.LeaseGrant(ctx, ask))
	case *pb.LeaseRevokeRequest:
		return outcomeOf(p.lease.LeaseRevoke(ctx, ask))
	case *pb.LeaseTimeToLiveRequest:
		return outcomeOf(p.lease.LeaseTimeToLive(ctx, ask))
	case *pb.LeaseLeasesRequest:
		return outcomeOf(p.lease.LeaseLeases(ctx, ask))
	case *pb.LeaseKeepAliveRequest:
		return outcomeOf(p.keepAlive(ctx, ask))
	case *pb.HashKVRequest:
		return outcomeOf(p.maintenance.HashKV(ctx, ask))
	}
	return outcome{err: fmt.Errorf("no call for %T", ask)}
}

// rangeStream merges the parts of a stream.
func (p *peer) rangeStream(ctx context.Context, ask *pb.RangeRequest) (*pb.RangeResponse, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	parts, err := p.kv.RangeStream(ctx, ask)
	if err != nil {
		return nil, err
	}
	whole := &pb.RangeResponse{}
	for {
		part, err := parts.Recv()
		if err == io.EOF {
			return whole, nil
		}
		if err != nil {
			return nil, err
		}
		proto.Merge(whole, part.RangeResponse)
	}
}

// keepAlive asks once on a stream of its own.
func (p *peer) keepAlive(ctx context.Context, ask *pb.LeaseKeepAliveRequest) (*pb.LeaseKeepAliveResponse, error) {
	stream, err := p.lease.LeaseKeepAlive(ctx)
	if err != nil {
		return nil, err
	}
	defer stream.CloseSend()
	if err := stream.Send(ask); err != nil {
		return nil, err
	}
	return stream.Recv()
}

// checkIdentity sees that every header names the same cluster and member. They differ between
// servers, so what is compared has them taken out.
func (p *peer) checkIdentity(message proto.Message) error {
	headed, ok := message.(interface{ GetHeader() *pb.ResponseHeader })
	if !ok {
		return nil
	}
	header := headed.GetHeader()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.identity == nil {
		p.identity = header
	}
	if header.GetClusterId() != p.identity.GetClusterId() || header.GetMemberId() != p.identity.GetMemberId() ||
		header.GetRaftTerm() == 0 {
		return fmt.Errorf("a header that is another server's: %v, first was %v", header, p.identity)
	}
	return nil
}

func (p *peer) patience() time.Duration {
	if p.plant != nil {
		return plantedTimeout
	}
	return stepTimeout
}

func (p *peer) count(of *int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*of++
}

// lagging asks the metrics page how many watches still read the history.
func (p *peer) lagging(ctx context.Context) (int, error) {
	ask, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.server.Address()+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	answer, err := http.DefaultClient.Do(ask)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	page, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err
	}
	const name = "\netcd_debugging_mvcc_slow_watcher_total "
	_, rest, found := strings.Cut(string(page), name)
	if !found {
		return 0, fmt.Errorf("no%s on the metrics page", name[:len(name)-1])
	}
	var count float64
	_, err = fmt.Sscan(rest, &count)
	return int(count), err
}
