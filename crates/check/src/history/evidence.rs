//! What answers and watches say about revisions, gathered before anything is believed.
//!
//! An acknowledged write names its revision, so most revisions have a known maker. The rest was
//! made by writes whose answers were lost and by leases that ended; what others saw of those
//! revisions tells which. Here too stands when a revision was shown to somebody first: its maker
//! was called before that.

use std::collections::BTreeMap;

use super::format::{Answer, History, Kv, Operation, Request, Told};
use super::model::{Change, FIRST};
use super::report::{Property, Violation};
use super::silence::Silence;

/// What somebody saw of one key in one revision; nothing if it was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fact {
    pub(super) key: String,
    pub(super) kv: Option<Kv>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Evidence<'a> {
    /// The operation that says that it made a revision, by revision: its place in the history.
    makers: BTreeMap<i64, usize>,
    /// What was seen of the revisions without a maker.
    facts: BTreeMap<i64, Vec<Fact>>,
    /// For each revision that was shown, when it or a later one was shown first.
    shown: BTreeMap<i64, i64>,
    /// The newest revision that anybody was shown.
    pub(super) newest: i64,
    silence: Silence<'a>,
}

impl<'a> Evidence<'a> {
    /// Gathers, and tells what contradicts itself already.
    pub(super) fn gather(
        history: &'a History,
        operations: &[&Operation],
    ) -> (Evidence<'a>, Vec<Violation>) {
        let mut evidence = Evidence {
            makers: BTreeMap::new(),
            facts: BTreeMap::new(),
            shown: BTreeMap::new(),
            newest: FIRST,
            silence: Silence::default(),
        };
        let mut violations = Vec::new();
        for (place, op) in operations.iter().enumerate() {
            violations.extend(evidence.note_maker(place, op, operations));
        }
        for op in operations {
            violations.extend(evidence.note_answer(op));
        }
        for told in history.told() {
            evidence.note_told(told);
        }
        evidence.settle_shown();
        evidence.silence = Silence::gather(history, &evidence.makers);
        (evidence, violations)
    }

    /// Who says that it made a revision.
    pub(super) fn maker(&self, revision: i64) -> Option<usize> {
        self.makers.get(&revision).copied()
    }

    /// When a revision, or a later one, was shown to anybody first.
    pub(super) fn shown_at(&self, revision: i64) -> i64 {
        self.shown
            .range(revision..)
            .next()
            .map_or(i64::MAX, |(_, at)| *at)
    }

    /// Whether what was seen of a revision fits what a candidate changed in it.
    pub(super) fn fits(&self, revision: i64, changes: &[Change]) -> bool {
        let facts = self.facts.get(&revision).map_or(&[][..], Vec::as_slice);
        facts.iter().all(|fact| {
            changes
                .iter()
                .any(|change| change.key == fact.key && change.now.as_deref() == fact.kv.as_ref())
        })
    }

    /// Whether every watch that would have been told of these changes was.
    pub(super) fn was_told(&self, revision: i64, changes: &[Change]) -> bool {
        self.silence.allows(revision, changes)
    }

    /// What was seen of a revision that nobody says to have made.
    pub(super) fn facts(&self, revision: i64) -> &[Fact] {
        self.facts.get(&revision).map_or(&[], Vec::as_slice)
    }

    fn note_maker(
        &mut self,
        place: usize,
        op: &Operation,
        all: &[&Operation],
    ) -> Option<Violation> {
        if !wrote(op) {
            return None;
        }
        let other = *self.makers.entry(op.revision).or_insert(place);
        (other != place).then(|| {
            let what = format!(
                "two writes were told that they made revision {}",
                op.revision
            );
            Violation::of(Property::Revisions, what, &[all[other], op])
        })
    }

    fn note_answer(&mut self, op: &Operation) -> Option<Violation> {
        let answer = op.answer.as_ref()?;
        self.show(op.revision, op.returned);
        let mut wrong = None;
        each_kv(answer, &mut |kv| {
            let in_order = FIRST < kv.created && kv.created <= kv.modified && kv.version >= 1;
            if !in_order || kv.modified > op.revision {
                wrong = Some(format!(
                    "a key was shown that was made in revision {}, changed in {} and has version \
                     {}, by an answer of revision {}",
                    kv.created, kv.modified, kv.version, op.revision
                ));
            }
            self.fact(kv.modified, &kv.key, Some(kv));
        });
        wrong.map(|what| Violation::of(Property::Revisions, what, &[op]))
    }

    fn note_told(&mut self, told: &Told) {
        self.show(told.revision, told.at);
        for event in &told.events {
            self.show(event.kv.modified, told.at);
            let kv = (!event.deleted).then_some(&event.kv);
            self.fact(event.kv.modified, &event.kv.key, kv);
            if let Some(prev) = &event.prev {
                self.fact(prev.modified, &prev.key, Some(prev));
            }
        }
    }

    fn show(&mut self, revision: i64, at: i64) {
        self.newest = self.newest.max(revision);
        let first = self.shown.entry(revision).or_insert(at);
        *first = at.min(*first);
    }

    /// Facts are kept only where they decide anything.
    fn fact(&mut self, revision: i64, key: &str, kv: Option<&Kv>) {
        if self.makers.contains_key(&revision) {
            return;
        }
        let facts = self.facts.entry(revision).or_default();
        let fact = Fact {
            key: key.to_owned(),
            kv: kv.cloned(),
        };
        if !facts.contains(&fact) {
            facts.push(fact);
        }
    }

    /// Whoever is shown a revision is shown that all before it have happened.
    fn settle_shown(&mut self) {
        let mut first = i64::MAX;
        for at in self.shown.values_mut().rev() {
            first = first.min(*at);
            *at = first;
        }
    }
}

/// Whether an answer says that the operation made a revision. That of a revoke does not tell.
pub(super) fn wrote(op: &Operation) -> bool {
    op.answer.as_ref().is_some_and(answer_wrote)
}

fn answer_wrote(answer: &Answer) -> bool {
    match answer {
        Answer::Put(_) => true,
        Answer::Delete(delete) => delete.deleted > 0,
        Answer::Txn(txn) => txn.results.iter().any(answer_wrote),
        _ => false,
    }
}

/// Whether a request can change anything that a later answer depends on.
pub(super) fn may_change(request: &Request) -> bool {
    match request {
        Request::Range(_) | Request::KeepAlive(_) | Request::TimeToLive(_) => false,
        Request::Txn(txn) => txn.success.iter().chain(&txn.failure).any(may_change),
        Request::Put(_) | Request::Delete(_) | Request::Compact(_) | Request::Revoke(_) => true,
        // One whose id nobody knows can be used by nobody.
        Request::Grant(grant) => grant.lease != 0,
    }
}

fn each_kv(answer: &Answer, visit: &mut dyn FnMut(&Kv)) {
    match answer {
        Answer::Range(range) => range.kvs.iter().for_each(visit),
        Answer::Put(put) => put.prev.iter().for_each(visit),
        Answer::Delete(delete) => delete.prevs.iter().for_each(visit),
        Answer::Txn(txn) => txn.results.iter().for_each(|next| each_kv(next, visit)),
        Answer::Refused(_) | Answer::Done | Answer::Grant(_) | Answer::Lease(_) => {}
    }
}
