package synccheck

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

const remote = "127.0.0.1:5"

func quoted(data string) string {
	var text strings.Builder
	for _, letter := range []byte(data) {
		text.WriteString(`\x` + hex.EncodeToString([]byte{letter}))
	}
	return text.String()
}

func logWrite(data string) string {
	return fmt.Sprintf(`7 write(9</d/wal/0.wal>, "%s", %d) = %d`, quoted(data), len(data), len(data))
}

const (
	sync      = `7 fdatasync(9</d/wal/0.wal>) = 0`
	syncBegin = `7 fdatasync(9</d/wal/0.wal> <unfinished ...>`
	syncEnd   = `7 <... fdatasync resumed>) = 0`
	syncFails = `7 fdatasync(9</d/wal/0.wal>) = -1 EIO (Input/output error)`
)

// answer is a HEADERS frame, a DATA frame and the trailers, in two parts.
func answer() string {
	head, data, trailers := "\x00\x00\x01\x01\x04\x00\x00\x00\x01h", "\x00\x00\x02\x00\x00\x00\x00\x00\x01dd", "\x00\x00\x01\x01\x05\x00\x00\x00\x01t"
	length := len(head) + len(data) + len(trailers)
	return fmt.Sprintf(`8 writev(12<TCP:[127.0.0.1:4->127.0.0.1:5]>, [{iov_base="%s", iov_len=%d}, {iov_base="%s", iov_len=%d}], 2) = %d`,
		quoted(head), len(head), quoted(data+trailers), len(data)+len(trailers), length)
}

// failed is a call that did nothing.
func failed(line string) string {
	return line[:strings.LastIndex(line, "=")] + "= -1 EPIPE (Broken pipe)"
}

func TestWhatIsJudged(t *testing.T) {
	first, second := marker(0), marker(1)
	for _, test := range []struct {
		name       string
		lines      []string
		answers    int
		violations int
	}{
		{"write, sync, answer", []string{logWrite(first), sync, answer()}, 1, 0},
		{"twice", []string{logWrite(first), sync, answer(), logWrite(second), sync, answer()}, 2, 0},
		{"the sync ends in another place", []string{logWrite(first), syncBegin, `9 write(3</dev/null>, "", 0) = 0`, syncEnd, answer()}, 1, 0},
		{"a marker in two writes", []string{logWrite(first[:5]), logWrite(first[5:]), sync, answer()}, 1, 0},
		{"a path in hexadecimal", []string{
			strings.Replace(logWrite(first), "/d/wal/0.wal", quoted("/d/wal/0.wal"), 1),
			strings.Replace(sync, "/d/wal/0.wal", quoted("/d/wal/0.wal"), 1), answer(),
		}, 1, 0},
		{"no sync", []string{logWrite(first), answer()}, 1, 1},
		{"the sync is not over", []string{logWrite(first), syncBegin, answer(), syncEnd}, 1, 1},
		{"the sync failed", []string{logWrite(first), syncFails, answer()}, 1, 1},
		{"the write came after the sync began", []string{syncBegin, strings.Replace(logWrite(first), "7 ", "6 ", 1), syncEnd, answer()}, 1, 1},
		{"a sync of another file", []string{logWrite(first), `7 fdatasync(9</d/wal/1.wal>) = 0`, answer()}, 1, 1},
		{"no write", []string{sync, answer()}, 1, 1},
		{"only the first is synced", []string{logWrite(first), sync, answer(), logWrite(second), answer()}, 2, 1},
		{"nothing left", []string{logWrite(first), failed(answer()), sync, answer()}, 1, 0},
		{"another connection", []string{strings.ReplaceAll(answer(), remote, "127.0.0.1:6")}, 0, 0},
	} {
		findings, err := Check([]byte(strings.Join(test.lines, "\n")), remote)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if findings.Answers != test.answers || len(findings.Violations) != test.violations {
			t.Errorf("%s: %d answers, violations %v; want %d and %d", test.name, findings.Answers, findings.Violations, test.answers, test.violations)
		}
	}
}

func TestDataThatIsCutShortIsAnError(t *testing.T) {
	line := strings.Replace(logWrite("abc"), `",`, `"...,`, 1)
	if _, err := Check([]byte(line), remote); err == nil {
		t.Error("accepted")
	}
}
