//! The clients of a simulated cluster: what they ask, what they are told, written down for the
//! checkers.
//!
//! A client asks one member and forgets nothing: what is not answered is written down as lost. A
//! watch whose member is gone is resumed at another.

use super::Cluster;
use crate::history::{answer_of, everything, kv_of, next_request, range_of, told_of};
use crate::history::{watch_request, write_of};
use crate::member::Answer as Told;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::task::Waker;
use tenet_base::Rng as _;
use tenet_check::history::{
    self as h, Answer, Line, Operation, RangeAnswer, Refusal, Request, Watch,
};
use tenet_member::{Pulled, WatchSession};
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::WatchResponse;
use tenet_proto::prost::Message as _;
use tenet_store::Patience;

/// Numbers of requests from here on are not of clients: what they are answered is not looked at.
pub(super) const OPERATOR: u64 = 1 << 40;
/// Clients; each waits for its answer before it asks again.
const CLIENTS: u64 = 8;

#[derive(Debug)]
struct Following {
    at: usize,
    watch: Watch,
    session: WatchSession,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Clients {
    pub(super) lines: Vec<Line>,
    /// Whom each was asked of, and what.
    pending: BTreeMap<u64, (usize, Operation)>,
    following: Vec<Following>,
    /// Watches without a member to follow.
    stranded: Vec<Watch>,
    count: u64,
    pub(super) answered: u64,
}

impl Clients {
    pub(super) fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    fn next(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// A client that does not wait for an answer.
    fn idle_client(&self) -> u64 {
        let waits = |client: &u64| self.pending.values().any(|(_, op)| op.client == *client);
        (0..=CLIENTS)
            .find(|client| !waits(client))
            .unwrap_or(CLIENTS)
    }
}

impl Cluster {
    /// Asks a member for something, unless all clients wait for answers.
    pub(super) fn ask(&mut self, at: usize) {
        let newest = self.newest_revision();
        if self.clients.pending.len() as u64 >= CLIENTS {
            return;
        }
        let id = self.clients.next();
        let request = match self.rng.below(10) {
            0..=2 => Request::Range(h::Range {
                serializable: self.rng.below(3) == 0,
                ..everything()
            }),
            _ => next_request(&mut self.rng, id, newest),
        };
        self.ask_for(at, id, self.seen(request));
    }

    /// Compacts nothing that a watch has not seen: with requests that were lost, revisions that
    /// nobody saw could have come about in too many ways to be checked.
    fn seen(&self, request: Request) -> Request {
        let Request::Compact(compact) = request else {
            return request;
        };
        let following = self.clients.following.iter().map(|f| &f.watch);
        let all = following.chain(&self.clients.stranded);
        let starts = all.filter(|w| w.keys == everything().keys).map(|w| w.start);
        let least = starts.min().unwrap_or(1);
        Request::Compact(h::Compact {
            revision: compact.revision.min(least - 1).max(1),
        })
    }

    /// Asks a member for a write that is surely one.
    pub(super) fn ask_put(&mut self, at: usize) {
        let id = self.clients.next();
        let put = h::Put {
            key: format!("rest{at}"),
            value: format!("v{id}"),
            ..h::Put::default()
        };
        self.ask_for(at, id, Request::Put(put));
    }

    fn ask_for(&mut self, at: usize, id: u64, request: Request) {
        let now = self.now as i64;
        let operation = Operation {
            id,
            client: self.clients.idle_client(),
            call: now,
            returned: now,
            request,
            revision: 0,
            answer: None,
        };
        let Some(member) = self.nodes[at].member.as_mut() else {
            return;
        };
        match &operation.request {
            Request::Range(range) if range.serializable => {
                let read = (at, operation);
                self.clients.pending.insert(id, read);
                self.told(at, id, Ok(None));
                return;
            }
            Request::Range(_) => member.ask_read(id),
            request => match member.write(id, write_of(request)) {
                Ok(()) => {}
                // Refused at once, so surely not done.
                Err(_) => return,
            },
        }
        self.clients.pending.insert(id, (at, operation));
        self.collect(at);
    }

    /// Writes down what a member has answered since the last time.
    pub(super) fn collect(&mut self, at: usize) {
        let answers: Vec<Told> = {
            let answers = &self.nodes[at].answers;
            let mut held = answers.lock().expect("no holder panics");
            held.drain(..).collect()
        };
        for answer in answers {
            if answer.request < OPERATOR {
                self.told(at, answer.request, answer.result);
            }
        }
    }

    fn told(
        &mut self,
        at: usize,
        id: u64,
        result: Result<Option<tenet_state::Response>, ApiError>,
    ) {
        let (_, mut op) = self
            .clients
            .pending
            .remove(&id)
            .expect("a request is answered once");
        op.returned = self.now as i64;
        match result {
            Ok(Some(mut response)) => {
                let header = response.header_mut().and_then(Option::take);
                op.revision = header.expect("it says its revision").revision;
                op.answer = Some(answer_of(response));
            }
            Ok(None) => self.read(at, &mut op),
            Err(ApiError::Compacted) => op.answer = Some(Answer::Refused(Refusal::Compacted)),
            Err(ApiError::FutureRevision) => op.answer = Some(Answer::Refused(Refusal::Future)),
            Err(
                ApiError::Timeout
                | ApiError::TimeoutDueToLeaderFail
                | ApiError::LeaderChanged
                | ApiError::RequestTooManyRequests
                | ApiError::Stopped,
            ) => {}
            Err(other) => panic!("request {id} was refused: {other:?}"),
        }
        self.clients.answered += u64::from(op.answer.is_some());
        let lost_read = op.answer.is_none() && matches!(op.request, Request::Range(_));
        if !lost_read {
            self.clients.lines.push(Line::Op(op));
        }
    }

    /// The member has said that its newest view is new enough.
    fn read(&self, at: usize, op: &mut Operation) {
        let member = self.nodes[at].member.as_ref();
        let frontend = member.expect("it has just answered").frontend();
        let Request::Range(range) = &op.request else {
            panic!("{:?} was answered like a read", op.request);
        };
        let found = frontend
            .range(&range_of(range))
            .expect("nothing old is asked for");
        op.revision = found.header.map_or(0, |header| header.revision);
        op.answer = Some(Answer::Range(RangeAnswer {
            kvs: found.kvs.into_iter().map(kv_of).collect(),
            count: found.count,
            more: found.more,
        }));
    }

    /// A member is gone, with all that it was asked; its watches look for another.
    pub(super) fn strand(&mut self, at: usize) {
        self.collect(at);
        let lost = self
            .clients
            .pending
            .extract_if(.., |_, (asked, _)| *asked == at);
        let lines = lost.filter_map(|(_, (_, op))| match op.request {
            Request::Range(_) => None,
            _ => Some(Line::Op(op)),
        });
        self.clients.lines.extend(lines);
        let stranded = self.clients.following.extract_if(.., |f| f.at == at);
        self.clients.stranded.extend(stranded.map(|f| f.watch));
    }

    /// Finds members for watches that have none.
    pub(super) fn follow_again(&mut self) {
        for watch in std::mem::take(&mut self.clients.stranded) {
            match self.some_running() {
                Some(at) => self.follow(at, watch),
                None => self.clients.stranded.push(watch),
            }
        }
    }

    /// Asks for a watch from its `start` on, on a stream of its own.
    pub(super) fn follow(&mut self, at: usize, watch: Watch) {
        let resumes = (watch.id > 0).then_some(watch.id);
        let id = self.clients.next();
        let watch = Watch {
            id,
            stream: id,
            resumes,
            call: self.now as i64,
            ..watch
        };
        let member = self.nodes[at].member.as_ref().expect("it runs");
        let mut session = member.watches().open();
        session.request(watch_request(&watch));
        self.clients.lines.push(Line::Watch(watch.clone()));
        self.clients
            .following
            .push(Following { at, watch, session });
    }

    /// Lets some watch take some of what there is.
    pub(super) fn pull_some(&mut self) {
        let count = self.clients.following.len() as u64;
        if count > 0 {
            let which = self.rng.below(count) as usize;
            self.pull(which, 200);
        }
    }

    /// Lets all watches take all that there is.
    pub(super) fn pull_all(&mut self) {
        let mut more = true;
        while std::mem::take(&mut more) {
            for which in 0..self.clients.following.len() {
                let id = self.clients.following[which].watch.id;
                more |= matches!(self.pull(which, 10_000), Pulled::Part);
                // One that a compaction has ended is followed by another.
                more |= self.clients.following[which].watch.id != id;
            }
        }
    }

    fn pull(&mut self, which: usize, budget: usize) -> Pulled {
        let mut out: Vec<Bytes> = Vec::new();
        let following = &mut self.clients.following[which];
        let pulled = following
            .session
            .pull(Waker::noop(), budget, Patience::Wait, &mut out);
        let mut ended = false;
        for response in out {
            self.now += 1;
            let watch = &mut self.clients.following[which].watch;
            let response = WatchResponse::decode(&response[..]).expect("it was just encoded");
            let told = told_of(watch, self.now as i64, response);
            if let Some(last) = told.events.last() {
                watch.start = last.kv.modified + 1;
            }
            if told.canceled {
                watch.start = told.compacted;
                ended = true;
            }
            self.clients.lines.push(Line::Told(told));
        }
        if ended {
            let Following { at, watch, .. } = self.clients.following.remove(which);
            self.follow(at, Watch { id: 0, ..watch });
        }
        pulled
    }
}
