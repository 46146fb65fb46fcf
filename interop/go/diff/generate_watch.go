package diff

import (
	"bytes"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

const (
	// Watch streams of a client, numbered from 1.
	streamsMax = 3
	// Watches of a client. Each gets most of what changes, so many of them make a history slow.
	watchesMax = 10
)

// watching is something about watches.
func (m maker) watching() any {
	if len(m.watches) >= watchesMax {
		return m.endOfWatch()
	}
	switch kind := m.IntN(20); {
	case kind < 9:
		return m.create()
	case kind < 14:
		return m.endOfWatch()
	case kind < 15:
		return m.unknown()
	}
	return &onWatch{m.someStream(), &pb.WatchRequest{
		RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}}}
}

func (m maker) someStream() int { return 1 + m.IntN(streamsMax) }

func (m maker) create() any {
	ask := &pb.WatchCreateRequest{
		Key: m.key(), PrevKv: m.chance(2), ProgressNotify: m.chance(4), Fragment: m.chance(3),
	}
	ask.RangeEnd = m.watchEnd(ask.Key)
	if m.chance(15) {
		ask.Key = nil
	}
	switch m.IntN(6) {
	case 0:
		ask.Filters = []pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_NOPUT}
	case 1:
		ask.Filters = []pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_NODELETE}
	case 2:
		ask.Filters = []pb.WatchCreateRequest_FilterType{
			pb.WatchCreateRequest_FilterType(m.IntN(3)), pb.WatchCreateRequest_FilterType(m.IntN(2))}
	}
	switch m.IntN(12) {
	case 0:
		ask.StartRevision = m.revision + 1 + m.Int64N(20)
	case 1:
		ask.StartRevision = -1 - m.Int64N(3)
	case 2, 3, 4, 5, 6:
		ask.StartRevision = m.pastRevision()
		if m.deep && m.chance(2) {
			ask.StartRevision = 1 + m.Int64N(max(m.revision-deepRevisions, 1))
		}
	}
	if m.chance(4) {
		ids := []int64{3, 5, -5, -1000, 1 << 40, 8}
		ask.WatchId = ids[m.IntN(len(ids))]
		// An id that was chosen may come again by the server's choice; see abandon.
		ask.ProgressNotify = false
	}
	return &onWatch{m.someStream(), &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: ask}}}
}

// watchEnd is the end of a range that is mostly not empty.
func (m maker) watchEnd(key []byte) []byte {
	if m.chance(4) {
		return []byte{0}
	}
	end := m.end(key)
	if end != nil && len(end) > 0 && end[0] != 0 && bytes.Compare(key, end) >= 0 && !m.chance(3) {
		return nil
	}
	return end
}

func (m maker) endOfWatch() any {
	if len(m.watches) == 0 {
		return m.create()
	}
	of := m.watches[m.IntN(len(m.watches))]
	if of.auto && m.chance(5) {
		return &abandon{of.stream, of.id}
	}
	return m.cancel(of.stream, of.id)
}

func (m maker) cancel(stream int, id int64) any {
	return &onWatch{stream, &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{
		CancelRequest: &pb.WatchCancelRequest{WatchId: id}}}}
}

// unknown cancels what is perhaps not there, or asks for nothing.
func (m maker) unknown() any {
	if m.chance(4) {
		return &onWatch{m.someStream(), &pb.WatchRequest{}}
	}
	return m.cancel(m.someStream(), m.Int64N(8)-1)
}
