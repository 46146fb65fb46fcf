//! Correct histories from a seed: a plain sequential store, clients whose calls overlap, answers
//! that get lost, leases that end, and watches that tell what was logged.
//!
//! The store keeps a copy of everything for every revision. It shares nothing with the model.

use std::collections::BTreeMap;

use tenet_base::Rng as _;
use tenet_base::world::SplitMix64;

use super::super::*;

const MS: i64 = 1_000_000;
const KEYS: u64 = 7;

/// See the module.
pub(super) fn history(seed: u64, operations: u64) -> History {
    let mut world = World::new(seed);
    for _ in 0..operations {
        world.expire();
        world.operation();
    }
    let mut lines = std::mem::take(&mut world.lines);
    for stream in 0..8 {
        lines.extend(world.stream(stream));
    }
    History { lines }
}

struct World {
    rng: SplitMix64,
    now: i64,
    /// When each client is free again.
    clients: Vec<i64>,
    store: Plain,
    lines: Vec<Line>,
    next_id: u64,
    watches: u64,
    compactions: Vec<(i64, i64)>,
}

#[derive(Clone, Default)]
struct Plain {
    keys: BTreeMap<String, Kv>,
    leases: BTreeMap<i64, (i64, i64)>,
    compacted: i64,
    /// For each revision from 1 on: when it was made, its events, and everything there was.
    log: Vec<(i64, Vec<Event>, BTreeMap<String, Kv>)>,
}

impl Plain {
    fn revision(&self) -> i64 {
        self.log.len() as i64
    }

    fn range(&self, range: &Range, keys: &BTreeMap<String, Kv>) -> RangeAnswer {
        let found: Vec<Kv> = keys
            .values()
            .filter(|kv| range.keys.contain(&kv.key))
            .cloned()
            .collect();
        let limit = if range.limit > 0 {
            range.limit as usize
        } else {
            usize::MAX
        };
        RangeAnswer {
            count: found.len() as i64,
            more: !range.count_only && found.len() > limit,
            kvs: if range.count_only {
                vec![]
            } else {
                found.into_iter().take(limit).collect()
            },
        }
    }

    fn put(&mut self, put: &Put, events: &mut Vec<Event>) -> PutAnswer {
        let revision = self.revision() + 1;
        let prev = self.keys.get(&put.key).cloned();
        let kv = Kv {
            key: put.key.clone(),
            value: put.value.clone(),
            created: prev.as_ref().map_or(revision, |kv| kv.created),
            modified: revision,
            version: prev.as_ref().map_or(1, |kv| kv.version + 1),
            lease: put.lease,
        };
        self.keys.insert(put.key.clone(), kv.clone());
        events.push(Event {
            deleted: false,
            kv,
            prev: prev.clone(),
        });
        PutAnswer {
            prev: prev.filter(|_| put.prev_kv),
        }
    }

    fn delete(&mut self, delete: &Delete, events: &mut Vec<Event>) -> DeleteAnswer {
        let modified = self.revision() + 1;
        let found: Vec<Kv> = self
            .keys
            .values()
            .filter(|kv| delete.keys.contain(&kv.key))
            .cloned()
            .collect();
        for kv in &found {
            self.keys.remove(&kv.key);
            let gone = Kv {
                key: kv.key.clone(),
                modified,
                ..Kv::default()
            };
            events.push(Event {
                deleted: true,
                kv: gone,
                prev: Some(kv.clone()),
            });
        }
        let deleted = found.len() as i64;
        DeleteAnswer {
            deleted,
            prevs: if delete.prev_kv { found } else { vec![] },
        }
    }

    fn run(
        &mut self,
        request: &Request,
        before: &BTreeMap<String, Kv>,
        events: &mut Vec<Event>,
    ) -> Answer {
        match request {
            Request::Range(range) => Answer::Range(self.range(range, &self.keys)),
            Request::Put(put) => Answer::Put(self.put(put, events)),
            Request::Delete(delete) => Answer::Delete(self.delete(delete, events)),
            Request::Txn(txn) => {
                let succeeded = txn.compare.iter().all(|compare| holds(compare, before));
                let branch = if succeeded {
                    &txn.success
                } else {
                    &txn.failure
                };
                let results = branch
                    .iter()
                    .map(|next| self.run(next, before, events))
                    .collect();
                Answer::Txn(TxnAnswer { succeeded, results })
            }
            _ => unreachable!("only of keys"),
        }
    }

    fn finish(&mut self, now: i64, events: Vec<Event>) {
        if !events.is_empty() {
            self.log.push((now, events, self.keys.clone()));
        }
    }

    fn end(&mut self, lease: i64, now: i64) {
        self.leases.remove(&lease);
        let attached: Vec<String> = self
            .keys
            .values()
            .filter(|kv| kv.lease == lease)
            .map(|kv| kv.key.clone())
            .collect();
        let mut events = Vec::new();
        for key in attached {
            let delete = Delete {
                keys: Keys {
                    key,
                    end: String::new(),
                },
                prev_kv: false,
            };
            self.delete(&delete, &mut events);
        }
        self.finish(now, events);
    }

    fn unknown_lease(&self, request: &Request) -> bool {
        match request {
            Request::Put(put) => put.lease != 0 && !self.leases.contains_key(&put.lease),
            Request::Txn(txn) => {
                let holds = txn.compare.iter().all(|compare| holds(compare, &self.keys));
                let branch = if holds { &txn.success } else { &txn.failure };
                branch.iter().any(|next| self.unknown_lease(next))
            }
            _ => false,
        }
    }
}

fn holds(compare: &Compare, keys: &BTreeMap<String, Kv>) -> bool {
    let missing = Kv::default();
    let kv = keys.get(&compare.keys.key);
    let of = kv.unwrap_or(&missing);
    let (has, with) = match &compare.with {
        Operand::Version(with) => (of.version, *with),
        Operand::Create(with) => (of.created, *with),
        Operand::Mod(with) => (of.modified, *with),
        Operand::Lease(with) => (of.lease, *with),
        Operand::Value(with) => match kv {
            None => return false,
            Some(kv) => (0, with.cmp(&kv.value) as i64),
        },
    };
    match compare.result {
        Comparison::Equal => has == with,
        Comparison::NotEqual => has != with,
        Comparison::Greater => has > with,
        Comparison::Less => has < with,
    }
}

impl World {
    fn new(seed: u64) -> World {
        let first = (0, Vec::new(), BTreeMap::new());
        World {
            rng: SplitMix64::new(seed),
            now: 1_000 * MS,
            clients: vec![0; 6],
            store: Plain {
                log: vec![first],
                ..Plain::default()
            },
            lines: Vec::new(),
            next_id: 0,
            watches: 0,
            compactions: Vec::new(),
        }
    }

    fn below(&mut self, bound: i64) -> i64 {
        self.rng.below(bound as u64) as i64
    }

    fn one_in(&mut self, count: i64) -> bool {
        self.below(count) == 0
    }

    fn key(&mut self) -> String {
        format!("k{}", self.rng.below(KEYS))
    }

    fn keys(&mut self) -> Keys {
        let key = self.key();
        let end = match self.below(4) {
            0 => "\0".to_owned(),
            1 => self.key(),
            _ => String::new(),
        };
        Keys { key, end }
    }

    fn lease(&mut self) -> i64 {
        if self.one_in(3) {
            1 + self.below(self.next_id as i64 / 12 + 2)
        } else {
            0
        }
    }

    fn put(&mut self) -> Put {
        self.next_id += 1;
        Put {
            key: self.key(),
            value: format!("v{}", self.next_id),
            lease: self.lease(),
            prev_kv: self.one_in(3),
        }
    }

    fn delete(&mut self) -> Delete {
        Delete {
            keys: self.keys(),
            prev_kv: self.one_in(3),
        }
    }

    fn compare(&mut self) -> Compare {
        let number = self.below(self.store.revision() + 2);
        let with = match self.below(5) {
            0 => Operand::Version(self.below(3)),
            1 => Operand::Create(number),
            2 => Operand::Mod(number),
            3 => Operand::Lease(self.lease()),
            _ => Operand::Value(format!("v{}", self.next_id / 2)),
        };
        let results = [
            Comparison::Equal,
            Comparison::NotEqual,
            Comparison::Greater,
            Comparison::Less,
        ];
        let result = results[self.below(4) as usize];
        let result = if matches!(with, Operand::Value(_)) && self.one_in(2) {
            Comparison::Equal
        } else {
            result
        };
        Compare {
            keys: Keys {
                key: self.key(),
                end: String::new(),
            },
            result,
            with,
        }
    }

    fn branch(&mut self, depth: u64) -> Vec<Request> {
        let one = match self.below(6) {
            0 => Request::Delete(self.delete()),
            1 => Request::Range(Range {
                keys: self.keys(),
                ..Range::default()
            }),
            2 if depth > 0 => self.txn(depth - 1),
            _ => Request::Put(self.put()),
        };
        // A key that nothing else writes, so that no key is written twice.
        let other = Request::Put(Put {
            key: format!("x{}", self.below(4)),
            ..self.put()
        });
        let alone = !matches!(one, Request::Put(_) | Request::Range(_));
        if depth == 1 && !alone && self.one_in(3) {
            vec![one, other]
        } else {
            vec![one]
        }
    }

    fn txn(&mut self, depth: u64) -> Request {
        let compare = (0..self.below(3)).map(|_| self.compare()).collect();
        Request::Txn(Txn {
            compare,
            success: self.branch(depth),
            failure: self.branch(depth),
        })
    }

    fn request(&mut self) -> Request {
        let revision = self.store.revision();
        match self.below(40) {
            0..=13 => Request::Put(self.put()),
            14..=15 => Request::Delete(self.delete()),
            16..=20 => self.txn(1),
            21..=29 => Request::Range(Range {
                keys: self.keys(),
                revision: if self.one_in(3) {
                    1 + self.below(revision + 1)
                } else {
                    0
                },
                limit: self.below(4),
                count_only: self.one_in(6),
                serializable: self.one_in(6),
            }),
            30 => Request::Compact(Compact {
                revision: (revision - self.below(12)).max(2),
            }),
            31..=33 => {
                self.next_id += 1;
                Request::Grant(Grant {
                    lease: 1 + self.next_id as i64 / 12,
                    ttl: 1 + self.below(3),
                })
            }
            34 => Request::Revoke(LeaseName {
                lease: self.lease().max(1),
            }),
            35..=37 => Request::KeepAlive(LeaseName {
                lease: self.lease().max(1),
            }),
            _ => Request::TimeToLive(LeaseName {
                lease: self.lease().max(1),
            }),
        }
    }

    /// One request, carried out now, somewhere between its call and its answer.
    fn operation(&mut self) {
        let request = self.request();
        if let Request::Grant(grant) = &request {
            let used = |line: &Line| matches!(line, Line::Op(op) if matches!(&op.request, Request::Grant(other) if other.lease == grant.lease));
            if self.lines.iter().any(used) {
                return;
            }
        }
        let client = self.below(6) as usize;
        self.now = self.now.max(self.clients[client] + 1) + self.below(30 * MS);
        let call = (self.clients[client] + 1).max(self.now - self.below(100 * MS));
        let lost = self.one_in(25);
        let done = !lost || self.one_in(2);
        let answer = if done {
            self.perform(&request)
        } else {
            Answer::Done
        };
        let revision = match &answer {
            Answer::Refused(_) | Answer::Lease(_) => 0,
            _ => self.store.revision(),
        };
        self.clients[client] = if lost {
            self.now.min(call + MS)
        } else {
            self.now + self.below(100 * MS)
        };
        self.lines.push(Line::Op(Operation {
            id: self.lines.len() as u64,
            client: client as u64,
            call,
            returned: self.clients[client],
            request,
            revision: if lost { 0 } else { revision },
            answer: (!lost).then_some(answer),
        }));
    }

    fn perform(&mut self, request: &Request) -> Answer {
        let (now, revision) = (self.now, self.store.revision());
        match request {
            Request::Range(range) if range.revision > revision => Answer::Refused(Refusal::Future),
            Request::Range(range)
                if range.revision > 0 && range.revision < self.store.compacted =>
            {
                Answer::Refused(Refusal::Compacted)
            }
            Request::Range(range) if range.revision > 0 => {
                let then = &self.store.log[range.revision as usize - 1].2;
                Answer::Range(self.store.range(range, then))
            }
            Request::Compact(compact) if compact.revision > revision => {
                Answer::Refused(Refusal::Future)
            }
            Request::Compact(compact) if compact.revision <= self.store.compacted => {
                Answer::Refused(Refusal::Compacted)
            }
            Request::Compact(compact) => {
                self.store.compacted = compact.revision;
                self.compactions.push((now, compact.revision));
                Answer::Done
            }
            Request::Grant(_)
            | Request::Revoke(_)
            | Request::KeepAlive(_)
            | Request::TimeToLive(_) => self.perform_on_lease(request),
            request if self.store.unknown_lease(request) => Answer::Refused(Refusal::LeaseNotFound),
            request => {
                let (before, mut events) = (self.store.keys.clone(), Vec::new());
                let answer = self.store.run(request, &before, &mut events);
                self.store.finish(now, events);
                answer
            }
        }
    }

    fn perform_on_lease(&mut self, request: &Request) -> Answer {
        let now = self.now;
        match request {
            Request::Grant(grant) => {
                self.store
                    .leases
                    .insert(grant.lease, (grant.ttl, now + grant.ttl * 1_000 * MS));
                Answer::Grant(grant.clone())
            }
            Request::Revoke(name) if self.store.leases.contains_key(&name.lease) => {
                self.store.end(name.lease, now);
                Answer::Done
            }
            Request::Revoke(_) => Answer::Refused(Refusal::LeaseNotFound),
            Request::KeepAlive(name) => {
                Answer::Lease(match self.store.leases.get_mut(&name.lease) {
                    Some((ttl, until)) => {
                        *until = now + *ttl * 1_000 * MS;
                        LeaseAnswer {
                            ttl: *ttl,
                            ..LeaseAnswer::default()
                        }
                    }
                    None => LeaseAnswer::default(),
                })
            }
            Request::TimeToLive(name) => Answer::Lease(match self.store.leases.get(&name.lease) {
                Some((granted, until)) => LeaseAnswer {
                    ttl: (until - now).div_euclid(1_000 * MS),
                    granted: *granted,
                    keys: self
                        .store
                        .keys
                        .values()
                        .filter(|kv| kv.lease == name.lease)
                        .map(|kv| kv.key.clone())
                        .collect(),
                },
                None => LeaseAnswer {
                    ttl: -1,
                    ..LeaseAnswer::default()
                },
            }),
            other => unreachable!("{other:?} is of no lease"),
        }
    }

    /// Ends leases whose time is over, sooner or later.
    fn expire(&mut self) {
        let over = self
            .store
            .leases
            .iter()
            .find(|(_, (_, until))| *until < self.now);
        if let Some(id) = over.map(|(id, _)| *id)
            && self.one_in(4)
        {
            self.store.end(id, self.now);
            self.now += 1;
        }
    }

    /// All that is told on one stream: a watch that may break off and be resumed, beside another.
    fn stream(&mut self, stream: u64) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut resumes = None;
        let last = self.store.revision();
        let start = 1 + self.below(last);
        let mut watch = self.watch(stream, start);
        let mut at;
        loop {
            let first = (watch.start + 1).max(last / 2).min(last);
            let until = if resumes.is_none() { first } else { last };
            at = self.watched(&watch, until, &mut lines);
            if until >= last {
                break;
            }
            resumes = Some(watch.id);
            watch = Watch {
                resumes,
                start: until + 1,
                ..watch
            };
            watch.id = self.next_watch();
            // Whoever comes back comes on a stream of its own.
            watch.stream += 100;
        }
        let done = Told {
            stream: watch.stream,
            watch: None,
            at: at.max(self.now),
            revision: last,
            ..Told::default()
        };
        lines.push(Line::Told(done));
        let late = (last + 1 - self.below(last / 2 + 1)).max(1);
        if self.one_in(2) {
            let lost = Watch {
                start: late,
                ..self.watch(stream, late)
            };
            self.compacted(&lost, &mut lines);
        }
        lines
    }

    fn next_watch(&mut self) -> u64 {
        self.watches += 1;
        self.watches
    }

    fn watch(&mut self, stream: u64, start: i64) -> Watch {
        Watch {
            id: self.next_watch(),
            stream,
            client: stream,
            keys: self.keys(),
            start,
            prev_kv: self.one_in(2),
            no_put: self.one_in(6),
            no_delete: self.one_in(6),
            fragment: self.one_in(4),
            ..Watch::default()
        }
    }

    /// A watch that comes too late for what was compacted.
    fn compacted(&mut self, watch: &Watch, lines: &mut Vec<Line>) {
        let Some((at, revision)) = self.compactions.last().copied() else {
            return;
        };
        if watch.start >= revision {
            return;
        }
        let at = at + MS;
        let told = Told {
            stream: watch.stream,
            watch: Some(watch.id),
            at,
            ..Told::default()
        };
        lines.push(Line::Watch(Watch {
            call: at,
            ..watch.clone()
        }));
        lines.push(Line::Told(Told {
            created: true,
            revision,
            ..told.clone()
        }));
        lines.push(Line::Told(Told {
            canceled: true,
            compacted: revision,
            ..told
        }));
    }

    /// Tells a watch of all its events up to a revision; returns when that was done.
    fn watched(&mut self, watch: &Watch, until: i64, lines: &mut Vec<Line>) -> i64 {
        let begun = self.store.log[(watch.start - 2).max(0) as usize].0;
        let told = Told {
            stream: watch.stream,
            watch: Some(watch.id),
            at: begun,
            ..Told::default()
        };
        // Half of those that begin at a revision say so; the others take what comes next.
        let named = self.one_in(2) || watch.resumes.is_some();
        lines.push(Line::Watch(Watch {
            call: begun,
            start: if named { watch.start } else { 0 },
            ..watch.clone()
        }));
        lines.push(Line::Told(Told {
            created: true,
            revision: watch.start - 1,
            ..told.clone()
        }));
        let mut events: Vec<Event> = Vec::new();
        let mut at = begun;
        for revision in watch.start..=until {
            let (made, changes, _) = self.store.log[revision as usize - 1].clone();
            at = at.max(made);
            let wanted = |event: &Event| {
                watch.keys.contain(&event.kv.key)
                    && if event.deleted {
                        !watch.no_delete
                    } else {
                        !watch.no_put
                    }
            };
            let kept = |event: Event| Event {
                prev: event.prev.filter(|_| watch.prev_kv),
                ..event
            };
            events.extend(changes.into_iter().filter(wanted).map(kept));
            if events.is_empty() || (revision < until && self.one_in(3)) {
                continue;
            }
            at += self.below(5 * MS);
            let all = std::mem::take(&mut events);
            let mut response = Told {
                at,
                revision,
                events: all,
                ..told.clone()
            };
            if watch.fragment && response.events.len() > 1 {
                let rest = response.events.split_off(1);
                lines.push(Line::Told(Told {
                    fragment: true,
                    ..response.clone()
                }));
                response.events = rest;
            }
            lines.push(Line::Told(response));
            if self.one_in(5) {
                lines.push(Line::Told(Told {
                    at,
                    revision,
                    ..told.clone()
                }));
            }
        }
        at
    }
}
