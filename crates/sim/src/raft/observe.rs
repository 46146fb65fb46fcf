//! What members ask for is done, and what they do is shown to the checkers.

use tenet_base::{Index, MemberId, Term};
use tenet_check::raft::{
    Chain, Durable, Log, OneChange, Property, Reads, Violation, Voters, counted,
};
use tenet_raft::{Output, ReadOnly, ReadState, Role, StepError};

use super::disk::machine_of;
use super::{Fault, Sabotage, World};

impl World {
    /// Does what the core asks for, then looks at the member.
    pub(super) fn settle(&mut self, at: usize) {
        loop {
            let Some(raft) = &mut self.members[at].raft else {
                return;
            };
            if !raft.has_output() {
                break;
            }
            let leads = raft.role() == Role::Leader;
            let output = raft.take_output();
            self.carry_out(at, leads, output);
        }
        self.look_at(at);
    }

    fn carry_out(&mut self, at: usize, leads: bool, output: Output) {
        let mut outgoing = output.messages;
        let sabotage = self.settings.sabotage;
        let id = self.members[at].id;
        if let Some(mut append) = output.append {
            if let Some(snapshot) = &append.snapshot {
                self.count(Fault::Snapshot);
                let machine = machine_of(snapshot);
                let term = Term(snapshot.term());
                self.members[at].log = Log::new(machine.applied, term, machine.state);
            }
            let log = &mut self.members[at].log;
            let verdict = self.judges.logs.appends(id, leads, log, &append.entries);
            self.judge(verdict);
            if sabotage == Some(Sabotage::ResponsesAtOnce) {
                outgoing.append(&mut append.responses);
            }
            self.members[at].write(append, sabotage);
        }
        if !output.committed.is_empty() {
            self.members[at].applying.push_back(output.committed);
        }
        for read in output.read_states {
            self.read_ends(at, &read);
        }
        self.send(outgoing);
    }

    fn read_ends(&mut self, at: usize, read: &ReadState) {
        let number = read.context.as_ref().try_into().expect("eight bytes");
        let number = u64::from_le_bytes(number);
        let member = &self.members[at];
        let raft = member.raft.as_ref().expect("it has just answered");
        let alone = raft.tracker().configuration.is_sole_voter(member.id);
        let leased = self.settings.config.read_only == ReadOnly::LeaseBased && !alone;
        if leased && raft.role() == Role::Leader && member.asking == Some(number) {
            let latest = self.judges.elections.latest_term();
            let verdict = Reads::by_lease(member.id, raft.term(), latest);
            self.judge(verdict);
        }
        let verdict = self
            .judges
            .reads
            .ends(self.members[at].id, number, read.index);
        self.judge(verdict);
    }

    fn look_at(&mut self, at: usize) {
        let member = &self.members[at];
        let Some(raft) = &member.raft else { return };
        let (id, term, leads) = (member.id, raft.term(), raft.role() == Role::Leader);
        let commit = Index(raft.hard_state().commit);
        let machine = (member.machine.applied, member.machine.state);
        match self.judges.commits.commits(id, term, commit, &member.log) {
            Err(violation) => return self.judge(Err(violation)),
            Ok(news) if leads => self.leader_commits(at, term, &news),
            Ok(_) => {}
        }
        let verdict = self.judges.commits.applied(id, machine.0, machine.1);
        self.judge(verdict);
        if leads {
            let (judges, log) = (&mut self.judges, &self.members[at].log);
            let verdict = judges
                .elections
                .leads(id, term, log, &judges.commits)
                .and_then(|()| OneChange::holds(id, log, judges.commits.last()));
            self.judge(verdict);
        }
    }

    fn leader_commits(&mut self, at: usize, term: Term, news: &[(Index, Chain)]) {
        for (index, chain) in news {
            let verdict = self.judges.elections.committed(term, *index, *chain);
            self.judge(verdict);
        }
        let Some((last, _)) = news.last() else { return };
        let member = &self.members[at];
        let raft = member.raft.as_ref().expect("a leader runs");
        let halves = &raft.tracker().configuration.voters;
        let voters = Voters {
            incoming: halves.incoming.ids().to_vec(),
            outgoing: halves.outgoing.ids().to_vec(),
        };
        let Some(entry_term) = member.log.term(*last) else {
            return;
        };
        let disk = |id: MemberId| {
            let disk = &self.members[id.get() as usize - 1].disk;
            Durable {
                id,
                term: disk.term(*last),
                in_snapshot: *last <= disk.base.0,
            }
        };
        let verdict = voters
            .hold(member.id, *last, entry_term, disk)
            .and_then(|()| counted(member.id, term, *last, entry_term));
        self.judge(verdict);
    }

    /// A member has refused what another member sent.
    pub(super) fn refused(&mut self, error: StepError) {
        let property = match error {
            StepError::SecondLeader { .. } => Property::ElectionSafety,
            StepError::LostEntries { .. } => Property::CommittedIsDurable,
            StepError::ForkedLog { .. } => Property::LeaderCompleteness,
            other => panic!("a member's own message is refused: {other}"),
        };
        self.judge(Err(Violation::new(property, error.to_string())));
    }
}
