package bigread

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// What a client lets a server send before it has read anything.
const windowBytes = 64 << 10

// reader asks for all keys, by unary call or as a stream, and holds nothing of what it gets.
type reader struct {
	address string
	method  string
	// bytesPerSecond is how fast it takes bytes off its socket; 0 is as fast as they come.
	bytesPerSecond int
}

// answer is what a reader found.
type answer struct {
	keys  int64
	bytes int64
	count int64
	more  bool
}

// read asks and checks every key-value. It ends with the answer, or when ctx does.
func (r reader) read(ctx context.Context) (answer, error) {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{
		Protocols:   protocols,
		HTTP2:       &http.HTTP2Config{MaxReceiveBufferPerStream: windowBytes, MaxReceiveBufferPerConnection: windowBytes},
		DialContext: r.dial,
	}
	defer transport.CloseIdleConnections()
	ask, err := proto.Marshal(&pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}})
	if err != nil {
		return answer{}, err
	}
	body := append([]byte{0, 0, 0, 0, byte(len(ask))}, ask...)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+r.address+"/etcdserverpb.KV/"+r.method, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	request.Header.Set("Content-Type", "application/grpc")
	request.Header.Set("TE", "trailers")
	response, err := transport.RoundTrip(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	found, err := r.messages(bufio.NewReaderSize(response.Body, 64<<10))
	if err != nil {
		return found, err
	}
	status, text := response.Trailer.Get("Grpc-Status"), response.Trailer.Get("Grpc-Message")
	if status == "" {
		status, text = response.Header.Get("Grpc-Status"), response.Header.Get("Grpc-Message")
	}
	if status != "0" {
		return found, fmt.Errorf("status %q %q after %d keys", status, text, found.keys)
	}
	return found, nil
}

func (r reader) dial(ctx context.Context, network, address string) (net.Conn, error) {
	connection, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil || r.bytesPerSecond == 0 {
		return connection, err
	}
	// The system must not take the bytes in our place.
	if tcp, is := connection.(*net.TCPConn); is {
		if err := tcp.SetReadBuffer(r.bytesPerSecond); err != nil {
			return nil, err
		}
	}
	return &slowly{Conn: connection, bytesPerSecond: r.bytesPerSecond}, nil
}

// slowly is a connection that is read at a pace.
type slowly struct {
	net.Conn
	bytesPerSecond int
}

func (s *slowly) Read(to []byte) (int, error) {
	n, err := s.Conn.Read(to[:min(len(to), s.bytesPerSecond)])
	time.Sleep(time.Duration(n) * time.Second / time.Duration(s.bytesPerSecond))
	return n, err
}

// messages reads the messages of an answer to their end.
func (r reader) messages(from *bufio.Reader) (answer, error) {
	var found answer
	var last []byte
	for {
		var prefix [5]byte
		if _, err := io.ReadFull(from, prefix[:]); err == io.EOF {
			return found, nil
		} else if err != nil {
			return found, err
		}
		left := int64(binary.BigEndian.Uint32(prefix[1:]))
		if r.method == "RangeStream" {
			// Its only field is the answer.
			number, len, size, err := field(from)
			if err != nil || number != 1 || int64(len)+size != left {
				return found, fmt.Errorf("a message of %d bytes begins with field %d of %d: %v", left, number, len, err)
			}
			left -= size
		}
		if err := message(from, left, &found, &last); err != nil {
			return found, err
		}
	}
}

// message reads one RangeResponse of a length, field by field.
func message(from *bufio.Reader, left int64, found *answer, last *[]byte) error {
	for left > 0 {
		number, value, size, err := field(from)
		if err != nil {
			return err
		}
		left -= size
		switch number {
		case 3:
			found.more = value != 0
			continue
		case 4:
			found.count = int64(value)
			continue
		}
		left -= int64(value)
		content := make([]byte, value)
		if _, err := io.ReadFull(from, content); err != nil {
			return err
		}
		if number == 2 {
			if err := keyValue(content, found, last); err != nil {
				return err
			}
		}
	}
	if left < 0 {
		return fmt.Errorf("a message is %d bytes longer than was said", -left)
	}
	return nil
}

// field reads the head of a field: its number, and its length or, of a number, its value.
func field(from *bufio.Reader) (number protowire.Number, value uint64, size int64, err error) {
	tag, tagSize, err := varint(from)
	if err != nil {
		return 0, 0, 0, err
	}
	number, _ = protowire.DecodeTag(tag)
	value, valueSize, err := varint(from)
	return number, value, tagSize + valueSize, err
}

func varint(from *bufio.Reader) (value uint64, size int64, err error) {
	value, err = binary.ReadUvarint(from)
	return value, int64(protowire.SizeVarint(value)), err
}

// keyValue checks one key-value: the keys ascend, and each value is the one of its key.
func keyValue(content []byte, found *answer, last *[]byte) error {
	var key, value []byte
	for rest := content; len(rest) > 0; {
		number, kind, n := protowire.ConsumeTag(rest)
		if n < 0 {
			return protowire.ParseError(n)
		}
		size := protowire.ConsumeFieldValue(number, kind, rest[n:])
		if size < 0 {
			return protowire.ParseError(size)
		}
		if kind == protowire.BytesType {
			bytes, _ := protowire.ConsumeBytes(rest[n:])
			if number == 1 {
				key = bytes
			} else {
				value = bytes
			}
		}
		rest = rest[n+size:]
	}
	if bytes.Compare(*last, key) >= 0 {
		return fmt.Errorf("key %q comes behind %q", key, *last)
	}
	if !bytes.HasPrefix(value, key) {
		return fmt.Errorf("the value of key %q begins with %q", key, value[:min(len(value), 40)])
	}
	*last = append((*last)[:0], key...)
	found.keys++
	found.bytes += int64(len(content))
	return nil
}
