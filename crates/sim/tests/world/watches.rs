//! A watcher that is there while writes go on and the power fails: what it was told stays true, and
//! resumed after each restart it is told everything else, once.

use crate::scene::{new_disk, options};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::task::Waker;
use tenet_base::Rng as _;
use tenet_base::world::SplitMix64;
use tenet_member::{Pulled, WatchSession};
use tenet_proto::etcdserverpb::watch_request::RequestUnion;
use tenet_proto::etcdserverpb::{RangeRequest, WatchCreateRequest, WatchRequest, WatchResponse};
use tenet_proto::mvccpb::KeyValue;
use tenet_proto::mvccpb::event::EventType;
use tenet_proto::prost::Message as _;
use tenet_sim::disk::Survival;
use tenet_sim::member::{Answers, SimMember};
use tenet_sim::workload::next_write;
use tenet_store::Patience;

/// What a watcher of everything has been told.
#[derive(Default)]
struct Told {
    /// The last revision of which it was told.
    revision: i64,
    keys: BTreeMap<Bytes, KeyValue>,
    events: u64,
    compactions: u64,
}

impl Told {
    fn follow(&mut self, member: &SimMember) -> WatchSession {
        let mut session = member.watches().open();
        session.request(WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(WatchCreateRequest {
                range_end: Bytes::from_static(&[0]),
                start_revision: self.revision + 1,
                ..WatchCreateRequest::default()
            })),
        });
        session
    }

    /// Takes some of what there is; whether the watch goes on.
    fn pull(&mut self, session: &mut WatchSession, budget: usize) -> (Pulled, bool) {
        let mut out = Vec::new();
        let pulled = session.pull(Waker::noop(), budget, Patience::Wait, &mut out);
        for response in out {
            let response = WatchResponse::decode(&response[..]).unwrap();
            if response.canceled {
                assert!(response.compact_revision > self.revision + 1);
                return (pulled, false);
            }
            for event in response.events {
                self.take(event.r#type(), event.kv.unwrap());
            }
        }
        (pulled, true)
    }

    fn take(&mut self, kind: EventType, kv: KeyValue) {
        self.events += 1;
        let next = self.revision..=self.revision + 1;
        assert!(
            next.contains(&kv.mod_revision),
            "revision {} was told after {}",
            kv.mod_revision,
            self.revision
        );
        self.revision = kv.mod_revision;
        match kind {
            EventType::Put => drop(self.keys.insert(kv.key.clone(), kv)),
            EventType::Delete => assert!(self.keys.remove(&kv.key).is_some()),
        }
    }

    /// What was compacted before it could be told is read, as a client would.
    fn read(&mut self, member: &SimMember) {
        self.compactions += 1;
        let view = member.state().views().load();
        let everything = view.kv.range(&RangeRequest {
            key: Bytes::from_static(&[0]),
            range_end: Bytes::from_static(&[0]),
            ..RangeRequest::default()
        });
        let found = everything.unwrap().kvs;
        self.keys = found.into_iter().map(|kv| (kv.key.clone(), kv)).collect();
        self.revision = view.kv.revision().get();
    }
}

/// Runs writes with losses of power between them.
fn run(seed: u64) -> Told {
    let mut rng = SplitMix64::new(seed);
    let mut disk = new_disk(seed);
    let mut told = Told {
        revision: 1,
        ..Told::default()
    };
    for life in 0..6 {
        let mut member = SimMember::start(&mut disk, &options(), Answers::default()).unwrap();
        // A watch is served as soon as the member is up, while it still replays its log.
        let mut session = told.follow(&member);
        for n in 0..40 {
            let revision = member.state().views().load().kv.revision().get();
            let write = next_write(&mut rng, revision);
            member.write(n, write).unwrap();
            for _ in 0..rng.below(12) {
                member.step(&mut disk, &mut rng);
                if rng.below(6) == 0 && !told.pull(&mut session, 200).1 {
                    told.read(&member);
                    session = told.follow(&member);
                }
            }
        }
        if life == 5 {
            member.settle(&mut disk, &mut rng);
            while told.pull(&mut session, 10_000) == (Pulled::Part, true) {}
            let (revision, keys) = (told.revision, told.keys.clone());
            told.read(&member);
            told.compactions -= 1;
            assert_eq!(
                (revision, keys),
                (told.revision, told.keys.clone()),
                "seed {seed}"
            );
        } else {
            let survival = [Survival::Nothing, Survival::Random][rng.below(2) as usize];
            disk.crash(survival, &mut rng);
        }
    }
    told
}

#[test]
fn a_watch_that_is_resumed_misses_nothing_and_was_told_nothing_that_is_lost() {
    let (mut events, mut compactions) = (0, 0);
    for seed in 0..60 {
        let told = run(seed);
        events += told.events;
        compactions += told.compactions;
    }
    println!("{events} events over 300 losses of power, {compactions} times compacted before");
    assert!(events > 5_000, "too little was tried: {events} events");
}
