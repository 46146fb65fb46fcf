package diff

import (
	"fmt"
	"strconv"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// A history is a list of steps. Each has a text form of one line, so that a history can be read,
// kept in a file and played again without the generator that made it.

// step is one thing that one client does.
type step struct {
	// Who does it: 0 where there is one client.
	client int
	// One of: a request of KV, Lease or Maintenance; *stream; *onWatch; *abandon; quiet; notices;
	// restart; barrier; shared.
	ask any
}

// stream is a range that is asked for as a stream.
type stream struct{ *pb.RangeRequest }

// onWatch is a request on a watch stream of the client. Streams are numbered from 1 and opened
// when they are first used.
type onWatch struct {
	stream int
	*pb.WatchRequest
}

// abandon cancels a watch without waiting for the events that are on their way.
type abandon struct {
	stream int
	id     int64
}

type (
	// quiet waits until every watch has all it is to get, and compares that.
	quiet struct{}
	// notices waits until every watch that asked for progress was told the newest revision.
	notices struct{}
	// restart ends both servers, by SIGKILL or SIGTERM, and starts them again on their data.
	restart struct{ kill bool }
	// barrier is where all clients of a concurrent history meet: what they did together is
	// compared, and perhaps the store compacted.
	barrier struct{ compact bool }
	// shared is a race between clients: who first creates the key of this number has won.
	shared struct{ race int }
)

func (s step) String() string {
	text := askText(s.ask)
	if s.client != 0 {
		text = fmt.Sprintf("c%d %s", s.client, text)
	}
	return text
}

func askText(ask any) string {
	switch ask := ask.(type) {
	case *stream:
		return strings.TrimSpace("RangeStream " + text(ask.RangeRequest))
	case *onWatch:
		return strings.TrimSpace(fmt.Sprintf("Watch %d %s", ask.stream, text(ask.WatchRequest)))
	case *abandon:
		return fmt.Sprintf("Abandon %d %d", ask.stream, ask.id)
	case quiet:
		return "Quiet"
	case notices:
		return "Notices"
	case restart:
		return "Restart " + map[bool]string{true: "kill", false: "stop"}[ask.kill]
	case barrier:
		return "Barrier " + map[bool]string{true: "compact", false: "keep"}[ask.compact]
	case shared:
		return fmt.Sprintf("Shared %d", ask.race)
	case proto.Message:
		return strings.TrimSpace(string(ask.ProtoReflect().Descriptor().Name()) + " " + text(ask))
	}
	panic(fmt.Sprintf("no text for %T", ask))
}

// parseStep reads what String has written.
func parseStep(line string) (step, error) {
	var s step
	word, rest, _ := strings.Cut(line, " ")
	if number, ok := strings.CutPrefix(word, "c"); ok {
		if client, err := strconv.Atoi(number); err == nil {
			s.client = client
			word, rest, _ = strings.Cut(rest, " ")
		}
	}
	ask, err := parseAsk(word, rest)
	if err != nil {
		return s, fmt.Errorf("%q: %w", line, err)
	}
	s.ask = ask
	return s, nil
}

func parseAsk(word, rest string) (any, error) {
	switch word {
	case "RangeStream":
		ask := &stream{&pb.RangeRequest{}}
		return ask, prototext.Unmarshal([]byte(rest), ask.RangeRequest)
	case "Watch":
		number, request, _ := strings.Cut(rest, " ")
		ask := &onWatch{WatchRequest: &pb.WatchRequest{}}
		var err error
		if ask.stream, err = strconv.Atoi(number); err != nil {
			return nil, err
		}
		return ask, prototext.Unmarshal([]byte(request), ask.WatchRequest)
	case "Abandon":
		ask := &abandon{}
		_, err := fmt.Sscan(rest, &ask.stream, &ask.id)
		return ask, err
	case "Quiet":
		return quiet{}, nil
	case "Notices":
		return notices{}, nil
	case "Restart":
		return restart{kill: rest == "kill"}, nil
	case "Barrier":
		return barrier{compact: rest == "compact"}, nil
	case "Shared":
		race, err := strconv.Atoi(rest)
		return shared{race}, err
	}
	kind, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName("etcdserverpb." + word))
	if err != nil {
		return nil, err
	}
	ask := kind.New().Interface()
	return ask, prototext.Unmarshal([]byte(rest), ask)
}

// message is the request inside a step, if there is one.
func message(ask any) proto.Message {
	switch ask := ask.(type) {
	case *stream:
		return ask.RangeRequest
	case *onWatch:
		return ask.WatchRequest
	case proto.Message:
		return ask
	}
	return nil
}

// withMessage is the same kind of step around another request.
func withMessage(ask any, m proto.Message) any {
	switch ask := ask.(type) {
	case *stream:
		return &stream{m.(*pb.RangeRequest)}
	case *onWatch:
		return &onWatch{ask.stream, m.(*pb.WatchRequest)}
	case proto.Message:
		return m
	}
	return ask
}

// text writes a message on one line. The library varies blanks on purpose; the binary encoding
// that the order of fields comes from does not.
func text(message proto.Message) string {
	raw, err := prototext.MarshalOptions{}.Marshal(message)
	if err != nil {
		return err.Error()
	}
	return squeeze(string(raw))
}

func squeeze(text string) string {
	out := make([]byte, 0, len(text))
	quoted := false
	for i := range len(text) {
		if text[i] == '"' && (i == 0 || text[i-1] != '\\') {
			quoted = !quoted
		}
		if !quoted && text[i] == ' ' && len(out) > 0 && out[len(out)-1] == ' ' {
			continue
		}
		out = append(out, text[i])
	}
	return string(out)
}
