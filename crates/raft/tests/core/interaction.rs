//! The `interaction` transcripts: whole clusters, moved by commands.
//!
//! The commands are those of etcd's `rafttest`, and ours below them. A command prints what the
//! members do; under `log-level none` nothing.

use std::fmt::Write as _;

use bytes::Bytes;
use prost::Message as _;
use tenet_base::{Index, MemberId, Term};
use tenet_proto::raftpb::{
    ConfChange, ConfChangeTransition, ConfChangeV2, ConfState, Entry, EntryType, HardState,
    Message, MessageType, Snapshot, SnapshotMetadata,
};
use tenet_raft::adapter::{Adapter, Form, Ready};
use tenet_raft::{
    APPEND_THREAD, APPLY_THREAD, Config, LogError, LogStore, MemoryLog, ProposeError, Raft,
    ReadOnly, StepError, confchange, describe,
};

use crate::confchange::parse_changes;
use crate::datafile::Directive;

/// What a command may refuse.
type Done = Result<(), String>;

/// All members and the messages between them.
#[derive(Default)]
pub(crate) struct Cluster {
    nodes: Vec<Node>,
    messages: Vec<Message>,
    out: String,
    quiet: bool,
}

struct Node {
    adapter: Adapter<Store>,
    form: Form,
    config: Config,
    append_work: Vec<Message>,
    apply_work: Vec<Message>,
}

/// A log whose snapshot is always of the latest applied entry.
pub(crate) struct Store {
    log: MemoryLog,
    history: Vec<Snapshot>,
}

impl Store {
    /// The snapshot of the latest applied entry.
    pub(crate) fn latest(&self) -> &Snapshot {
        self.history
            .last()
            .expect("a history begins with the start")
    }
}

impl LogStore for Store {
    fn initial_state(&self) -> (HardState, ConfState) {
        let mut state = self.log.hard_state();
        state.commit = state.commit.max(self.latest().index());
        let metadata = self.latest().metadata.clone();
        (
            state,
            metadata
                .and_then(|metadata| metadata.conf_state)
                .unwrap_or_default(),
        )
    }
    fn term(&self, index: Index) -> Result<Term, LogError> {
        self.log.term(index)
    }
    fn entries(
        &self,
        low: Index,
        high: Index,
        max_bytes: u64,
        into: &mut Vec<Entry>,
    ) -> Result<(), LogError> {
        self.log.entries(low, high, max_bytes, into)
    }
    fn first_index(&self) -> Index {
        self.log.first_index()
    }
    fn last_index(&self) -> Index {
        self.log.last_index()
    }
    fn snapshot(&self) -> Result<Snapshot, LogError> {
        Ok(self.latest().clone())
    }
}

impl Cluster {
    pub(crate) fn run(&mut self, d: &Directive) -> String {
        self.out.clear();
        let result = self.command(d);
        if let Err(error) = result {
            // Errors are shown at every level.
            if self.quiet {
                return error;
            }
            self.out += &error;
        }
        if self.out.is_empty() {
            "ok".into()
        } else {
            std::mem::take(&mut self.out)
        }
    }

    fn command(&mut self, d: &Directive) -> Done {
        let ids: Vec<usize> = match d.command.as_str() {
            "log-level" | "propose" | "read-index" => Vec::new(),
            _ => d.plain().map(|id| id.parse().expect("a number")).collect(),
        };
        let first = || ids[0];
        match d.command.as_str() {
            "add-nodes" => return self.add_nodes(d, first()),
            "campaign" => self.node(first()).raft_mut().campaign(),
            "compact" => return self.compact(ids[0], Index(ids[1] as u64)),
            "deliver-msgs" => self.deliver_command(d, &ids),
            "process-ready" => return self.each(&ids, "handling Ready", Self::process_ready),
            "process-append-thread" => {
                return self.each(&ids, "processing append thread", Self::process_append);
            }
            "process-apply-thread" => {
                return self.each(&ids, "processing apply thread", Self::process_apply);
            }
            "log-level" => self.quiet = d.plain().next() == Some("none"),
            "raft-log" => self.raft_log(first()),
            "raft-state" => self.raft_state(),
            "set-randomized-election-timeout" => {
                let ticks = d.value("timeout").expect("timeout=");
                self.node(first()).raft_mut().set_election_timeout(ticks);
            }
            "stabilize" => return self.stabilize_command(d, ids),
            "status" => {
                let progress = self.node(first()).raft().status().progress;
                self.print(&progress.to_string());
            }
            "tick-election" => self.tick(first(), self.nodes[first() - 1].config.election_ticks),
            "tick-heartbeat" => self.tick(first(), 1),
            "transfer-leadership" => {
                let to: u64 = d.value("to").expect("to=");
                let from: usize = d.value("from").expect("from=");
                self.node(from).raft_mut().transfer_leader(MemberId(to));
            }
            "forget-leader" => self.node(first()).raft_mut().forget_leader(),
            "send-snapshot" => self.send_snapshot(ids[0], ids[1]),
            "propose" => return self.propose(d),
            "propose-conf-change" => return self.propose_conf_change(d, first()),
            "report-unreachable" => {
                self.node(ids[0])
                    .raft_mut()
                    .report_unreachable(MemberId(ids[1] as u64));
            }
            // Ours.
            "read-index" => {
                let mut words = d.plain();
                let id = words
                    .next()
                    .and_then(|id| id.parse().ok())
                    .expect("a member id");
                let context = Bytes::from(words.next().expect("a context").to_owned());
                if !self.node(id).raft_mut().read_index(context) {
                    return Err("no leader to ask".into());
                }
            }
            "restart" => self.restart(first())?,
            "repeat-msgs" => {
                let repeated: Vec<_> = self.network_messages(first()).map(|m| m.clone()).collect();
                self.messages.extend(repeated);
            }
            "reverse-msgs" => {
                let mut reversed: Vec<_> =
                    self.network_messages(first()).map(|m| m.clone()).collect();
                for message in self.network_messages(first()) {
                    *message = reversed.pop().expect("as many as there were");
                }
            }
            "disk-stalled" => self.node(first()).raft_mut().disk_stalled(),
            "disk-recovered" => self.node(first()).raft_mut().disk_recovered(),
            "best-transferee" => {
                let best = self.node(first()).raft().best_transferee();
                self.print(&best.map_or("nobody".into(), |id| id.to_string()));
            }
            "report-snapshot" => {
                let ok = d.value("ok").expect("ok=");
                let to = MemberId(ids[1] as u64);
                self.node(ids[0]).raft_mut().report_snapshot(to, ok);
            }
            other => panic!("line {}: unknown command {other}", d.line),
        }
        Ok(())
    }

    /// The member loses everything that was not written, and starts again.
    fn restart(&mut self, id: usize) -> Done {
        let node = &mut self.nodes[id - 1];
        let empty = Store {
            log: MemoryLog::new(),
            history: Vec::new(),
        };
        let store = std::mem::replace(node.adapter.raft_mut().log_mut(), empty);
        let applied = Index(store.latest().index());
        let config = Config {
            applied,
            ..node.config.clone()
        };
        let raft = Raft::new(config, store).map_err(|error| error.to_string())?;
        node.adapter = Adapter::new(raft, node.form);
        node.append_work.clear();
        node.apply_work.clear();
        Ok(())
    }

    /// How many members there are.
    pub(crate) fn size(&self) -> usize {
        self.nodes.len()
    }

    /// One member, for whoever chooses the next command.
    pub(crate) fn raft(&self, id: usize) -> &Raft<Store> {
        self.nodes[id - 1].adapter.raft()
    }

    /// Whether a member has anything to do: an output, messages, appends, applies.
    pub(crate) fn work_of(&self, id: usize) -> [bool; 4] {
        let node = &self.nodes[id - 1];
        [
            node.adapter.has_ready(),
            self.messages.iter().any(|message| message.to == id as u64),
            !node.append_work.is_empty(),
            !node.apply_work.is_empty(),
        ]
    }

    /// The messages to a member that have come over the network.
    fn network_messages(&mut self, id: usize) -> impl Iterator<Item = &mut Message> {
        let id = id as u64;
        let from_other = move |m: &Message| m.from != id && MemberId(m.from) < APPLY_THREAD;
        self.messages
            .iter_mut()
            .filter(move |m| m.to == id && from_other(m))
    }

    fn node(&mut self, id: usize) -> &mut Adapter<Store> {
        &mut self.nodes[id - 1].adapter
    }

    fn print(&mut self, text: &str) {
        if !self.quiet {
            self.out += text;
        }
    }

    /// Runs `f` and indents what it prints.
    fn indented<T>(&mut self, f: impl FnOnce(&mut Self) -> T) -> T {
        let outer = std::mem::take(&mut self.out);
        let result = f(self);
        let inner = std::mem::replace(&mut self.out, outer);
        for line in inner.lines() {
            let _ = writeln!(self.out, "  {line}");
        }
        result
    }

    fn each(&mut self, ids: &[usize], what: &str, f: fn(&mut Self, usize) -> Done) -> Done {
        for id in ids {
            if ids.len() > 1 {
                self.print(&format!("> {id} {what}\n"));
                self.indented(|cluster| f(cluster, *id))?;
            } else {
                f(self, *id)?;
            }
        }
        Ok(())
    }

    fn add_nodes(&mut self, d: &Directive, count: usize) -> Done {
        let ids = |key| {
            d.values(key)
                .iter()
                .map(|id| id.parse().expect("an id"))
                .collect()
        };
        let conf_state = ConfState {
            voters: ids("voters"),
            learners: ids("learners"),
            ..ConfState::default()
        };
        let index = d.value("index").unwrap_or(0);
        let content: String = d.value("content").unwrap_or_default();
        let fresh = index == 0 && conf_state == ConfState::default() && content.is_empty();
        if !fresh && index <= 1 {
            return Err("index must be specified as > 1 due to bootstrap".into());
        }
        let snapshot = Snapshot {
            data: content.into(),
            metadata: Some(SnapshotMetadata {
                index,
                term: u64::from(!fresh),
                conf_state: Some(conf_state),
            }),
        };
        for _ in 0..count {
            let id = MemberId(self.nodes.len() as u64 + 1);
            let mut log = MemoryLog::new();
            if !fresh {
                log.apply_snapshot(snapshot.clone())
                    .map_err(|error| error.to_string())?;
            }
            let config = config(d, id, Index(index));
            let form = match d.value("async-storage-writes") {
                Some(true) => Form::StorageMessages,
                _ => Form::Synchronous,
            };
            let store = Store {
                log,
                history: vec![snapshot.clone()],
            };
            let raft = Raft::new(config.clone(), store).map_err(|error| error.to_string())?;
            self.nodes.push(Node {
                adapter: Adapter::new(raft, form),
                form,
                config,
                append_work: Vec::new(),
                apply_work: Vec::new(),
            });
        }
        Ok(())
    }

    fn compact(&mut self, id: usize, index: Index) -> Done {
        let store = self.node(id).raft_mut().log_mut();
        // In etcd's words.
        store
            .log
            .compact(index)
            .map_err(|_| "requested index is unavailable due to compaction")?;
        self.raft_log(id);
        Ok(())
    }

    fn raft_log(&mut self, id: usize) {
        let store = self.node(id).raft().log();
        let (first, last) = (store.first_index(), store.last_index());
        if last < first {
            self.print(&format!(
                "log is empty: first index={first}, last index={last}"
            ));
            return;
        }
        let mut entries = Vec::new();
        store
            .entries(first, last.next(), u64::MAX, &mut entries)
            .expect("its own entries");
        self.print(&describe::entries(&entries));
    }

    fn raft_state(&mut self) {
        let mut text = String::new();
        for node in &self.nodes {
            let status = node.adapter.raft().status();
            let voter = status.configuration.voters.contains(status.id);
            let _ = writeln!(
                text,
                "{}: {} {} Term:{} Lead:{}",
                status.id.get(),
                status.role.name(),
                if voter { "(Voter)" } else { "(Non-Voter)" },
                status.term,
                status.leader.get()
            );
        }
        self.print(&text);
    }

    fn tick(&mut self, id: usize, count: u32) {
        for _ in 0..count {
            self.node(id).raft_mut().tick();
        }
    }

    fn propose(&mut self, d: &Directive) -> Done {
        let [id, data] = d.args.as_slice() else {
            panic!("line {}: propose takes a member and data", d.line)
        };
        let id = id.key.parse().expect("a member id");
        let data = vec![Bytes::from(data.key.clone())];
        proposed(self.node(id).raft_mut().propose(data).map(|_| ()))
    }

    fn propose_conf_change(&mut self, d: &Directive, id: usize) -> Done {
        let changes = parse_changes(&d.input);
        let transition = match d.values("transition").first().map(String::as_str) {
            None | Some("auto") => ConfChangeTransition::Auto,
            Some("implicit") => ConfChangeTransition::JointImplicit,
            Some("explicit") => ConfChangeTransition::JointExplicit,
            Some(other) => panic!("line {}: unknown transition {other}", d.line),
        };
        let raft = self.node(id).raft_mut();
        let result = if d.value("v1") == Some(true) {
            raft.propose_conf_change(ConfChange {
                change_type: changes[0].change_type,
                node_id: changes[0].node_id,
                ..ConfChange::default()
            })
        } else {
            raft.propose_conf_change(ConfChangeV2 {
                transition: transition as i32,
                changes,
                ..ConfChangeV2::default()
            })
        };
        proposed(result.map(|_| ()))
    }

    fn send_snapshot(&mut self, from: usize, to: usize) {
        let raft = self.node(from).raft();
        let message = Message {
            msg_type: MessageType::Snap as i32,
            from: from as u64,
            to: to as u64,
            term: raft.term().get(),
            snapshot: raft.log().snapshot().ok().map(Box::new),
            ..Message::default()
        };
        self.print(&describe::message(&message));
        self.messages.push(message);
    }

    fn process_ready(&mut self, id: usize) -> Done {
        let ready = self.node(id).ready();
        self.print(&describe::ready(&ready));
        let synchronous = self.nodes[id - 1].form == Form::Synchronous;
        if synchronous {
            let Ready {
                hard_state,
                entries,
                snapshot,
                committed,
                ..
            } = &ready;
            self.write(id, *hard_state, entries.clone(), snapshot.clone())?;
            self.apply(id, committed)?;
        }
        for message in ready.messages {
            let node = &mut self.nodes[id - 1];
            match MemberId(message.to) {
                APPEND_THREAD => node.append_work.push(message),
                APPLY_THREAD => node.apply_work.push(message),
                _ => self.messages.push(message),
            }
        }
        if synchronous {
            self.node(id).advance();
        }
        Ok(())
    }

    fn write(
        &mut self,
        id: usize,
        state: Option<HardState>,
        entries: Vec<Entry>,
        snapshot: Option<Snapshot>,
    ) -> Done {
        let store = self.node(id).raft_mut().log_mut();
        if let Some(state) = state {
            store.log.set_hard_state(state);
        }
        match snapshot {
            // In etcd's words; servers of either kind store the one after the other.
            Some(_) if !entries.is_empty() => {
                Err("can't apply snapshot and entries at the same time".into())
            }
            Some(snapshot) => store
                .log
                .apply_snapshot(snapshot)
                .map_err(|error| error.to_string()),
            None => {
                store.log.append(entries);
                Ok(())
            }
        }
    }

    /// The state machine appends everything to one string.
    fn apply(&mut self, id: usize, entries: &[Entry]) -> Done {
        for entry in entries {
            let decoded = match EntryType::try_from(entry.entry_type) {
                Ok(EntryType::Normal) => None,
                Ok(EntryType::ConfChange) => {
                    let change = ConfChange::decode(entry.data.clone());
                    Some(change.map(|change| confchange::as_v2(&change)))
                }
                _ => Some(ConfChangeV2::decode(entry.data.clone())),
            };
            let raft = self.node(id).raft_mut();
            let last = raft.log().snapshot().expect("there is a history");
            let mut conf_state = last.metadata.as_ref().and_then(|m| m.conf_state.clone());
            let mut data = last.data.to_vec();
            match decoded {
                None => data.extend_from_slice(&entry.data),
                Some(change) => {
                    let change = change.map_err(|error| error.to_string())?;
                    data.extend_from_slice(&change.context);
                    // A member that cannot follow must stop; etcd's panics by itself.
                    let applied = raft.apply_conf_change(&change);
                    let state = applied.unwrap_or_else(|error| panic!("{error}"));
                    conf_state = Some(state);
                }
            }
            let metadata = SnapshotMetadata {
                index: entry.index,
                term: entry.term,
                conf_state,
            };
            let snapshot = Snapshot {
                data: data.into(),
                metadata: Some(metadata),
            };
            raft.log_mut().history.push(snapshot);
        }
        Ok(())
    }

    fn process_append(&mut self, id: usize) -> Done {
        let Some((mut work, responses)) = take_first(&mut self.nodes[id - 1].append_work) else {
            self.print("no append work to perform");
            return Ok(());
        };
        self.print(&format!("Processing:\n{}\n", describe::message(&work)));
        let state = HardState {
            term: work.term,
            vote: work.vote,
            commit: work.commit,
        };
        let state = (!state.is_empty()).then_some(state);
        let entries = std::mem::take(&mut work.entries);
        self.write(
            id,
            state,
            entries,
            work.snapshot.take().map(|snapshot| *snapshot),
        )?;
        self.respond(responses);
        Ok(())
    }

    fn process_apply(&mut self, id: usize) -> Done {
        let Some((work, responses)) = take_first(&mut self.nodes[id - 1].apply_work) else {
            self.print("no apply work to perform");
            return Ok(());
        };
        self.print(&format!("Processing:\n{}\n", describe::message(&work)));
        self.apply(id, &work.entries)?;
        self.respond(responses);
        Ok(())
    }

    fn respond(&mut self, responses: Vec<Message>) {
        self.print("Responses:\n");
        for response in &responses {
            self.print(&(describe::message(response) + "\n"));
        }
        self.messages.extend(responses);
    }

    fn deliver_command(&mut self, d: &Directive, ids: &[usize]) {
        let kind = d.values("type").first();
        let mut handled = 0;
        for id in ids {
            handled += self.deliver(*id, kind, false);
        }
        for id in d.values("drop") {
            handled += self.deliver(id.parse().expect("a member id"), kind, true);
        }
        if handled == 0 {
            self.print("no messages\n");
        }
    }

    /// Takes out the messages for one member, all or of one type; a member's own are never dropped.
    fn split(&mut self, to: usize, kind: Option<&String>, drop: bool) -> Vec<Message> {
        let local = |m: &Message| {
            let thread = |id| MemberId(id) >= APPLY_THREAD;
            m.from == m.to || thread(m.from) || thread(m.to)
        };
        let wanted = |m: &mut Message| {
            m.to == to as u64
                && !(drop && local(m))
                && kind.is_none_or(|kind| m.kind().is_some_and(|k| *kind == format!("Msg{k:?}")))
        };
        self.messages.extract_if(.., wanted).collect()
    }

    fn deliver(&mut self, to: usize, kind: Option<&String>, drop: bool) -> usize {
        let messages = self.split(to, kind, drop);
        let handled = messages.len();
        for message in messages {
            let text = describe::message(&message);
            if drop {
                self.print(&format!("dropped: {text}\n"));
                continue;
            }
            self.print(&format!("{text}\n"));
            if let Err(error) = stepped(self.node(to).step(message)) {
                self.print(&format!("{error}\n"));
            }
        }
        handled
    }

    fn stabilize_command(&mut self, d: &Directive, mut ids: Vec<usize>) -> Done {
        let quiet = self.quiet;
        if let Some(level) = d.values("log-level").first() {
            self.quiet = level == "none";
        }
        if ids.is_empty() {
            ids = (1..=self.nodes.len()).collect();
        }
        let result = self.stabilize(&ids);
        self.quiet = quiet;
        result
    }

    /// Lets the members work until nothing is left to do.
    fn stabilize(&mut self, ids: &[usize]) -> Done {
        for round in 0.. {
            assert!(round < 10_000, "the members never come to rest");
            let mut idle = true;
            for id in ids {
                if self.node(*id).has_ready() {
                    self.print(&format!("> {id} handling Ready\n"));
                    self.indented(|cluster| cluster.process_ready(*id))?;
                    idle = false;
                }
            }
            for id in ids {
                if self.messages.iter().any(|message| message.to == *id as u64) {
                    self.print(&format!("> {id} receiving messages\n"));
                    self.indented(|cluster| cluster.deliver(*id, None, false));
                    idle = false;
                }
            }
            for id in ids {
                if !self.nodes[id - 1].append_work.is_empty() {
                    self.print(&format!("> {id} processing append thread\n"));
                    idle = false;
                }
                while !self.nodes[id - 1].append_work.is_empty() {
                    self.indented(|cluster| cluster.process_append(*id))?;
                }
            }
            for id in ids {
                if !self.nodes[id - 1].apply_work.is_empty() {
                    self.print(&format!("> {id} processing apply thread\n"));
                    idle = false;
                }
                while !self.nodes[id - 1].apply_work.is_empty() {
                    self.indented(|cluster| cluster.process_apply(*id))?;
                }
            }
            if idle {
                break;
            }
        }
        Ok(())
    }
}

fn take_first(work: &mut Vec<Message>) -> Option<(Message, Vec<Message>)> {
    if work.is_empty() {
        return None;
    }
    let mut first = work.remove(0);
    let responses = std::mem::take(&mut first.responses);
    Some((first, responses))
}

/// The settings of `rafttest`: small timeouts, no limits, nothing optional.
fn config(d: &Directive, id: MemberId, applied: Index) -> Config {
    Config {
        election_ticks: 3,
        heartbeat_ticks: 1,
        max_message_bytes: d.value("max-size-per-msg").unwrap_or(u64::MAX),
        max_committed_bytes_per_output: d.value("max-committed-size-per-ready").unwrap_or(u64::MAX),
        max_inflight_messages: d.value("inflight").unwrap_or(usize::MAX),
        pre_vote: d.value("prevote").unwrap_or(false),
        check_quorum: d.value("checkquorum").unwrap_or(false),
        read_only: match d.values("read-only").first().map(String::as_str) {
            None | Some("safe") => ReadOnly::Safe,
            Some("lease-based") => ReadOnly::LeaseBased,
            Some(other) => panic!("line {}: unknown read-only option {other}", d.line),
        },
        disable_conf_change_validation: d.value("disable-conf-change-validation").unwrap_or(false),
        step_down_on_removal: d.value("step-down-on-removal").unwrap_or(false),
        applied,
        ..Config::new(id)
    }
}

/// etcd's words for a refused proposal. A configuration change that is replaced by an empty entry
/// is no error there, only a log line.
fn proposed(result: Result<(), ProposeError>) -> Done {
    match result {
        Ok(()) | Err(ProposeError::ConfChangeRefused(_)) => Ok(()),
        Err(_) => Err("raft proposal dropped".into()),
    }
}

/// etcd's words for a refused message, where it has any.
fn stepped(result: Result<(), StepError>) -> Done {
    match result {
        Ok(()) => Ok(()),
        Err(StepError::UnknownPeer(_)) => Err("raft: cannot step as peer not found".into()),
        Err(StepError::Local(..)) => Err("raft: cannot step raft local message".into()),
        Err(StepError::Proposal(error)) => proposed(Err(error)),
        Err(other) => Err(other.to_string()),
    }
}
