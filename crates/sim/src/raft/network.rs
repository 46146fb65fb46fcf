//! The messages between members: in flight, late, or between members that are cut off.
//!
//! Invariant: at most [`RAFT_WORLD_MESSAGES_MAX`] are in flight; what comes beyond gets lost, as it
//! would in any transport.

use tenet_base::limits::RAFT_WORLD_MESSAGES_MAX;
use tenet_base::{MemberId, Rng};
use tenet_proto::raftpb::{Message, MessageType};

use super::{Fault, MEMBERS_MAX, World};

/// A late message arrives within so many events; a very late one outlives an election.
const DELAYS_MAX: [u64; 2] = [100, 2_000];

type Cuts = [[Option<Fault>; MEMBERS_MAX as usize]; MEMBERS_MAX as usize];

#[derive(Debug, Default)]
pub(super) struct Network {
    in_flight: Vec<Message>,
    /// With the time at which they arrive.
    late: Vec<(u64, Message)>,
    /// Links that carry nothing, and why.
    cuts: Cuts,
    now: u64,
}

impl Network {
    /// An event goes by. Returns the late messages that arrive now: they were under way before any
    /// link was cut.
    pub(super) fn pass(&mut self) -> Vec<Message> {
        self.now += 1;
        let now = self.now;
        let due = self.late.extract_if(.., |(at, _)| *at <= now);
        due.map(|(_, message)| message).collect()
    }

    /// All messages, also the late ones.
    pub(super) fn take_all(&mut self) -> Vec<Message> {
        let late = self.late.drain(..).map(|(_, message)| message);
        self.in_flight.extend(late);
        std::mem::take(&mut self.in_flight)
    }

    /// Some message, mostly one of the oldest, so that things get done; and whether it overtakes
    /// another one of its link.
    pub(super) fn take_any(&mut self, rng: &mut impl Rng) -> Option<(Message, bool)> {
        let count = self.in_flight.len() as u64;
        if count == 0 {
            return None;
        }
        let window = match rng.below(5) {
            0 => count,
            _ => count.min(3),
        };
        let at = rng.below(window) as usize;
        let message = self.in_flight.remove(at);
        let link = |m: &Message| (m.from, m.to);
        let mut older = self.in_flight[..at].iter();
        let overtakes = older.any(|old| link(old) == link(&message));
        Some((message, overtakes))
    }

    /// The oldest message between two members, whichever way it goes.
    pub(super) fn take_between(&mut self, one: u64, other: u64) -> Option<Message> {
        let between =
            |m: &Message| (m.from, m.to) == (one, other) || (m.from, m.to) == (other, one);
        let at = self.in_flight.iter().position(between)?;
        Some(self.in_flight.remove(at))
    }

    /// Whether anything could be delivered now.
    pub(super) fn has_messages(&self) -> bool {
        !self.in_flight.is_empty()
    }

    fn put(&mut self, message: Message) {
        self.in_flight.push(message);
    }

    fn put_late(&mut self, message: Message, events: u64) {
        self.late.push((self.now + events, message));
    }

    fn is_full(&self) -> bool {
        self.in_flight.len() + self.late.len() >= RAFT_WORLD_MESSAGES_MAX
    }

    pub(super) fn cut(&mut self, from: usize, to: usize, why: Fault) {
        self.cuts[from][to] = Some(why);
    }

    /// All links carry again.
    pub(super) fn mend(&mut self) {
        self.cuts = Cuts::default();
    }

    pub(super) fn cut_between(&self, from: u64, to: u64) -> Option<Fault> {
        self.cuts[from as usize - 1][to as usize - 1]
    }
}

impl World {
    pub(super) fn send(&mut self, messages: Vec<Message>) {
        for message in messages {
            self.trace.message("send", &message);
            if self.percent(self.settings.loss_percent) || self.network.is_full() {
                self.count(Fault::Lost);
                self.lose(message);
                continue;
            }
            if self.percent(self.settings.repeat_percent) {
                self.count(Fault::Repeated);
                self.network.put(message.clone());
            }
            if self.percent(self.settings.delay_percent) {
                self.count(Fault::Delayed);
                let most = DELAYS_MAX[self.rng.below(2) as usize];
                let events = 1 + self.rng.below(most);
                self.network.put_late(message, events);
            } else {
                self.network.put(message);
            }
        }
    }

    pub(super) fn lose(&mut self, message: Message) {
        self.snapshot_sent(&message, false);
    }

    /// The transport owes the leader word of how a snapshot's transmission ended.
    pub(super) fn snapshot_sent(&mut self, message: &Message, ok: bool) {
        if message.msg_type == MessageType::Snap as i32 {
            let from = message.from as usize - 1;
            // Not through `with`: the sender may be in the middle of its own step.
            if let Some(raft) = &mut self.members[from].raft {
                raft.report_snapshot(MemberId(message.to), ok);
            }
        }
    }
}
