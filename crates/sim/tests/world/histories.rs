//! Several writes at a time, losses of power between them, and watches that are resumed: written
//! down as clients see it, and given to the checkers of recorded histories.
//!
//! Time is counted in steps of the world, so that writes under way at once really overlap.

use crate::scene::{new_disk, options};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::task::Waker;
use tenet_base::Rng as _;
use tenet_base::world::SplitMix64;
use tenet_check::history::{self as h, Answer, History, Line, Operation, Refusal, Watch};
use tenet_member::{Pulled, WatchSession};
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::WatchResponse;
use tenet_proto::prost::Message as _;
use tenet_sim::disk::{SimDisk, Survival};
use tenet_sim::history::{answer_of, next_request, told_of, watch_request, write_of};
use tenet_sim::member::{Answers, SimMember};
use tenet_store::Patience;

const LIVES: u64 = 5;
const WRITES: u64 = 40;

struct World {
    rng: SplitMix64,
    disk: SimDisk,
    member: SimMember,
    answers: Answers,
    now: i64,
    lines: Vec<Line>,
    pending: BTreeMap<u64, Operation>,
    watchers: Vec<(Watch, WatchSession)>,
    count: u64,
}

impl World {
    fn new(seed: u64) -> World {
        let mut disk = new_disk(seed);
        let answers = Answers::default();
        let member = SimMember::start(&mut disk, &options(), answers.clone()).unwrap();
        let mut world = World {
            rng: SplitMix64::new(seed),
            disk,
            member,
            answers,
            now: 0,
            lines: Vec::new(),
            pending: BTreeMap::new(),
            watchers: Vec::new(),
            count: 0,
        };
        for (key, end, no_put) in [("\0", "\0", false), ("key02", "key05", true)] {
            let keys = h::Keys {
                key: key.into(),
                end: end.into(),
            };
            let watch = Watch {
                keys,
                start: 1,
                no_put,
                prev_kv: !no_put,
                ..Watch::default()
            };
            world.follow(watch);
        }
        world
    }

    fn next(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// Asks for a watch from its `start` on, on a stream of its own.
    fn follow(&mut self, watch: Watch) {
        let resumes = (watch.id > 0).then_some(watch.id);
        let id = self.next();
        let watch = Watch {
            id,
            stream: id,
            resumes,
            call: self.now,
            ..watch
        };
        let mut session = self.member.watches().open();
        session.request(watch_request(&watch));
        self.lines.push(Line::Watch(watch.clone()));
        self.watchers.push((watch, session));
    }

    fn send(&mut self) {
        let id = self.next();
        let value = self.count;
        let revision = self.member.state().views().load().kv.revision().get();
        let request = next_request(&mut self.rng, value, revision);
        self.now += 1;
        self.member.write(id, write_of(&request)).unwrap();
        let operation = Operation {
            id,
            client: id % 8,
            call: self.now,
            returned: self.now,
            request,
            revision: 0,
            answer: None,
        };
        self.pending.insert(id, operation);
    }

    /// Writes down what has been answered since the last time.
    fn collect(&mut self) {
        self.now += 1;
        let answers: Vec<_> = self.answers.lock().unwrap().drain(..).collect();
        for answer in answers {
            let mut op = self.pending.remove(&answer.request).expect("asked once");
            op.returned = self.now;
            match answer.result {
                Ok(Some(mut response)) => {
                    let header = response.header_mut().and_then(Option::take);
                    op.revision = header.expect("it says its revision").revision;
                    op.answer = Some(answer_of(response));
                }
                Err(ApiError::Compacted) => op.answer = Some(Answer::Refused(Refusal::Compacted)),
                Err(ApiError::FutureRevision) => {
                    op.answer = Some(Answer::Refused(Refusal::Future));
                }
                other => panic!("{other:?}"),
            }
            self.lines.push(Line::Op(op));
        }
    }

    /// Lets a watch take some of what there is.
    fn pull(&mut self, which: usize, budget: usize) -> Pulled {
        let mut out: Vec<Bytes> = Vec::new();
        let session = &mut self.watchers[which].1;
        let pulled = session.pull(Waker::noop(), budget, Patience::Wait, &mut out);
        let mut ended = false;
        for response in out {
            self.now += 1;
            let watch = &mut self.watchers[which].0;
            let told = told_of(
                watch,
                self.now,
                WatchResponse::decode(&response[..]).unwrap(),
            );
            if let Some(last) = told.events.last() {
                watch.start = last.kv.modified + 1;
            }
            if told.canceled {
                watch.start = told.compacted;
                ended = true;
            }
            self.lines.push(Line::Told(told));
        }
        if ended {
            let (watch, _) = self.watchers.remove(which);
            self.follow(Watch { id: 0, ..watch });
        }
        pulled
    }

    /// Nobody knows what became of what was under way.
    fn crash(&mut self) {
        self.collect();
        let lost = std::mem::take(&mut self.pending);
        self.lines.extend(lost.into_values().map(Line::Op));
        let survival = [Survival::Nothing, Survival::Random][self.rng.below(2) as usize];
        self.disk.crash(survival, &mut self.rng);
        self.answers = Answers::default();
        self.member = SimMember::start(&mut self.disk, &options(), self.answers.clone()).unwrap();
        for (watch, _) in std::mem::take(&mut self.watchers) {
            self.follow(watch);
        }
    }

    fn live(&mut self) {
        for _ in 0..WRITES {
            self.send();
            for _ in 0..self.rng.below(14) {
                self.member.step(&mut self.disk, &mut self.rng);
                self.collect();
                if self.rng.below(5) == 0 {
                    let which = self.rng.below(2) as usize;
                    self.pull(which, 200);
                }
            }
        }
    }

    /// Answers everything, tells everything.
    fn finish(mut self) -> History {
        self.member.settle(&mut self.disk, &mut self.rng);
        self.collect();
        assert!(self.pending.is_empty(), "not answered: {:?}", self.pending);
        for which in [0, 1, 0, 1] {
            while self.pull(which, 10_000) == Pulled::Part {}
        }
        History { lines: self.lines }
    }
}

#[test]
fn what_clients_saw_through_losses_of_power_has_an_order_and_watches_missed_nothing() {
    let (mut answered, mut lost, mut done, mut events) = (0, 0, 0, 0);
    for seed in 0..60 {
        let mut world = World::new(seed);
        for _ in 0..LIVES {
            world.live();
            world.crash();
        }
        world.live();
        let history = world.finish();
        let report = h::check(&history);
        let words: Vec<_> = report.violations.iter().map(ToString::to_string).collect();
        assert!(words.is_empty(), "seed {seed}: {}", words.join("\n"));
        answered += report.answered;
        lost += report.lost;
        done += report.lost_done;
        events += report.events;
    }
    println!("{answered} answered writes, {lost} lost of which {done} were done, {events} events");
    assert!(answered > 5_000 && events > 5_000);
    assert!(done > 100 && lost - done > 100, "both must happen");
}
