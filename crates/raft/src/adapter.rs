//! etcd's two forms of output, made from the native one: `Ready` and `Advance`, where everything of
//! one output is written and applied before the next is taken; and asynchronous storage in the form
//! of messages to two threads.
//!
//! For transcripts and for the lab, which show a run in the terms in which etcd's own documents and
//! tests describe it. Servers use the native form. Two differences are kept on purpose, because
//! etcd has them: here, requests for votes are among the messages (an asynchronous driver may send
//! them before the vote is durable), and the synchronous form hands out committed entries that are
//! not durable yet (its driver makes them so first).

use tenet_base::{Index, MemberId, Term};
use tenet_proto::raftpb::{Entry, HardState, Message, MessageType, Snapshot};

use crate::error::StepError;
use crate::log::EntryId;
use crate::output::{ReadState, SoftState, Stable, Work};
use crate::raft::Raft;
use crate::store::LogStore;
use crate::{APPEND_THREAD, APPLY_THREAD};

/// Which of etcd's forms is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `Ready` and `Advance`.
    Synchronous,
    /// Work for the log and the state machine as messages; their answers are stepped.
    StorageMessages,
}

/// All work that has come up, in etcd's form.
#[derive(Debug, Default)]
pub struct Ready {
    /// Leader and role, if they have changed.
    pub soft_state: Option<SoftState>,
    /// Term, vote and commit index, if they have changed.
    pub hard_state: Option<HardState>,
    /// Reads that may be served.
    pub read_states: Vec<ReadState>,
    /// To be written.
    pub entries: Vec<Entry>,
    /// To be written in place of the log, and restored.
    pub snapshot: Option<Snapshot>,
    /// To be applied.
    pub committed: Vec<Entry>,
    /// To be sent; in the synchronous form when the above is written.
    pub messages: Vec<Message>,
    /// Whether what is to be written must be synced. Like etcd, this leaves snapshots out.
    pub must_sync: bool,
}

/// A member that speaks one of etcd's forms.
#[derive(Debug)]
pub struct Adapter<S: LogStore> {
    raft: Raft<S>,
    form: Form,
    /// What `advance` will report.
    outstanding: Option<Outstanding>,
}

#[derive(Debug)]
struct Outstanding {
    own: Vec<Message>,
    stable: Option<Stable>,
    applied: Option<Index>,
}

impl<S: LogStore> Adapter<S> {
    /// Puts the form around a member.
    #[must_use]
    pub fn new(mut raft: Raft<S>, form: Form) -> Self {
        raft.log.apply_unstable = form == Form::Synchronous;
        Adapter {
            raft,
            form,
            outstanding: None,
        }
    }

    /// The member.
    #[must_use]
    pub fn raft(&self) -> &Raft<S> {
        &self.raft
    }

    /// The member, for its inputs. Its outputs are taken through the adapter.
    pub fn raft_mut(&mut self) -> &mut Raft<S> {
        &mut self.raft
    }

    /// Whether there is anything to do.
    #[must_use]
    pub fn has_ready(&self) -> bool {
        self.raft.has_output()
    }

    /// Takes all work that has come up.
    ///
    /// # Panics
    /// In the synchronous form, if the last one has not been [advanced](Adapter::advance).
    pub fn ready(&mut self) -> Ready {
        let work = self.raft.take_work();
        match self.form {
            Form::Synchronous => self.synchronous(work),
            Form::StorageMessages => self.with_storage_messages(work),
        }
    }

    fn synchronous(&mut self, mut work: Work) -> Ready {
        assert!(
            self.outstanding.is_none(),
            "two readies without an advance between them"
        );
        let id = self.raft.id().get();
        let own = work
            .responses
            .extract_if(.., |message| message.to == id)
            .collect();
        self.outstanding = Some(Outstanding {
            own,
            stable: work.stable.take(),
            applied: work.committed.last().map(Entry::index),
        });
        work.messages.append(&mut work.responses);
        work.into_ready()
    }

    fn with_storage_messages(&mut self, mut work: Work) -> Ready {
        let id = self.raft.id().get();
        if work.is_for_log() {
            let mut responses = std::mem::take(&mut work.responses);
            responses.extend(
                work.stable
                    .take()
                    .map(|stable| storage_append_response(id, stable)),
            );
            let state = work.hard_state.unwrap_or_default();
            work.messages.push(Message {
                msg_type: MessageType::StorageAppend as i32,
                to: APPEND_THREAD.get(),
                from: id,
                term: state.term,
                vote: state.vote,
                commit: state.commit,
                entries: work.entries.clone(),
                snapshot: work.snapshot.clone().map(Box::new),
                responses,
                ..Message::default()
            });
        }
        if !work.committed.is_empty() {
            let response = Message {
                msg_type: MessageType::StorageApplyResp as i32,
                to: id,
                from: APPLY_THREAD.get(),
                entries: work.committed.clone(),
                ..Message::default()
            };
            work.messages.push(Message {
                msg_type: MessageType::StorageApply as i32,
                to: APPLY_THREAD.get(),
                from: id,
                entries: work.committed.clone(),
                responses: vec![response],
                ..Message::default()
            });
        }
        work.into_ready()
    }

    /// Everything of the last ready is written and applied. For the synchronous form.
    ///
    /// # Panics
    /// If there is no such ready.
    pub fn advance(&mut self) {
        let done = self
            .outstanding
            .take()
            .expect("there is a ready to advance");
        for message in done.own {
            self.raft.step_own(message);
        }
        if let Some(stable) = done.stable {
            self.raft.stable(&stable);
        }
        if let Some(index) = done.applied {
            self.raft.apply_done(index);
        }
    }

    /// Takes a message: from another member, from this one, or from one of its threads.
    ///
    /// # Errors
    /// As [`Raft::step`].
    pub fn step(&mut self, message: Message) -> Result<(), StepError> {
        use MessageType as M;
        let from = MemberId(message.from);
        let own = from == self.raft.id();
        match message.kind() {
            Some(M::StorageAppendResp) if from == APPEND_THREAD => {
                self.raft.stable(&Stable {
                    term: Term(message.term),
                    last: (message.index != 0).then_some(EntryId {
                        term: Term(message.log_term),
                        index: Index(message.index),
                    }),
                    snapshot: message.snapshot.map(|snapshot| *snapshot),
                });
            }
            Some(M::StorageApplyResp) if from == APPLY_THREAD => {
                if let Some(last) = message.entries.last() {
                    self.raft.apply_done(last.index());
                }
            }
            Some(M::AppResp | M::VoteResp | M::PreVoteResp) if own => self.raft.step_own(message),
            _ => return self.raft.step(message),
        }
        Ok(())
    }
}

impl Work {
    fn into_ready(self) -> Ready {
        Ready {
            soft_state: self.soft_state,
            hard_state: self.hard_state,
            read_states: self.read_states,
            entries: self.entries,
            snapshot: self.snapshot,
            committed: self.committed,
            messages: self.messages,
            must_sync: self.must_sync,
        }
    }
}

fn storage_append_response(id: u64, stable: Stable) -> Message {
    Message {
        msg_type: MessageType::StorageAppendResp as i32,
        to: id,
        from: APPEND_THREAD.get(),
        term: stable.term.get(),
        log_term: stable.last.map_or(0, |last| last.term.get()),
        index: stable.last.map_or(0, |last| last.index.get()),
        snapshot: stable.snapshot.map(Box::new),
        ..Message::default()
    }
}
