//! Clusters of one to seven consensus cores on simulated disks and a simulated network, everything
//! decided by one seed.
//!
//! A [`World`] takes one random step at a time: a message arrives, a disk finishes a write, a member
//! ticks, somebody proposes or reads, a fault begins or ends. After every step the checkers of
//! [`tenet_check::raft`] look at the members that moved. In the end the faults stop, and a leader
//! must emerge and commit within a bound ([`World::heal`]).
//!
//! Invariants: equal seeds and settings give equal traces (see [`World::trace`]); the first broken
//! property ends the run. The world knows no storage format: a member's disk is what its core was
//! told to write.

mod changes;
mod disk;
mod faults;
mod heal;
mod member;
mod network;
mod observe;
mod settings;
mod trace;

use bytes::Bytes;
use tenet_base::world::SplitMix64;
use tenet_base::{Index, MemberId, Rng};
use tenet_check::raft::{Commits, Elections, Logs, Reads, Verdict, Violation};
use tenet_proto::raftpb::Message;
use tenet_raft::{Config, MemoryLog, Raft, Role, StepError};

pub use faults::{Counts, Fault};
pub use settings::{Sabotage, Settings};
pub use trace::Trace;

use member::Member;
use network::Network;
use settings::Rare;

/// Members that may come to exist.
pub const MEMBERS_MAX: u64 = 7;

/// How often a slow disk is ready, of a hundred times.
const SLOW_DISK_PERCENT: u64 = 8;
/// How long two members are faster than all others: enough for an election between them.
const HURRIED_ROUNDS: u64 = 12;

/// A cluster and everything around it.
#[derive(Debug)]
pub struct World {
    rng: SplitMix64,
    settings: Settings,
    members: Vec<Member>,
    network: Network,
    judges: Judges,
    broken: Option<Violation>,
    counts: Counts,
    trace: Trace,
    reads: u64,
    proposals: u64,
}

/// The checkers, one for each property or two that share what they must remember.
#[derive(Debug, Default)]
struct Judges {
    elections: Elections,
    logs: Logs,
    commits: Commits,
    reads: Reads,
}

impl World {
    /// A new cluster: some members that begin as voters, and others that may join.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let mut world = World {
            rng: SplitMix64::new(settings.seed),
            members: Vec::new(),
            network: Network::default(),
            judges: Judges::default(),
            broken: None,
            counts: Counts::default(),
            trace: Trace::default(),
            reads: 0,
            proposals: 0,
            settings,
        };
        for id in (1..=MEMBERS_MAX).map(MemberId) {
            world.members.push(Member::new(id, world.config_of(id)));
        }
        let first: Vec<_> = (1..=world.settings.voters)
            .map(|id| (MemberId(id), Bytes::new()))
            .collect();
        for at in 0..first.len() {
            world.with(at, |raft| raft.bootstrap(&first).expect("the log is empty"));
            // A member begins to exist when its first entries are durable.
            world.members[at].sync_one(None);
            world.settle(at);
        }
        world
    }

    /// Runs a whole life: steps with faults, then recovery.
    ///
    /// # Errors
    /// The first broken property.
    pub fn live(&mut self) -> Verdict {
        for _ in 0..self.settings.steps() {
            self.step()?;
        }
        self.heal()
    }

    /// One event, chosen at random.
    ///
    /// # Errors
    /// The property that it breaks.
    pub fn step(&mut self) -> Verdict {
        let at = self.any();
        for message in self.network.pass() {
            self.arrive(message);
        }
        match self.rng.below(100) {
            choice if choice < self.settings.tick_percent => self.tick(at),
            choice if choice >= 95 => self.rare(at),
            choice if choice >= 93 => self.propose(at),
            choice if choice >= 93 - self.settings.read_percent => self.read(at),
            _ => self.work(at),
        }
        self.verdict()
    }

    /// Something that waits to be done. When nothing does, time goes by, or runs would mostly wait.
    fn work(&mut self, idle: usize) {
        let to_sync = self.any_that(|m| !m.writing.is_empty() && !m.hangs);
        let to_apply = self.any_that(|m| !m.applying.is_empty());
        match (self.rng.below(8), to_sync, to_apply) {
            (0..2, Some(at), _) => self.sync(at),
            (2..4, _, Some(at)) => self.apply(at),
            _ if self.network.has_messages() => self.deliver_any(),
            (_, Some(at), _) => self.sync(at),
            (_, _, Some(at)) => self.apply(at),
            _ => self.tick(idle),
        }
    }

    /// Changes, faults and their ends, each as often as this seed wants it.
    fn rare(&mut self, at: usize) {
        match self.settings.rare(&mut self.rng) {
            Rare::Nothing => self.deliver_any(),
            Rare::Campaign => {
                self.with(at, Raft::campaign);
                let rival = self.any();
                self.with(rival, Raft::campaign);
            }
            Rare::ConfChange => self.change_configuration(),
            Rare::Transfer => self.transfer(at),
            Rare::ForgetLeader => {
                self.count(Fault::LeaderForgotten);
                self.with(at, Raft::forget_leader);
            }
            Rare::Crash => self.crash(at),
            Rare::Reboot => self.reboot(at),
            Rare::Calm => self.calm(),
            Rare::Restart => {
                if let Some(at) = self.any_that(|member| member.raft.is_none()) {
                    self.restart(at);
                }
            }
            Rare::Partition => self.partition(),
            Rare::Mend => self.network.mend(),
            Rare::Checkpoint => self.checkpoint(at),
            Rare::Hang => self.hang(at),
            Rare::Recover => {
                if let Some(at) = self.any_that(|member| member.hangs) {
                    self.recover(at);
                }
            }
            Rare::Slow => {
                self.count(Fault::SlowDisk);
                let at = match self.percent(50) {
                    true => self.any_that(|member| member.slow).unwrap_or(at),
                    false => at,
                };
                self.members[at].slow = !self.members[at].slow;
            }
            Rare::Unreachable => {
                self.count(Fault::Unreachable);
                let other = MemberId(1 + self.rng.below(MEMBERS_MAX));
                self.with(at, |raft| raft.report_unreachable(other));
            }
        }
    }

    /// A member stops and starts at once, best one that has just voted: it has most to forget.
    /// Often somebody else asks for votes then, who has not heard of that election.
    fn reboot(&mut self, at: usize) {
        let voted = |m: &Member| {
            let raft = m.raft.as_ref();
            raft.is_some_and(|raft| {
                let durable = m.disk.hard_state.term == raft.term().get();
                let other = !raft.vote().is_zero() && raft.vote() != m.id;
                durable && other && raft.leader().is_zero()
            })
        };
        let voter = self.any_that(voted);
        let at = voter.unwrap_or(at);
        self.crash(at);
        self.restart(at);
        let term = self.members[at].raft.as_ref().map(Raft::term);
        let unaware = |m: &Member| {
            let raft = m.raft.as_ref();
            raft.is_some_and(|raft| Some(raft.term().next()) == term)
        };
        if let Some(rival) = self.any_that(unaware).filter(|_| voter.is_some()) {
            self.with(rival, Raft::campaign);
            if self.percent(50) {
                self.hurry(rival, at);
            }
        }
    }

    /// For a while two members are faster than all others.
    fn hurry(&mut self, one: usize, other: usize) {
        for _ in 0..HURRIED_ROUNDS {
            self.sync(one);
            self.sync(other);
            let (from, to) = (self.members[one].id.get(), self.members[other].id.get());
            if let Some(message) = self.network.take_between(from, to) {
                self.deliver(message);
            }
        }
    }

    /// What has happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            committed: self.judges.commits.last().get(),
            reads: self.judges.reads.answered(),
            ..self.counts.clone()
        }
    }

    /// How many elections were won.
    #[must_use]
    pub fn elections(&self) -> u64 {
        self.judges.elections.count()
    }

    /// Everything that has happened, in short.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Keeps every event as a line of text from now on.
    pub fn record(&mut self) {
        self.trace.record();
    }

    fn verdict(&self) -> Verdict {
        match &self.broken {
            Some(violation) => Err(violation.clone()),
            None => Ok(()),
        }
    }

    /// Remembers the first broken property.
    fn judge(&mut self, verdict: Verdict) {
        if let (Err(violation), None) = (verdict, &self.broken) {
            self.broken = Some(violation);
        }
    }

    fn count(&mut self, fault: Fault) {
        self.counts.faults[fault as usize] += 1;
        self.trace.note("fault", &[fault as u64]);
    }

    fn config_of(&self, id: MemberId) -> Config {
        Config {
            id,
            ..self.settings.config.clone()
        }
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.rng.below(100) < percent
    }

    fn any(&mut self) -> usize {
        self.rng.below(self.members.len() as u64) as usize
    }

    /// Some member for which it holds: choosing among all would mostly choose one that is idle.
    fn any_that(&mut self, holds: impl Fn(&Member) -> bool) -> Option<usize> {
        let places = 0..self.members.len();
        let fit: Vec<_> = places.filter(|at| holds(&self.members[*at])).collect();
        (!fit.is_empty()).then(|| fit[self.rng.below(fit.len() as u64) as usize])
    }

    /// The running member that leads the latest term.
    fn leader(&self) -> Option<usize> {
        let leads = |member: &Member| {
            let raft = member.raft.as_ref()?;
            (raft.role() == Role::Leader).then(|| raft.term())
        };
        let terms = self.members.iter().enumerate();
        let leaders = terms.filter_map(|(at, member)| Some((leads(member)?, at)));
        leaders.max().map(|(_, at)| at)
    }

    fn with(&mut self, at: usize, f: impl FnOnce(&mut Raft<MemoryLog>)) {
        if let Some(raft) = &mut self.members[at].raft {
            f(raft);
            self.settle(at);
        }
    }

    fn tick(&mut self, at: usize) {
        if !self.settings.lock_step {
            return self.with(at, Raft::tick);
        }
        // A tick is long enough for some messages to go back and forth.
        if self.rng.below(MEMBERS_MAX) == 0 {
            for at in 0..self.members.len() {
                self.with(at, Raft::tick);
            }
        }
    }

    /// Mostly to a leader: what others forward is often lost.
    fn propose(&mut self, mut at: usize) {
        if self.percent(70) {
            at = self.leader().unwrap_or(at);
        }
        let count = 1 + self.rng.below(self.settings.batch_max);
        let data = (0..count).map(|_| {
            self.proposals += 1;
            Bytes::from(format!("proposal {}", self.proposals))
        });
        let data = data.collect();
        self.with(at, |raft| {
            let _ = raft.propose(data);
        });
    }

    /// Reads go where they are most likely to go wrong: to leaders of the past, to leaders, to any.
    fn read(&mut self, mut at: usize) {
        let latest = self.judges.elections.latest_term();
        let leads = |member: &Member| {
            let raft = member.raft.as_ref();
            raft.filter(|raft| raft.role() == Role::Leader)
                .map(Raft::term)
        };
        match self.rng.below(3) {
            0 => {}
            1 => at = self.any_that(|m| leads(m).is_some()).unwrap_or(at),
            _ => {
                let past = |m: &Member| leads(m).is_some_and(|term| term < latest);
                at = self.any_that(past).unwrap_or(at);
            }
        }
        self.reads += 1;
        let read = self.reads;
        let committed = self.judges.commits.last();
        self.judges.reads.begins(read, committed);
        self.members[at].asking = Some(read);
        self.with(at, |raft| {
            raft.read_index(Bytes::copy_from_slice(&read.to_le_bytes()));
        });
        self.members[at].asking = None;
    }

    fn deliver_any(&mut self) {
        let (message, late) = match self.network.take_any(&mut self.rng) {
            Some(taken) => taken,
            None => return,
        };
        if late {
            self.count(Fault::Reordered);
        }
        self.deliver(message);
    }

    fn deliver(&mut self, message: Message) {
        if let Some(cut) = self.network.cut_between(message.from, message.to) {
            self.count(cut);
            return self.lose(message);
        }
        self.arrive(message);
    }

    fn arrive(&mut self, message: Message) {
        let to = message.to as usize - 1;
        if self.members[to].raft.is_none() {
            return self.lose(message);
        }
        self.trace.message("deliver", &message);
        self.snapshot_sent(&message, true);
        // Refusals of proposals and of answers from removed members are part of the game; any
        // other is a bug.
        let mut refused = None;
        self.with(to, |raft| match raft.step(message) {
            Ok(()) | Err(StepError::Proposal(_) | StepError::UnknownPeer(_)) => {}
            Err(other) => refused = Some(other),
        });
        if let Some(error) = refused {
            self.refused(error);
        }
    }

    fn sync(&mut self, at: usize) {
        let percent = match self.members[at].slow {
            true => SLOW_DISK_PERCENT,
            false => self.settings.disk_percent,
        };
        let slow = !self.percent(percent);
        let member = &mut self.members[at];
        if member.raft.is_none() || member.hangs || slow {
            return;
        }
        let mut messages = Vec::new();
        for _ in 0..=self.rng.below(3) {
            messages.extend(member.sync_one(self.settings.sabotage));
        }
        self.trace.note("sync", &[at as u64, messages.len() as u64]);
        self.send(messages);
        self.settle(at);
    }

    fn apply(&mut self, at: usize) {
        if self.members[at].raft.is_some() && self.members[at].apply_one() {
            let applied = self.members[at].machine.applied;
            self.trace.note("apply", &[at as u64, applied.get()]);
            self.settle(at);
        }
    }

    fn checkpoint(&mut self, at: usize) {
        self.members[at].cut();
        if self.percent(50) {
            let index = self.members[at].disk.cut.applied;
            let keep = self.rng.below(5);
            self.members[at].compact(Index(index.get().saturating_sub(keep)));
        }
    }
}
