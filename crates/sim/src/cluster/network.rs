//! What is under way between the members of a simulated cluster.
//!
//! Invariant: a message goes where it was sent or nowhere; at most [`RAFT_WORLD_MESSAGES_MAX`] are
//! under way.

use super::Fault;
use bytes::Bytes;
use tenet_base::Rng;
use tenet_base::limits::RAFT_WORLD_MESSAGES_MAX;
use tenet_proto::raftpb::{Message, MessageType};

/// Latest arrival of a message that is delayed, in steps.
const DELAY_STEPS_MAX: u64 = 4_000;

/// How the network treats a message, of a hundred.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manners {
    pub(super) lost: u64,
    pub(super) repeated: u64,
    pub(super) delayed: u64,
}

/// A message with the places of sender and receiver.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) message: Message,
    /// The file that comes with a snapshot.
    pub(super) file: Option<Bytes>,
}

#[derive(Debug)]
pub(super) struct Network {
    manners: Manners,
    ready: Vec<Letter>,
    late: Vec<(u64, Letter)>,
    /// `cut[a][b]`: nothing goes from a to b.
    cut: Vec<Vec<bool>>,
}

impl Network {
    pub(super) fn new(members: usize, manners: Manners) -> Self {
        Network {
            manners,
            ready: Vec::new(),
            late: Vec::new(),
            cut: vec![vec![false; members]; members],
        }
    }

    /// Takes a message; says what became of it if that is a fault.
    pub(super) fn send(&mut self, letter: Letter, now: u64, rng: &mut dyn Rng) -> Option<Fault> {
        let Manners {
            lost,
            repeated,
            delayed,
        } = self.manners;
        if self.cut[letter.from][letter.to] {
            return Some(Fault::Cut);
        }
        let full = self.ready.len() + self.late.len() >= RAFT_WORLD_MESSAGES_MAX;
        if full || rng.below(100) < lost {
            return Some(Fault::Lost);
        }
        if rng.below(100) < delayed {
            let at = now + 1 + rng.below(DELAY_STEPS_MAX);
            self.late.push((at, letter));
            return Some(Fault::Delayed);
        }
        // Executed as often as it arrives: a transport must not repeat it.
        let is_proposal = letter.message.msg_type == MessageType::Prop as i32;
        let repeats = rng.below(100) < repeated && !is_proposal;
        if repeats {
            self.ready.push(letter.clone());
        }
        self.ready.push(letter);
        repeats.then_some(Fault::Repeated)
    }

    /// Some message that arrives now: mostly an old one, so that things get done.
    pub(super) fn take(&mut self, now: u64, rng: &mut dyn Rng) -> Option<Letter> {
        let due = self.late.extract_if(.., |(at, _)| *at <= now);
        self.ready.extend(due.map(|(_, letter)| letter));
        let count = self.ready.len() as u64;
        let window = if rng.below(6) == 0 {
            count
        } else {
            count.min(2)
        };
        (count > 0).then(|| self.ready.remove(rng.below(window) as usize))
    }

    /// Everything that is under way, at once.
    pub(super) fn take_all(&mut self) -> Vec<Letter> {
        let late = self.late.drain(..).map(|(_, letter)| letter);
        self.ready.extend(late);
        std::mem::take(&mut self.ready)
    }

    /// Cuts the links for which `apart` says so.
    pub(super) fn cut(&mut self, apart: impl Fn(usize, usize) -> bool) {
        for (from, row) in self.cut.iter_mut().enumerate() {
            for (to, cut) in row.iter_mut().enumerate() {
                *cut |= from != to && apart(from, to);
            }
        }
    }

    /// All links carry again.
    pub(super) fn mend(&mut self) {
        self.cut.iter_mut().for_each(|row| row.fill(false));
    }

    /// No message gets lost, repeated or delayed any more.
    pub(super) fn behave(&mut self) {
        self.manners = Manners {
            lost: 0,
            repeated: 0,
            delayed: 0,
        };
    }
}
