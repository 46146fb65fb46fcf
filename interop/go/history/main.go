// Command history makes a random history on a real etcd server and records it: every request
// with the answer it got, the log that the server wrote, and the tables it was left with. The
// tests of the state crate replay the log and compare.
//
//	go run ./history -etcd <etcd binary> -seed 1 -revisions 1500 -out <directory>
//
// It writes calls.gz (see record.go), wal.gz (the first log segment up to its last record) and
// buckets.json (every bucket but that of the keys).
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"math/rand"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

func main() {
	log.SetFlags(0)
	etcd := flag.String("etcd", "etcd", "the etcd binary")
	seed := flag.Int64("seed", 1, "decides the history")
	revisions := flag.Int64("revisions", 1500, "how long the history gets")
	out := flag.String("out", ".", "where the files go")
	flag.Parse()
	if err := run(*etcd, *seed, *revisions, *out); err != nil {
		log.Fatal(err)
	}
}

func run(etcd string, seed, revisions int64, out string) error {
	dir, err := os.MkdirTemp("", "history")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	client, peer := freeURL(), freeURL()
	server, conn, err := start(etcd, dir, client, peer)
	if err != nil {
		return err
	}
	defer server.Process.Kill()
	defer conn.Close()

	h := newHistory(conn, peer, rand.New(rand.NewSource(seed)))
	if err := h.play(revisions); err != nil {
		return err
	}
	if err := server.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	server.Wait()
	if err := h.calls.save(filepath.Join(out, "calls.gz")); err != nil {
		return err
	}
	if err := saveLog(filepath.Join(dir, "member", "wal"), filepath.Join(out, "wal.gz")); err != nil {
		return err
	}
	if err := saveBuckets(filepath.Join(dir, "member", "snap", "db"), filepath.Join(out, "buckets.json")); err != nil {
		return err
	}
	fmt.Printf("%d calls, revision %d\n", h.calls.count, h.revision)
	return nil
}

// start runs a server of one member and waits until it answers.
func start(etcd, dir, client, peer string) (*exec.Cmd, *grpc.ClientConn, error) {
	server := exec.Command(etcd,
		"--name", "history", "--data-dir", dir, "--log-level", "panic",
		"--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
		"--initial-cluster", "history="+peer,
		"--strict-reconfig-check=false", "--unsafe-no-fsync", "--bcrypt-cost", "4")
	server.Stderr = os.Stderr
	if err := server.Start(); err != nil {
		return nil, nil, err
	}
	conn, err := grpc.NewClient(client[len("http://"):], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, nil, err
	}
	for range 100 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		// A linearizable read succeeds once there is a leader.
		_, err = pb.NewKVClient(conn).Range(ctx, &pb.RangeRequest{Key: []byte("a")})
		cancel()
		if err == nil {
			// The version that the cluster agrees on, and the member's own name, are proposed
			// by the server itself; let them come first.
			time.Sleep(500 * time.Millisecond)
			return server, conn, nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	server.Process.Kill()
	return nil, nil, fmt.Errorf("the server does not answer: %w", err)
}

func freeURL() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}
