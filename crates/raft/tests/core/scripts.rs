//! Random scripts in the language of the transcripts, each decided by a seed.
//!
//! A script is chosen while it runs: the next command depends on what the members are and have to
//! do, or most of what is chosen would do nothing. What comes out is text, and runs again without
//! the seed. It is used in two places: here every script must run, and alike each time; and
//! `examples/compare_scripts` runs them through Go's raft as well.
//!
//! Everything that the language allows is chosen, with these exceptions. A message is never made up:
//! only leaders send snapshots. What etcd and this core do differently on purpose (see the head of
//! the crate) is left out: leases, and the reads of a leader that is the sole voter and has not
//! committed, or is not the sole voter that it has. Limits in bytes and changes of the configuration
//! do not meet, because etcd counts a refused change two bytes larger. Nobody asks who votes while a
//! snapshot is being restored. And nothing waits for a random timeout: it is set before every tick.

use tenet_base::world::SplitMix64;
use tenet_base::{Index, Rng};
use tenet_raft::{LogStore, Role};

use crate::datafile::File;
use crate::interaction::Cluster;

/// Begins the last output of a script that ended in a panic.
pub(crate) const PANICKED: &str = "panic: ";

/// Most members of a script, not all of them in the first configuration.
const MEMBERS_MAX: u64 = 5;

/// Commands with what they print.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Script {
    /// Each with its input, without the separator.
    pub(crate) commands: Vec<String>,
    pub(crate) outputs: Vec<String>,
}

impl Script {
    /// Chooses a script and runs it.
    pub(crate) fn generate(seed: u64) -> Script {
        let mut generator = Generator {
            rng: SplitMix64::new(seed),
            cluster: Cluster::default(),
            script: Script::default(),
            proposals: 0,
            limited: false,
        };
        generator.generate();
        generator.script
    }

    /// Runs the commands anew.
    pub(crate) fn rerun(commands: &[String]) -> Script {
        let (mut cluster, mut script) = (Cluster::default(), Script::default());
        for command in commands {
            if !script.run(&mut cluster, command.clone()) {
                break;
            }
        }
        script
    }

    /// Runs one command; whether the script can go on.
    fn run(&mut self, cluster: &mut Cluster, command: String) -> bool {
        let file = File::parse(&format!("{command}\n----\n"));
        let run = std::panic::AssertUnwindSafe(|| cluster.run(&file.directives[0]));
        let (output, ok) = match std::panic::catch_unwind(run) {
            Ok(output) => (output, true),
            Err(reason) => {
                let text = match reason.downcast::<String>() {
                    Ok(text) => *text,
                    Err(reason) => reason.downcast_ref::<&str>().unwrap_or(&"").to_string(),
                };
                (PANICKED.to_owned() + &text, false)
            }
        };
        self.commands.push(command);
        self.outputs.push(output);
        ok
    }

    /// The commands alone, as a file.
    pub(crate) fn text(&self) -> String {
        let with_separator = |command: &String| format!("{command}\n----\n\n");
        self.commands.iter().map(with_separator).collect()
    }
}

struct Generator {
    rng: SplitMix64,
    cluster: Cluster,
    script: Script,
    proposals: u64,
    /// Whether messages are limited in bytes.
    limited: bool,
}

impl Generator {
    fn below(&mut self, bound: u64) -> u64 {
        self.rng.below(bound)
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        let at = self.below(from.len() as u64);
        from[at as usize].clone()
    }

    fn any(&mut self) -> usize {
        1 + self.below(self.cluster.size() as u64) as usize
    }

    /// A member for which something holds, if there is one.
    fn any_that(&mut self, holds: impl Fn(&Cluster, usize) -> bool) -> Option<usize> {
        let ids: Vec<_> = (1..=self.cluster.size())
            .filter(|id| holds(&self.cluster, *id))
            .collect();
        (!ids.is_empty()).then(|| self.pick(&ids))
    }

    fn leader(&mut self) -> Option<usize> {
        self.any_that(|cluster, id| cluster.raft(id).role() == Role::Leader)
    }

    /// Mostly a leader, which can do more.
    fn leader_or_any(&mut self) -> usize {
        let leader = self.leader();
        match leader {
            Some(leader) if !self.percent(15) => leader,
            _ => self.any(),
        }
    }

    fn generate(&mut self) {
        let start = self.start();
        let length = 20 + self.below(120);
        if !self.script.run(&mut self.cluster, start) {
            return;
        }
        for _ in 0..length {
            for command in self.next_commands() {
                if !self.script.run(&mut self.cluster, command) {
                    return;
                }
            }
        }
        // At the end it shows what everybody has come to.
        for id in 1..=self.cluster.size() {
            for what in ["raft-log", "status"] {
                let command = format!("{what} {id}");
                self.script.run(&mut self.cluster, command);
            }
        }
        if !self.awaits_snapshot() {
            self.script.run(&mut self.cluster, "raft-state".into());
        }
    }

    fn start(&mut self) -> String {
        let count = 1 + self.below(MEMBERS_MAX);
        let voters = 1 + self.below(count);
        let learners = voters + self.below(count - voters + 1).min(self.below(2));
        let list = |ids: std::ops::RangeInclusive<u64>| {
            let ids: Vec<_> = ids.map(|id| id.to_string()).collect();
            ids.join(",")
        };
        let mut start = format!("add-nodes {count} voters=({})", list(1..=voters));
        if learners > voters {
            start += &format!(" learners=({})", list(voters + 1..=learners));
        }
        start += &format!(" index={}", 2 + self.below(9));
        for option in ["prevote", "checkquorum", "async-storage-writes"] {
            if self.percent(50) {
                start += &format!(" {option}=true");
            }
        }
        if self.percent(20) {
            start += " step-down-on-removal=true";
        }
        if self.percent(4) {
            start += " disable-conf-change-validation=true";
        }
        for (option, values) in [
            ("inflight", [1, 2, 3]),
            ("max-size-per-msg", [1, 40, 100]),
            ("max-committed-size-per-ready", [1, 40, 100]),
        ] {
            if self.percent(20) {
                let value = self.pick(&values);
                start += &format!(" {option}={value}");
                self.limited |= option != "inflight" && value > 1;
            }
        }
        start
    }

    fn next_commands(&mut self) -> Vec<String> {
        let id = self.any();
        vec![match self.below(1000) {
            0..220 => self.deliver(),
            220..420 => return self.work(),
            420..500 => self.stabilize(),
            500..620 => {
                let id = self.leader_or_any();
                self.proposals += 1;
                format!("propose {id} p{}", self.proposals)
            }
            620..670 => return self.ticks(),
            670..695 => format!("campaign {id}"),
            695..760 if self.limited => return self.work(),
            695..760 => self.change_configuration(),
            760..785 => return self.compact(),
            785..805 => format!("transfer-leadership from={id} to={}", self.any()),
            805..815 => format!("forget-leader {id}"),
            815..835 => return self.send_snapshot(),
            835..855 => format!("report-unreachable {id} {}", self.any()),
            855..870 => format!(
                "report-snapshot {id} {} ok={}",
                self.any(),
                self.below(2) == 0
            ),
            870..900 => return self.read(),
            900..925 => return self.restart(),
            925..945 => format!("repeat-msgs {id}"),
            945..960 => format!("reverse-msgs {id}"),
            960..975 => format!("raft-log {id}"),
            975..990 => format!("status {id}"),
            _ if self.awaits_snapshot() => return self.work(),
            _ => "raft-state".into(),
        }]
    }

    /// Whether somebody is to be restored from a snapshot. In etcd's core it is in the snapshot's
    /// configuration already, here it is not.
    fn awaits_snapshot(&self) -> bool {
        (1..=self.cluster.size()).any(|id| {
            let raft = self.cluster.raft(id);
            raft.status().commit > raft.log().last_index()
        })
    }

    /// Members that have messages, or some that have none; now and then of one type, or dropped.
    fn deliver(&mut self) -> String {
        let found = self.any_that(|cluster, id| cluster.work_of(id)[1]);
        let id = match found {
            Some(id) if !self.percent(10) => id,
            _ => self.any(),
        };
        let mut command = "deliver-msgs".to_owned();
        let other = self.any();
        match self.below(20) {
            0..12 => command += &format!(" {id}"),
            12..14 if other != id => command += &format!(" {id} {other}"),
            14..16 if other != id => command += &format!(" {id} drop=({other})"),
            _ => command += &format!(" drop=({id})"),
        }
        if self.percent(15) {
            const TYPES: [&str; 8] = [
                "App",
                "AppResp",
                "Vote",
                "VoteResp",
                "Heartbeat",
                "HeartbeatResp",
                "Snap",
                "StorageAppendResp",
            ];
            command += &format!(" type=Msg{}", self.pick(&TYPES));
        }
        command
    }

    /// Whatever a member has to do besides reading its messages.
    fn work(&mut self) -> Vec<String> {
        let (at, what) = self.pick(&[
            (0, "process-ready"),
            (0, "process-ready"),
            (2, "process-append-thread"),
            (3, "process-apply-thread"),
        ]);
        match self.any_that(|cluster, id| cluster.work_of(id)[at]) {
            Some(id) if self.percent(10) => vec![format!("{what} {id} {}", self.any())],
            Some(id) => vec![format!("{what} {id}")],
            None if self.percent(2) => vec![format!("{what} {}", self.any())],
            None => Vec::new(),
        }
    }

    fn stabilize(&mut self) -> String {
        let all = self.percent(50);
        let ids: Vec<_> = (1..=self.cluster.size())
            .filter(|_| all || self.rng.below(2) == 0)
            .map(|id| id.to_string())
            .collect();
        match all {
            true => "stabilize".into(),
            false => format!("stabilize {}", ids.join(" ")),
        }
    }

    /// A random timeout could not be known in advance.
    fn ticks(&mut self) -> Vec<String> {
        let id = match self.percent(50) {
            true => self.leader_or_any(),
            false => self.any(),
        };
        let timeout = 3 + self.below(3);
        let ticks = self.pick(&["tick-election", "tick-heartbeat"]);
        vec![
            format!("set-randomized-election-timeout {id} timeout={timeout}"),
            format!("{ticks} {id}"),
        ]
    }

    fn change_configuration(&mut self) -> String {
        let id = self.leader_or_any();
        let change = |generator: &mut Self| {
            let letter = generator.pick(&["v", "v", "v", "l", "r", "u"]);
            format!("{letter}{}", 1 + generator.below(MEMBERS_MAX))
        };
        if self.percent(30) {
            return format!("propose-conf-change {id} v1=true\n{}", change(self));
        }
        let count = self.below(4);
        let changes: Vec<_> = (0..count).map(|_| change(self)).collect();
        let transition = self.pick(&["", " transition=implicit", " transition=explicit"]);
        format!(
            "propose-conf-change {id}{transition}\n{}",
            changes.join(" ")
        )
    }

    /// Up to what is applied, no further.
    fn compact(&mut self) -> Vec<String> {
        let id = self.any();
        let store = self.cluster.raft(id).log();
        let (first, latest) = (store.first_index().get(), store.latest().index());
        if latest < first {
            return Vec::new();
        }
        let to = first + self.below(latest - first + 1);
        vec![format!("compact {id} {to}")]
    }

    fn send_snapshot(&mut self) -> Vec<String> {
        let to = self.any();
        match self.leader() {
            Some(from) if from != to => vec![format!("send-snapshot {from} {to}")],
            _ => Vec::new(),
        }
    }

    fn read(&mut self) -> Vec<String> {
        let id = self.any();
        let differs = |id| {
            let raft = self.cluster.raft(id);
            let status = raft.status();
            let committed = raft.log().term(status.commit) == Ok(raft.term());
            let voters = &status.configuration.voters;
            let sole = voters.incoming.ids().len() == 1 && !voters.is_joint();
            sole && !(committed && voters.contains(status.id))
        };
        if (1..=self.cluster.size()).any(differs) {
            return Vec::new();
        }
        self.proposals += 1;
        vec![format!("read-index {id} r{}", self.proposals)]
    }

    /// A member whose state machine knows its whole past: `rafttest`'s does not learn from
    /// snapshots.
    fn restart(&mut self) -> Vec<String> {
        let id = self.any_that(|cluster, id| {
            let raft = cluster.raft(id);
            let latest = raft.log().latest();
            let state = latest.metadata.as_ref().and_then(|m| m.conf_state.clone());
            state == Some(raft.tracker().configuration.conf_state())
                && raft.log().first_index() <= Index(latest.index() + 1)
                && latest.index() <= raft.log().last_index().get()
        });
        id.map(|id| format!("restart {id}")).into_iter().collect()
    }
}

/// Why a member may stop in a script, in etcd's words.
#[cfg(test)]
const STOPPED_BY: [&str; 4] = [
    "removed all voters",
    "config is already joint",
    "can't leave a non-joint config",
    "can't apply simple config change in joint config",
];

#[test]
fn random_scripts_run_and_run_alike() {
    let mut commands = 0;
    for seed in 0..200 {
        let script = Script::generate(seed);
        let last = script.outputs.last().expect("a script has commands");
        // A change that cannot be applied stops a member, here and in etcd.
        let stopped = STOPPED_BY.iter().any(|reason| last.ends_with(reason));
        assert!(
            stopped || !last.starts_with(PANICKED),
            "seed {seed}: {last}\n{}",
            script.text()
        );
        assert_eq!(Script::rerun(&script.commands), script, "seed {seed}");
        commands += script.commands.len();
    }
    assert!(commands > 5_000, "{commands} commands in 200 scripts");
}
