// Package synccheck reads a server's system calls and checks that every put was in a log write
// that was followed by a completed sync before its answer began to leave the process.
//
// Each put carries a marker of its own. strace stops a thread at the begin and the end of a call
// and goes on only when it has noted it, so an answer that really waits for its sync can only
// stand behind it in the trace.
package synccheck

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Findings of one trace.
type Findings struct {
	// Answers is how many messages left on the watched connection.
	Answers int `json:"answers"`
	// Syncs is how many syncs of the log were completed.
	Syncs int `json:"syncs"`
	// Violations names each answer that left too early.
	Violations []string `json:"violations"`
}

// call is what strace shows of one system call.
type call struct {
	name string
	// The file or the two ends of the connection.
	target string
	data   []byte
	// What had left before it, to go back to when it turns out that nothing did.
	before departed
}

// departed is what has left on the watched connection.
type departed struct {
	// The end that is not yet a whole frame.
	tail       []byte
	answers    int
	violations int
}

// checker follows a trace.
type checker struct {
	// The remote end of the watched connection, as strace shows it.
	remote string
	// What each thread is in the middle of.
	open map[string]*call
	// The markers that are written and not yet synced, and the end of what was written, by file.
	written map[string]*file
	// The markers whose sync has begun, by thread.
	syncing map[string][]int
	synced  map[int]bool
	// What has left on the watched connection and is not yet a whole frame.
	tail     []byte
	findings Findings
}

type file struct {
	tail    []byte
	markers []int
}

// marker is what the value of a put begins with.
func marker(put int) string { return fmt.Sprintf("sync-marker-%06d;", put) }

var (
	markerForm = regexp.MustCompile(`sync-marker-(\d{6});`)
	lineForm   = regexp.MustCompile(`^(\d+) +(.*)$`)
	beginForm  = regexp.MustCompile(`^(\w+)\(\d+<(.*?)>(?:, |\)| <unfinished)(.*)$`)
	resumeForm = regexp.MustCompile(`^<\.\.\. (\w+) resumed>(.*)$`)
	resultForm = regexp.MustCompile(`= (-?\d+)(?: .*)?$`)
	dataForm   = regexp.MustCompile(`"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?`)
)

// markerLength is the length of every marker.
const markerLength = len("sync-marker-000000;")

// Check reads a trace made with `strace -f -xx -yy` and judges the connection from the address.
func Check(trace []byte, remote string) (Findings, error) {
	c := &checker{
		remote:   "->" + remote + "]",
		open:     map[string]*call{},
		written:  map[string]*file{},
		syncing:  map[string][]int{},
		synced:   map[int]bool{},
		findings: Findings{Violations: []string{}},
	}
	for number, line := range strings.Split(string(trace), "\n") {
		if err := c.line(line); err != nil {
			return c.findings, fmt.Errorf("line %d of the trace: %w", number+1, err)
		}
	}
	return c.findings, nil
}

func (c *checker) line(line string) error {
	parts := lineForm.FindStringSubmatch(line)
	if parts == nil {
		return nil
	}
	thread, rest := parts[1], parts[2]
	if resumed := resumeForm.FindStringSubmatch(rest); resumed != nil {
		begun := c.open[thread]
		delete(c.open, thread)
		if begun == nil {
			return nil
		}
		return c.end(thread, begun, resumed[2])
	}
	begin := beginForm.FindStringSubmatch(rest)
	if begin == nil {
		return nil
	}
	begun := &call{name: begin[1], target: plain(begin[2])}
	watched := isLog(begun.target) || strings.HasSuffix(begun.target, c.remote)
	if watched {
		for _, piece := range dataForm.FindAllStringSubmatch(begin[3], -1) {
			if piece[2] != "" {
				return fmt.Errorf("strace has cut the data of %s short", begun.name)
			}
			data, err := hex.DecodeString(strings.ReplaceAll(piece[1], `\x`, ""))
			if err != nil {
				return err
			}
			begun.data = append(begun.data, data...)
		}
	}
	c.begin(thread, begun)
	if strings.HasSuffix(rest, "<unfinished ...>") {
		c.open[thread] = begun
		return nil
	}
	return c.end(thread, begun, begin[3])
}

// plain undoes the hexadecimal form that -xx gives to paths too.
func plain(target string) string {
	if text, err := hex.DecodeString(strings.ReplaceAll(target, `\x`, "")); err == nil {
		return string(text)
	}
	return target
}

func isLog(target string) bool { return strings.Contains(target, "/wal/") }

func isSync(name string) bool { return name == "fdatasync" || name == "fsync" }

// begin takes what counts when a call begins: what leaves, and what a sync can cover.
func (c *checker) begin(thread string, begun *call) {
	switch {
	case strings.HasSuffix(begun.target, c.remote):
		begun.before = departed{c.tail, c.findings.Answers, len(c.findings.Violations)}
		c.leaves(begun.data)
	case isLog(begun.target) && isSync(begun.name):
		if file := c.written[begun.target]; file != nil {
			c.syncing[thread] = file.markers
		}
	}
}

// end takes what counts when a call has ended: what is written, and what is synced.
func (c *checker) end(thread string, begun *call, text string) error {
	result := resultForm.FindStringSubmatch(text)
	watched := isLog(begun.target) || strings.HasSuffix(begun.target, c.remote)
	if !watched || result == nil {
		return nil
	}
	value, err := strconv.Atoi(result[1])
	if err != nil {
		return err
	}
	switch {
	case value < 0 && strings.HasSuffix(begun.target, c.remote):
		c.tail = begun.before.tail
		c.findings.Answers = begun.before.answers
		c.findings.Violations = c.findings.Violations[:begun.before.violations]
	case len(begun.data) > 0 && value != len(begun.data):
		return fmt.Errorf("%s of %d bytes returned %d: the check cannot follow parts", begun.name, len(begun.data), value)
	case isLog(begun.target) && isSync(begun.name) && value == 0:
		c.findings.Syncs++
		for _, put := range c.syncing[thread] {
			c.synced[put] = true
		}
		delete(c.syncing, thread)
	case isLog(begun.target) && len(begun.data) > 0:
		c.writes(begun.target, begun.data)
	}
	return nil
}

func (c *checker) writes(target string, data []byte) {
	if c.written[target] == nil {
		c.written[target] = &file{}
	}
	file := c.written[target]
	file.tail = append(file.tail, data...)
	for _, found := range markerForm.FindAllSubmatch(file.tail, -1) {
		put, _ := strconv.Atoi(string(found[1]))
		file.markers = append(file.markers, put)
	}
	// A marker may be cut by the end of a write, so as much is kept as it can have.
	if keep := markerLength - 1; len(file.tail) > keep {
		file.tail = bytes.Clone(file.tail[len(file.tail)-keep:])
	}
}

// HTTP/2 frames begin with a length of three bytes, a type, and six more bytes.
const (
	frameHead     = 9
	frameTypeData = 0
)

// leaves counts the answers among the frames that begin to leave: each put's answer is the one
// DATA frame of its stream.
func (c *checker) leaves(data []byte) {
	c.tail = append(bytes.Clone(c.tail), data...)
	for len(c.tail) >= frameHead {
		length := int(c.tail[0])<<16 | int(c.tail[1])<<8 | int(c.tail[2])
		if len(c.tail) < frameHead+length {
			return
		}
		if c.tail[3] == frameTypeData {
			c.answer(c.findings.Answers)
			c.findings.Answers++
		}
		c.tail = c.tail[frameHead+length:]
	}
}

func (c *checker) answer(put int) {
	if !c.synced[put] {
		c.findings.Violations = append(c.findings.Violations,
			fmt.Sprintf("the answer to put %d began to leave before a sync of the log covered it", put))
	}
}
