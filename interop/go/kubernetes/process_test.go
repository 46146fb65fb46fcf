package kubernetes

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/kubernetes"

	"tenet.test/interop/server"
)

func TestHealthSizeAndVersion(t *testing.T) {
	b := newBench(t)
	// The preflight: a bare connection.
	connection, err := net.DialTimeout("tcp", shared.Address(), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	connection.Close()
	ctx, cancel := context.WithTimeout(b.ctx, 2*time.Second)
	defer cancel()
	if _, err := b.client.Kubernetes.Get(ctx, "/registry/health", kubernetes.GetOptions{}); err != nil {
		t.Error(err)
	}
	b.create("a", "1")
	status, err := b.client.Status(b.ctx, shared.Endpoint())
	if err != nil || status.DbSize <= 0 {
		t.Fatal(status, err)
	}
	// Below 3.5.13 or without three numbers, watch progress counts as unsupported.
	parts := strings.Split(status.Version, ".")
	if len(parts) != 3 {
		t.Fatalf("version %q", status.Version)
	}
	for at, least := range []int{3, 6, 0} {
		if number, err := strconv.Atoi(parts[at]); err != nil || number < least {
			t.Errorf("version %q", status.Version)
		}
	}
}

// Clients ping each connection while calls are open.
func TestPingsAreWelcome(t *testing.T) {
	client, err := clientv3.New(clientv3.Config{
		Endpoints: []string{shared.Endpoint()}, DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: 5 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 25*time.Second)
	defer cancel()
	events := client.Watch(ctx, "nothing", clientv3.WithCreatedNotify())
	<-events
	for got := range events {
		if got.Err() != nil && ctx.Err() == nil {
			t.Fatal(got.Err())
		}
	}
	if ctx.Err() == nil {
		t.Error("the watch ended")
	}
}

// As Kubernetes' integration tests start it: called etcd, a unix socket, port 0, an address that
// nobody can reach, a long flag with one dash.
func TestFlagsOfIntegrationTests(t *testing.T) {
	binary, err := server.Binary()
	if err != nil {
		t.Fatal(err)
	}
	folder, err := os.MkdirTemp("", "k")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder)
	program := filepath.Join(folder, "etcd")
	if err := os.Symlink(binary, program); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(folder, "etcd.sock")
	command := exec.Command(program,
		"--data-dir", folder, "--listen-client-urls", "unix://"+socket,
		"--advertise-client-urls", "http://127.0.0.111:0", "--listen-peer-urls", "http://127.0.0.1:0",
		"-log-level", "warn", "--quota-backend-bytes", strconv.Itoa(8<<30))
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	defer command.Process.Kill()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{"unix://" + socket}, DialTimeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	events := client.Watch(ctx, "k", clientv3.WithCreatedNotify())
	<-events
	if _, err := client.Put(ctx, "k", "v"); err != nil {
		t.Fatal(err)
	}
	if got := <-events; got.Err() != nil || len(got.Events) != 1 {
		t.Error(got, got.Err())
	}
	client.Close()
	if err := command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("it does not end within 5 s")
	}
}
