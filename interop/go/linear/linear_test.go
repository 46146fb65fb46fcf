package linear

import (
	"strings"
	"testing"
	"time"

	"tenet.test/interop/lines"
)

// good is a history with something of everything.
const good = `{"op":{"id":1,"client":0,"call":10,"return":20,"request":{"put":{"key":"a","value":"1"}},"revision":2,"answer":{"put":{}}}}
{"op":{"id":2,"client":1,"call":12,"return":25,"request":{"range":{"key":"a"}},"revision":1,"answer":{"range":{"count":0}}}}
{"op":{"id":3,"client":1,"call":30,"return":40,"request":{"range":{"key":"a"}},"revision":2,"answer":{"range":{"kvs":[{"key":"a","value":"1","create":2,"mod":2,"version":1}],"count":1}}}}
{"op":{"id":4,"client":2,"call":31,"return":41,"request":{"put":{"key":"b","value":"2"}}}}
{"op":{"id":5,"client":1,"call":50,"return":60,"request":{"txn":{"compare":[{"key":"a","result":"equal","with":{"version":1}}],"success":[{"delete":{"key":"a"}}]}},"revision":4,"answer":{"txn":{"succeeded":true,"results":[{"delete":{"deleted":1}}]}}}}
{"op":{"id":6,"client":1,"call":70,"return":80,"request":{"grant":{"ttl":1}},"revision":4,"answer":{"grant":{"lease":7,"ttl":1}}}}
{"op":{"id":7,"client":1,"call":90,"return":95,"request":{"put":{"key":"c","value":"3","lease":7}},"revision":5,"answer":{"put":{}}}}
{"op":{"id":8,"client":1,"call":2000000000,"return":2000000100,"request":{"keep_alive":{"lease":7}},"revision":6,"answer":{"lease":{"ttl":0}}}}
{"op":{"id":9,"client":1,"call":2000000200,"return":2000000300,"request":{"compact":{"revision":4}},"revision":6,"answer":"done"}}
{"op":{"id":10,"client":1,"call":2000000400,"return":2000000500,"request":{"range":{"key":"a","revision":2}},"answer":{"refused":"compacted"}}}
{"watch":{"id":1,"stream":1,"client":3,"call":5,"key":"a","end":"c","start":2,"prev_kv":true}}
{"told":{"stream":1,"watch":1,"at":6,"revision":1,"created":true}}
{"told":{"stream":1,"watch":1,"at":26,"revision":2,"events":[{"kv":{"key":"a","value":"1","create":2,"mod":2,"version":1}}]}}
{"told":{"stream":1,"watch":1,"at":70,"revision":4,"events":[{"kv":{"key":"b","value":"2","create":3,"mod":3,"version":1}},{"deleted":true,"kv":{"key":"a","mod":4},"prev":{"key":"a","value":"1","create":2,"mod":2,"version":1}}]}}
{"told":{"stream":1,"at":2000000600,"revision":6}}
`

func check(t *testing.T, text string) []string {
	t.Helper()
	all, err := lines.Read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return Check(all, 10*time.Second).Wrong
}

func TestAGoodHistoryIsAccepted(t *testing.T) {
	if wrong := check(t, good); len(wrong) != 0 {
		t.Error(wrong)
	}
}

func TestWhatIsWrongIsFound(t *testing.T) {
	for _, change := range []struct{ name, old, new string }{
		{"a stale read", `"call":12,"return":25`, `"call":21,"return":25`},
		{"another value", `{"kvs":[{"key":"a","value":"1"`, `{"kvs":[{"key":"a","value":"2"`},
		{"a revision of nobody", `{"op":{"id":4,`, `{"op":{"id":4,"answer":{"refused":"lease_not_found"},`},
		{"a compare that does not hold", `"result":"equal"`, `"result":"less"`},
		{"a lease that ends early", `{"grant":{"lease":7,"ttl":1}}`, `{"grant":{"lease":7,"ttl":3}}`},
		{"a refusal for nothing", `{"compact":{"revision":4}}`, `{"compact":{"revision":2}}`},
		{"an event too many", `"start":2`, `"start":3`},
		{"an event that is missing", `{"kv":{"key":"b","value":"2","create":3,"mod":3,"version":1}},`, ``},
		{"a bookmark too early", `"at":6,"revision":1,"created":true}}`, `"at":6,"revision":1,"created":true}}` + "\n" + `{"told":{"stream":1,"at":26,"revision":2}}`},
		{"no value before", `,"prev":{"key":"a","value":"1"`, `,"prev":{"key":"a","value":"0"`},
	} {
		changed := strings.Replace(good, change.old, change.new, 1)
		if changed == good {
			t.Fatalf("%s: nothing was changed", change.name)
		}
		if wrong := check(t, changed); len(wrong) == 0 {
			t.Errorf("%s is not found", change.name)
		}
	}
}
