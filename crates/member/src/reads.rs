//! Linearizable reads that wait for a read index.
//!
//! All reads that come in while no round can start join the next one: one request to the core
//! serves them all. A read only ever joins a round that has not been sent, so the index confirmed
//! is at least what was committed when the read came in. Round ids are never reused, not even
//! across retries (etcd #20418), and a confirmation for an id that is not waited for is dropped.

use crate::messages::Outputs;
use bytes::Bytes;
use std::collections::VecDeque;
use tenet_base::{Index, limits};
use tenet_proto::ApiError;

/// Ticks after which an unanswered round is asked again under a new id (etcd: 500 ms).
const RETRY_TICKS: u64 = 5;

#[derive(Debug)]
struct Waiting<W> {
    waiter: W,
    deadline_tick: u64,
}

#[derive(Debug)]
struct Round<W> {
    /// All ids under which this round was asked; any of them confirms it.
    ids: Vec<u64>,
    asked_tick: u64,
    reads: Vec<Waiting<W>>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct ReadRounds<W> {
    next: VecDeque<Waiting<W>>,
    /// The round that was asked and not yet confirmed.
    asked: Option<Round<W>>,
    next_id: u64,
    tick: u64,
}

impl<W> ReadRounds<W> {
    /// `first_id` must differ between runs of one member, so that an answer to a run that has
    /// ended confirms nothing.
    pub(crate) fn new(first_id: u64) -> Self {
        ReadRounds {
            next: VecDeque::new(),
            asked: None,
            next_id: first_id,
            tick: 0,
        }
    }

    pub(crate) fn push(&mut self, waiter: W, deadline_tick: u64, out: &mut Outputs<W>) {
        if self.next.len() >= limits::READ_QUEUE_MAX {
            out.answers
                .push((waiter, Err(ApiError::RequestTooManyRequests)));
        } else {
            self.next.push_back(Waiting {
                waiter,
                deadline_tick,
            });
        }
    }

    /// The context to ask the core with, if a round should be asked now.
    pub(crate) fn next_round(&mut self, leader_known: bool) -> Option<Bytes> {
        if !leader_known {
            return None;
        }
        match &mut self.asked {
            Some(round) if self.tick < round.asked_tick + RETRY_TICKS => None,
            Some(round) => {
                let id = self.next_id;
                round.ids.push(id);
                round.asked_tick = self.tick;
                self.next_id += 1;
                Some(context(id))
            }
            None if self.next.is_empty() => None,
            None => {
                let id = self.next_id;
                self.next_id += 1;
                let reads = self.next.drain(..).collect();
                self.asked = Some(Round {
                    ids: vec![id],
                    asked_tick: self.tick,
                    reads,
                });
                Some(context(id))
            }
        }
    }

    /// The core has confirmed `index` for the round asked with `bytes`.
    pub(crate) fn confirmed(&mut self, bytes: &[u8], index: Index, out: &mut Outputs<W>) {
        let Ok(id) = bytes.try_into().map(u64::from_be_bytes) else {
            return;
        };
        if self
            .asked
            .as_ref()
            .is_some_and(|round| round.ids.contains(&id))
        {
            let round = self.asked.take().expect("just seen");
            out.reads
                .push((index, round.reads.into_iter().map(|r| r.waiter).collect()));
        }
    }

    /// A round that an old leader was asked may not be answered by a new one.
    pub(crate) fn leader_changed(&mut self, out: &mut Outputs<W>) {
        if let Some(round) = self.asked.take() {
            let changed = |r: Waiting<W>| (r.waiter, Err(ApiError::LeaderChanged));
            out.answers.extend(round.reads.into_iter().map(changed));
        }
    }

    pub(crate) fn tick(&mut self, now: u64, out: &mut Outputs<W>) {
        self.tick = now;
        let timeout = |r: Waiting<W>| (r.waiter, Err(ApiError::Timeout));
        while self.next.front().is_some_and(|r| r.deadline_tick <= now) {
            out.answers.extend(self.next.pop_front().map(timeout));
        }
        if let Some(round) = &mut self.asked {
            let expired = round.reads.extract_if(.., |r| r.deadline_tick <= now);
            out.answers.extend(expired.map(timeout));
            if round.reads.is_empty() {
                self.asked = None;
            }
        }
    }

    pub(crate) fn fail_all(&mut self, error: ApiError, out: &mut Outputs<W>) {
        let asked = self
            .asked
            .take()
            .map(|round| round.reads)
            .unwrap_or_default();
        let all = asked.into_iter().chain(self.next.drain(..));
        out.answers.extend(all.map(|r| (r.waiter, Err(error))));
    }

    /// Whether nobody waits.
    #[cfg(test)]
    fn is_idle(&self) -> bool {
        self.next.is_empty() && self.asked.is_none()
    }
}

fn context(id: u64) -> Bytes {
    Bytes::copy_from_slice(&id.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(
        answers: &[(&'static str, Result<crate::waiter::Outcome, ApiError>)],
    ) -> Vec<(&'static str, &'static str)> {
        answers
            .iter()
            .map(|(w, r)| (*w, r.as_ref().unwrap_err().text()))
            .collect()
    }

    #[test]
    fn a_read_never_joins_a_round_that_was_sent() {
        let (mut rounds, mut out) = (ReadRounds::new(9), Outputs::default());
        rounds.push("a", 70, &mut out);
        assert_eq!(rounds.next_round(true), Some(context(9)));
        rounds.push("b", 70, &mut out);
        assert_eq!(rounds.next_round(true), None, "one round at a time");
        rounds.confirmed(&9u64.to_be_bytes(), Index(5), &mut out);
        assert_eq!(out.reads, vec![(Index(5), vec!["a"])]);
        assert_eq!(
            rounds.next_round(true),
            Some(context(10)),
            "b has a round of its own"
        );
        rounds.confirmed(&9u64.to_be_bytes(), Index(6), &mut out);
        assert_eq!(out.reads.len(), 1, "an id confirms once");
    }

    #[test]
    fn retries_use_new_ids_and_any_of_them_confirms() {
        let (mut rounds, mut out) = (ReadRounds::new(1), Outputs::default());
        rounds.push("a", 70, &mut out);
        assert_eq!(rounds.next_round(true), Some(context(1)));
        rounds.tick(RETRY_TICKS, &mut out);
        assert_eq!(rounds.next_round(true), Some(context(2)));
        rounds.confirmed(&1u64.to_be_bytes(), Index(3), &mut out);
        assert_eq!(out.reads, vec![(Index(3), vec!["a"])]);
        assert!(rounds.is_idle());
    }

    #[test]
    fn timeouts_and_leader_changes_answer_with_etcds_texts() {
        let (mut rounds, mut out) = (ReadRounds::new(1), Outputs::default());
        rounds.push("asked", 70, &mut out);
        rounds.next_round(true);
        rounds.push("waiting", 10, &mut out);
        rounds.tick(10, &mut out);
        rounds.leader_changed(&mut out);
        let expected = vec![
            ("waiting", "etcdserver: request timed out"),
            ("asked", "etcdserver: leader changed"),
        ];
        assert_eq!(texts(&out.answers), expected);
        assert!(rounds.is_idle());
    }
}
