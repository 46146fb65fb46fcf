package synccheck

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"tenet.test/interop/server"
)

// dataBytesMax is how much of a call's data strace shows: more than one write of one client's log.
const dataBytesMax = 1 << 20

// traceTimeout is how long the tracer may write after the server has ended.
const traceTimeout = 20 * time.Second

// Run lets one client put many times to a server under strace and judges the trace.
func Run(ctx context.Context, binary, folder string, flags []string, puts int) (Findings, error) {
	trace := filepath.Join(folder, "trace")
	s, err := server.Start(server.Options{
		Binary: binary,
		Folder: folder,
		Flags:  flags,
		// The tracer is a grandchild (-D), so that the server itself gets our signals.
		Wrap: []string{"strace", "-D", "-f", "-q", "-xx", "-yy", "-s", fmt.Sprint(dataBytesMax), "-o", trace,
			"-e", "trace=write,pwrite64,writev,pwritev,pwritev2,sendto,sendmsg,fsync,fdatasync", "-e", "signal=term"},
	})
	if err != nil {
		return Findings{}, err
	}
	defer s.Close()
	local, err := putAll(ctx, s.Endpoint(), puts)
	if err != nil {
		return Findings{}, err
	}
	if err := s.Stop(); err != nil {
		return Findings{}, err
	}
	text, err := whole(trace)
	if err != nil {
		return Findings{}, err
	}
	findings, err := Check(text, local)
	if err != nil {
		return findings, err
	}
	if findings.Answers != puts {
		return findings, fmt.Errorf("the trace shows %d answers to %d puts", findings.Answers, puts)
	}
	return findings, nil
}

// whole reads a trace once the tracer, which ends after the server, has written its last line.
func whole(path string) ([]byte, error) {
	deadline := time.Now().Add(traceTimeout)
	for {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
		if bytes.Contains(lines[len(lines)-1], []byte("+++")) {
			return text, nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("the trace has no end %v after the server's", traceTimeout)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// putAll puts one by one on one connection and returns the connection's own address.
func putAll(ctx context.Context, endpoint string, puts int) (local string, err error) {
	dial := func(ctx context.Context, address string) (net.Conn, error) {
		connection, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err == nil {
			local = connection.LocalAddr().String()
		}
		return connection, err
	}
	connection, err := grpc.NewClient("passthrough:///"+endpoint,
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithContextDialer(dial))
	if err != nil {
		return "", err
	}
	defer connection.Close()
	client := pb.NewKVClient(connection)
	for put := range puts {
		value := marker(put) + strings.Repeat("v", 200)
		if _, err := client.Put(ctx, &pb.PutRequest{Key: []byte("k"), Value: []byte(value)}); err != nil {
			return "", fmt.Errorf("put %d: %w", put, err)
		}
	}
	return local, nil
}
