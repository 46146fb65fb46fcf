//! Histories of concurrent clients: what was asked, what was answered and when, and what watches
//! were told.
//!
//! [`check`] says whether a single store that does one thing after another could have answered so:
//! keys, transactions, leases and compaction by a search for an order, watches by their promises
//! against the writes that this order proves. The form of a history is described in
//! `docs/histories.md`. [`Mutation`] breaks a good history in a known way, to show that the checkers
//! notice.
//!
//! Nothing in a history is believed: not the revisions that it orders itself by, and not that it is
//! well formed.

mod evidence;
mod format;
mod model;
mod mutate;
mod report;
mod search;
mod silence;
mod watch;

use std::collections::BTreeSet;

pub use format::{
    Answer, Compact, Compare, Comparison, Delete, DeleteAnswer, Event, Fault, Grant, History, Keys,
    Kv, LeaseAnswer, LeaseName, Line, NoHistory, Operand, Operation, Put, PutAnswer, Range,
    RangeAnswer, Refusal, Request, Told, Txn, TxnAnswer, Watch,
};
pub use mutate::Mutation;
pub use report::{Property, Report, Violation};

use evidence::{Evidence, wrote};
use search::Search;

/// Checks everything that a history can prove wrong.
#[must_use]
pub fn check(history: &History) -> Report {
    let operations: Vec<&Operation> = history.operations().collect();
    let mut report = Report {
        answered: operations.iter().filter(|op| op.answer.is_some()).count(),
        lost: operations.iter().filter(|op| op.answer.is_none()).count(),
        ..Report::default()
    };
    report.violations.extend(form(&operations));
    if !report.violations.is_empty() {
        return report;
    }
    let (evidence, contradictions) = Evidence::gather(history, &operations);
    report.violations.extend(contradictions);
    report.violations.extend(real_time(&operations));
    report.revision = evidence.newest;
    let mut search = Search::new(&operations, &evidence);
    let found = search.run();
    report.taken_back = search.taken_back;
    report.expired = search.expired;
    report.lost_done = search.lost_done;
    match found {
        Err(violation) => report.violations.push(violation),
        Ok(()) => {
            report.violations.extend(old_reads(&operations, &search));
            watch::check(history, &search.store, &mut report);
        }
    }
    report
}

/// Whether the operations make sense by themselves.
fn form(operations: &[&Operation]) -> Vec<Violation> {
    let (mut ids, mut leases) = (BTreeSet::new(), BTreeSet::new());
    let mut violations = Vec::new();
    for op in operations {
        let mut wrong = |what: &str| {
            let violation = Violation::of(Property::Form, what.into(), &[op]);
            violations.push(violation);
        };
        if !ids.insert(op.id) {
            wrong("the id of this operation is used twice");
        }
        if op.returned < op.call {
            wrong("it was answered before it was asked");
        }
        if op
            .answer
            .as_ref()
            .is_some_and(|answer| !answers(&op.request, answer))
        {
            wrong("the answer is not of the kind that was asked for");
        }
        let unnamed = matches!(
            op.answer,
            None | Some(Answer::Refused(_) | Answer::Lease(_))
        );
        if !unnamed && op.revision < model::FIRST {
            wrong("the answer names no revision");
        }
        if let Some(Answer::Grant(grant)) = &op.answer
            && !leases.insert(grant.lease)
        {
            wrong("a lease of this id was granted before; ids must be new");
        }
    }
    violations
}

/// Whether an answer is of the kind that was asked for.
fn answers(request: &Request, answer: &Answer) -> bool {
    match (request, answer) {
        (_, Answer::Refused(_))
        | (Request::Range(_), Answer::Range(_))
        | (Request::Put(_), Answer::Put(_))
        | (Request::Delete(_), Answer::Delete(_))
        | (Request::Compact(_) | Request::Revoke(_), Answer::Done)
        | (Request::KeepAlive(_) | Request::TimeToLive(_), Answer::Lease(_)) => true,
        (Request::Grant(asked), Answer::Grant(given)) => {
            given.lease != 0 && (asked.lease == 0 || asked.lease == given.lease)
        }
        (Request::Txn(txn), Answer::Txn(answer)) => {
            let branch = if answer.succeeded {
                &txn.success
            } else {
                &txn.failure
            };
            branch.len() == answer.results.len()
                && branch
                    .iter()
                    .zip(&answer.results)
                    .all(|(next, answer)| answers(next, answer))
        }
        _ => false,
    }
}

/// Revisions never go back: whoever asks after an answer is told no older revision, and a write
/// makes a newer one.
fn real_time(operations: &[&Operation]) -> Vec<Violation> {
    // What is served without agreement, or says its revision before it does anything, may lag.
    let lags = |op: &Operation| match (&op.request, &op.answer) {
        (Request::Range(range), _) => range.serializable,
        (_, answer) => matches!(answer, Some(Answer::Lease(_))),
    };
    let told = operations.iter().filter(|op| op.revision > 0 && !lags(op));
    let mut by_call: Vec<&Operation> = told.copied().collect();
    let mut by_return = by_call.clone();
    by_call.sort_by_key(|op| op.call);
    by_return.sort_by_key(|op| op.returned);
    let mut newest: Option<&Operation> = None;
    let mut returned = by_return.into_iter().peekable();
    let mut violations = Vec::new();
    for op in by_call {
        while let Some(before) = returned.next_if(|before| before.returned < op.call) {
            newest = newest
                .into_iter()
                .chain([before])
                .max_by_key(|op| op.revision);
        }
        let Some(before) = newest else { continue };
        if op.revision < before.revision {
            let what = format!(
                "revision {} was told after {}",
                op.revision, before.revision
            );
            violations.push(Violation::of(Property::Revisions, what, &[before, op]));
        } else if wrote(op) && op.revision == before.revision {
            let what = format!("revision {} was made after it was told", op.revision);
            violations.push(Violation::of(Property::Revisions, what, &[before, op]));
        }
    }
    violations
}

/// Reads that may be of any age: each finds what there was at the revision that it names.
fn old_reads(operations: &[&Operation], search: &Search<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for op in operations {
        let (Request::Range(range), Some(Answer::Range(answer))) = (&op.request, &op.answer) else {
            continue;
        };
        if !range.serializable {
            continue;
        }
        let revision = if range.revision > 0 {
            range.revision
        } else {
            op.revision
        };
        let expected = search.store.range(range, revision);
        if *answer != expected {
            let what = format!(
                "a read of revision {revision} should have found {}",
                format::json(&expected)
            );
            violations.push(Violation::of(Property::Linearizable, what, &[op]));
        }
    }
    violations
}

#[cfg(test)]
mod tests;
