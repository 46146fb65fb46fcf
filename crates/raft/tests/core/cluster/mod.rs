//! Random clusters through the native interface: one to seven members, lost, repeated and
//! reordered messages, partitions, crashes that lose what was not synced, disks that hang,
//! changing configurations; everything decided by a seed. After every step the checker looks at
//! the member that moved. At the end the faults stop and the cluster must get going again.
//!
//! `TENET_RAFT_SEEDS=n` runs more seeds, `TENET_RAFT_SEED=n` runs one.

mod checker;
mod member;

use bytes::Bytes;
use tenet_base::world::SplitMix64;
use tenet_base::{Index, MemberId, Rng};
use tenet_proto::raftpb::{
    ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, Message,
    MessageType,
};
use tenet_raft::{Config, Output, Raft, ReadOnly, Role};

use checker::Checker;
use member::{Member, Sabotage};

const STEPS: usize = 3_000;
/// Members that may come to exist.
const MEMBERS_MAX: u64 = 7;

struct World {
    rng: SplitMix64,
    config: Config,
    members: Vec<Member>,
    network: Vec<Message>,
    /// Links that carry nothing, by sender and receiver.
    cut: Vec<(u64, u64)>,
    loss_percent: u64,
    duplication_percent: u64,
    /// All members tick at once, which is what leases need; else each at its own pace.
    lock_step: bool,
    /// Members campaign for no reason.
    restless: bool,
    checker: Checker,
    sabotage: Option<Sabotage>,
    reads: u64,
    proposals: u64,
    counts: Counts,
}

/// What may happen to a cluster.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Lost,
    Repeated,
    Crash,
    Partition,
    Hang,
    Snapshot,
    ConfChange,
    Transfer,
}

const FAULTS: [Fault; 8] = [
    Fault::Lost,
    Fault::Repeated,
    Fault::Crash,
    Fault::Partition,
    Fault::Hang,
    Fault::Snapshot,
    Fault::ConfChange,
    Fault::Transfer,
];

/// What has happened, to one cluster or to many.
#[derive(Debug, Default)]
struct Counts {
    faults: [u64; FAULTS.len()],
    committed: u64,
    reads: u64,
    /// Runs that ended as in [`World::waits_for_a_removed_member`].
    deadlocks: u64,
}

impl World {
    fn new(seed: u64, sabotage: Option<Sabotage>) -> Self {
        let mut rng = SplitMix64::new(seed);
        let voters = 1 + rng.below(5);
        let mut pick = |choices: &[u64]| choices[rng.below(choices.len() as u64) as usize];
        let lock_step = pick(&[0, 0, 1]) == 1;
        let config = Config {
            election_ticks: 5,
            max_message_bytes: pick(&[0, 60, 1_000, u64::MAX]),
            max_committed_bytes_per_output: pick(&[1, 100, u64::MAX]),
            max_inflight_messages: pick(&[1, 3, 256]) as usize,
            max_uncommitted_bytes: pick(&[200, u64::MAX]),
            pre_vote: pick(&[0, 1]) == 1,
            check_quorum: lock_step || pick(&[0, 1]) == 1,
            read_only: match lock_step {
                true => ReadOnly::LeaseBased,
                false => ReadOnly::Safe,
            },
            step_down_on_removal: pick(&[0, 1]) == 1,
            seed,
            ..Config::new(MemberId(1))
        };
        let mut world = World {
            config,
            members: Vec::new(),
            network: Vec::new(),
            cut: Vec::new(),
            loss_percent: pick(&[0, 2, 10]),
            duplication_percent: pick(&[0, 2, 10]),
            lock_step,
            restless: pick(&[0, 1]) == 1,
            rng,
            checker: Checker::default(),
            sabotage,
            reads: 0,
            proposals: 0,
            counts: Counts::default(),
        };
        for id in (1..=MEMBERS_MAX).map(MemberId) {
            let config = world.config_of(id);
            world.members.push(Member::new(id, config));
        }
        // The others start empty, like members that join later.
        let first: Vec<_> = (1..=voters)
            .map(|id| (MemberId(id), Bytes::new()))
            .collect();
        for at in 0..voters as usize {
            world.with(at, |raft| raft.bootstrap(&first).expect("the log is empty"));
            // A member begins to exist when its first entries are durable.
            world.members[at].sync_one(None);
            world.settle(at);
        }
        world
    }

    fn config_of(&self, id: MemberId) -> Config {
        Config {
            id,
            ..self.config.clone()
        }
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.rng.below(100) < percent
    }

    fn any(&mut self) -> usize {
        self.rng.below(self.members.len() as u64) as usize
    }

    /// One event, chosen at random.
    fn step(&mut self) {
        let at = self.any();
        match self.rng.below(1_000) {
            0..330 => self.deliver_any(),
            330..553 => self.sync(at),
            553..560 if self.restless => self.with(at, Raft::campaign),
            553..560 => {}
            560..700 => self.apply(at),
            700..900 => self.tick(at),
            900..950 => self.propose(at),
            950..960 => self.read(at),
            960..966 => self.change_configuration(),
            966..969 => self.transfer(at),
            969..971 => self.with(at, Raft::forget_leader),
            971..974 => self.crash(at),
            974..982 => self.restart(at),
            982..984 => self.partition(),
            984..987 => self.cut.clear(),
            987..993 => self.checkpoint(at),
            993..995 => self.hang(at),
            995..997 => self.recover(at),
            _ => {
                let other = MemberId(1 + self.rng.below(MEMBERS_MAX));
                self.with(at, |raft| raft.report_unreachable(other));
            }
        }
    }

    fn tick(&mut self, at: usize) {
        if !self.lock_step {
            return self.with(at, Raft::tick);
        }
        // A tick is long enough for some messages to go back and forth.
        if self.rng.below(4 * MEMBERS_MAX) == 0 {
            for at in 0..self.members.len() {
                self.with(at, Raft::tick);
            }
        }
    }

    fn with(&mut self, at: usize, f: impl FnOnce(&mut Raft<tenet_raft::MemoryLog>)) {
        if let Some(raft) = &mut self.members[at].raft {
            f(raft);
            self.settle(at);
        }
    }

    /// Does what the core asks for, then looks at the member.
    fn settle(&mut self, at: usize) {
        loop {
            let member = &mut self.members[at];
            let Some(raft) = &mut member.raft else { return };
            if !raft.has_output() {
                break;
            }
            let leads = raft.role() == Role::Leader;
            let Output {
                messages,
                append,
                committed,
                read_states,
                ..
            } = raft.take_output();
            let mut outgoing = messages;
            if let Some(mut append) = append {
                if let Some(snapshot) = &append.snapshot {
                    self.counts.faults[Fault::Snapshot as usize] += 1;
                    let base = (Index(snapshot.index()), snapshot.term().into());
                    member.shadow = checker::Shadow::new(base, &[]);
                }
                self.checker
                    .appends(member.id, leads, &mut member.shadow, &append.entries);
                if self.sabotage == Some(Sabotage::ResponsesAtOnce) {
                    outgoing.append(&mut append.responses);
                }
                member.write(append, self.sabotage);
            }
            if !committed.is_empty() {
                member.applying.push_back(committed);
            }
            for read in read_states {
                let id = u64::from_le_bytes(read.context.as_ref().try_into().expect("an id"));
                self.checker.read_ends(member.id, id, read.index);
            }
            self.send(outgoing);
        }
        let member = &self.members[at];
        let Some(raft) = &member.raft else { return };
        self.checker
            .commits(member.id, raft.status().commit, &member.shadow);
        self.checker
            .applied(member.id, member.machine.applied, member.machine.state);
        if raft.role() == Role::Leader {
            self.checker.leads(member.id, raft.term(), &member.shadow);
            self.checker.one_conf_change(member.id, &member.shadow);
        }
    }

    fn send(&mut self, messages: Vec<Message>) {
        for message in messages {
            if self.percent(self.loss_percent) {
                self.lose(message);
            } else {
                if self.percent(self.duplication_percent) {
                    self.counts.faults[Fault::Repeated as usize] += 1;
                    self.network.push(message.clone());
                }
                self.network.push(message);
            }
        }
    }

    fn lose(&mut self, message: Message) {
        self.counts.faults[Fault::Lost as usize] += 1;
        self.snapshot_sent(&message, false);
    }

    /// The transport owes the leader word of how a snapshot's transmission ended.
    fn snapshot_sent(&mut self, message: &Message, ok: bool) {
        if message.msg_type == MessageType::Snap as i32 {
            let from = message.from as usize - 1;
            // Not through `with`: the sender may be in the middle of its own step.
            if let Some(raft) = &mut self.members[from].raft {
                raft.report_snapshot(MemberId(message.to), ok);
            }
        }
    }

    fn deliver_any(&mut self) {
        if self.network.is_empty() {
            return;
        }
        // Mostly in order, so that things get done; sometimes not.
        let count = self.network.len() as u64;
        let window = if self.percent(20) {
            count
        } else {
            count.min(3)
        };
        let message = self.network.remove(self.rng.below(window) as usize);
        self.deliver(message);
    }

    fn deliver(&mut self, message: Message) {
        let to = message.to as usize - 1;
        let unreachable =
            self.cut.contains(&(message.from, message.to)) || self.members[to].raft.is_none();
        if unreachable {
            return self.lose(message);
        }
        self.snapshot_sent(&message, true);
        // Refusals of proposals and of answers from removed members are part of the game; any
        // other is a bug.
        self.with(to, |raft| match raft.step(message) {
            Ok(())
            | Err(tenet_raft::StepError::Proposal(_) | tenet_raft::StepError::UnknownPeer(_)) => {}
            Err(other) => panic!("{other}"),
        });
    }

    fn sync(&mut self, at: usize) {
        let member = &mut self.members[at];
        if member.raft.is_none() || member.hangs {
            return;
        }
        let mut messages = Vec::new();
        for _ in 0..=self.rng.below(3) {
            messages.extend(member.sync_one(self.sabotage));
        }
        self.send(messages);
        self.settle(at);
    }

    fn apply(&mut self, at: usize) {
        if self.members[at].raft.is_some() && self.members[at].apply_one() {
            self.settle(at);
        }
    }

    fn propose(&mut self, at: usize) {
        let count = 1 + self.rng.below(4);
        let data = (0..count).map(|_| {
            self.proposals += 1;
            Bytes::from(format!("proposal {}", self.proposals))
        });
        let data = data.collect();
        self.with(at, |raft| {
            let _ = raft.propose(data);
        });
    }

    /// Half of the reads go to members that believe to lead, the others to any.
    fn read(&mut self, mut at: usize) {
        if self.percent(50) {
            let leads = |at: &usize| {
                let raft = self.members[*at].raft.as_ref();
                raft.is_some_and(|raft| raft.role() == Role::Leader)
            };
            let leaders: Vec<_> = (0..self.members.len()).filter(leads).collect();
            if !leaders.is_empty() {
                at = leaders[self.rng.below(leaders.len() as u64) as usize];
            }
        }
        self.reads += 1;
        let read = self.reads;
        self.checker.read_begins(read);
        self.with(at, |raft| {
            raft.read_index(Bytes::copy_from_slice(&read.to_le_bytes()));
        });
    }

    fn leader(&self) -> Option<usize> {
        let leads = |member: &Member| member.raft.as_ref().map(|r| (r.role(), r.term()));
        let leaders =
            self.members
                .iter()
                .enumerate()
                .filter_map(|(at, member)| match leads(member) {
                    Some((Role::Leader, term)) => Some((term, at)),
                    _ => None,
                });
        leaders.max().map(|(_, at)| at)
    }

    fn change_configuration(&mut self) {
        let Some(at) = self.leader() else { return };
        let raft = self.members[at].raft.as_ref().expect("a leader runs");
        let configuration = &raft.tracker().configuration;
        let mut change = ConfChangeV2::default();
        if !configuration.voters.is_joint() {
            let voters = configuration.voters.incoming.ids().to_vec();
            change = self.random_change(&voters);
        }
        self.counts.faults[Fault::ConfChange as usize] += 1;
        let v1 = self.percent(50);
        self.with(at, |raft| {
            let single = match change.changes.as_slice() {
                [single] if v1 => Some(*single),
                _ => None,
            };
            let _ = match single {
                Some(ConfChangeSingle {
                    change_type,
                    node_id,
                }) => raft.propose_conf_change(ConfChange {
                    change_type,
                    node_id,
                    ..ConfChange::default()
                }),
                None => raft.propose_conf_change(change),
            };
        });
    }

    /// Changes that leave at least one voter.
    fn random_change(&mut self, voters: &[MemberId]) -> ConfChangeV2 {
        let mut left = voters.to_vec();
        let mut changes = Vec::new();
        for _ in 0..1 + self.rng.below(3) {
            let id = MemberId(1 + self.rng.below(MEMBERS_MAX));
            let kind = match self.rng.below(5) {
                0..3 => ConfChangeType::AddNode,
                3 => ConfChangeType::AddLearnerNode,
                _ => ConfChangeType::RemoveNode,
            };
            if kind == ConfChangeType::AddNode {
                left.push(id);
            } else if left.iter().all(|voter| *voter == id) {
                continue;
            } else {
                left.retain(|voter| *voter != id);
            }
            changes.push(ConfChangeSingle {
                change_type: kind as i32,
                node_id: id.get(),
            });
        }
        if changes.is_empty() {
            let stays = voters[0].get();
            let change_type = ConfChangeType::AddNode as i32;
            changes.push(ConfChangeSingle {
                change_type,
                node_id: stays,
            });
        }
        let transition = match self.rng.below(3) {
            0 => ConfChangeTransition::JointImplicit,
            1 => ConfChangeTransition::JointExplicit,
            _ => ConfChangeTransition::Auto,
        };
        ConfChangeV2 {
            transition: transition as i32,
            changes,
            ..ConfChangeV2::default()
        }
    }

    fn transfer(&mut self, at: usize) {
        self.counts.faults[Fault::Transfer as usize] += 1;
        let to = MemberId(1 + self.rng.below(MEMBERS_MAX));
        self.with(at, |raft| raft.transfer_leader(to));
    }

    fn crash(&mut self, at: usize) {
        if self.members[at].raft.is_some() {
            self.counts.faults[Fault::Crash as usize] += 1;
            let sabotage = self.sabotage;
            self.members[at].crash(&mut self.rng, sabotage);
        }
    }

    fn restart(&mut self, at: usize) {
        if self.members[at].raft.is_none() {
            let config = self.config_of(self.members[at].id);
            self.members[at].start(config);
            self.settle(at);
        }
    }

    /// Cuts the cluster in two, wholly or in one direction; often just the leader off the others.
    fn partition(&mut self) {
        self.counts.faults[Fault::Partition as usize] += 1;
        self.cut.clear();
        let mut side: Vec<u64> = (1..=MEMBERS_MAX).map(|_| self.rng.below(2)).collect();
        if self.percent(40)
            && let Some(leader) = self.leader()
        {
            side = vec![0; MEMBERS_MAX as usize];
            side[leader] = 1;
        }
        let one_way = self.percent(30);
        for from in 1..=MEMBERS_MAX {
            for to in 1..=MEMBERS_MAX {
                let (a, b) = (side[from as usize - 1], side[to as usize - 1]);
                if a < b || (a > b && !one_way) {
                    self.cut.push((from, to));
                }
            }
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

    fn hang(&mut self, at: usize) {
        if self.members[at].raft.is_some() {
            self.counts.faults[Fault::Hang as usize] += 1;
            self.members[at].hangs = true;
            if self.percent(50) {
                self.with(at, Raft::disk_stalled);
            }
        }
    }

    fn recover(&mut self, at: usize) {
        self.members[at].hangs = false;
        self.with(at, Raft::disk_recovered);
    }

    /// The faults stop. A leader must emerge and what is proposed must be applied by every voter.
    fn heal(&mut self) {
        self.cut.clear();
        (self.loss_percent, self.duplication_percent) = (0, 0);
        for at in 0..self.members.len() {
            self.restart(at);
            self.recover(at);
        }
        let mut accepted = false;
        for round in 0.. {
            if round == 500 && self.waits_for_a_removed_member() {
                self.counts.deadlocks += 1;
                return;
            }
            assert!(
                round < 2_000,
                "no progress after the faults have stopped: {}",
                self.describe()
            );
            self.let_a_tick_pass();
            if let Some(leader) = self.leader() {
                if round % 20 == 0 {
                    accepted |= self.nudge(leader);
                }
                if accepted && self.is_settled(leader) {
                    return;
                }
            }
        }
    }

    /// A tick is long: whatever can happen between two of them does.
    fn let_a_tick_pass(&mut self) {
        for at in 0..self.members.len() {
            self.with(at, Raft::tick);
        }
        for _ in 0..20 {
            for message in std::mem::take(&mut self.network) {
                self.deliver(message);
            }
            for at in 0..self.members.len() {
                self.sync(at);
                self.apply(at);
            }
        }
    }

    /// What a driver does at a leader from time to time. Whether a proposal was accepted.
    fn nudge(&mut self, leader: usize) -> bool {
        // An older snapshot may not name a member that needs it.
        self.members[leader].cut();
        let mut accepted = false;
        self.with(leader, |raft| {
            let configuration = raft.tracker().configuration.clone();
            if configuration.voters.is_joint() && !configuration.auto_leave {
                let _ = raft.propose_conf_change(ConfChangeV2::default());
            }
            // A leader that was removed takes no proposals; it stays until somebody takes over.
            let removed = !configuration.voters.contains(raft.id());
            if let Some(other) = raft.best_transferee().filter(|_| removed) {
                raft.transfer_leader(other);
            }
            accepted = raft
                .propose(vec![Bytes::from_static(b"afterwards")])
                .is_ok();
        });
        accepted
    }

    /// Whether every voter has applied everything.
    fn is_settled(&self, leader: usize) -> bool {
        let raft = self.members[leader].raft.as_ref().expect("a leader runs");
        let voters = &raft.tracker().configuration.voters;
        let last = raft.status().last;
        let has_all = |id: &MemberId| self.members[id.get() as usize - 1].machine.applied == last;
        !voters.is_joint() && voters.incoming.ids().iter().all(has_all)
    }

    /// The one way in which a cluster cannot go on, etcd's as well: a leader has committed and
    /// applied its own removal, the others do not know, and it stops leading. They still need its
    /// vote, which it does not give because its log is longer, and it does not campaign any more.
    /// Drivers avoid it by handing leadership over before the leader is removed.
    fn waits_for_a_removed_member(&self) -> bool {
        let status: Vec<_> = self
            .members
            .iter()
            .filter_map(|m| m.raft.as_ref().map(Raft::status))
            .collect();
        let leaderless = status.iter().all(|status| status.role != Role::Leader);
        let removed = status
            .iter()
            .filter(|s| !s.configuration.voters.contains(s.id));
        leaderless
            && removed.into_iter().any(|gone| {
                status.iter().any(|left| {
                    left.configuration.voters.contains(gone.id) && left.commit < gone.commit
                })
            })
    }

    fn describe(&self) -> String {
        let status = |m: &Member| {
            m.raft.as_ref().map(|raft| {
                let status = raft.status();
                format!("\n{status:?} {:?}", m.machine)
            })
        };
        self.members.iter().filter_map(status).collect()
    }
}

fn run(seed: u64, sabotage: Option<Sabotage>) -> World {
    let mut world = World::new(seed, sabotage);
    // With ticks that are further apart, as many of them need more steps.
    let steps = if world.lock_step { 4 * STEPS } else { STEPS };
    for _ in 0..steps {
        world.step();
    }
    world.heal();
    world.counts.committed = world.checker.commit_index().get();
    world.counts.reads = world.checker.reads_answered;
    world
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable}={text} is not a number")),
    )
}

/// Runs one seed and names it if it fails.
fn run_named(seed: u64) -> World {
    let result = std::panic::catch_unwind(|| run(seed, None));
    result.unwrap_or_else(|_| panic!("violation with TENET_RAFT_SEED={seed}, see above"))
}

#[test]
fn random_clusters_keep_the_promises_of_raft() {
    let seeds = match number("TENET_RAFT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TENET_RAFT_SEEDS").unwrap_or(150),
    };
    let many = seeds.end - seeds.start >= 100;
    let mut sum = Counts::default();
    for seed in seeds {
        let counts = run_named(seed).counts;
        for (total, count) in sum.faults.iter_mut().zip(counts.faults) {
            *total += count;
        }
        sum.committed += counts.committed;
        sum.reads += counts.reads;
        sum.deadlocks += counts.deadlocks;
    }
    println!("{FAULTS:?} {sum:?}");
    if many {
        let rare = FAULTS.iter().zip(sum.faults).find(|(_, count)| *count < 50);
        assert!(rare.is_none(), "a fault hardly ever happened: {rare:?}");
        assert!(
            sum.committed > 1_000 && sum.reads > 100,
            "hardly anything happened: {sum:?}"
        );
    }
}

/// Panics of this thread are wanted: they are not printed.
fn silence_this_thread() {
    thread_local!(static SILENT: std::cell::Cell<bool> = const { std::cell::Cell::new(false) });
    SILENT.set(true);
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !SILENT.get() {
            loud(info);
        }
    }));
}

/// What goes wrong with a broken duty. That the cluster gets stuck does not count.
fn violation(seed: u64, sabotage: Sabotage) -> Option<String> {
    let payload = std::panic::catch_unwind(|| run(seed, Some(sabotage))).err()?;
    let text = payload.downcast_ref::<String>()?.clone();
    (!text.starts_with("no progress")).then_some(text)
}

/// A driver that breaks its duties is found out: the checker is not blind.
#[test]
fn broken_duties_are_noticed() {
    silence_this_thread();
    let mut missed = Vec::new();
    for sabotage in [
        Sabotage::DoneBeforeDurable,
        Sabotage::ResponsesAtOnce,
        Sabotage::HardStateForgotten,
        Sabotage::DiskLost,
    ] {
        match (0..1_000).find_map(|seed| Some((seed, violation(seed, sabotage)?))) {
            Some((seed, text)) => println!("{sabotage:?} is noticed with seed {seed}: {text}"),
            None => missed.push(sabotage),
        }
    }
    assert!(missed.is_empty(), "nobody noticed {missed:?}");
}
