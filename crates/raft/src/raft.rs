//! The state of one member and the changes of its role.
//!
//! Invariants: the term never falls, the vote of a term never changes once given (both asserted
//! where they are written); a leader stays leader of its term until it leaves it; whatever concerns
//! only a leader (progress, reads, transfer) starts over with every change of role. This module
//! must not know what messages mean: that is `election`, `leader`, `follower`, `read_index`.

use bytes::Bytes;
use prost::Message as _;
use tenet_base::world::SplitMix64;
use tenet_base::{Index, MemberId, Rng, Term};
use tenet_proto::raftpb::{
    ConfChange, ConfChangeType, Entry, EntryType, HardState, Message, MessageType,
};

use crate::bugs::KnownBug;
use crate::confchange;
use crate::config::Config;
use crate::error::{BootstrapError, ConfigError};
use crate::log::Log;
use crate::marks::{Mark, mark};
use crate::output::{ReadState, SoftState};
use crate::read_index::Reads;
use crate::store::LogStore;
use crate::tracker::{ProgressMap, Tracker};

/// What a member is at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// It follows a leader, or waits for one.
    #[default]
    Follower,
    /// It asks whether it would be voted for.
    PreCandidate,
    /// It asks for votes.
    Candidate,
    /// It leads.
    Leader,
}

impl Role {
    /// The name that etcd prints.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Role::Follower => "StateFollower",
            Role::PreCandidate => "StatePreCandidate",
            Role::Candidate => "StateCandidate",
            Role::Leader => "StateLeader",
        }
    }
}

/// One member's consensus core. See the [crate] for what its driver owes it.
#[derive(Debug)]
pub struct Raft<S: LogStore> {
    pub(crate) config: Config,
    pub(crate) log: Log<S>,
    term: Term,
    vote: MemberId,
    role: Role,
    pub(crate) leader: MemberId,
    pub(crate) tracker: Tracker,
    pub(crate) reads: Reads,
    /// Ticks since the last election timeout of a leader, or since a follower has heard from one.
    pub(crate) election_elapsed: u32,
    pub(crate) heartbeat_elapsed: u32,
    pub(crate) election_timeout: u32,
    rng: SplitMix64,
    /// Leader: whom leadership is being handed to, or zero.
    pub(crate) transferee: MemberId,
    /// Leader: where a configuration change that is not applied yet may be, at the latest.
    pub(crate) pending_conf_index: Index,
    /// Leader: bytes proposed in this term that are not known to be applied.
    pub(crate) uncommitted_bytes: u64,
    /// With leases: ticks for which nobody else is voted for, because a leader has been heard from,
    /// or may have been before a restart. Unlike what is known of the leader, this outlives its term.
    pub(crate) promised_ticks: u32,
    /// The disk hangs: no campaigns.
    disk_stalled: bool,

    pub(crate) messages: Vec<Message>,
    pub(crate) after_append: Vec<Message>,
    pub(crate) read_states: Vec<ReadState>,
    pub(crate) prev_soft_state: SoftState,
    pub(crate) prev_hard_state: HardState,
    pub(crate) next_append: u64,
    pub(crate) next_done: u64,
}

impl<S: LogStore> Raft<S> {
    /// A member as it comes back from what it has stored; it begins as a follower.
    ///
    /// # Errors
    /// If the settings or what is stored cannot be right.
    pub fn new(config: Config, store: S) -> Result<Self, ConfigError> {
        config.check()?;
        let (state, conf_state) = store.initial_state();
        let log = Log::new(
            store,
            Index(state.commit),
            config.applied,
            config.max_committed_bytes_per_output,
        )?;
        let (configuration, progress) = confchange::restore(
            &conf_state,
            log.last_index(),
            config.max_inflight_messages,
            config.max_inflight_bytes,
        )?;
        // Members that are started with one seed must not draw the same timeouts.
        let rng = SplitMix64::new(config.seed ^ SplitMix64::new(config.id.get()).next_u64());
        let mut raft = Raft {
            reads: Reads::new(config.read_only),
            config,
            log,
            term: Term(state.term),
            vote: state.vote(),
            role: Role::Follower,
            leader: MemberId::ZERO,
            tracker: Tracker::new(configuration, progress),
            election_elapsed: 0,
            heartbeat_elapsed: 0,
            election_timeout: 0,
            rng,
            transferee: MemberId::ZERO,
            pending_conf_index: Index::ZERO,
            uncommitted_bytes: 0,
            promised_ticks: 0,
            disk_stalled: false,
            messages: Vec::new(),
            after_append: Vec::new(),
            read_states: Vec::new(),
            prev_soft_state: SoftState {
                leader: MemberId::ZERO,
                role: Role::Follower,
            },
            prev_hard_state: HardState::default(),
            next_append: 0,
            next_done: 0,
        };
        if raft.term > Term::ZERO {
            raft.promise();
        }
        raft.become_follower(raft.term, MemberId::ZERO);
        raft.prev_hard_state = raft.hard_state();
        Ok(raft)
    }

    /// The first entries of a new cluster: one configuration change for each member, in term 1 and
    /// committed from the start, as etcd writes them. Every first member writes the same ones.
    ///
    /// # Errors
    /// If there are no members, or something is stored already.
    pub fn bootstrap(&mut self, members: &[(MemberId, Bytes)]) -> Result<(), BootstrapError> {
        if members.is_empty() {
            return Err(BootstrapError::NoMembers);
        }
        let last = self.log.last_index();
        if !last.is_zero() {
            return Err(BootstrapError::NotEmpty(last));
        }
        self.become_follower(Term(1), MemberId::ZERO);
        self.prev_hard_state = HardState::default();
        let changes: Vec<_> = members
            .iter()
            .map(|(id, context)| ConfChange {
                change_type: ConfChangeType::AddNode as i32,
                node_id: id.get(),
                context: context.clone(),
                ..ConfChange::default()
            })
            .collect();
        let entries = changes.iter().zip(1..).map(|(change, index)| Entry {
            entry_type: EntryType::ConfChange as i32,
            term: 1,
            index,
            data: change.encode_to_vec().into(),
        });
        self.log.append(Index(1), entries);
        self.log.commit_to(Index(members.len() as u64));
        // The state machine applies them again; that changes nothing. Until then they let the
        // member campaign.
        for change in &changes {
            self.apply_conf_change(&confchange::as_v2(change))
                .expect("adding a voter to a configuration that is not joint");
        }
        Ok(())
    }

    /// Time goes by.
    pub fn tick(&mut self) {
        if self.role == Role::Leader {
            self.tick_leader();
        } else {
            self.tick_follower();
        }
    }

    fn tick_follower(&mut self) {
        self.election_elapsed = self.election_elapsed.saturating_add(1);
        self.promised_ticks = self.promised_ticks.saturating_sub(1);
        if self.election_elapsed >= self.election_timeout && self.can_campaign() {
            self.election_elapsed = 0;
            self.start_campaign();
        }
    }

    fn tick_leader(&mut self) {
        self.reads.tick();
        self.heartbeat_elapsed += 1;
        self.election_elapsed += 1;
        if self.election_elapsed >= self.config.election_ticks {
            self.election_elapsed = 0;
            if self.config.check_quorum {
                self.check_quorum();
            }
            // Whoever has not taken over by now is not going to.
            if !self.transferee.is_zero() {
                mark(Mark::TransferTimedOut);
            }
            self.transferee = MemberId::ZERO;
        }
        if self.role == Role::Leader && self.heartbeat_elapsed >= self.config.heartbeat_ticks {
            self.heartbeat_elapsed = 0;
            self.broadcast_heartbeat();
        }
    }

    /// The disk has not answered for too long: a leader steps down, and there are no campaigns
    /// until [`disk_recovered`](Raft::disk_recovered). Everything else goes on; what needs the disk
    /// waits for it by itself.
    pub fn disk_stalled(&mut self) {
        self.disk_stalled = true;
        if self.role != Role::Follower {
            mark(Mark::StalledLeader);
            self.become_follower(self.term, MemberId::ZERO);
        }
    }

    /// The disk answers again.
    pub fn disk_recovered(&mut self) {
        self.disk_stalled = false;
    }

    /// Whether this member could become leader, as far as it knows.
    pub(crate) fn can_campaign(&self) -> bool {
        let voter = self
            .tracker
            .progress
            .get(self.config.id)
            .is_some_and(|p| !p.learner);
        voter && !self.disk_stalled && self.log.unstable.snapshot().is_none()
    }

    fn enter(&mut self, role: Role, term: Term) {
        assert!(
            term >= self.term,
            "term {term} after term {}: terms only rise",
            self.term
        );
        if term != self.term {
            self.term = term;
            self.vote = MemberId::ZERO;
        }
        self.role = role;
        self.leader = MemberId::ZERO;
        self.election_elapsed = 0;
        self.heartbeat_elapsed = 0;
        let ticks = u64::from(self.config.election_ticks);
        self.election_timeout = (ticks + self.rng.below(ticks)) as u32;
        self.transferee = MemberId::ZERO;
        self.pending_conf_index = Index::ZERO;
        self.uncommitted_bytes = 0;
        self.reads.reset();
        self.tracker.reset_votes();
        let (own, last) = (self.config.id, self.log.last_index());
        for (id, progress) in self.tracker.progress.iter_mut() {
            progress.reset(last.next());
            if id == own {
                progress.matched = last;
            }
        }
    }

    pub(crate) fn become_follower(&mut self, term: Term, leader: MemberId) {
        self.enter(Role::Follower, term);
        self.leader = leader;
    }

    /// Term and vote stay as they are until others have said that they would vote.
    pub(crate) fn become_pre_candidate(&mut self) {
        assert!(
            self.role != Role::Leader,
            "a leader of term {} cannot campaign",
            self.term
        );
        self.role = Role::PreCandidate;
        self.leader = MemberId::ZERO;
        self.tracker.reset_votes();
    }

    pub(crate) fn become_candidate(&mut self) {
        assert!(
            self.role != Role::Leader,
            "a leader of term {} cannot campaign",
            self.term
        );
        self.enter(Role::Candidate, self.term.next());
        self.cast_vote(self.config.id);
    }

    pub(crate) fn become_leader(&mut self) {
        assert!(
            self.role == Role::Candidate,
            "a {} of term {} cannot become its leader",
            self.role.name(),
            self.term
        );
        self.enter(Role::Leader, self.term);
        self.leader = self.config.id;
        if let Some(own) = self.tracker.progress.get_mut(self.config.id) {
            own.become_replicate();
            own.recent_active = true;
        }
        // There may be a configuration change among the entries that are not committed. It is
        // cheaper to wait for all of them than to look.
        self.pending_conf_index = self.log.last_index();
        self.append_own(std::iter::once((EntryType::Normal, Bytes::new())));
    }

    pub(crate) fn cast_vote(&mut self, candidate: MemberId) {
        assert!(
            self.vote.is_zero() || self.vote == candidate,
            "vote for {candidate} in term {} after the vote for {}",
            self.term,
            self.vote
        );
        self.vote = candidate;
    }

    /// Sends a message in this member's term and name, where it carries no other.
    pub(crate) fn send(&mut self, kind: MessageType, to: MemberId, mut message: Message) {
        message.msg_type = kind as i32;
        message.to = to.get();
        if message.from == 0 {
            message.from = self.config.id.get();
        }
        // Proposals and reads may be forwarded: they belong to no term.
        let termless = matches!(kind, MessageType::Prop | MessageType::ReadIndex);
        if message.term == 0 && !termless {
            message.term = self.term.get();
        }
        match kind {
            MessageType::AppResp | MessageType::VoteResp | MessageType::PreVoteResp => {
                self.after_append.push(message);
            }
            _ => {
                assert!(
                    to != self.config.id,
                    "a message of type {kind:?} to this member itself"
                );
                self.messages.push(message);
            }
        }
    }

    pub(crate) fn is_self(&self, id: MemberId) -> bool {
        id == self.config.id
    }

    /// This member.
    #[must_use]
    pub fn id(&self) -> MemberId {
        self.config.id
    }

    /// The term it is in.
    #[must_use]
    pub fn term(&self) -> Term {
        self.term
    }

    /// Whom it has voted for in that term; zero for nobody.
    #[must_use]
    pub fn vote(&self) -> MemberId {
        self.vote
    }

    /// What it is.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Who leads, as far as it knows; zero for nobody.
    #[must_use]
    pub fn leader(&self) -> MemberId {
        self.leader
    }

    /// What the next append says about term, vote and commit index.
    #[must_use]
    pub fn hard_state(&self) -> HardState {
        let vote = match self.config.has_bug(KnownBug::VoteForgotten) {
            true => MemberId::ZERO,
            false => self.vote,
        };
        HardState {
            term: self.term.get(),
            vote: vote.get(),
            commit: self.log.committed().get(),
        }
    }

    /// Leader and role.
    #[must_use]
    pub fn soft_state(&self) -> SoftState {
        SoftState {
            leader: self.leader,
            role: self.role,
        }
    }

    /// The stable log.
    #[must_use]
    pub fn log(&self) -> &S {
        &self.log.store
    }

    /// The stable log.
    pub fn log_mut(&mut self) -> &mut S {
        &mut self.log.store
    }

    /// The configuration in force and, at a leader, everybody's progress.
    #[must_use]
    pub fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    /// A picture of the moment.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            id: self.config.id,
            term: self.term,
            vote: self.vote,
            commit: self.log.committed(),
            applied: self.log.applied(),
            last: self.log.last_index(),
            leader: self.leader,
            role: self.role,
            transferee: self.transferee,
            configuration: self.tracker.configuration.clone(),
            progress: match self.role {
                Role::Leader => self.tracker.progress.clone(),
                _ => ProgressMap::default(),
            },
        }
    }

    /// Replaces the election timeout that was drawn, until the next draw. For simulators and the
    /// lab, where a script decides who campaigns first.
    pub fn set_election_timeout(&mut self, ticks: u32) {
        self.election_timeout = ticks;
    }
}

/// What a member knows of itself and, if it leads, of the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// This member.
    pub id: MemberId,
    /// Its term.
    pub term: Term,
    /// Its vote in that term; zero for nobody.
    pub vote: MemberId,
    /// The last index known to be committed.
    pub commit: Index,
    /// The last index that the state machine has applied.
    pub applied: Index,
    /// The end of the log.
    pub last: Index,
    /// The leader; zero if there is none or it is not known.
    pub leader: MemberId,
    /// What it is.
    pub role: Role,
    /// Whom it is handing leadership to; zero for nobody.
    pub transferee: MemberId,
    /// Who votes and who learns.
    pub configuration: crate::tracker::Configuration,
    /// How far the others are; empty unless it leads.
    pub progress: ProgressMap,
}
