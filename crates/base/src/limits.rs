//! Every limit of the system, in one place. A queue, buffer or request without a line here is a
//! bug. Limits that a flag changes are defaults; the flag's declaration refers to them.

/// Largest request in its raft encoding (`--max-request-bytes`).
pub const REQUEST_BYTES_MAX: usize = 1_572_864;
/// What the gRPC layer accepts beyond [`REQUEST_BYTES_MAX`], for framing and metadata.
pub const GRPC_OVERHEAD_BYTES: usize = 512 * 1024;
/// Operations in one transaction (`--max-txn-ops`).
pub const TXN_OPS_MAX: usize = 128;
/// Storage quota when none is given (`--quota-backend-bytes` 0).
pub const QUOTA_BYTES_DEFAULT: i64 = 2 * 1024 * 1024 * 1024;
/// Quota charged for a put beside its key and value.
pub const QUOTA_PUT_OVERHEAD_BYTES: usize = 256;
/// Quota charged for granting a lease.
pub const QUOTA_LEASE_GRANT_BYTES: usize = 64;

/// Proposals that have been admitted and not answered.
pub const PROPOSAL_QUEUE_MAX: usize = 32_768;
/// Bytes of proposals that have been admitted and not answered.
pub const PROPOSAL_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Linearizable reads waiting for a read index.
pub const READ_QUEUE_MAX: usize = 65_536;
/// Bytes of entries in one batch to the log.
pub const LOG_BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of committed entries that are handed out to be applied and not yet applied.
pub const APPLY_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Bytes of recent entries that the consensus core keeps in memory.
pub const LOG_MEMORY_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Entries applied between two truncations of the log (`--snapshot-count`).
pub const SNAPSHOT_COUNT: u64 = 10_000;
/// Entries kept behind the truncation point for slow followers (`--snapshot-catchup-entries`).
pub const SNAPSHOT_CATCHUP_ENTRIES: u64 = 5_000;

/// Part of the request timeout that does not depend on the election timeout.
pub const REQUEST_TIMEOUT_BASE_MS: u64 = 5_000;

/// Largest raft message in encoded entries.
pub const RAFT_MESSAGE_BYTES_MAX: u64 = 1024 * 1024;
/// Messages of other members that wait for the consensus actor; what comes beyond gets lost, and is
/// sent again.
pub const PEER_WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Wait before a leader that has not answered is asked again.
pub const LEADER_RETRY_MS: u64 = 50;
/// How long a member must have been within reach to count as connected when members are changed
/// (etcd: 5 s).
pub const MEMBER_HEALTHY_MS: u64 = 5_000;
/// Append messages in flight to one follower.
pub const RAFT_INFLIGHT_MAX: usize = 512;

/// Largest raft message between members, and bytes of one that have arrived and are not complete.
/// etcd takes up to 512 MiB, and sends none above 1 MiB and one entry.
pub const PEER_MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What an entry that has arrived counts beside its bytes: its place in memory.
pub const PEER_ENTRY_OVERHEAD_BYTES: usize = 64;
/// Largest message in front of a snapshot's database, as in etcd.
pub const PEER_SNAPSHOT_MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Messages that wait to be sent on one stream to a member; what comes beyond is dropped.
pub const PEER_QUEUE_MESSAGES_MAX: usize = 4_096;
/// Bytes of such messages.
pub const PEER_QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Messages that wait to be posted one by one, while there is no stream.
pub const PEER_POSTS_WAITING_MAX: usize = 64;
/// Messages that are being posted to one member at once.
pub const PEER_POSTS_MAX: usize = 4;
/// Bytes of messages that a stream gathers before it sends them.
pub const PEER_CHUNK_BYTES: usize = 128 * 1024;
/// Time after which a stream that has nothing to say gives a sign of life.
pub const PEER_HEARTBEAT_MS: u64 = 1_666;
/// Silence after which a connection between members is given up.
pub const PEER_SILENCE_MS: u64 = 5_000;
/// Time between two attempts to open a stream.
pub const PEER_DIAL_INTERVAL_MS: u64 = 100;
/// Time after which the same trouble with a member is logged again.
pub const PEER_LOG_AGAIN_MS: u64 = 30_000;
/// Time between two probes of a member.
pub const PEER_PROBE_INTERVAL_MS: u64 = 4_000;
/// Unknown members that have called and are remembered, so that they can be answered.
pub const PEER_REMOTES_MAX: usize = 64;
/// Connections on the listeners for members.
pub const PEER_CONNECTIONS_MAX: usize = 1_024;
/// Bytes of posted messages that have not arrived as a whole, of all connections.
pub const PEER_PARTIAL_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Largest question that a member asks another beside raft.
pub const PEER_QUESTION_BYTES_MAX: usize = 64 * 1024;
/// Largest answer to such a question: the keys of a lease.
pub const PEER_ANSWER_BYTES_MAX: usize = 100 * 1024 * 1024;
/// Connections to one address of a member that are kept for the next question.
pub const PEER_IDLE_CONNECTIONS_MAX: usize = 16;
/// Snapshots that are being received at once.
pub const PEER_SNAPSHOTS_RECEIVED_MAX: usize = 2;
/// How long a member may take nothing of a snapshot before it is given up.
pub const PEER_SNAPSHOT_UNREAD_MS: u64 = 30_000;
/// How long a snapshot may give nothing to send: a member of etcd's gives up after
/// [`PEER_SILENCE_MS`].
pub const PEER_SNAPSHOT_PAUSE_MS: u64 = 2_000;
/// Time for a member to answer once it has all of a snapshot.
pub const PEER_SNAPSHOT_ANSWER_MS: u64 = 300_000;

/// Size at which a WAL segment is closed and the next begun.
pub const WAL_SEGMENT_BYTES: u64 = 64_000_000;
/// Largest single WAL record that the reader believes.
pub const WAL_RECORD_BYTES_MAX: u64 = 1 << 30;
/// Largest damaged end of the log that is looked into; many times what one batch can be.
pub const WAL_TAIL_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Largest raft term that the log takes for real: an election every millisecond for 34 years.
/// Member ids are random 64-bit numbers, so one that stands where a term should is told apart.
pub const TERM_MAX: u64 = 1 << 40;
/// Largest raft index that the log takes for real: a billion entries a second for two years.
pub const INDEX_MAX: u64 = 1 << 56;

/// Hashes of past compactions that are kept.
pub const COMPACTION_HASHES_MAX: usize = 10;
/// Learners in a cluster (`--max-learners`).
pub const LEARNERS_MAX: usize = 1;
/// Largest lease time-to-live, in seconds.
pub const LEASE_TTL_SECONDS_MAX: i64 = 9_000_000_000;

/// Watches of one stream.
pub const WATCHES_PER_STREAM_MAX: usize = 1_000_000;
/// Changes that wait to be sent on one watch stream, beside two for each of its watches; of what
/// exceeds them only the first revision is kept for each watch.
pub const WATCH_CHANGES_WAITING_MAX: usize = 1_024;
/// Answers to requests of a watch stream that may wait before the next request is read.
pub const WATCH_ANSWERS_WAITING_MAX: usize = 64;
/// Revisions in one response to a watch that catches up.
pub const WATCH_RESPONSE_REVISIONS_MAX: usize = 1_000;
/// Bytes of events at which a response to a watch that catches up is ended.
pub const WATCH_RESPONSE_BYTES: usize = 512 * 1024;
/// Changes that a watch looks at in one step of catching up.
pub const WATCH_STEP_CHANGES: usize = 10_000;
/// Revisions that a watch may lack when it has caught up.
pub const WATCH_GAP_REVISIONS_MAX: i64 = 128;
/// Time after which a watch stream that takes nothing loses its list of changes and keeps a
/// revision for each watch.
pub const WATCH_UNREAD_MS: u64 = 3_000;
/// How long a watch is silent before it is told how far it is
/// (`--watch-progress-notify-interval`).
pub const WATCH_PROGRESS_INTERVAL_MS: u64 = 600_000;
/// Revokes of expired leases that are proposed and not applied: what a put may wait behind.
pub const LEASE_REVOKES_IN_FLIGHT_MAX: usize = 512;
/// Leases in one checkpoint entry.
pub const LEASE_CHECKPOINTS_PER_ENTRY_MAX: usize = 1_000;
/// Leases of which what is left is written down in one tick; the others follow.
pub const LEASE_CHECKPOINTS_PER_TICK_MAX: usize = 10_000;
/// Renewals and queries that wait for a lease to end, for a leader or for applied entries.
pub const LEASE_WAITS_MAX: usize = 65_536;

/// Keys in the first message of a RangeStream.
pub const RANGE_STREAM_FIRST_CHUNK_KEYS: usize = 10;

/// Largest request that the client sends (etcdctl's `--max-request-bytes` 0).
pub const CLIENT_SEND_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Largest answer that the client accepts (etcdctl's `--max-recv-bytes` 0).
pub const CLIENT_RECEIVE_BYTES_MAX: usize = (1 << 31) - 1;
/// Attempts of the client at one call.
pub const CLIENT_ATTEMPTS_MAX: u32 = 100;
/// Wait of the client between two rounds of attempts.
pub const CLIENT_RETRY_WAIT_MS: u64 = 25;
/// Time that the client gives a connection to be made, up to the server's first byte.
pub const CLIENT_CONNECT_TIMEOUT_MS: u64 = 20_000;
/// Longest wait of the client between two attempts to connect to one endpoint.
pub const CLIENT_CONNECT_WAIT_MS_MAX: u64 = 5_000;
/// Bytes of updates that a watch of the client keeps for a caller who does not read. Beyond it the
/// watch is ended at the server, and begun again where it stopped once half of them are read.
pub const CLIENT_WATCH_BUFFER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Watches of the client that the server has been asked for and has not answered yet, per stream.
pub const CLIENT_WATCH_CREATES_MAX: usize = 64;
/// Requests on a stream of the client that are not written yet.
pub const CLIENT_STREAM_QUEUE_MAX: usize = 64;
/// First wait of the client before a broken stream is opened again.
pub const CLIENT_STREAM_WAIT_MS: u64 = 50;
/// Longest wait of the client before a broken stream is opened again.
pub const CLIENT_STREAM_WAIT_MS_MAX: u64 = 5_000;
/// Time that the client gives the first renewal of a lease whose time to live it does not know.
pub const CLIENT_KEEP_ALIVE_FIRST_MS: u64 = 5_000;
/// Answers of one lease's keep-alive that the client keeps for a caller who does not read; later
/// ones are dropped, the lease is renewed all the same.
pub const CLIENT_KEEP_ALIVE_ANSWERS_MAX: usize = 16;

/// Streams that one client connection may have open (`--max-concurrent-streams` lowers it).
pub const STREAMS_PER_CONNECTION_MAX: u32 = 100_000;
/// Bytes of answers that one client connection may leave unread before its next requests wait.
pub const CONNECTION_UNSENT_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes of unfinished requests that one client connection may have open.
pub const CONNECTION_PARTIAL_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Bytes that a client may send on one stream before we have read them.
pub const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// Bytes that a client may send on one connection before we have read them.
pub const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// Largest header list of a request; what is longer is answered with status 431.
pub const REQUEST_HEADER_BYTES_MAX: u32 = 1024 * 1024;
/// Answers above this size are encoded and sent in pieces of about this size.
pub const RESPONSE_PIECE_BYTES: usize = 64 * 1024;
/// Bytes that a stream of messages in both directions gathers before it sends them and gives way
/// to the other streams of its connection.
pub const STREAM_TURN_BYTES: usize = 16 * 1024;
/// Messages that such a stream takes or gives before it gives way.
pub const STREAM_TURN_MESSAGES: usize = 256;
/// Streams that a client may reset before we have looked at them.
pub const UNSEEN_RESETS_MAX: usize = 10_000;
/// Different `client-api-version` values that are counted apart; later ones are counted together.
pub const CLIENT_VERSIONS_MAX: usize = 64;
/// File descriptors kept for the member itself; client connections share the rest.
pub const DESCRIPTORS_RESERVED: u64 = 150;
/// Time for a new connection to say which protocol it speaks.
pub const CONNECTION_PREFACE_SECONDS: u64 = 120;
/// Time for an HTTP/1.1 request's headers to arrive.
pub const HTTP_HEADER_SECONDS: u64 = 300;
/// Time for a TLS handshake, as in etcd.
pub const TLS_HANDSHAKE_SECONDS: u64 = 10;
/// Largest file of certificates, keys or revoked certificates that is read.
pub const TLS_FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Time for calls to finish once the process was told to end; the rest is cut off.
pub const DRAIN_MS: u64 = 2_000;
/// Time for another member to take over, before anything else stops.
pub const HAND_OVER_MS: u64 = 5_000;
/// Time for the member to stop after that, before the process ends all the same.
pub const STOP_MS: u64 = 2_500;

/// Answers of a range up to about this size are made at once; longer ones are never held, they are
/// read and sent piece by piece.
pub const RANGE_WHOLE_BYTES: usize = 64 * 1024;
/// Bytes of such a piece, unless one key-value is longer.
pub const RANGE_PIECE_BYTES: usize = 64 * 1024;
/// Key-values of such a piece.
pub const RANGE_PIECE_KEYS: usize = 512;
/// Entries of the index that a range looks at before it gives way to others.
pub const RANGE_STEP_ENTRIES: usize = 1_024;
/// Bytes of values by which a range is ordered at a time; 16 bytes of each value if that is more.
pub const RANGE_SORT_BYTES: usize = 8 * 1024 * 1024;
/// Bytes that are reserved for each key of a range in an order of its own while it is sorted.
pub const RANGE_SORT_ENTRY_BYTES: usize = 80;
/// Ranges in an order of their own that are sorted at the same time.
pub const RANGE_SORTS_MAX: usize = 2;
/// Bytes of long answers that were read and not written to a socket yet, of all clients together.
/// Beyond it a reader has one piece on its way at a time.
pub const READ_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Reads that wait for the medium at the same time; the others wait for them.
pub const COLD_READS_MAX: usize = 16;
/// Bytes of records that the store gathers into one segment.
pub const STORE_SEGMENT_BYTES: usize = 1024 * 1024;
/// Bytes of applied entries that are in memory only before they are flushed to files, or twice the
/// bytes of the small tables, if that is more.
pub const STORE_FLUSH_BYTES: u64 = 8 * 1024 * 1024;
/// Bytes that the store reads and writes to rewrite files under load, per second, when little is to
/// be gained.
pub const STORE_REWRITE_BYTES_PER_SECOND: u64 = 16 * 1024 * 1024;
/// Bytes that the scrub reads back from the medium, per second.
pub const STORE_SCRUB_BYTES_PER_SECOND: u64 = 4 * 1024 * 1024;
/// Bytes that the scrub reads at a time.
pub const STORE_SCRUB_STEP_BYTES: usize = 256 * 1024;
/// Time from the end of a scrub of all files to the beginning of the next.
pub const STORE_SCRUB_PAUSE_MS: u64 = 3_600_000;
/// Damaged records of one file that are told apart; beyond it the whole file counts as damaged.
pub const STORE_DAMAGES_PER_FILE_MAX: usize = 1_000;
/// Time after which a Defragment answers although there is still something to give back.
pub const DEFRAGMENT_MS: u64 = 30_000;
/// Free space of the file system at which writes are refused, beside what the next flush takes: the
/// next segment of the log. An eighth of a small file system.
pub const SPACE_RESERVE_BYTES: u64 = WAL_SEGMENT_BYTES;
/// Bytes of the file that is given up when there is no space left, beside what a flush takes. An
/// eighth of a small file system.
pub const BALLAST_BYTES: u64 = 16 * 1024 * 1024;
/// Parts of a file system that the reserve and the ballast may each take at most.
pub const SPACE_PARTS_MIN: u64 = 8;
/// How often the room of the file system is looked at.
pub const SPACE_LOOK_MS: u64 = 1_000;
/// Records that a start may have to add to the index that it reads; a quarter of the index if that
/// is more.
pub const STORE_RECORDS_BEHIND_INDEX_MIN: u64 = 100_000;
/// Largest manifest of a store that is read.
pub const STORE_MANIFEST_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Bytes that a chunk of a checkpoint aims at.
pub const CHECKPOINT_CHUNK_BYTES: usize = 256 * 1024;
/// Largest chunk of a checkpoint: one that holds the largest record.
pub const CHECKPOINT_CHUNK_BYTES_MAX: usize = 1 << 30;

/// Bytes of a snapshot in one message to a client, as in etcd.
pub const SNAPSHOT_BLOB_BYTES: usize = 32 * 1024;
/// Bytes of a snapshot that are put together in one step.
pub const SNAPSHOT_STEP_BYTES: usize = 8 * SNAPSHOT_BLOB_BYTES;
/// Such pieces that wait for a client to take them.
pub const SNAPSHOT_STEPS_WAITING_MAX: usize = 2;
/// Snapshots that are being sent at once; further ones wait for their turn. Each keeps the state
/// that it shows.
pub const SNAPSHOTS_MAX: usize = 4;
/// How long a client may take nothing of a snapshot before it loses its turn.
pub const SNAPSHOT_UNREAD_MS: u64 = 300_000;

/// Largest page of a bbolt file, overflow included, that the reader takes: one with the largest
/// record and its neighbours.
pub const BOLT_PAGE_BYTES_MAX: usize = 1 << 30;
/// Pages from the root of a bucket in a bbolt file to an entry, and buckets inside each other. The
/// tree of a billion entries has 8 levels.
pub const BOLT_DEPTH_MAX: usize = 32;
/// Things that are wrong in a bbolt file at which a check of it stops.
pub const BOLT_ERRORS_MAX: usize = 1_000;

/// Largest configuration file.
pub const CONFIG_FILE_BYTES_MAX: usize = 1024 * 1024;
/// Values in a configuration file, counted after its aliases are put in place.
pub const CONFIG_FILE_VALUES_MAX: usize = 10_000;
/// Lists and maps inside each other in a configuration file.
pub const CONFIG_FILE_DEPTH_MAX: usize = 32;

/// Messages in flight in a simulated cluster of consensus cores; what comes beyond gets lost.
pub const RAFT_WORLD_MESSAGES_MAX: usize = 10_000;

/// Steps that the check of a history takes back before it gives up.
pub const CHECK_STEPS_BACK_MAX: usize = 100_000;
/// Configurations that the check of a history remembers (32 bytes each) before it gives up.
pub const CHECK_CONFIGURATIONS_MAX: usize = 8_000_000;
