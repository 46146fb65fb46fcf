//! The end of a run: without faults, a cluster must come to rest.

use super::Cluster;
use tenet_base::Index;

/// Rounds, of one tick for everybody, within which a cluster must be at rest: some elections, and
/// the time after which requests are given up.
const ROUNDS_MAX: u64 = 300;

/// What members that hold the same have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Holds {
    applied: Index,
    revision: i64,
    compact_revision: i64,
    hash: u32,
}

impl Cluster {
    pub(super) fn come_to_rest(&mut self) {
        self.network.mend();
        self.network.behave();
        for at in 0..self.nodes.len() {
            let node = &mut self.nodes[at];
            node.disk.resume();
            node.paused_until = 0;
            if node.member.is_none() {
                self.start(at);
            }
        }
        self.follow_again();
        self.rounds("the cluster does not come to rest", |cluster| {
            cluster.clients.is_idle() && cluster.agrees()
        });
        for at in 0..self.nodes.len() {
            if !self.violations.is_empty() {
                return;
            }
            let answered = self.clients.answered;
            self.ask_put(at);
            self.rounds(
                "at rest, a write is not carried out everywhere",
                |cluster| cluster.clients.is_idle() && cluster.agrees(),
            );
            if self.clients.answered == answered {
                self.violations
                    .push(format!("at rest, member {at} does not answer a write"));
            }
        }
        self.pull_all();
        let held: Vec<Holds> = (0..self.nodes.len())
            .filter_map(|at| self.holds(at))
            .collect();
        if held.windows(2).any(|two| two[0] != two[1]) {
            self.violations
                .push(format!("members hold different things: {held:?}"));
        }
    }

    fn rounds(&mut self, otherwise: &str, done: impl Fn(&Cluster) -> bool) {
        for _ in 0..ROUNDS_MAX {
            self.settle();
            if !self.violations.is_empty() || done(self) {
                return;
            }
            self.now += 1;
            for node in &mut self.nodes {
                if let Some(member) = &mut node.member {
                    member.tick();
                }
            }
        }
        self.violations
            .push(format!("{otherwise}: {}", self.places()));
    }

    /// Lets everybody do everything that does not need time to pass.
    fn settle(&mut self) {
        let mut moved = true;
        while std::mem::take(&mut moved) {
            for at in 0..self.nodes.len() {
                while self.work(at) {
                    moved = true;
                }
                self.look_at(at);
            }
            for letter in self.network.take_all() {
                moved = true;
                self.deliver(letter);
            }
        }
    }

    /// Whether all follow one leader and have applied the same.
    fn agrees(&self) -> bool {
        let mut seen = self.nodes.iter().map(|node| {
            let member = node.member.as_ref()?;
            let progress = member.frontend().progress();
            Some((progress.leader()?, progress.committed(), progress.applied()))
        });
        let first = seen.next().flatten();
        first.is_some_and(|(_, committed, applied)| committed == applied)
            && seen.all(|place| place == first)
    }

    fn holds(&self, at: usize) -> Option<Holds> {
        let member = self.nodes[at].member.as_ref()?;
        let view = member.state().views().load();
        let hash = view
            .kv
            .hash_kv(0)
            .expect("the newest revision can be hashed");
        Some(Holds {
            applied: member.state().applied().0,
            revision: view.kv.revision().get(),
            compact_revision: view.kv.compact_revision().map_or(-1, |r| r.get()),
            hash: hash.hash,
        })
    }

    fn places(&self) -> String {
        let place = |at: usize| {
            let progress = match &self.nodes[at].member {
                Some(member) => member.frontend().progress(),
                None => return format!("{at} does not run"),
            };
            format!(
                "{at}: term {} leader {:?} committed {} applied {}",
                progress.term(),
                progress.leader(),
                progress.committed(),
                progress.applied()
            )
        };
        let places: Vec<String> = (0..self.nodes.len()).map(place).collect();
        places.join(", ")
    }
}
