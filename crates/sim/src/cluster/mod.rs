//! A whole cluster from one seed: members with their disks, the network between them, clients that
//! ask and watch, and everything that may go wrong.
//!
//! A step lets something happen that may happen now: a member or its disk does a piece of work, a
//! message arrives, a tick passes for one member (so clocks differ), a client asks, a fault begins
//! or ends. After a while faults end, and the cluster must come to rest: everything is answered,
//! all members hold the same, and each of them takes a write.
//!
//! Checked on the way: one leader in each term, no member ends itself. At the end: what clients
//! were told has an order, and watches have missed nothing ([`tenet_check::history`]).

mod clients;
mod network;
mod rest;
mod settings;

use crate::disk::{Config, SimDisk, Survival};
use crate::member::{Answers, SimMember};
use bytes::Bytes;
use clients::{Clients, OPERATOR};
use network::{Letter, Network};
use std::collections::BTreeMap;
use tenet_base::world::SplitMix64;
use tenet_base::{MemberId, Rng as _, Term};
use tenet_check::history::{self as h, History, Watch};
use tenet_proto::raftpb::Message;
use tenet_state::bootstrap_member_id;

pub use settings::{Fault, Settings};

/// What a run has shown.
#[derive(Clone, Debug)]
pub struct Run {
    /// What is wrong, in words; empty if nothing is.
    pub violations: Vec<String>,
    /// Requests that were answered.
    pub answered: u64,
    /// Requests of which nobody knows what became.
    pub lost: u64,
    /// Events that watches were told.
    pub events: u64,
    /// Terms that had a leader.
    pub terms: u64,
    /// Snapshots that became the state of a member.
    pub installed: u64,
    /// How often each fault happened.
    pub faults: BTreeMap<Fault, u64>,
}

#[derive(Debug)]
struct Node {
    id: MemberId,
    disk: SimDisk,
    member: Option<SimMember>,
    answers: Answers,
    /// Does nothing until then.
    paused_until: u64,
    /// Its disk does nothing until then.
    hangs_until: u64,
    /// Is started again then, if it does not run.
    starts_at: u64,
    starts: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Cluster {
    settings: Settings,
    rng: SplitMix64,
    now: u64,
    nodes: Vec<Node>,
    network: Network,
    mends_at: u64,
    clients: Clients,
    leaders: BTreeMap<Term, usize>,
    installed: u64,
    faults: BTreeMap<Fault, u64>,
    violations: Vec<String>,
}

impl Cluster {
    /// A cluster of new members.
    ///
    /// # Panics
    /// If a new member refuses to start.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let nodes = (0..settings.members).map(|at| {
            let founder = &settings.options(at, 0).initial_cluster[at];
            Node {
                id: bootstrap_member_id(&founder.peer_urls, "simulated"),
                disk: SimDisk::new(settings.seed ^ at as u64, Config::default()),
                member: None,
                answers: Answers::default(),
                paused_until: 0,
                hangs_until: 0,
                starts_at: 0,
                starts: 0,
            }
        });
        let mut cluster = Cluster {
            rng: SplitMix64::new(settings.seed),
            now: 0,
            nodes: nodes.collect(),
            network: Network::new(settings.members, settings.manners),
            mends_at: 0,
            clients: Clients::default(),
            leaders: BTreeMap::new(),
            installed: 0,
            faults: BTreeMap::new(),
            violations: Vec::new(),
            settings,
        };
        for at in 0..cluster.nodes.len() {
            cluster.start(at);
        }
        for (key, end, no_put) in [("\0", "\0", false), ("key02", "key05", true)] {
            let keys = h::Keys {
                key: key.into(),
                end: end.into(),
            };
            let watch = Watch {
                keys,
                start: 1,
                no_put,
                prev_kv: !no_put,
                ..Watch::default()
            };
            let at = cluster.rng.below(cluster.nodes.len() as u64) as usize;
            cluster.follow(at, watch);
        }
        cluster
    }

    /// Plays everything and judges it.
    #[must_use]
    pub fn run(mut self) -> Run {
        while self.now < self.settings.steps && self.violations.is_empty() {
            self.step();
        }
        if self.violations.is_empty() {
            self.come_to_rest();
        }
        let history = History {
            lines: std::mem::take(&mut self.clients.lines),
        };
        let running = self.nodes.iter().filter_map(|node| node.member.as_ref());
        self.installed += running.map(SimMember::installed).sum::<u64>();
        let mut violations = self.violations;
        let mut lost = 0;
        let mut events = 0;
        if violations.is_empty() {
            let report = h::check(&history);
            violations.extend(report.violations.iter().map(ToString::to_string));
            lost = report.lost as u64;
            events = report.events as u64;
        }
        Run {
            violations,
            answered: self.clients.answered,
            lost,
            events,
            terms: self.leaders.len() as u64,
            installed: self.installed,
            faults: self.faults,
        }
    }

    fn step(&mut self) {
        self.now += 1;
        self.end_faults();
        if self.rng.below(10_000) < self.settings.faults {
            self.begin_fault();
        }
        if self.rng.below(1_000) < self.settings.requests
            && let Some(at) = self.some_running()
        {
            self.ask(at);
        }
        match self.rng.below(100) {
            0..=2 => self.tick_some(),
            3 => self.pull_some(),
            4..=29 => self.deliver_some(),
            _ => self.work_some(),
        }
    }

    fn some_running(&mut self) -> Option<usize> {
        let running = |node: &&(usize, &Node)| node.1.member.is_some();
        let all: Vec<_> = self.nodes.iter().enumerate().collect();
        let able: Vec<usize> = all.iter().filter(running).map(|(at, _)| *at).collect();
        (!able.is_empty()).then(|| able[self.rng.below(able.len() as u64) as usize])
    }

    fn some_awake(&mut self) -> Option<usize> {
        let at = self.some_running()?;
        (self.nodes[at].paused_until <= self.now).then_some(at)
    }

    fn tick_some(&mut self) {
        if let Some(at) = self.some_awake()
            && let Some(member) = &mut self.nodes[at].member
        {
            member.tick();
        }
    }

    fn work_some(&mut self) {
        if let Some(at) = self.some_awake() {
            self.work(at);
        }
    }

    /// A member or its disk does a piece of work. Says whether there was any.
    fn work(&mut self, at: usize) -> bool {
        let node = &mut self.nodes[at];
        let Some(member) = &mut node.member else {
            return false;
        };
        let worked = member.step(&mut node.disk, &mut self.rng);
        if let Some(why) = member.ended() {
            self.violations
                .push(format!("member {at} ended itself: {why}"));
        }
        self.look_at(at);
        worked
    }

    /// Takes what a member has to say.
    fn look_at(&mut self, at: usize) {
        self.collect(at);
        let Some(member) = &mut self.nodes[at].member else {
            return;
        };
        for term in member.take_led() {
            let other = *self.leaders.entry(term).or_insert(at);
            if other != at {
                let words = format!("{other} and {at} both led term {term}");
                self.violations.push(words);
            }
        }
        let messages = member.take_messages().into_iter();
        let snapshots = member.take_snapshots().into_iter();
        let all = messages
            .map(|message| (message, None))
            .chain(snapshots.map(|(message, file)| (message, Some(file))));
        for (message, file) in all.collect::<Vec<_>>() {
            self.send(at, message, file);
        }
    }

    fn send(&mut self, from: usize, message: Message, file: Option<Bytes>) {
        let id = MemberId(message.to);
        let to = self.nodes.iter().position(|node| node.id == id);
        let to = to.expect("all members are known");
        let is_snapshot = file.is_some();
        let letter = Letter {
            from,
            to,
            message,
            file,
        };
        let fault = self.network.send(letter, self.now, &mut self.rng);
        if let Some(fault) = fault {
            *self.faults.entry(fault).or_default() += 1;
        }
        let lost = matches!(fault, Some(Fault::Lost | Fault::Cut));
        if lost && is_snapshot {
            self.snapshot_sent(from, id, false);
        }
    }

    fn snapshot_sent(&mut self, from: usize, to: MemberId, ok: bool) {
        if let Some(sender) = &mut self.nodes[from].member {
            sender.snapshot_sent(to, ok);
        }
    }

    fn deliver_some(&mut self) {
        if let Some(letter) = self.network.take(self.now, &mut self.rng) {
            self.deliver(letter);
        }
    }

    /// Whoever does not run gets nothing, and the sender may hear of that.
    fn deliver(&mut self, letter: Letter) {
        let Letter {
            from,
            to,
            message,
            file,
        } = letter;
        let to_id = self.nodes[to].id;
        if let Some(file) = file {
            let taken = match &mut self.nodes[to].member {
                Some(member) => member.deliver_snapshot(message, file),
                None => return self.snapshot_sent(from, to_id, false),
            };
            if let Err(error) = taken {
                let words = format!("{to} refuses a snapshot of {from}: {error}");
                self.violations.push(words);
            }
            self.snapshot_sent(from, to_id, true);
        } else if let Some(member) = &mut self.nodes[to].member {
            member.deliver(message);
        } else if let Some(sender) = &mut self.nodes[from].member
            && self.rng.below(2) == 0
        {
            sender.unreachable(to_id);
        }
    }

    fn newest_revision(&self) -> i64 {
        let members = self.nodes.iter().filter_map(|node| node.member.as_ref());
        let revisions = members.map(|member| member.state().views().load().kv.revision().get());
        revisions.max().unwrap_or(1)
    }

    fn start(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.starts += 1;
        node.answers = Answers::default();
        let options = self.settings.options(at, node.starts);
        match SimMember::start(&mut node.disk, &options, node.answers.clone()) {
            Ok(member) => node.member = Some(member),
            Err(error) => self
                .violations
                .push(format!("member {at} does not start: {error}")),
        }
    }

    fn stop(&mut self, at: usize, power_loss: bool) {
        self.strand(at);
        let node = &mut self.nodes[at];
        let member = node.member.take();
        self.installed += member.map_or(0, |member| member.installed());
        node.disk.resume();
        if power_loss {
            let survival = [Survival::Nothing, Survival::Random][self.rng.below(2) as usize];
            node.disk.crash(survival, &mut self.rng);
        } else {
            node.disk.end_process(&mut self.rng);
        }
        node.hangs_until = 0;
        node.starts_at = self.now + 1 + self.rng.below(6_000);
    }

    fn end_faults(&mut self) {
        if self.mends_at == self.now {
            self.network.mend();
        }
        for at in 0..self.nodes.len() {
            let node = &mut self.nodes[at];
            if node.hangs_until == self.now {
                node.disk.resume();
            }
            if node.member.is_none() && node.starts_at <= self.now {
                self.start(at);
                self.follow_again();
            }
        }
    }

    fn begin_fault(&mut self) {
        let total: u64 = self.settings.weights.iter().sum();
        if total == 0 {
            return;
        }
        let mut drawn = self.rng.below(total);
        let events = Fault::EVENTS.iter().map(|(fault, _)| *fault);
        let fault = events
            .zip(self.settings.weights)
            .find(|(_, weight)| {
                let here = drawn < *weight;
                drawn = drawn.saturating_sub(*weight);
                here
            })
            .map(|(fault, _)| fault);
        let (Some(fault), Some(at)) = (fault, self.some_running()) else {
            return;
        };
        let other = self.rng.below(self.nodes.len() as u64) as usize;
        let until = self.now + 1 + self.rng.below(8_000);
        *self.faults.entry(fault).or_default() += 1;
        match fault {
            Fault::Split => {
                let side = self.rng.below(1 << self.nodes.len());
                self.cut(until, |a, b| (side >> a ^ side >> b) & 1 == 1);
            }
            Fault::Mute => self.cut(until, |from, _| from == at),
            Fault::Bridge => self.cut(until, |a, b| (a, b) == (at, other) || (b, a) == (at, other)),
            Fault::Killed => self.stop(at, false),
            Fault::PowerLoss => self.stop(at, true),
            Fault::DiskHangs => {
                self.nodes[at].hangs_until = until;
                self.nodes[at].disk.hang();
            }
            Fault::Paused => self.nodes[at].paused_until = until,
            Fault::Transfer => {
                let to = self.nodes[other].id;
                if let Some(member) = &mut self.nodes[at].member {
                    member.transfer(OPERATOR, Some(to).filter(|_| other != at));
                }
            }
            Fault::Lost | Fault::Repeated | Fault::Delayed | Fault::Cut => {
                unreachable!("{fault:?} befalls messages")
            }
        }
    }

    fn cut(&mut self, until: u64, apart: impl Fn(usize, usize) -> bool) {
        self.network.cut(apart);
        self.mends_at = until;
    }
}
