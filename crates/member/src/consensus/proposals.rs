//! Writes on their way into the log, and configuration changes.
//!
//! A leader appends what waits as one batch, and knows where it went: its proposals are found again
//! by (term, index). Any other member asks the leader, and whoever waits is found by the id of the
//! request when the entry is applied; that room is the applier's. Without a leader everything waits
//! here, up to its deadline.
//!
//! Invariants: a waiter is completed at most once; the places of what this member has appended
//! ascend; a proposal whose place another leader's entry took is told that nobody knows whether it
//! will be executed, for a message of it may be about.

use crate::messages::{Asked, Outputs};
use crate::proposal::{Change, Local, Proposal};
use bytes::Bytes;
use std::collections::VecDeque;
use tenet_base::{Index, Term, limits};
use tenet_proto::ApiError;
use tenet_proto::raftpb::Entry;
use tenet_raft::{MemoryLog, ProposeError, Proposed, Raft, Role};

/// Something that waits for a leader.
#[derive(Debug)]
struct Queued<T> {
    what: T,
    deadline_tick: u64,
}

/// A proposal in this member's log.
#[derive(Debug)]
struct Pending<W> {
    term: Term,
    index: Index,
    deadline_tick: u64,
    /// Taken when the proposal is answered early (timeout); the entry then has no waiter.
    local: Option<Local<W>>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Proposals<W> {
    queued: VecDeque<Queued<Proposal<W>>>,
    own: Vec<Bytes>,
    /// As `own`, but for this moment and for a leader only.
    led: Vec<Bytes>,
    changes: VecDeque<Queued<Change<W>>>,
    pending: VecDeque<Pending<W>>,
}

impl<W> Proposals<W> {
    pub(super) fn new() -> Self {
        Proposals {
            queued: VecDeque::new(),
            own: Vec::new(),
            led: Vec::new(),
            changes: VecDeque::new(),
            pending: VecDeque::new(),
        }
    }

    pub(super) fn push(&mut self, what: Proposal<W>, deadline_tick: u64) {
        self.queued.push_back(Queued {
            what,
            deadline_tick,
        });
    }

    /// A write of the member itself, which nobody waits for.
    pub(super) fn push_own(&mut self, data: Bytes) {
        self.own.push(data);
    }

    /// Writes that are dropped unless this member leads when the batch is made.
    pub(super) fn push_led(&mut self, data: Vec<Bytes>) {
        self.led.extend(data);
    }

    pub(super) fn push_change(&mut self, what: Change<W>, deadline_tick: u64) {
        self.changes.push_back(Queued {
            what,
            deadline_tick,
        });
    }

    /// Answers those whose time is over.
    pub(super) fn tick(&mut self, now_tick: u64, out: &mut Outputs<W>) {
        let timeout = |waiter| (waiter, Err(ApiError::Timeout));
        let queued = expired(&mut self.queued, now_tick).map(|proposal| proposal.waiter);
        out.answers.extend(queued.map(timeout));
        let changes = expired(&mut self.changes, now_tick).map(|change| change.waiter);
        out.answers.extend(changes.map(timeout));
        // Deadlines grow along the queue, so the first that is not due ends the search.
        for pending in &mut self.pending {
            if pending.deadline_tick > now_tick {
                break;
            }
            out.answers
                .extend(pending.local.take().map(|local| timeout(local.waiter)));
        }
    }

    /// Puts everything that waits into the log, or sends it to whoever leads.
    pub(super) fn propose(&mut self, raft: &mut Raft<MemoryLog>, out: &mut Outputs<W>) {
        match raft.role() {
            Role::Leader => self.append(raft, out),
            Role::Follower if !raft.leader().is_zero() => self.forward(raft, out),
            _ => {}
        }
        self.led.clear();
        self.propose_changes(raft, out);
    }

    fn append(&mut self, raft: &mut Raft<MemoryLog>, out: &mut Outputs<W>) {
        let count = self.queued.len() + self.own.len() + self.led.len();
        if count == 0 {
            return;
        }
        let mut data: Vec<Bytes> = Vec::with_capacity(count);
        data.extend(self.queued.iter().map(|q| q.what.prepared.data.clone()));
        data.extend(self.own.iter().cloned());
        data.append(&mut self.led);
        match raft.propose(data) {
            Ok(Proposed::Appended { term, first }) => {
                self.own.clear();
                self.remember_places(term, first, out);
            }
            Ok(Proposed::Forwarded) => unreachable!("a leader forwarded its own proposals"),
            // What cannot be taken while leadership is handed over waits, up to its deadline.
            Err(ProposeError::NoLeader(_) | ProposeError::Transferring(_)) => {}
            Err(_) => self.fail_queued(ApiError::RequestTooManyRequests, out),
        }
    }

    fn remember_places(&mut self, term: Term, first: Index, out: &mut Outputs<W>) {
        // What an earlier term of this member's had there is no longer in its log.
        while self.pending.back().is_some_and(|last| last.index >= first) {
            let lost = self.pending.pop_back().expect("just seen");
            lose(lost, out);
        }
        let places = (first.get()..).map(Index);
        for (queued, index) in self.queued.drain(..).zip(places) {
            let Proposal { prepared, waiter } = queued.what;
            let local = Local {
                request: prepared.request,
                waiter,
                permit: prepared.permit,
            };
            self.pending.push_back(Pending {
                term,
                index,
                deadline_tick: queued.deadline_tick,
                local: Some(local),
            });
        }
    }

    /// Asks the leader, in messages of bounded size.
    fn forward(&mut self, raft: &mut Raft<MemoryLog>, out: &mut Outputs<W>) {
        if !self.own.is_empty() && raft.propose(self.own.clone()).is_ok() {
            self.own.clear();
        }
        while !self.queued.is_empty() {
            let count = self.message_len();
            let ahead = self.queued.iter().take(count);
            let data = ahead.map(|q| q.what.prepared.data.clone()).collect();
            if raft.propose(data).is_err() {
                return;
            }
            let sent = self.queued.drain(..count);
            out.asked.extend(sent.map(|q| Asked::from(q.what)));
        }
    }

    /// How many of those that wait go into one message; one at least.
    fn message_len(&self) -> usize {
        let mut bytes = 0;
        let within = self.queued.iter().take_while(|queued| {
            bytes += queued.what.prepared.data.len() as u64;
            bytes <= limits::RAFT_MESSAGE_BYTES_MAX
        });
        within.count().max(1)
    }

    /// One change at a time is under way; the others wait.
    fn propose_changes(&mut self, raft: &mut Raft<MemoryLog>, out: &mut Outputs<W>) {
        while let Some(front) = self.changes.front() {
            if raft.role() == Role::Leader && raft.is_changing() {
                return;
            }
            let proposed = raft.propose_conf_change(front.what.change.clone());
            let waits = matches!(
                proposed,
                Err(ProposeError::NoLeader(_) | ProposeError::Transferring(_))
            );
            if waits {
                return;
            }
            let Change { change, waiter } = self.changes.pop_front().expect("just seen").what;
            match proposed {
                Ok(_) => out.asked.push(Asked {
                    id: change.id,
                    waiter,
                    permit: None,
                }),
                Err(_) => out
                    .answers
                    .push((waiter, Err(ApiError::RequestTooManyRequests))),
            }
        }
    }

    fn fail_queued(&mut self, error: ApiError, out: &mut Outputs<W>) {
        let waiters = self.queued.drain(..).map(|q| q.what.waiter);
        out.answers
            .extend(waiters.map(|waiter| (waiter, Err(error))));
    }

    /// The proposal of this member that a committed entry is, if it is one.
    pub(super) fn local_of(&mut self, entry: &Entry, out: &mut Outputs<W>) -> Option<Local<W>> {
        while let Some(front) = self.pending.front() {
            if front.index > entry.index() {
                return None;
            }
            let front = self.pending.pop_front().expect("front was there");
            if front.index == entry.index() && front.term == entry.term() {
                return front.local;
            }
            lose(front, out);
        }
        None
    }

    pub(super) fn stop(&mut self, out: &mut Outputs<W>) {
        self.fail_queued(ApiError::Stopped, out);
        let changes = self.changes.drain(..).map(|queued| queued.what.waiter);
        let pending = self.pending.drain(..).filter_map(|pending| pending.local);
        let waiters = changes.chain(pending.map(|local| local.waiter));
        out.answers
            .extend(waiters.map(|waiter| (waiter, Err(ApiError::Stopped))));
    }
}

/// Another leader's entry took the place. Nobody can say that the proposal will never be executed.
fn lose<W>(pending: Pending<W>, out: &mut Outputs<W>) {
    if let Some(local) = pending.local {
        out.answers
            .push((local.waiter, Err(ApiError::TimeoutDueToLeaderFail)));
    }
}

fn expired<T>(queue: &mut VecDeque<Queued<T>>, now_tick: u64) -> impl Iterator<Item = T> {
    let count = queue
        .iter()
        .take_while(|queued| queued.deadline_tick <= now_tick)
        .count();
    queue.drain(..count).map(|queued| queued.what)
}
