// Package lines holds the form of recorded histories, one JSON object a line, as docs/histories.md
// describes it. Nothing here judges what is written there.
package lines

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
)

// Line is one of its fields.
type Line struct {
	Op    *Op    `json:"op,omitempty"`
	Watch *Watch `json:"watch,omitempty"`
	Told  *Told  `json:"told,omitempty"`
	Fault *Fault `json:"fault,omitempty"`
}

// Op is a request and what is known of its answer. Times are nanoseconds.
type Op struct {
	ID       int64   `json:"id"`
	Client   int     `json:"client"`
	Call     int64   `json:"call"`
	Return   int64   `json:"return"`
	Request  Request `json:"request"`
	Revision int64   `json:"revision,omitempty"`
	// Answer is nil if it was lost.
	Answer *Answer `json:"answer,omitempty"`
}

// Request is one of its fields.
type Request struct {
	Range      *Range   `json:"range,omitempty"`
	Put        *Put     `json:"put,omitempty"`
	Delete     *Delete  `json:"delete,omitempty"`
	Txn        *Txn     `json:"txn,omitempty"`
	Compact    *Compact `json:"compact,omitempty"`
	Grant      *Grant   `json:"grant,omitempty"`
	Revoke     *Lease   `json:"revoke,omitempty"`
	KeepAlive  *Lease   `json:"keep_alive,omitempty"`
	TimeToLive *Lease   `json:"time_to_live,omitempty"`
}

// Range reads.
type Range struct {
	Key          string `json:"key"`
	End          string `json:"end,omitempty"`
	Revision     int64  `json:"revision,omitempty"`
	Limit        int64  `json:"limit,omitempty"`
	CountOnly    bool   `json:"count_only,omitempty"`
	Serializable bool   `json:"serializable,omitempty"`
}

// Put writes.
type Put struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Lease  int64  `json:"lease,omitempty"`
	PrevKV bool   `json:"prev_kv,omitempty"`
}

// Delete deletes.
type Delete struct {
	Key    string `json:"key"`
	End    string `json:"end,omitempty"`
	PrevKV bool   `json:"prev_kv,omitempty"`
}

// Txn compares and does.
type Txn struct {
	Compare []Compare `json:"compare,omitempty"`
	Success []Request `json:"success,omitempty"`
	Failure []Request `json:"failure,omitempty"`
}

// Compare must hold.
type Compare struct {
	Key    string  `json:"key"`
	End    string  `json:"end,omitempty"`
	Result string  `json:"result"`
	With   Operand `json:"with"`
}

// Operand is one of its fields.
type Operand struct {
	Version *int64  `json:"version,omitempty"`
	Create  *int64  `json:"create,omitempty"`
	Mod     *int64  `json:"mod,omitempty"`
	Value   *string `json:"value,omitempty"`
	Lease   *int64  `json:"lease,omitempty"`
}

// Compact forgets.
type Compact struct {
	Revision int64 `json:"revision"`
}

// Grant makes a lease, of seconds.
type Grant struct {
	Lease int64 `json:"lease,omitempty"`
	TTL   int64 `json:"ttl"`
}

// Lease names one.
type Lease struct {
	Lease int64 `json:"lease"`
}

// Answer is one of its fields.
type Answer struct {
	Refused string        `json:"refused,omitempty"`
	Range   *RangeAnswer  `json:"range,omitempty"`
	Put     *PutAnswer    `json:"put,omitempty"`
	Delete  *DeleteAnswer `json:"delete,omitempty"`
	Txn     *TxnAnswer    `json:"txn,omitempty"`
	Grant   *Grant        `json:"grant,omitempty"`
	Lease   *LeaseAnswer  `json:"lease,omitempty"`
	// Done stands in the file as the word "done".
	Done bool `json:"-"`
}

// Why something is refused.
const (
	LeaseNotFound = "lease_not_found"
	LeaseExists   = "lease_exists"
	Compacted     = "compacted"
	Future        = "future"
)

type plainAnswer Answer

// MarshalJSON writes an answer.
func (a Answer) MarshalJSON() ([]byte, error) {
	if a.Done {
		return []byte(`"done"`), nil
	}
	return json.Marshal(plainAnswer(a))
}

// UnmarshalJSON reads an answer.
func (a *Answer) UnmarshalJSON(text []byte) error {
	if string(text) == `"done"` {
		*a = Answer{Done: true}
		return nil
	}
	return json.Unmarshal(text, (*plainAnswer)(a))
}

// RangeAnswer is what was found.
type RangeAnswer struct {
	KVs   []KV  `json:"kvs,omitempty"`
	Count int64 `json:"count"`
	More  bool  `json:"more,omitempty"`
}

// PutAnswer is what was there.
type PutAnswer struct {
	Prev *KV `json:"prev,omitempty"`
}

// DeleteAnswer is what was there.
type DeleteAnswer struct {
	Deleted int64 `json:"deleted"`
	Prevs   []KV  `json:"prevs,omitempty"`
}

// TxnAnswer is what was done.
type TxnAnswer struct {
	Succeeded bool     `json:"succeeded"`
	Results   []Answer `json:"results,omitempty"`
}

// LeaseAnswer is what is left.
type LeaseAnswer struct {
	TTL     int64    `json:"ttl"`
	Granted int64    `json:"granted,omitempty"`
	Keys    []string `json:"keys,omitempty"`
}

// KV is a key and what it holds.
type KV struct {
	Key     string `json:"key"`
	Value   string `json:"value,omitempty"`
	Create  int64  `json:"create,omitempty"`
	Mod     int64  `json:"mod"`
	Version int64  `json:"version,omitempty"`
	Lease   int64  `json:"lease,omitempty"`
}

// Watch was asked for.
type Watch struct {
	ID       int64  `json:"id"`
	Stream   int64  `json:"stream"`
	Client   int    `json:"client"`
	Call     int64  `json:"call"`
	Key      string `json:"key"`
	End      string `json:"end,omitempty"`
	Start    int64  `json:"start,omitempty"`
	Resumes  *int64 `json:"resumes,omitempty"`
	PrevKV   bool   `json:"prev_kv,omitempty"`
	NoPut    bool   `json:"no_put,omitempty"`
	NoDelete bool   `json:"no_delete,omitempty"`
	Fragment bool   `json:"fragment,omitempty"`
}

// Told came on a stream; without a watch it is for all of them.
type Told struct {
	Stream    int64   `json:"stream"`
	Watch     *int64  `json:"watch,omitempty"`
	At        int64   `json:"at"`
	Revision  int64   `json:"revision"`
	Created   bool    `json:"created,omitempty"`
	Canceled  bool    `json:"canceled,omitempty"`
	Compacted int64   `json:"compacted,omitempty"`
	Fragment  bool    `json:"fragment,omitempty"`
	Events    []Event `json:"events,omitempty"`
}

// Event is a change.
type Event struct {
	Deleted bool `json:"deleted,omitempty"`
	KV      KV   `json:"kv"`
	Prev    *KV  `json:"prev,omitempty"`
}

// Fault was done to the server.
type Fault struct {
	What string `json:"what"`
	At   int64  `json:"at"`
}

// Contains says whether a key is among those from key on and before end.
func Contains(key, end, one string) bool {
	switch end {
	case "":
		return one == key
	case "\x00":
		return one >= key
	}
	return one >= key && one < end
}

// lineBytesMax is the longest line that is read.
const lineBytesMax = 64 << 20

// Read reads a whole history.
func Read(from io.Reader) ([]Line, error) {
	scanner := bufio.NewScanner(from)
	scanner.Buffer(nil, lineBytesMax)
	var all []Line
	for scanner.Scan() {
		var line Line
		if err := json.Unmarshal(scanner.Bytes(), &line); err != nil {
			return nil, fmt.Errorf("line %d: %w", len(all)+1, err)
		}
		all = append(all, line)
	}
	return all, scanner.Err()
}
