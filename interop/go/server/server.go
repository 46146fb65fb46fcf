// Package server starts, kills and watches one server process, whichever program it is.
//
// Everything here works from outside, with etcd's flags and over HTTP, so that the same tests run
// on the real etcd, which says what is right, and on Tenet, which has to do the same.
package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// The environment's TRANSPORT says how clients reach the server: over TCP, which is what an empty
// value means, or over a unix socket.
const (
	TCP  = "tcp"
	Unix = "unix"
)

const (
	startTimeout = 60 * time.Second
	stopTimeout  = 30 * time.Second
	// How often a server that starts is asked whether it serves.
	askInterval = 10 * time.Millisecond
)

// Binary is the server under test, from the environment.
func Binary() (string, error) {
	path := os.Getenv("SERVER")
	if path == "" {
		return "", errors.New("SERVER is not set: give the path of the server to test, etcd or tenet")
	}
	return filepath.Abs(path)
}

// Options say how a server is started.
type Options struct {
	Binary string
	// Folder holds data and logs; the caller removes it.
	Folder string
	// Flags are given beside those for addresses and data.
	Flags []string
	// Wrap, if any, is a program with arguments that starts the server in its turn.
	Wrap []string
}

// Server is one process with its addresses, which stay the same when it is started again.
type Server struct {
	options Options
	client  string
	peer    string
	// The folder of the unix socket; empty if clients come over TCP. It is a folder of its own
	// since the path of a socket has room for about a hundred bytes.
	socketFolder string
	command      *exec.Cmd
	ended        chan struct{}
	exit         error
}

// Start starts a server and waits until it serves.
func Start(options Options) (*Server, error) {
	server, err := prepare(options)
	if err != nil {
		return nil, err
	}
	return server, server.Again()
}

// prepare gives a server its addresses.
func prepare(options Options) (*Server, error) {
	server := &Server{options: options}
	if err := server.chooseTransport(os.Getenv("TRANSPORT")); err != nil {
		return nil, err
	}
	for _, address := range []*string{&server.client, &server.peer} {
		free, err := freeAddress()
		if err != nil {
			return nil, err
		}
		*address = free
	}
	return server, nil
}

func (s *Server) chooseTransport(name string) (err error) {
	switch name {
	case "", TCP:
		return nil
	case Unix:
		s.socketFolder, err = os.MkdirTemp("", "socket")
		return err
	}
	return fmt.Errorf("TRANSPORT=%s is not known: %s or %s", name, TCP, Unix)
}

// Endpoint is what clients are given, whatever the transport.
func (s *Server) Endpoint() string {
	if s.socketFolder != "" {
		return "unix://" + s.socket()
	}
	return s.client
}

// Address is where the server listens over TCP, host and port; it does so in any case.
func (s *Server) Address() string { return s.client }

func (s *Server) socket() string { return filepath.Join(s.socketFolder, "client") }

// PeerURL is the address that the member's identity is made of.
func (s *Server) PeerURL() string { return "http://" + s.peer }

// Folder holds data and logs.
func (s *Server) Folder() string { return s.options.Folder }

// Again starts the process anew on the same folder and addresses.
func (s *Server) Again() error {
	if err := s.Launch(); err != nil {
		return err
	}
	return s.WaitUntilReady()
}

// Launch starts the process without waiting.
func (s *Server) Launch() error {
	log, err := os.OpenFile(s.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	listen := "http://" + s.client
	if s.socketFolder != "" {
		listen += "," + s.Endpoint()
	}
	words := append([]string{}, s.options.Wrap...)
	words = append(words, s.options.Binary,
		"--data-dir", filepath.Join(s.options.Folder, "data"),
		"--listen-client-urls", listen,
		"--advertise-client-urls", "http://"+s.client,
		"--listen-peer-urls", s.PeerURL(),
		"--initial-advertise-peer-urls", s.PeerURL(),
		"--initial-cluster", "default="+s.PeerURL(),
	)
	words = append(words, s.options.Flags...)
	s.command = exec.Command(words[0], words[1:]...)
	s.command.Stdout, s.command.Stderr = log, log
	if err := s.command.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	s.ended = ended
	go func(command *exec.Cmd) {
		s.exit = command.Wait()
		close(ended)
	}(s.command)
	return nil
}

// WaitUntilReady waits until the server answers linearizable reads.
func (s *Server) WaitUntilReady() error {
	deadline := time.Now().Add(startTimeout)
	for time.Now().Before(deadline) {
		if s.ready() {
			return nil
		}
		select {
		case <-s.ended:
			return fmt.Errorf("the server ended before it served (%v): %s", s.exit, s.LogTail())
		case <-time.After(askInterval):
		}
	}
	return fmt.Errorf("the server did not serve within %v: %s", startTimeout, s.LogTail())
}

func (s *Server) ready() bool {
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		if s.socketFolder != "" {
			network, address = "unix", s.socket()
		}
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	transport := &http.Transport{DialContext: dial, DisableKeepAlives: true}
	client := http.Client{Timeout: time.Second, Transport: transport}
	// Unlike /health, /readyz does not mind an alarm.
	answer, err := client.Get("http://" + s.client + "/readyz")
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return err == nil && answer.StatusCode == http.StatusOK
}

// ProcessID is the id of the process, or of what wraps it.
func (s *Server) ProcessID() int { return s.command.Process.Pid }

// Kill ends the process without letting it do anything more.
func (s *Server) Kill() error { return s.end(syscall.SIGKILL) }

// Stop asks the process to end.
func (s *Server) Stop() error { return s.end(syscall.SIGTERM) }

func (s *Server) end(signal syscall.Signal) error {
	select {
	case <-s.ended:
		return fmt.Errorf("the server had ended by itself (%v): %s", s.exit, s.LogTail())
	default:
	}
	if err := s.command.Process.Signal(signal); err != nil {
		return err
	}
	select {
	case <-s.ended:
		return nil
	case <-time.After(stopTimeout):
		_ = s.command.Process.Kill()
		<-s.ended
		return fmt.Errorf("the server did not end within %v of signal %v", stopTimeout, signal)
	}
}

// Close ends the process whatever its state.
func (s *Server) Close() {
	if s.socketFolder != "" {
		defer os.RemoveAll(s.socketFolder)
	}
	if s.ended == nil {
		return
	}
	_ = s.command.Process.Kill()
	<-s.ended
}

// Client connects the official client, quiet and patient.
func (s *Server) Client() (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{
		Endpoints:   []string{s.Endpoint()},
		DialTimeout: 10 * time.Second,
		Logger:      zap.NewNop(),
	})
}

// CurrentRevision asks for the newest revision.
func CurrentRevision(ctx context.Context, client *clientv3.Client) (int64, error) {
	answer, err := client.Get(ctx, "\x00", clientv3.WithCountOnly())
	if err != nil {
		return 0, err
	}
	return answer.Header.Revision, nil
}

// LogTail is the end of what the server has logged.
func (s *Server) LogTail() string {
	log, err := os.ReadFile(s.logPath())
	if err != nil {
		return err.Error()
	}
	const tail = 1500
	if len(log) > tail {
		log = log[len(log)-tail:]
	}
	return string(log)
}

func (s *Server) logPath() string { return filepath.Join(s.options.Folder, "log") }

func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}
