//! Random histories, watches and readers against a list of everything that happened.

use super::{Pulled, WatchHub, WatchOptions, WatchSession};
use crate::identity::Identity;
use crate::progress::Progress;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;
use tenet_base::memory_disk::MemoryDisk;
use tenet_base::world::SplitMix64;
use tenet_base::{ClusterId, Index, MemberId, Rng as _, Term};
use tenet_proto::etcdserverpb::watch_request::RequestUnion;
use tenet_proto::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, InternalRaftRequest, PutRequest, RequestHeader,
    RequestOp, TxnRequest, WatchCancelRequest, WatchCreateRequest, WatchProgressRequest,
    WatchRequest, WatchResponse, request_op,
};
use tenet_proto::mvccpb::event::EventType;
use tenet_proto::mvccpb::{Event, KeyValue};
use tenet_proto::prost::Message as _;
use tenet_state::{Config, State};
use tenet_store::Patience;

/// A small limit, so that fragments are made.
const RESPONSE_BYTES_MAX: usize = 400;
const INTERVAL_MS: u64 = 700;

/// A member's state machine with its hub, and all that happened.
struct World {
    state: State,
    hub: WatchHub,
    index: u64,
    now_ms: u64,
    /// Every event, with what was there before it.
    events: Vec<Event>,
    live: BTreeMap<Bytes, KeyValue>,
    compacted: i64,
    /// What was flushed to it has to be waited for.
    disk: MemoryDisk,
}

impl World {
    fn new(seed: u64) -> World {
        let state = State::new(Config {
            member: MemberId(1),
            min_lease_ttl_s: 2,
            quota_bytes: -1,
            learners_max: 1,
        });
        let identity = Identity {
            cluster: ClusterId(7),
            member: MemberId(1),
        };
        let options = WatchOptions {
            response_bytes_max: RESPONSE_BYTES_MAX,
            progress_interval_ms: INTERVAL_MS,
            seed,
        };
        let progress = Arc::new(Progress::default());
        let hub = WatchHub::new(identity, progress, state.views(), options);
        World {
            state,
            hub,
            index: 0,
            now_ms: 0,
            events: Vec::new(),
            live: BTreeMap::new(),
            compacted: -1,
            disk: MemoryDisk::default(),
        }
    }

    /// Moves what is published from memory to files.
    fn flush(&mut self) {
        self.disk.set_cold(true);
        let mut job = self.state.flush(true);
        while let Some(ops) = job.step().expect("readable") {
            self.disk.run(ops).expect("possible");
        }
        self.state.finished(job.finish(&self.disk).expect("there"));
    }

    fn revision(&self) -> i64 {
        self.state.views().load().kv.revision().get()
    }

    fn apply(&mut self, mut request: InternalRaftRequest) {
        self.index += 1;
        request.header = Some(RequestHeader {
            id: self.index,
            ..RequestHeader::default()
        });
        let applied = self.state.apply(Index(self.index), Term(1), &request);
        applied.expect("no fatal entries").result.expect("valid");
    }

    /// What is applied becomes visible.
    fn publish(&mut self) {
        self.state.publish();
        self.hub.route(&self.state.views().load().kv);
    }

    /// One transaction of puts and deletions of different keys.
    fn write(&mut self, revision: i64, ops: &[(Bytes, Option<Bytes>)]) {
        let success = ops.iter().map(|(key, value)| {
            let request = match value.clone() {
                Some(value) => request_op::Request::RequestPut(PutRequest {
                    key: key.clone(),
                    value,
                    ..PutRequest::default()
                }),
                None => request_op::Request::RequestDeleteRange(DeleteRangeRequest {
                    key: key.clone(),
                    ..DeleteRangeRequest::default()
                }),
            };
            RequestOp {
                request: Some(request),
            }
        });
        let txn = TxnRequest {
            success: success.collect(),
            ..TxnRequest::default()
        };
        self.apply(InternalRaftRequest {
            txn: Some(Box::new(txn)),
            ..InternalRaftRequest::default()
        });
        for (key, value) in ops {
            self.note(revision, key, value.as_ref());
        }
    }

    fn note(&mut self, revision: i64, key: &Bytes, value: Option<&Bytes>) {
        let prev_kv = self.live.remove(key);
        let (kind, kv) = match value {
            Some(value) => {
                let kv = KeyValue {
                    key: key.clone(),
                    value: value.clone(),
                    create_revision: prev_kv.as_ref().map_or(revision, |kv| kv.create_revision),
                    mod_revision: revision,
                    version: prev_kv.as_ref().map_or(1, |kv| kv.version + 1),
                    lease: 0,
                };
                self.live.insert(key.clone(), kv.clone());
                (EventType::Put, kv)
            }
            None if prev_kv.is_none() => return,
            None => {
                let kv = KeyValue {
                    key: key.clone(),
                    mod_revision: revision,
                    ..KeyValue::default()
                };
                (EventType::Delete, kv)
            }
        };
        self.events.push(Event {
            r#type: kind.into(),
            kv: Some(kv),
            prev_kv,
        });
    }

    fn compact(&mut self, at: i64) {
        self.apply(InternalRaftRequest {
            compaction: Some(Box::new(CompactionRequest {
                revision: at,
                physical: false,
            })),
            ..InternalRaftRequest::default()
        });
        self.compacted = at;
    }
}

/// A watch as its client knows it.
struct Followed {
    request: WatchCreateRequest,
    /// Everything before this revision that it wants has come.
    next: i64,
    ended: bool,
    /// Events of an unfinished response.
    parts: Vec<Event>,
}

/// A client that checks every response.
struct Reader {
    session: WatchSession,
    watches: BTreeMap<i64, Followed>,
    /// Requests whose answer has not come, in order.
    asked: Vec<WatchCreateRequest>,
    seen: u64,
    compactions: u64,
    progress: u64,
    /// Pulls that had to wait for the medium.
    waited: u64,
}

impl Reader {
    fn new(world: &World) -> Reader {
        Reader {
            session: world.hub.open(),
            watches: BTreeMap::new(),
            asked: Vec::new(),
            seen: 0,
            compactions: 0,
            progress: 0,
            waited: 0,
        }
    }

    fn pull(&mut self, world: &World, budget_bytes: usize) -> Pulled {
        let mut out = Vec::new();
        let (waker, session) = (Waker::noop(), &mut self.session);
        let mut pulled = session.pull(waker, budget_bytes, Patience::Never, &mut out);
        if pulled == Pulled::Cold {
            self.waited += 1;
            pulled = session.pull(waker, budget_bytes, Patience::Wait, &mut out);
            assert_ne!(pulled, Pulled::Cold);
        }
        for bytes in out {
            let response = WatchResponse::decode(&bytes[..]).expect("a response");
            assert!(
                bytes.len() < RESPONSE_BYTES_MAX
                    || !response.fragment
                    || response.events.len() == 1
            );
            self.take(world, response);
        }
        pulled
    }

    fn take(&mut self, world: &World, response: WatchResponse) {
        let header = response.header.expect("every response has one");
        let id = response.watch_id;
        if response.created {
            let request = self.asked.remove(0);
            if response.canceled {
                assert_eq!(id, -1);
                return;
            }
            assert!(request.watch_id == 0 || request.watch_id == id);
            let next = match request.start_revision {
                0 => header.revision + 1,
                start => start,
            };
            let followed = Followed {
                request,
                next,
                ended: false,
                parts: Vec::new(),
            };
            assert!(
                self.watches
                    .insert(id, followed)
                    .is_none_or(|before| before.ended)
            );
            return;
        }
        if id == -1 {
            self.progress += 1;
            for watch in self.watches.values_mut().filter(|watch| !watch.ended) {
                watch.check_complete(world, header.revision);
            }
            return;
        }
        let watch = self.watches.get_mut(&id).expect("a watch that was created");
        if watch.ended {
            assert!(response.canceled, "an event after the end");
            return;
        }
        if response.canceled {
            assert!(watch.parts.is_empty());
            if response.compact_revision > 0 {
                self.compactions += 1;
                assert_eq!(header.revision, 0);
                assert!(watch.next < response.compact_revision, "nothing was lost");
                assert!(response.compact_revision <= world.compacted);
            }
            watch.ended = true;
        } else if response.events.is_empty() {
            self.progress += 1;
            assert!(watch.request.progress_notify);
            watch.check_complete(world, header.revision);
        } else {
            self.seen += response.events.len() as u64;
            assert!(watch.request.fragment || !response.fragment);
            watch.parts.extend(response.events);
            if !response.fragment {
                watch.check_parts(world);
            }
        }
    }
}

impl Followed {
    fn wants(&self, event: &Event) -> bool {
        let kv = event.kv.as_ref().expect("always there");
        let request = &self.request;
        let key = if request.key.is_empty() {
            &[0][..]
        } else {
            &request.key[..]
        };
        let covered = match &request.range_end[..] {
            [] => kv.key == key,
            [0] => &kv.key[..] >= key,
            end => &kv.key[..] >= key && &kv.key[..] < end,
        };
        let kinds = [EventType::Put, EventType::Delete];
        let filtered = request
            .filters
            .iter()
            .any(|filter| kinds.get(*filter as usize) == Some(&event.r#type()));
        covered && !filtered
    }

    /// What it should have got from `self.next` up to `last`.
    fn due(&self, world: &World, last: i64) -> Vec<Event> {
        let due = world.events.iter().filter(|event| {
            let revision = event.kv.as_ref().expect("always there").mod_revision;
            revision >= self.next && revision <= last && self.wants(event)
        });
        due.cloned().collect()
    }

    /// A whole response: it must hold all that is due up to its last revision.
    fn check_parts(&mut self, world: &World) {
        let found = std::mem::take(&mut self.parts);
        let last = found.last().and_then(|event| event.kv.as_ref());
        let last = last.expect("checked by the caller").mod_revision;
        let mut due = self.due(world, last);
        assert_eq!(
            found.len(),
            due.len(),
            "events up to {last} from {}",
            self.next
        );
        for (found, due) in found.iter().zip(&mut due) {
            if !self.request.prev_kv || found.prev_kv.is_none() {
                let revision = due.kv.as_ref().expect("always there").mod_revision;
                let compacted = revision <= world.compacted;
                assert!(!self.request.prev_kv || due.prev_kv.is_none() || compacted);
                due.prev_kv = None;
            }
            assert_eq!(found, due);
        }
        self.next = last + 1;
    }

    /// The server says that everything up to `revision` has been given.
    fn check_complete(&mut self, world: &World, revision: i64) {
        assert!(self.parts.is_empty());
        assert_eq!(
            self.due(world, revision),
            [],
            "progress at {revision} from {}",
            self.next
        );
        self.next = self.next.max(revision + 1);
    }
}

fn key(rng: &mut SplitMix64) -> Bytes {
    let len = 1 + rng.below(2);
    (0..len).map(|_| b"abc"[rng.below(3) as usize]).collect()
}

fn create(rng: &mut SplitMix64, world: &World) -> WatchCreateRequest {
    let now = world.revision();
    WatchCreateRequest {
        key: if rng.below(8) == 0 {
            Bytes::new()
        } else {
            key(rng)
        },
        range_end: match rng.below(4) {
            0 => Bytes::from_static(&[0]),
            1 => key(rng),
            _ => Bytes::new(),
        },
        start_revision: match rng.below(4) {
            0 => 1 + rng.below(now as u64 + 6) as i64,
            1 => (now - 3).max(1) + rng.below(8) as i64,
            _ => 0,
        },
        progress_notify: rng.below(3) == 0,
        filters: [vec![], vec![], vec![0], vec![1], vec![0, 1], vec![9]][rng.below(6) as usize]
            .clone(),
        prev_kv: rng.below(2) == 0,
        watch_id: [0, 0, 3, 9][rng.below(4) as usize],
        fragment: rng.below(2) == 0,
    }
}

fn random_ops(rng: &mut SplitMix64) -> Vec<(Bytes, Option<Bytes>)> {
    let mut ops = BTreeMap::new();
    for _ in 0..1 + rng.below(4) {
        let value = (rng.below(4) > 0).then(|| vec![b'v'; rng.below(90) as usize].into());
        ops.insert(key(rng), value);
    }
    ops.into_iter().collect()
}

fn write_some(world: &mut World, rng: &mut SplitMix64, count: u64) {
    let mut revision = world.revision();
    for _ in 0..count {
        let ops = random_ops(rng);
        let before = world.events.len();
        world.write(revision + 1, &ops);
        revision += i64::from(world.events.len() > before);
        // As the applier: maintenance only once what was applied is routed.
    }
    if rng.below(8) == 0 {
        world.publish();
        world.flush();
    }
    if rng.below(6) == 0 && revision > world.compacted {
        let span = (revision - world.compacted.max(0)) as u64;
        let at = world.compacted.max(0) + 1 + rng.below(span) as i64;
        world.compact(at);
    }
    world.publish();
    for _ in 0..rng.below(3) {
        if world.state.step_maintenance(200) {
            world.state.publish();
        }
    }
}

fn ask(reader: &mut Reader, world: &World, rng: &mut SplitMix64) {
    if !reader.session.takes_requests() {
        return;
    }
    let request = match rng.below(8) {
        0 => RequestUnion::ProgressRequest(WatchProgressRequest {}),
        1 => {
            let watch_id = [0, 1, 2, 3, 9][rng.below(5) as usize];
            RequestUnion::CancelRequest(WatchCancelRequest { watch_id })
        }
        _ => {
            let request = create(rng, world);
            reader.asked.push(request.clone());
            RequestUnion::CreateRequest(request)
        }
    };
    reader.session.request(WatchRequest {
        request_union: Some(request),
    });
}

/// Runs a random history. Returns the events, compactions and progress that readers saw, and how
/// often they had to wait.
fn run(seed: u64) -> [u64; 4] {
    let mut rng = SplitMix64::new(seed);
    let mut world = World::new(seed);
    let mut readers: Vec<Reader> = (0..3).map(|_| Reader::new(&world)).collect();
    let mut sums = [0; 4];
    for _ in 0..300 {
        let at = rng.below(readers.len() as u64) as usize;
        match rng.below(12) {
            0..4 => {
                let count = 1 + rng.below(5);
                write_some(&mut world, &mut rng, count);
            }
            4 if rng.below(20) == 0 => write_some(&mut world, &mut rng, 1_500),
            4..6 => ask(&mut readers[at], &world, &mut rng),
            6..10 => {
                let budget = [1, 300, 100_000][rng.below(3) as usize];
                readers[at].pull(&world, budget);
            }
            10 => {
                world.now_ms += rng.below(2_500);
                world.hub.tick(world.now_ms);
            }
            _ if rng.below(10) == 0 => {
                let gone = std::mem::replace(&mut readers[at], Reader::new(&world));
                add(&mut sums, &gone);
            }
            _ => {}
        }
    }
    let last = world.revision();
    for reader in &mut readers {
        while reader.pull(&world, 10_000) == Pulled::Part {}
        for watch in reader.watches.values_mut().filter(|watch| !watch.ended) {
            watch.check_complete(&world, last);
        }
        add(&mut sums, reader);
    }
    assert_eq!(world.hub.counts().lagging, 0);
    drop(readers);
    let counts = world.hub.counts();
    assert_eq!((counts.sessions, counts.watches), (0, 0));
    sums
}

fn add(sums: &mut [u64; 4], reader: &Reader) {
    sums[0] += reader.seen;
    sums[1] += reader.compactions;
    sums[2] += reader.progress;
    sums[3] += reader.waited;
}

#[test]
fn every_watch_gets_its_events_once_in_order_whatever_happens() {
    let mut sums = [0; 4];
    for seed in 0..150 {
        let more = run(seed);
        for (sum, more) in sums.iter_mut().zip(more) {
            *sum += more;
        }
    }
    let [events, compactions, progress, waited] = sums;
    assert!(
        events > 50_000 && compactions > 100 && progress > 200 && waited > 500,
        "too little was tried: {events} events, {compactions} compacted, {progress} progress, \
         {waited} waited for"
    );
}

#[test]
fn a_reader_that_stops_keeps_a_revision_and_not_a_list() {
    let mut world = World::new(1);
    let mut reader = Reader::new(&world);
    let everything = WatchCreateRequest {
        range_end: Bytes::from_static(&[0]),
        ..WatchCreateRequest::default()
    };
    reader.asked.push(everything.clone());
    reader.session.request(WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(everything)),
    });
    reader.pull(&world, 1_000);
    let mut rng = SplitMix64::new(1);
    write_some(&mut world, &mut rng, 20);
    assert_eq!(world.hub.counts().lagging, 0);
    world.hub.tick(2_000);
    assert_eq!(world.hub.counts().lagging, 0, "not long enough");
    world.hub.tick(4_000);
    assert_eq!(world.hub.counts().lagging, 1);
    for _ in 0..100 {
        write_some(&mut world, &mut rng, 20);
    }
    while reader.pull(&world, 100) == Pulled::Part {}
    let last = world.revision();
    let watch = reader.watches.get_mut(&0).unwrap();
    if !watch.ended {
        watch.check_complete(&world, last);
    }
}
