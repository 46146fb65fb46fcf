//! The native form: what may leave the member when, and what the driver's reports lead to.

use bytes::Bytes;
use tenet_base::{Index, MemberId, Term};
use tenet_proto::raftpb::{Entry, Message, MessageType};
use tenet_raft::{
    Append, Config, LogError, LogStore, MemoryLog, ProposeError, Proposed, Raft, ReadOnly, Role,
    StepError,
};

fn raft(id: u64, members: u64) -> Raft<MemoryLog> {
    let config = Config {
        pre_vote: false,
        election_ticks: 3,
        ..Config::new(MemberId(id))
    };
    started(config, members)
}

fn started(config: Config, members: u64) -> Raft<MemoryLog> {
    let mut raft = Raft::new(config, MemoryLog::new()).expect("a fresh member");
    let members: Vec<_> = (1..=members)
        .map(|id| (MemberId(id), Bytes::new()))
        .collect();
    raft.bootstrap(&members).expect("an empty log");
    settle(&mut raft);
    raft
}

/// Writes an append and reports it.
fn write(raft: &mut Raft<MemoryLog>, append: Append) -> Vec<Message> {
    if let Some(state) = append.hard_state {
        raft.log_mut().set_hard_state(state);
    }
    raft.log_mut().append(append.entries);
    raft.append_done(append.done);
    append.responses
}

/// Does everything that is to be done; returns what was sent.
fn settle(raft: &mut Raft<MemoryLog>) -> Vec<Message> {
    let mut sent = Vec::new();
    while raft.has_output() {
        let output = raft.take_output();
        sent.extend(output.messages);
        if let Some(append) = output.append {
            sent.extend(write(raft, append));
        }
        if let Some(last) = output.committed.last() {
            raft.apply_done(last.index());
        }
    }
    sent
}

fn sole_leader() -> Raft<MemoryLog> {
    let mut raft = raft(1, 1);
    raft.campaign();
    settle(&mut raft);
    assert_eq!(
        (raft.role(), raft.status().commit),
        (Role::Leader, Index(2))
    );
    raft
}

fn leader_of_three() -> Raft<MemoryLog> {
    let mut raft = raft(1, 3);
    raft.campaign();
    settle(&mut raft);
    raft.step(message(MessageType::VoteResp, 2))
        .expect("a vote");
    settle(&mut raft);
    assert_eq!(raft.role(), Role::Leader);
    raft
}

fn message(kind: MessageType, term: u64) -> Message {
    Message {
        msg_type: kind as i32,
        from: 2,
        to: 1,
        term,
        ..Message::default()
    }
}

fn data(count: u64) -> Vec<Bytes> {
    (0..count).map(|at| Bytes::from(at.to_string())).collect()
}

#[test]
fn a_sole_voter_commits_what_its_own_disk_has() {
    let mut raft = sole_leader();
    let proposed = raft.propose(data(3)).expect("a leader takes proposals");
    assert_eq!(
        proposed,
        Proposed::Appended {
            term: Term(2),
            first: Index(3)
        }
    );
    let output = raft.take_output();
    let append = output.append.expect("entries for the log");
    assert!(append.must_sync && append.entries.len() == 3 && append.responses.is_empty());
    // A second batch forms while the first is being written.
    raft.propose(data(2)).expect("a leader takes proposals");
    let second = raft.take_output().append.expect("entries for the log");
    for _ in 0..100 {
        raft.tick();
        assert!(
            raft.take_output().committed.is_empty(),
            "nothing is durable yet"
        );
    }
    assert_eq!(raft.status().commit, Index(2));
    write(&mut raft, append);
    let output = raft.take_output();
    assert_eq!(
        output.committed.iter().map(|e| e.index).collect::<Vec<_>>(),
        [3, 4, 5]
    );
    write(&mut raft, second);
    assert_eq!(raft.status().commit, Index(7));
}

#[test]
#[should_panic(expected = "append 3 is reported as done while append 2 is not")]
fn appends_are_reported_in_order() {
    let mut raft = raft(1, 1);
    raft.campaign();
    let vote = raft.take_output().append.expect("the vote");
    let receipt = vote.done;
    raft.append_done(receipt);
    let _first = raft
        .take_output()
        .append
        .expect("the first entry of the term");
    raft.propose(data(1)).expect("a leader takes proposals");
    let second = raft.take_output().append.expect("an entry");
    raft.append_done(second.done);
}

#[test]
#[should_panic(expected = "but the store ends at")]
fn an_append_that_the_store_does_not_hold_is_not_done() {
    let mut raft = sole_leader();
    raft.propose(data(1)).expect("a leader takes proposals");
    let append = raft.take_output().append.expect("an entry");
    raft.append_done(append.done);
}

/// See `testdata/vote_request_before_vote.txt` for what could happen otherwise.
#[test]
fn a_request_for_votes_waits_until_the_vote_is_durable() {
    let mut raft = raft(1, 3);
    raft.campaign();
    let output = raft.take_output();
    assert!(output.messages.is_empty());
    let append = output.append.expect("the vote");
    assert!(append.must_sync);
    let kinds: Vec<_> = append.responses.iter().map(|m| (m.kind(), m.to)).collect();
    assert_eq!(
        kinds,
        [(Some(MessageType::Vote), 2), (Some(MessageType::Vote), 3)]
    );
}

#[test]
fn a_vote_and_an_acknowledgement_wait_until_they_are_durable() {
    let mut raft = raft(1, 3);
    raft.step(Message {
        index: 3,
        log_term: 1,
        ..message(MessageType::Vote, 2)
    })
    .expect("taken");
    let output = raft.take_output();
    assert!(output.messages.is_empty());
    let vote = output.append.expect("the vote");
    assert_eq!(vote.responses[0].kind(), Some(MessageType::VoteResp));

    let entries = vec![Entry {
        term: 2,
        index: 4,
        ..Entry::default()
    }];
    let append = Message {
        index: 3,
        log_term: 1,
        entries,
        ..message(MessageType::App, 2)
    };
    raft.step(append).expect("taken");
    let output = raft.take_output();
    assert!(output.messages.is_empty());
    let append = output.append.expect("the entry");
    assert_eq!(append.responses[0].kind(), Some(MessageType::AppResp));
    assert!(append.must_sync);
}

#[test]
fn a_leader_sends_entries_before_they_are_durable_and_does_not_count_itself() {
    let mut raft = leader_of_three();
    let acknowledge = |raft: &mut Raft<MemoryLog>, index| {
        raft.step(Message {
            index,
            ..message(MessageType::AppResp, 2)
        })
        .expect("taken");
    };
    acknowledge(&mut raft, 4);
    settle(&mut raft);
    raft.propose(data(1)).expect("a leader takes proposals");
    let output = raft.take_output();
    assert_eq!(output.messages.len(), 1, "member 3 is still being probed");
    let append = output.append.expect("an entry");
    acknowledge(&mut raft, 5);
    assert_eq!(raft.status().commit, Index(4), "one disk of three has it");
    write(&mut raft, append);
    assert_eq!(raft.status().commit, Index(5));
}

#[test]
fn a_leader_with_a_hanging_disk_commits_by_the_others_and_applies_nothing() {
    let mut raft = leader_of_three();
    raft.propose(data(1)).expect("a leader takes proposals");
    let append = raft.take_output().append.expect("an entry");
    for from in [2, 3] {
        let response = Message {
            from,
            index: 5,
            ..message(MessageType::AppResp, 2)
        };
        raft.step(response).expect("taken");
    }
    let output = raft.take_output();
    assert_eq!(raft.status().commit, Index(5));
    assert_eq!(
        output.committed.last().map(|e| e.index),
        Some(4),
        "what is durable here"
    );
    raft.disk_stalled();
    assert_eq!(
        (raft.role(), raft.leader()),
        (Role::Follower, MemberId::ZERO)
    );
    assert_eq!(raft.propose(data(1)), Err(ProposeError::NoLeader(Term(2))));
    for _ in 0..100 {
        raft.tick();
    }
    raft.campaign();
    raft.step(message(MessageType::TimeoutNow, 2))
        .expect("taken");
    assert_eq!(
        (raft.role(), raft.term()),
        (Role::Follower, Term(2)),
        "no campaign"
    );
    raft.disk_recovered();
    write(&mut raft, append);
    write(&mut raft, output.append.expect("the commit index"));
    raft.tick();
    assert_eq!(raft.role(), Role::Candidate);
}

#[test]
fn proposals_beyond_the_limit_are_refused_until_something_is_applied() {
    let config = Config {
        max_uncommitted_bytes: 10,
        ..Config::new(MemberId(1))
    };
    let mut raft = started(config, 1);
    raft.campaign();
    settle(&mut raft);
    let big = || vec![Bytes::from_static(b"more than ten bytes")];
    raft.propose(big())
        .expect("anything is taken when nothing is uncommitted");
    let refused = raft.propose(data(1)).expect_err("too much");
    assert!(matches!(
        refused,
        ProposeError::TooMuchUncommitted { limit: 10, .. }
    ));
    settle(&mut raft);
    raft.propose(big()).expect("everything was applied");
}

#[test]
fn a_batch_is_one_message_to_each_follower_and_split_by_bytes() {
    let config = Config {
        max_message_bytes: 100,
        pre_vote: false,
        ..Config::new(MemberId(1))
    };
    let mut raft = started(config, 3);
    raft.campaign();
    settle(&mut raft);
    raft.step(message(MessageType::VoteResp, 2))
        .expect("a vote");
    settle(&mut raft);
    raft.step(Message {
        index: 4,
        ..message(MessageType::AppResp, 2)
    })
    .expect("taken");
    settle(&mut raft);
    raft.propose(data(50)).expect("a leader takes proposals");
    let output = raft.take_output();
    let [first] = output.messages.as_slice() else {
        panic!("{:?}", output.messages)
    };
    assert!(
        (5..30).contains(&first.entries.len()),
        "{} entries",
        first.entries.len()
    );
    // The rest follows with the acknowledgement.
    let index = first.entries.last().expect("entries").index;
    raft.step(Message {
        index,
        ..message(MessageType::AppResp, 2)
    })
    .expect("taken");
    let rest = raft.take_output().messages;
    let sent: usize = rest.iter().map(|m| m.entries.len()).sum();
    assert!(rest.len() > 1 && sent + first.entries.len() == 50);
}

/// A log that has to fetch old entries first.
#[derive(Default)]
struct Fetching {
    log: MemoryLog,
    fetched: bool,
}

impl LogStore for Fetching {
    fn initial_state(
        &self,
    ) -> (
        tenet_proto::raftpb::HardState,
        tenet_proto::raftpb::ConfState,
    ) {
        self.log.initial_state()
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
        if !self.fetched {
            return Err(LogError::Unavailable);
        }
        self.log.entries(low, high, max_bytes, into)
    }
    fn first_index(&self) -> Index {
        self.log.first_index()
    }
    fn last_index(&self) -> Index {
        self.log.last_index()
    }
    fn snapshot(&self) -> Result<tenet_proto::raftpb::Snapshot, LogError> {
        self.log.snapshot()
    }
}

#[test]
fn committed_entries_that_are_not_at_hand_are_waited_for() {
    let config = Config::new(MemberId(1));
    let mut raft = Raft::new(config, Fetching::default()).expect("a fresh member");
    raft.bootstrap(&[(MemberId(1), Bytes::new())])
        .expect("an empty log");
    let append = raft.take_output().append.expect("the first entry");
    raft.log_mut().log.append(append.entries);
    raft.append_done(append.done);
    assert!(raft.has_output());
    assert!(raft.take_output().committed.is_empty());
    assert!(!raft.has_output(), "the driver is not kept busy meanwhile");
    raft.log_mut().fetched = true;
    raft.log_fetched();
    assert_eq!(raft.take_output().committed.len(), 1);
}

#[test]
fn contexts_of_heartbeats_that_were_never_sent_confirm_nothing() {
    let mut raft = leader_of_three();
    raft.step(Message {
        index: 4,
        ..message(MessageType::AppResp, 2)
    })
    .expect("taken");
    settle(&mut raft);
    assert!(raft.read_index(Bytes::from_static(b"read")));
    for context in [
        vec![],
        2u64.to_le_bytes().to_vec(),
        u64::MAX.to_le_bytes().to_vec(),
    ] {
        let context = context.into();
        raft.step(Message {
            context,
            ..message(MessageType::HeartbeatResp, 2)
        })
        .expect("taken");
        assert!(raft.take_output().read_states.is_empty());
    }
    let short = Message {
        context: Bytes::from_static(b"short"),
        ..message(MessageType::HeartbeatResp, 2)
    };
    assert!(matches!(raft.step(short), Err(StepError::Malformed { .. })));
    let context = 1u64.to_le_bytes().to_vec().into();
    raft.step(Message {
        context,
        ..message(MessageType::HeartbeatResp, 2)
    })
    .expect("taken");
    let [read] = &raft.take_output().read_states[..] else {
        panic!("one read")
    };
    assert_eq!((read.index, &read.context[..]), (Index(4), &b"read"[..]));
}

/// An entry is appended, replaced, and appended again, all before the first write is done. The first
/// write then says nothing about the entry: the second will undo it.
#[test]
fn a_report_of_an_earlier_term_makes_nothing_stable() {
    let mut raft = raft(1, 3);
    let entry = |term, index| Entry {
        term,
        index,
        ..Entry::default()
    };
    let mut append = |from, term, log_term, index, entries, commit| {
        let message = Message {
            from,
            log_term,
            index,
            entries,
            commit,
            ..message(MessageType::App, term)
        };
        raft.step(message).expect("a leader's entries");
        raft.take_output().append.expect("entries for the log")
    };
    let first = append(2, 2, 1, 3, vec![entry(2, 4)], 3);
    let second = append(3, 3, 1, 3, vec![entry(3, 4)], 3);
    let third = append(2, 4, 1, 3, vec![entry(2, 4), entry(4, 5)], 5);
    for earlier in [first, second] {
        write(&mut raft, earlier);
        assert!(
            raft.take_output().committed.is_empty(),
            "entry 4 may still be undone"
        );
    }
    write(&mut raft, third);
    let committed = raft.take_output().committed;
    assert_eq!(
        committed
            .iter()
            .map(|e| (e.term, e.index))
            .collect::<Vec<_>>(),
        [(2, 4), (4, 5)]
    );
}

/// A leader may count on a member that has restarted since it heard from it.
#[test]
fn a_promise_to_a_leader_outlives_a_restart() {
    let config = |read_only| Config {
        read_only,
        election_ticks: 3,
        ..Config::new(MemberId(1))
    };
    let restarted = |read_only| {
        let mut raft = started(config(read_only), 3);
        raft.step(message(MessageType::Heartbeat, 2))
            .expect("a leader");
        settle(&mut raft);
        let (log, applied) = (raft.log().clone(), raft.status().applied);
        let state = raft.tracker().configuration.conf_state();
        let entries = entries_of(&log);
        let log = MemoryLog::with_state(log.hard_state(), state, Default::default(), entries);
        Raft::new(
            Config {
                applied,
                ..config(read_only)
            },
            log,
        )
        .expect("a stored log")
    };
    let asks = Message {
        from: 3,
        index: 3,
        log_term: 1,
        ..message(MessageType::Vote, 3)
    };
    for (read_only, promised_ticks) in [(ReadOnly::Safe, 0), (ReadOnly::LeaseBased, 3)] {
        let mut raft = restarted(read_only);
        for _ in 0..promised_ticks {
            raft.step(asks.clone()).expect("taken");
            assert_eq!(
                raft.vote(),
                MemberId::ZERO,
                "the leader may count on this member"
            );
            raft.set_election_timeout(100);
            raft.tick();
        }
        raft.step(asks.clone()).expect("taken");
        assert_eq!(raft.vote(), MemberId(3));
    }
}

fn entries_of(log: &MemoryLog) -> Vec<Entry> {
    let mut entries = Vec::new();
    log.entries(
        log.first_index(),
        log.last_index().next(),
        u64::MAX,
        &mut entries,
    )
    .expect("its own entries");
    entries
}
