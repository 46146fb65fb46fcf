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
use tenet_check::history::{
    self as h, Answer, History, Line, Operation, PutAnswer, RangeAnswer, Refusal, Request, Told,
    TxnAnswer, Watch,
};
use tenet_member::{Pulled, WatchSession, Write};
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use tenet_proto::etcdserverpb::request_op::Request as Op;
use tenet_proto::etcdserverpb::response_op::Response as OpResponse;
use tenet_proto::etcdserverpb::watch_request::RequestUnion;
use tenet_proto::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp,
    TxnRequest, WatchCreateRequest, WatchRequest, WatchResponse,
};
use tenet_proto::mvccpb::KeyValue;
use tenet_proto::mvccpb::event::EventType;
use tenet_proto::prost::Message as _;
use tenet_sim::disk::{SimDisk, Survival};
use tenet_sim::member::{Answers, SimMember};
use tenet_state::Response;

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
        session.request(WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(WatchCreateRequest {
                key: watch.keys.key.clone().into(),
                range_end: watch.keys.end.clone().into(),
                start_revision: watch.start,
                prev_kv: watch.prev_kv,
                filters: if watch.no_put { vec![0] } else { vec![] },
                ..WatchCreateRequest::default()
            })),
        });
        self.lines.push(Line::Watch(watch.clone()));
        self.watchers.push((watch, session));
    }

    fn send(&mut self) {
        let (id, value) = (self.next(), self.count);
        let key = |rng: &mut SplitMix64| format!("key{:02}", rng.below(8));
        let rng = &mut self.rng;
        let put = h::Put {
            key: key(rng),
            value: format!("v{value}"),
            prev_kv: rng.below(2) == 0,
            lease: 0,
        };
        let keys = |rng: &mut SplitMix64| h::Keys {
            key: key(rng),
            end: if rng.below(3) == 0 {
                key(rng)
            } else {
                String::new()
            },
        };
        let request = match rng.below(12) {
            0..=4 => Request::Put(put),
            5..=6 => Request::Delete(h::Delete {
                keys: keys(rng),
                prev_kv: true,
            }),
            7 => {
                let revision = self.member.state().views().load().kv.revision().get();
                Request::Compact(h::Compact {
                    revision: (revision - rng.below(6) as i64).max(2),
                })
            }
            _ => {
                let everything = Request::Range(h::Range {
                    keys: h::Keys {
                        key: "\0".into(),
                        end: "\0".into(),
                    },
                    ..h::Range::default()
                });
                Request::Txn(h::Txn {
                    compare: vec![h::Compare {
                        keys: h::Keys {
                            key: key(rng),
                            end: String::new(),
                        },
                        result: h::Comparison::Less,
                        with: h::Operand::Version(1 + rng.below(3) as i64),
                    }],
                    success: vec![Request::Put(put), everything.clone()],
                    failure: vec![
                        Request::Delete(h::Delete {
                            keys: keys(rng),
                            prev_kv: false,
                        }),
                        everything,
                    ],
                })
            }
        };
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
        let pulled = self.watchers[which].1.pull(Waker::noop(), budget, &mut out);
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

fn op_of(request: &Request) -> Op {
    match request {
        Request::Range(range) => Op::RequestRange(RangeRequest {
            key: range.keys.key.clone().into(),
            range_end: range.keys.end.clone().into(),
            ..RangeRequest::default()
        }),
        Request::Put(put) => Op::RequestPut(PutRequest {
            key: put.key.clone().into(),
            value: put.value.clone().into(),
            prev_kv: put.prev_kv,
            ..PutRequest::default()
        }),
        Request::Delete(delete) => Op::RequestDeleteRange(DeleteRangeRequest {
            key: delete.keys.key.clone().into(),
            range_end: delete.keys.end.clone().into(),
            prev_kv: delete.prev_kv,
        }),
        other => panic!("{other:?} is not drawn here"),
    }
}

fn write_of(request: &Request) -> Write {
    let branch = |requests: &[Request]| {
        let ops = requests.iter().map(|next| RequestOp {
            request: Some(op_of(next)),
        });
        ops.collect()
    };
    match request {
        Request::Compact(compact) => Write::Compact(CompactionRequest {
            revision: compact.revision,
            physical: false,
        }),
        Request::Txn(txn) => {
            let h::Operand::Version(version) = txn.compare[0].with else {
                panic!("only versions are compared here");
            };
            Write::Txn(TxnRequest {
                compare: vec![Compare {
                    result: CompareResult::Less.into(),
                    target: CompareTarget::Version.into(),
                    key: txn.compare[0].keys.key.clone().into(),
                    target_union: Some(TargetUnion::Version(version)),
                    ..Compare::default()
                }],
                success: branch(&txn.success),
                failure: branch(&txn.failure),
            })
        }
        other => match op_of(other) {
            Op::RequestPut(put) => Write::Put(put),
            Op::RequestDeleteRange(delete) => Write::DeleteRange(delete),
            op => panic!("{op:?} writes nothing"),
        },
    }
}

fn answer_of(response: Response) -> Answer {
    match response {
        Response::Put(response) => OpResponse::ResponsePut(response).into_answer(),
        Response::DeleteRange(response) => OpResponse::ResponseDeleteRange(response).into_answer(),
        Response::Txn(response) => OpResponse::ResponseTxn(response).into_answer(),
        Response::Compaction(_) => Answer::Done,
        other => panic!("{other:?} was not asked for"),
    }
}

trait IntoAnswer {
    fn into_answer(self) -> Answer;
}

impl IntoAnswer for OpResponse {
    fn into_answer(self) -> Answer {
        match self {
            OpResponse::ResponseRange(found) => Answer::Range(RangeAnswer {
                kvs: found.kvs.into_iter().map(kv_of).collect(),
                count: found.count,
                more: found.more,
            }),
            OpResponse::ResponsePut(response) => Answer::Put(PutAnswer {
                prev: response.prev_kv.map(kv_of),
            }),
            OpResponse::ResponseDeleteRange(response) => Answer::Delete(h::DeleteAnswer {
                deleted: response.deleted,
                prevs: response.prev_kvs.into_iter().map(kv_of).collect(),
            }),
            OpResponse::ResponseTxn(response) => {
                let results = response.responses.into_iter();
                let results = results.map(|next| next.response.expect("one for each"));
                Answer::Txn(TxnAnswer {
                    succeeded: response.succeeded,
                    results: results.map(IntoAnswer::into_answer).collect(),
                })
            }
        }
    }
}

fn kv_of(kv: KeyValue) -> h::Kv {
    let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).expect("only text is written here");
    h::Kv {
        key: text(kv.key),
        value: text(kv.value),
        created: kv.create_revision,
        modified: kv.mod_revision,
        version: kv.version,
        lease: kv.lease,
    }
}

fn told_of(watch: &Watch, at: i64, response: WatchResponse) -> Told {
    let events = response.events.into_iter().map(|event| h::Event {
        deleted: event.r#type() == EventType::Delete,
        kv: kv_of(event.kv.expect("of a key")),
        prev: event.prev_kv.map(kv_of),
    });
    Told {
        stream: watch.stream,
        watch: Some(watch.id),
        at,
        revision: response.header.map_or(0, |header| header.revision),
        created: response.created,
        canceled: response.canceled,
        compacted: response.compact_revision,
        fragment: response.fragment,
        events: events.collect(),
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
