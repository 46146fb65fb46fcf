package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// recorder holds calls in their order. One call is: the method's name, the request, a byte that
// says whether it was answered, and the answer or the error's code (one byte) and text. Names,
// messages and errors have their length before them, as a varint.
type recorder struct {
	buf   bytes.Buffer
	count int
}

func (r *recorder) add(method string, request, response proto.Message, err error) {
	r.count++
	r.bytes([]byte(method))
	r.bytes(marshal(request))
	if err != nil {
		s := status.Convert(err)
		r.buf.WriteByte(0)
		r.bytes(append([]byte{byte(s.Code())}, s.Message()...))
		return
	}
	r.buf.WriteByte(1)
	r.bytes(marshal(response))
}

func (r *recorder) bytes(b []byte) {
	r.buf.Write(binary.AppendUvarint(nil, uint64(len(b))))
	r.buf.Write(b)
}

func (r *recorder) save(path string) error { return saveGzip(path, r.buf.Bytes()) }

func marshal(m proto.Message) []byte {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(err)
	}
	return b
}

func saveGzip(path string, data []byte) error {
	var out bytes.Buffer
	z, _ := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if _, err := z.Write(data); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return os.WriteFile(path, out.Bytes(), 0o644)
}

// saveLog keeps the frames of the only segment and drops the zeros behind them.
func saveLog(dir, path string) error {
	segments, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	if err != nil {
		return err
	}
	if len(segments) != 1 {
		return errors.New("the history is longer than one log segment")
	}
	data, err := os.ReadFile(segments[0])
	if err != nil {
		return err
	}
	end := 0
	for end+8 <= len(data) {
		field := binary.LittleEndian.Uint64(data[end:])
		if field == 0 {
			break
		}
		length, padding := field&(1<<56-1), 0
		if field>>63 == 1 {
			padding = int(field >> 56 & 7)
		}
		end += 8 + int(length) + padding
	}
	return saveGzip(path, data[:end])
}

type entry struct {
	Bucket, Key, Value []byte
}

// saveBuckets writes all buckets but the keys, which have hashes.
func saveBuckets(db, path string) error {
	d, err := bolt.Open(db, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer d.Close()
	var entries []entry
	err = d.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bolt.Bucket) error {
			if string(name) == "key" {
				return nil
			}
			return b.ForEach(func(k, v []byte) error {
				entries = append(entries, entry{bytes.Clone(name), bytes.Clone(k), bytes.Clone(v)})
				return nil
			})
		})
	})
	if err != nil {
		return err
	}
	out, err := json.MarshalIndent(entries, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(out, '\n'), 0o644)
}
