//! Steps random and mutated messages into a member of a cluster of three.
//!
//! The input is a list of moves: a message made of its bytes, a message that the member or an
//! honest peer has sent before with some of its fields overwritten, or work of the driver. Whatever
//! comes, a message is taken or refused with an error; a panic is a finding. The peers are played by
//! real cores, so that the mutated messages are close to those that a network could deliver.
//!
//! What no rule of the protocol can survive is not fed: messages of a term that this member leads
//! in the name of another leader are refused, but made-up acknowledgements and votes are lies of a
//! trusted peer, and are counted on only for not stopping the process that hears them.

#![no_main]

use std::collections::VecDeque;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use prost::Message as _;
use tenet_base::{Index, MemberId};
use tenet_fuzz::Input;
use tenet_proto::raftpb::{ConfChange, ConfChangeV2, Entry, EntryType, Message};
use tenet_raft::{Config, MemoryLog, Raft, confchange};

/// Messages kept for mutation.
const KEPT_MAX: usize = 64;
/// Moves of one input.
const MOVES_MAX: usize = 512;

struct Cluster {
    members: Vec<Raft<MemoryLog>>,
    network: VecDeque<Message>,
    kept: VecDeque<Message>,
}

impl Cluster {
    fn new(settings: u8) -> Self {
        let first: Vec<_> = (1..=3).map(|id| (MemberId(id), Bytes::new())).collect();
        let start = |id| {
            let config = Config {
                pre_vote: settings & 1 > 0,
                check_quorum: settings & 2 > 0,
                ..Config::new(id)
            };
            let mut raft = Raft::new(config, MemoryLog::new()).expect("a fresh member");
            raft.bootstrap(&first).expect("an empty log");
            raft
        };
        let mut cluster = Cluster {
            members: first.iter().map(|(id, _)| start(*id)).collect(),
            network: VecDeque::new(),
            kept: VecDeque::new(),
        };
        for at in 0..3 {
            cluster.work(at);
        }
        cluster
    }

    /// Does what a member asks for, at once and durably.
    fn work(&mut self, at: usize) {
        let raft = &mut self.members[at];
        while raft.has_output() {
            let output = raft.take_output();
            let mut sent = output.messages;
            if let Some(append) = output.append {
                if let Some(state) = append.hard_state {
                    raft.log_mut().set_hard_state(state);
                }
                if let Some(snapshot) = append.snapshot {
                    let _ = raft.log_mut().apply_snapshot(snapshot);
                }
                raft.log_mut().append(append.entries);
                sent.extend(append.responses);
                raft.append_done(append.done);
            }
            if let Some(last) = output.committed.last() {
                for entry in &output.committed {
                    apply(raft, entry);
                }
                raft.apply_done(last.index());
            }
            for message in sent {
                self.kept.push_back(message.clone());
                if self.kept.len() > KEPT_MAX {
                    self.kept.pop_front();
                }
                self.network.push_back(message);
            }
        }
    }

    fn deliver(&mut self, message: Message) {
        // Only the first member is fed lies; the others are honest and hear only honest ones.
        if let Some(raft) = self.members.get_mut((message.to as usize).wrapping_sub(1)) {
            let _ = raft.step(message.clone());
            self.work(message.to as usize - 1);
        }
    }
}

/// A change that cannot follow is left out, as a state machine would refuse it.
fn apply(raft: &mut Raft<MemoryLog>, entry: &Entry) {
    let change = match EntryType::try_from(entry.entry_type) {
        Ok(EntryType::ConfChange) => {
            ConfChange::decode(entry.data.clone()).map(|change| confchange::as_v2(&change))
        }
        Ok(EntryType::ConfChangeV2) => ConfChangeV2::decode(entry.data.clone()),
        _ => return,
    };
    if let Ok(change) = change {
        let _ = raft.apply_conf_change(&change);
    }
}

/// Overwrites some fields. Acknowledgements, votes and commit indexes of an honest peer are not
/// forged: a member has to believe those.
fn mutate(message: &mut Message, input: &mut Input<'_>) {
    for _ in 0..1 + input.byte() % 3 {
        match input.byte() % 9 {
            0 => message.term = input.number(),
            1 => message.log_term = input.number(),
            2 => message.index = input.number(),
            3 => message.reject_hint = input.number(),
            4 => message.from = input.number(),
            5 => message.entries.reverse(),
            6 => message.entries.push(Entry {
                entry_type: i32::from(input.byte() % 4),
                term: input.number(),
                index: input.number(),
                data: Bytes::copy_from_slice(input.bytes(8)),
            }),
            7 => message.context = Bytes::copy_from_slice(input.bytes(16)),
            _ => message.snapshot = None,
        }
    }
}

/// Whether a lie of this kind is one that the protocol must withstand.
fn is_fair(message: &Message, raft: &Raft<MemoryLog>) -> bool {
    use tenet_proto::raftpb::MessageType as M;
    let believed = matches!(
        message.kind(),
        Some(M::AppResp | M::VoteResp | M::PreVoteResp | M::App | M::Heartbeat | M::Snap)
    );
    // What a trusted peer says in the present term is believed; in any other it must be harmless.
    !believed || message.term < raft.term().get()
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let mut cluster = Cluster::new(input.byte());
    for _ in 0..MOVES_MAX {
        if input.0.is_empty() {
            return;
        }
        let at = usize::from(input.byte() % 3);
        match input.byte() % 8 {
            0 => cluster.members[at].tick(),
            1 => cluster.members[at].campaign(),
            2 => {
                let data = Bytes::copy_from_slice(input.bytes(4));
                let _ = cluster.members[at].propose(vec![data]);
            }
            3 => drop(cluster.network.pop_front()),
            4 => {
                let applied = cluster.members[at].status().applied;
                let _ = cluster.members[at]
                    .log_mut()
                    .compact(Index(applied.get().saturating_sub(2)));
            }
            5 => {
                let length = usize::from(input.byte());
                if let Ok(message) = Message::decode(input.bytes(length)) {
                    step(&mut cluster, message);
                }
            }
            6 if !cluster.kept.is_empty() => {
                let which = usize::from(input.byte()) % cluster.kept.len();
                let mut message = cluster.kept[which].clone();
                mutate(&mut message, &mut input);
                message.to = 1;
                step(&mut cluster, message);
            }
            _ => {
                if let Some(message) = cluster.network.pop_front() {
                    cluster.deliver(message);
                }
            }
        }
        cluster.work(at);
    }
    #[cfg(feature = "planted")]
    if cluster.members[0].term().get() > 2 {
        let beyond = data.as_ptr().wrapping_add(data.len() + 64);
        // SAFETY: none. The read beyond the input is what a run of the planted target must find.
        std::hint::black_box(unsafe { beyond.read() });
    }
});

fn step(cluster: &mut Cluster, message: Message) {
    if is_fair(&message, &cluster.members[0]) {
        let _ = cluster.members[0].step(message);
        cluster.work(0);
    }
}
