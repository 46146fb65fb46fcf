package peer

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// silent lets time pass in which nothing must happen.
func silent(t *testing.T, seconds int) {
	t.Helper()
	time.Sleep(time.Duration(seconds) * time.Second)
}

// Requests that are not as they should be get the same answers from both ends.
func TestRefusalsAreTheSame(t *testing.T) {
	o, e := startOurs(t, false), startTheirs(t, clusterID, false)
	// Both know the member 5, and that 9 was removed.
	o.tell("peer 5 http://127.0.0.1:1")
	e.transport.AddPeer(5, []string{"http://127.0.0.1:1"})
	o.tell("removed 9")
	e.mu.Lock()
	e.removed[9] = true
	e.mu.Unlock()
	message := func(to uint64) string {
		bytes, err := proto.Marshal(&raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), From: proto.Uint64(5), To: proto.Uint64(to), Term: proto.Uint64(1)})
		if err != nil {
			t.Fatal(err)
		}
		return string(bytes)
	}
	beat := message(5)
	framed := "\x00\x00\x00\x00\x00\x00\x00" + string(rune(len(beat))) + beat
	const left = "-"
	for _, c := range []struct {
		method, path, body string
		// Headers that differ from a good member's; "-" leaves one out.
		headers map[string]string
	}{
		{"GET", "/raft", "", nil},
		{"PUT", "/raft", "x", nil},
		{"POST", "/raft", "\xff\xff\xff", nil},
		{"POST", "/raft", beat, map[string]string{"X-Server-Version": "2.3.8"}},
		{"POST", "/raft", beat, map[string]string{"X-Server-Version": left}},
		{"POST", "/raft", beat, map[string]string{"X-Min-Cluster-Version": "3.8.0"}},
		{"POST", "/raft", beat, map[string]string{"X-Min-Cluster-Version": "4.0.0"}},
		{"POST", "/raft", beat, map[string]string{"X-Etcd-Cluster-ID": "dead"}},
		{"POST", "/raft", beat, map[string]string{"X-Etcd-Cluster-ID": left}},
		{"POST", "/raft", beat, map[string]string{"X-Etcd-Cluster-ID": "C1"}},
		{"GET", "/raft/stream/message/5", "", map[string]string{"X-Raft-To": "7"}},
		{"GET", "/raft/stream/message/5", "", map[string]string{"X-Raft-To": left}},
		{"GET", "/raft/stream/message/5", "", map[string]string{"X-Server-Version": "2.0.0"}},
		{"GET", "/raft/stream/message/5", "", map[string]string{"X-Etcd-Cluster-ID": "dead"}},
		{"GET", "/raft/stream/msgapp/9", "", nil},
		{"GET", "/raft/stream/msgapp/77", "", nil},
		{"GET", "/raft/stream/msgapp/xyz", "", nil},
		{"GET", "/raft/stream/other/5", "", nil},
		{"GET", "/raft/stream/5", "", nil},
		{"POST", "/raft/stream/message/5", "", nil},
		{"GET", "/raft/snapshot", "", nil},
		{"POST", "/raft/snapshot", framed, nil},
		{"POST", "/raft/snapshot", beat, map[string]string{"X-Etcd-Cluster-ID": "dead"}},
		{"POST", "/raft/snapshot", beat, map[string]string{"X-Server-Version": "2.3.8"}},
		{"GET", "/raft/other", "", nil},
	} {
		name := fmt.Sprintf("%s %s %v", c.method, c.path, c.headers)
		ask := func(base string, id uint64) string {
			request, err := http.NewRequest(c.method, base+c.path, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			for key, value := range map[string]string{
				"X-Server-From": "5", "X-Server-Version": "3.7.1", "X-Min-Cluster-Version": "3.0.0",
				"X-Etcd-Cluster-ID": fmt.Sprintf("%x", clusterID), "X-Raft-To": fmt.Sprintf("%x", id),
			} {
				request.Header.Set(key, value)
			}
			for key, value := range c.headers {
				request.Header.Del(key)
				if value != left {
					request.Header.Set(key, value)
				}
			}
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			said := fmt.Sprintf("%d %q", response.StatusCode, body)
			for _, header := range []string{"Allow", "Content-Type", "X-Content-Type-Options", "X-Etcd-Cluster-Id", "X-Server-Version"} {
				said += fmt.Sprintf(" %s=%q", header, response.Header.Get(header))
			}
			return said
		}
		if theirs, ours := ask(e.url, theirID), ask(o.url, ourID); theirs != ours {
			t.Errorf("%s:\ntheirs %s\nours   %s", name, theirs, ours)
		}
	}
	if n := len(o.seen("message")); n > 0 {
		t.Errorf("%d messages were taken", n)
	}
}
