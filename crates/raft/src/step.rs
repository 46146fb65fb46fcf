//! Messages: which are taken, what their term means, and who handles them.
//!
//! Invariants: what is malformed or impossible changes nothing; after the terms have been compared
//! a message is handled in the term of this member, except for pre-votes, which change no terms.

use tenet_base::{Index, MemberId, Term};
use tenet_proto::raftpb::{Entry, EntryType, Message, MessageType};

use crate::bugs::KnownBug;
use crate::election::Campaign;
use crate::error::StepError;
use crate::marks::{Mark, mark};
use crate::raft::{Raft, Role};
use crate::store::LogStore;

/// No cluster gets so far. Beyond it there would be no room left to count.
const NUMBER_MAX: u64 = u64::MAX / 2;

impl<S: LogStore> Raft<S> {
    /// Takes a message from another member.
    ///
    /// # Errors
    /// What is wrong with the message; it has had no effect, except that its term may have been
    /// adopted. To be logged and forgotten, apart from [`StepError::LostEntries`] and
    /// [`StepError::ForkedLog`], which are about this member.
    pub fn step(&mut self, message: Message) -> Result<(), StepError> {
        let kind = self.check(&message)?;
        self.handle(kind, message)
    }

    /// Takes this member's own vote or acknowledgement, now that it is durable.
    pub(crate) fn step_own(&mut self, message: Message) {
        let kind = message
            .kind()
            .expect("the core knows the types of its own messages");
        self.handle(kind, message)
            .expect("the core's own answers are never refused");
    }

    fn handle(&mut self, kind: MessageType, message: Message) -> Result<(), StepError> {
        if !self.meet_term(kind, &message) {
            return Ok(());
        }
        match kind {
            MessageType::Vote | MessageType::PreVote => {
                self.on_vote_request(kind, &message);
                Ok(())
            }
            MessageType::VoteResp | MessageType::PreVoteResp => {
                self.on_vote(kind, &message);
                Ok(())
            }
            MessageType::Prop => {
                let from = MemberId(message.from);
                self.on_proposal(from, message.entries)
                    .map(|_| ())
                    .map_err(Into::into)
            }
            MessageType::ReadIndex => {
                self.on_read_message(message);
                Ok(())
            }
            MessageType::TransferLeader => {
                self.transfer_leader(MemberId(message.from));
                Ok(())
            }
            MessageType::App | MessageType::Heartbeat | MessageType::Snap => {
                self.on_leader_message(kind, message)
            }
            _ => {
                self.on_other(kind, message);
                Ok(())
            }
        }
    }

    /// Messages that only concern a leader, or only a follower.
    fn on_other(&mut self, kind: MessageType, message: Message) {
        match (self.role(), kind) {
            (Role::Leader, MessageType::AppResp) => self.on_append_response(&message),
            (Role::Leader, MessageType::HeartbeatResp) => self.on_heartbeat_response(&message),
            (Role::Follower, MessageType::TimeoutNow) => self.start(Campaign::Transfer),
            (Role::Follower, MessageType::ReadIndexResp) => self.on_read_response(message),
            _ => {}
        }
    }

    fn on_leader_message(&mut self, kind: MessageType, message: Message) -> Result<(), StepError> {
        let (from, term) = (MemberId(message.from), self.term());
        if self.role() != Role::Leader {
            self.promise();
        }
        match self.role() {
            Role::Leader if kind == MessageType::Snap => return Ok(()),
            Role::Leader => return Err(StepError::SecondLeader { from, term }),
            Role::Follower => {
                self.election_elapsed = 0;
                self.leader = from;
            }
            Role::PreCandidate | Role::Candidate => self.become_follower(term, from),
        }
        match kind {
            MessageType::App => self.on_append(message),
            MessageType::Snap => self.on_snapshot(message),
            _ => {
                self.on_heartbeat(message);
                Ok(())
            }
        }
    }

    /// Compares the terms, adopts a later one, answers where an earlier one needs an answer.
    /// Whether the message is to be handled.
    fn meet_term(&mut self, kind: MessageType, message: &Message) -> bool {
        let (own, term) = (self.term(), Term(message.term));
        if matches!(kind, MessageType::Vote | MessageType::PreVote)
            && term >= own
            && self.is_shielded(message)
        {
            mark(Mark::VoteShielded);
            return false;
        }
        if term.is_zero() || term == own {
            return true;
        }
        if term < own {
            self.meet_earlier_term(kind, MemberId(message.from));
            return false;
        }
        match kind {
            // Nobody has begun that term yet.
            MessageType::PreVote => {}
            MessageType::PreVoteResp if !message.reject => {}
            MessageType::App | MessageType::Heartbeat | MessageType::Snap => {
                self.become_follower(term, MemberId(message.from));
            }
            _ => self.become_follower(term, MemberId::ZERO),
        }
        true
    }

    fn meet_earlier_term(&mut self, kind: MessageType, from: MemberId) {
        match kind {
            // A leader that is not followed here any more, but may not know: with pre-vote and
            // check-quorum nothing else of this member would tell it, for they keep it quiet.
            MessageType::App | MessageType::Heartbeat
                if self.config.check_quorum || self.config.pre_vote =>
            {
                mark(Mark::EarlierLeaderTold);
                self.send(MessageType::AppResp, from, Message::default());
            }
            // Silence could keep two members with different settings waiting for each other.
            MessageType::PreVote => self.answer(kind, from, self.term(), false),
            _ => {}
        }
    }

    /// Refuses what cannot be, before it has any effect.
    fn check(&self, message: &Message) -> Result<MessageType, StepError> {
        use MessageType as M;
        let kind = message
            .kind()
            .ok_or(StepError::UnknownType(message.msg_type))?;
        let (from, id) = (MemberId(message.from), self.id());
        match kind {
            M::Hup
            | M::Beat
            | M::Unreachable
            | M::SnapStatus
            | M::CheckQuorum
            | M::StorageAppend
            | M::StorageAppendResp
            | M::StorageApply
            | M::StorageApplyResp
            | M::ForgetLeader => return Err(StepError::Local(kind, from)),
            M::AppResp | M::VoteResp | M::HeartbeatResp | M::ReadIndexResp | M::PreVoteResp
                if self.tracker.progress.get(from).is_none() =>
            {
                return Err(StepError::UnknownPeer(from));
            }
            _ => {}
        }
        if message.to != id.get() {
            return Err(StepError::Misdirected {
                to: MemberId(message.to),
                id,
            });
        }
        // A proposal, a read or a wish may come back to the member that sent it out.
        let may_return = matches!(kind, M::Prop | M::ReadIndex | M::TransferLeader);
        if from.is_zero() || from >= crate::APPLY_THREAD || (from == id && !may_return) {
            return Err(StepError::BadSender(kind, from));
        }
        let termless = matches!(kind, M::Prop | M::ReadIndex);
        if (message.term == 0 && !termless) || message.term > NUMBER_MAX {
            return Err(StepError::ImpossibleTerm {
                kind,
                term: Term(message.term),
            });
        }
        for index in [message.index, message.commit, message.reject_hint] {
            if index > NUMBER_MAX {
                return Err(impossible(kind, from, index, "beyond any log"));
            }
        }
        self.check_contents(kind, message)?;
        Ok(kind)
    }

    fn check_contents(&self, kind: MessageType, message: &Message) -> Result<(), StepError> {
        let from = MemberId(message.from);
        let malformed = |why| Err(StepError::Malformed { kind, from, why });
        let last = self.log.last_index().get();
        match kind {
            MessageType::App => {
                if let Err(why) = check_entries(message) {
                    return malformed(why);
                }
            }
            MessageType::ReadIndex | MessageType::ReadIndexResp if message.entries.len() != 1 => {
                return malformed("a read index carries exactly one context");
            }
            MessageType::Heartbeat
                if message.term >= self.term().get()
                    && message.commit > last
                    && !self.config.has_bug(KnownBug::HeartbeatCommit) =>
            {
                return Err(StepError::LostEntries {
                    from,
                    term: Term(message.term),
                    commit: Index(message.commit),
                    last: Index(last),
                });
            }
            MessageType::HeartbeatResp if (1..8).contains(&message.context.len()) => {
                return malformed("the echoed context of a heartbeat is cut short");
            }
            MessageType::AppResp
                if self.role() == Role::Leader
                    && message.term == self.term().get()
                    && message.index > last =>
            {
                return Err(impossible(
                    kind,
                    from,
                    message.index,
                    "beyond this leader's log",
                ));
            }
            MessageType::Snap => {
                let snapshot = message.snapshot.as_deref();
                let (index, term) = snapshot.map_or((0, 0), |s| (s.index(), s.term()));
                if index > NUMBER_MAX {
                    return Err(impossible(kind, from, index, "beyond any log"));
                }
                if term > message.term {
                    return malformed("a snapshot of a term later than its leader's");
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Entries follow each other and the position that the message names; terms rise up to the
/// leader's.
fn check_entries(message: &Message) -> Result<(), &'static str> {
    let (mut index, mut term) = (message.index, message.log_term);
    for Entry {
        entry_type,
        term: entry_term,
        index: entry_index,
        ..
    } in &message.entries
    {
        index += 1;
        if *entry_index != index {
            return Err("entries that do not follow each other");
        }
        if *entry_term < term {
            return Err("entries with falling terms");
        }
        if EntryType::try_from(*entry_type).is_err() {
            return Err("an entry of unknown type");
        }
        term = *entry_term;
    }
    if term > message.term {
        return Err("entries of a term later than their leader's");
    }
    Ok(())
}

fn impossible(kind: MessageType, from: MemberId, index: u64, why: &'static str) -> StepError {
    StepError::ImpossibleIndex {
        kind,
        from,
        index: Index(index),
        why,
    }
}
