//! Messages that no correct member sends: whatever comes from outside is taken or refused, and
//! never stops the member.

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message as _;
use tenet_base::{Index, MemberId};
use tenet_proto::raftpb::{
    ConfChange, ConfChangeV2, ConfState, Entry, EntryType, Message, MessageType, Snapshot,
    SnapshotMetadata,
};
use tenet_raft::{Config, MemoryLog, Raft, Role, StepError, confchange};

/// A voter of three, run by a faithful driver.
struct Target {
    raft: Raft<MemoryLog>,
}

impl Target {
    fn new(role: Role) -> Self {
        let members: Vec<_> = (1..=3).map(|id| (MemberId(id), Bytes::new())).collect();
        let config = Config {
            election_ticks: 3,
            ..Config::new(MemberId(1))
        };
        let mut target = Target {
            raft: Raft::new(config, MemoryLog::new()).unwrap(),
        };
        target.raft.bootstrap(&members).unwrap();
        target.drive();
        if role != Role::Follower {
            target.raft.campaign();
            target.drive();
        }
        let vote = |kind, term| Message {
            msg_type: kind as i32,
            from: 2,
            to: 1,
            term,
            ..Message::default()
        };
        if role == Role::Candidate || role == Role::Leader {
            target.raft.step(vote(MessageType::PreVoteResp, 2)).unwrap();
            target.drive();
        }
        if role == Role::Leader {
            target.raft.step(vote(MessageType::VoteResp, 2)).unwrap();
            target.drive();
        }
        assert_eq!(target.raft.role(), role);
        target
    }

    fn drive(&mut self) {
        while self.raft.has_output() {
            let output = self.raft.take_output();
            if let Some(append) = output.append {
                let log = self.raft.log_mut();
                if let Some(state) = append.hard_state {
                    log.set_hard_state(state);
                }
                if let Some(snapshot) = append.snapshot {
                    log.apply_snapshot(snapshot)
                        .expect("only newer ones are taken");
                }
                log.append(append.entries);
                self.raft.append_done(append.done);
            }
            for entry in &output.committed {
                self.apply(entry);
            }
            if let Some(last) = output.committed.last() {
                self.raft.apply_done(last.index());
            }
        }
    }

    /// A change that cannot be applied stops a real member; here it is passed over.
    fn apply(&mut self, entry: &Entry) {
        let change = match EntryType::try_from(entry.entry_type) {
            Ok(EntryType::ConfChange) => ConfChange::decode(entry.data.clone())
                .ok()
                .map(|c| confchange::as_v2(&c)),
            Ok(EntryType::ConfChangeV2) => ConfChangeV2::decode(entry.data.clone()).ok(),
            _ => None,
        };
        if let Some(change) = change {
            let _ = self.raft.apply_conf_change(&change);
        }
    }
}

/// Small numbers that mean something, and large ones that must not.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![6 => 0..9u64, 1 => Just(u64::MAX), 1 => Just(u64::MAX / 2), 1 => any::<u64>()]
}

fn data() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(0..20u8, 0..9).prop_map(Bytes::from)
}

prop_compose! {
    fn entry()(entry_type in -1..4i32, term in number(), index in number(), data in data())
        -> Entry
    {
        Entry { entry_type, term, index, data }
    }
}

/// Either anything, or entries as a leader would send them.
fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let in_order = (1..6u64, 0..9u64, 1..4u64).prop_map(|(term, first, count)| {
        let entry = |index| Entry {
            term,
            index,
            ..Entry::default()
        };
        (first..first + count).map(entry).collect()
    });
    prop_oneof![prop::collection::vec(entry(), 0..4), in_order]
}

fn snapshot() -> impl Strategy<Value = Option<Box<Snapshot>>> {
    let ids = || prop::collection::vec(0..5u64, 0..4);
    let state = (ids(), ids(), ids(), ids(), any::<bool>()).prop_map(
        |(voters, learners, voters_outgoing, learners_next, auto_leave)| ConfState {
            voters,
            learners,
            voters_outgoing,
            learners_next,
            auto_leave,
        },
    );
    let metadata =
        (prop::option::of(state), number(), number()).prop_map(|(conf_state, index, term)| {
            SnapshotMetadata {
                conf_state,
                index,
                term,
            }
        });
    prop::option::of(
        (data(), prop::option::of(metadata))
            .prop_map(|(data, metadata)| Box::new(Snapshot { data, metadata })),
    )
}

prop_compose! {
    fn message()(
        (msg_type, from, to) in (-1..25i32, number(), prop_oneof![9 => Just(1u64), 1 => number()]),
        (term, log_term, index, commit) in (number(), number(), number(), number()),
        (entries, snapshot) in (entries(), snapshot()),
        (reject, reject_hint, context) in (any::<bool>(), number(), data()),
    ) -> Message {
        Message {
            msg_type, to, from, term, log_term, index, entries, commit, snapshot, reject,
            reject_hint, context, ..Message::default()
        }
    }
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![
        Just(Role::Follower),
        Just(Role::PreCandidate),
        Just(Role::Candidate),
        Just(Role::Leader)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_message_stops_a_member(role in role(), messages in prop::collection::vec(message(), 1..8)) {
        let mut target = Target::new(role);
        for message in messages {
            let before = (target.raft.term(), target.raft.status().commit);
            let _ = target.raft.step(message);
            let after = (target.raft.term(), target.raft.status().commit);
            prop_assert!(before.0 <= after.0 && before.1 <= after.1);
            target.drive();
            target.raft.tick();
            target.drive();
        }
    }
}

/// A message from member 2 to this one, in a term that is as good as any.
fn from_two(kind: MessageType) -> Message {
    Message {
        msg_type: kind as i32,
        from: 2,
        to: 1,
        term: 2,
        ..Message::default()
    }
}

fn refusal(role: Role, message: Message) -> StepError {
    let mut target = Target::new(role);
    let before = target.raft.status();
    let error = target
        .raft
        .step(message)
        .expect_err("the message is refused");
    assert_eq!(
        target.raft.status(),
        before,
        "a refused message changes nothing"
    );
    assert!(
        !target.raft.has_output(),
        "a refused message is not answered"
    );
    error
}

#[test]
fn local_messages_do_not_come_from_others() {
    for kind in [
        MessageType::Hup,
        MessageType::StorageAppendResp,
        MessageType::ForgetLeader,
    ] {
        let error = refusal(Role::Leader, from_two(kind));
        assert_eq!(error, StepError::Local(kind, MemberId(2)));
    }
}

#[test]
fn messages_for_others_are_refused() {
    let message = Message {
        to: 3,
        ..from_two(MessageType::Heartbeat)
    };
    let error = refusal(Role::Follower, message);
    assert_eq!(
        error,
        StepError::Misdirected {
            to: MemberId(3),
            id: MemberId(1)
        }
    );
}

#[test]
fn answers_of_strangers_are_refused() {
    let message = Message {
        from: 9,
        ..from_two(MessageType::AppResp)
    };
    assert_eq!(
        refusal(Role::Leader, message),
        StepError::UnknownPeer(MemberId(9))
    );
}

#[test]
fn an_acknowledgement_beyond_the_log_is_refused() {
    let message = Message {
        index: 5,
        ..from_two(MessageType::AppResp)
    };
    assert!(matches!(
        refusal(Role::Leader, message),
        StepError::ImpossibleIndex { .. }
    ));
}

#[test]
fn a_heartbeat_that_commits_what_is_not_here_is_refused() {
    let message = Message {
        commit: 4,
        ..from_two(MessageType::Heartbeat)
    };
    let error = refusal(Role::Follower, message);
    assert!(
        matches!(error, StepError::LostEntries { last: Index(3), .. }),
        "{error}"
    );
}

#[test]
fn entries_that_would_replace_committed_ones_are_refused() {
    let entries = vec![Entry {
        term: 2,
        index: 3,
        ..Entry::default()
    }];
    let message = Message {
        index: 2,
        log_term: 1,
        entries,
        ..from_two(MessageType::App)
    };
    let mut target = Target::new(Role::Follower);
    let error = target
        .raft
        .step(message)
        .expect_err("the entries are refused");
    assert!(
        matches!(
            error,
            StepError::ForkedLog {
                index: Index(3),
                ..
            }
        ),
        "{error}"
    );
    let output = target.raft.take_output();
    let answers = output.append.map_or(0, |append| append.responses.len());
    assert_eq!(
        (output.messages.len(), answers),
        (0, 0),
        "and not acknowledged"
    );
}

#[test]
fn a_second_leader_of_a_term_is_refused() {
    let error = refusal(Role::Leader, from_two(MessageType::Heartbeat));
    assert!(matches!(error, StepError::SecondLeader { .. }), "{error}");
}

#[test]
fn a_snapshot_with_an_impossible_configuration_is_refused() {
    let conf_state = ConfState {
        voters: vec![1, 2],
        learners: vec![2],
        ..ConfState::default()
    };
    let metadata = SnapshotMetadata {
        conf_state: Some(conf_state),
        index: 9,
        term: 1,
    };
    let snapshot = Snapshot {
        metadata: Some(metadata),
        ..Snapshot::default()
    };
    let message = Message {
        snapshot: Some(Box::new(snapshot)),
        ..from_two(MessageType::Snap)
    };
    let mut target = Target::new(Role::Follower);
    let error = target
        .raft
        .step(message)
        .expect_err("the snapshot is refused");
    assert!(
        matches!(error, StepError::SnapshotConfState { .. }),
        "{error}"
    );
    assert_eq!(target.raft.status().last, Index(3), "the log is as it was");
}

#[test]
fn terms_that_leave_no_room_to_count_are_refused() {
    let message = Message {
        term: u64::MAX,
        ..from_two(MessageType::Vote)
    };
    assert!(matches!(
        refusal(Role::Follower, message),
        StepError::ImpossibleTerm { .. }
    ));
}

#[test]
fn an_old_snapshot_is_answered_and_ignored() {
    let metadata = SnapshotMetadata {
        conf_state: None,
        index: 2,
        term: 1,
    };
    let snapshot = Snapshot {
        metadata: Some(metadata),
        ..Snapshot::default()
    };
    let message = Message {
        snapshot: Some(Box::new(snapshot)),
        ..from_two(MessageType::Snap)
    };
    let mut target = Target::new(Role::Follower);
    target.raft.step(message).unwrap();
    let append = target.raft.take_output().append.expect("an answer");
    assert_eq!(
        append.responses[0].index, 3,
        "the answer tells what is committed"
    );
    assert!(append.snapshot.is_none());
}
