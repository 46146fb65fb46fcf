//! Known ways to break a good history, so that checkers can be checked.
//!
//! A mutation changes what was recorded at one place, chosen by a number, such that no correct
//! server can have answered so. It relies on what recorders do: values of puts are used once.

use super::evidence::wrote;
use super::format::{
    Answer, Comparison, Event, History, LeaseAnswer, Line, Operand, Operation, Refusal, Request,
    Told, Watch,
};
use super::report::Property;

/// A way to break a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "each is described by `Mutation::meaning`")]
pub enum Mutation {
    ReadValue,
    ReadMissing,
    ReadStale,
    ReadOld,
    ReadCompacted,
    RefusedForNothing,
    RevisionTwice,
    RevisionsSwapped,
    WriteLost,
    CompareFlipped,
    DeletedCount,
    PreviousAnswer,
    LeaseEarly,
    LeaseAfterEnd,
    LeaseUnknown,
    LeaseEndMoved,
    EventLost,
    EventTwice,
    EventsSwapped,
    EventWrong,
    EventInvented,
    EventUnfiltered,
    EventBeforeStart,
    EventPrevious,
    RevisionSplit,
    BookmarkEarly,
    ResumeGap,
    ToldAfterEnd,
}

/// Name, what it does, and which properties it breaks.
type Row = (Mutation, &'static str, &'static str, &'static [Property]);

const ROWS: &[Row] = {
    use Mutation::*;
    use Property::*;
    &[
        (
            ReadValue,
            "read-value",
            "a read finds a value that was never there",
            &[Linearizable],
        ),
        (
            ReadMissing,
            "read-missing",
            "a read misses a key",
            &[Linearizable],
        ),
        (
            ReadStale,
            "read-stale",
            "a read is of a revision from before an acknowledged write",
            &[Revisions],
        ),
        (
            ReadOld,
            "read-old",
            "a read of an old revision finds another version",
            &[Linearizable, Revisions],
        ),
        (
            ReadCompacted,
            "read-compacted",
            "a read of what was compacted is answered",
            &[Linearizable],
        ),
        (
            RefusedForNothing,
            "refused-for-nothing",
            "a read of now is refused as compacted",
            &[Linearizable],
        ),
        (
            RevisionTwice,
            "revision-twice",
            "two writes make the same revision",
            &[Revisions],
        ),
        (
            RevisionsSwapped,
            "revisions-swapped",
            "a later write makes an earlier revision",
            &[Revisions],
        ),
        (
            WriteLost,
            "write-lost",
            "a revision was made by nobody",
            &[Linearizable],
        ),
        (
            CompareFlipped,
            "compare-flipped",
            "a transaction does what its compare forbids",
            &[Linearizable],
        ),
        (
            DeletedCount,
            "deleted-count",
            "a delete tells of a key too many",
            &[Linearizable],
        ),
        (
            PreviousAnswer,
            "previous-answer",
            "a put tells of another value before it",
            &[Linearizable],
        ),
        (
            LeaseEarly,
            "lease-early",
            "a lease ends before its time",
            &[Linearizable],
        ),
        (
            LeaseAfterEnd,
            "lease-after-end",
            "a lease is renewed after it was revoked",
            &[Linearizable],
        ),
        (
            LeaseUnknown,
            "lease-unknown",
            "a key is attached to a lease that nobody made",
            &[Linearizable],
        ),
        (
            LeaseEndMoved,
            "lease-end-moved",
            "a revoke tells of another revision than that of its deletes",
            &[Linearizable, Revisions],
        ),
        (
            EventLost,
            "event-lost",
            "a watch misses an event",
            &[WatchReliable],
        ),
        (
            EventTwice,
            "event-twice",
            "a watch gets a response twice",
            &[WatchUnique],
        ),
        (
            EventsSwapped,
            "events-swapped",
            "a watch gets two responses in the wrong order",
            &[WatchOrdered],
        ),
        (
            EventWrong,
            "event-wrong",
            "an event tells of a value that was never there",
            &[WatchTrue, Linearizable],
        ),
        (
            EventInvented,
            "event-invented",
            "an event tells of a key that was never there",
            &[WatchTrue, Linearizable],
        ),
        (
            EventUnfiltered,
            "event-unfiltered",
            "a watch gets an event of a key or kind that it does not want",
            &[WatchFiltered],
        ),
        (
            EventBeforeStart,
            "event-before-start",
            "a watch gets an event from before its start",
            &[WatchFiltered],
        ),
        (
            EventPrevious,
            "event-previous",
            "an event tells of another version before it",
            &[WatchPrevious, Linearizable],
        ),
        (
            RevisionSplit,
            "revision-split",
            "a revision comes in two responses",
            &[WatchAtomic],
        ),
        (
            BookmarkEarly,
            "bookmark-early",
            "a watch is called complete before an event came",
            &[WatchBookmark],
        ),
        (
            ResumeGap,
            "resume-gap",
            "a resumed watch misses its first events",
            &[WatchReliable],
        ),
        (
            ToldAfterEnd,
            "told-after-end",
            "a watch is told something after its end",
            &[WatchLife],
        ),
    ]
};

impl Mutation {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Mutation> {
        ROWS.iter().map(|row| row.0)
    }

    /// Its name on a command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// What it does.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        self.row().2
    }

    /// What a checker may say of it.
    #[must_use]
    pub fn breaks(self) -> &'static [Property] {
        self.row().3
    }

    fn row(self) -> &'static Row {
        ROWS.iter()
            .find(|row| row.0 == self)
            .expect("each has a row")
    }

    /// Breaks a history at the place that `pick` chooses; `false` if it has no such place.
    #[must_use]
    pub fn apply(self, history: &mut History, pick: u64) -> bool {
        let count = history.lines.len();
        let from = (pick % count.max(1) as u64) as usize;
        let mut places = (from..count).chain(0..from);
        let Some(place) = places.find(|place| self.could(history, *place)) else {
            return false;
        };
        match history.lines[place] {
            Line::Op(_) => self.break_operation(history, place),
            _ => self.break_watch(history, place),
        }
        true
    }

    /// Whether it could be done at this line.
    fn could(self, history: &History, place: usize) -> bool {
        match &history.lines[place] {
            Line::Op(op) => op.answer.is_some() && self.could_operation(history, op),
            Line::Told(told) => self.could_told(history, place, told),
            Line::Watch(_) | Line::Fault(_) => false,
        }
    }

    fn could_operation(self, history: &History, op: &Operation) -> bool {
        let answer = op.answer.as_ref().expect("the caller has looked");
        let earlier = |of: &dyn Fn(&Operation) -> bool| {
            history
                .operations()
                .any(|other| other.returned < op.call && of(other))
        };
        match (self, &op.request, answer) {
            (
                Mutation::ReadValue | Mutation::ReadMissing,
                Request::Range(_),
                Answer::Range(found),
            ) => !found.kvs.is_empty(),
            (Mutation::ReadOld, Request::Range(range), Answer::Range(found)) => {
                range.revision > 0 && !found.kvs.is_empty()
            }
            (Mutation::ReadStale, Request::Range(range), Answer::Range(_)) => {
                let newest = |other: &Operation| wrote(other) && other.revision == op.revision;
                range.revision == 0 && !range.serializable && earlier(&newest)
            }
            (Mutation::ReadCompacted, Request::Range(range), Answer::Range(_)) => {
                !range.serializable && earlier(&|other| compacts(other).is_some())
            }
            (Mutation::RefusedForNothing, Request::Range(range), Answer::Range(_)) => {
                range.revision == 0 && !range.serializable
            }
            (Mutation::RevisionTwice | Mutation::RevisionsSwapped, _, _) => {
                wrote(op) && earlier(&wrote)
            }
            (Mutation::WriteLost, Request::Put(_), Answer::Put(_)) => {
                was_told(history, op.revision)
            }
            (Mutation::CompareFlipped, Request::Txn(txn), Answer::Txn(_)) => {
                let [compare] = &txn.compare[..] else {
                    return false;
                };
                let differ = txn.success != txn.failure;
                differ
                    && compare.keys.end.is_empty()
                    && !matches!(compare.with, Operand::Value(_))
                    && matches!(compare.result, Comparison::Equal | Comparison::NotEqual)
            }
            (Mutation::DeletedCount, Request::Delete(_), Answer::Delete(answer)) => {
                answer.deleted > 0
            }
            (Mutation::PreviousAnswer, Request::Put(_), Answer::Put(answer)) => {
                answer.prev.is_some()
            }
            _ => self.could_lease(history, op, answer),
        }
    }

    fn could_lease(self, history: &History, op: &Operation, answer: &Answer) -> bool {
        match (self, &op.request, answer) {
            (Mutation::LeaseEarly, Request::Grant(_), Answer::Grant(given)) => {
                gone(history, given.lease, op.returned)
                    && revokes(history, given.lease).next().is_none()
            }
            (Mutation::LeaseAfterEnd, Request::KeepAlive(name), Answer::Lease(answer)) => {
                let revoked = |other: &Operation| {
                    other.returned < op.call && other.answer == Some(Answer::Done)
                };
                answer.ttl <= 0 && revokes(history, name.lease).any(revoked)
            }
            (Mutation::LeaseUnknown, Request::Put(put), Answer::Put(_)) => put.lease != 0,
            (Mutation::LeaseEndMoved, Request::Revoke(_), Answer::Done) => {
                was_told(history, op.revision)
                    && !history
                        .operations()
                        .any(|other| wrote(other) && other.revision == op.revision)
            }
            _ => false,
        }
    }

    fn could_told(self, history: &History, place: usize, told: &Told) -> bool {
        let of_last = |event: &&Event| {
            told.events
                .last()
                .is_some_and(|last| last.kv.modified == event.kv.modified)
        };
        // What can be seen from the line alone comes first: histories are long.
        let fits = match self {
            Mutation::ToldAfterEnd => told.canceled,
            Mutation::EventBeforeStart => told.created,
            Mutation::EventWrong => told.events.iter().any(|event| !event.deleted),
            Mutation::EventPrevious => told.events.iter().any(|event| event.prev.is_some()),
            Mutation::RevisionSplit => told.events.iter().filter(of_last).count() > 1,
            Mutation::EventTwice
            | Mutation::BookmarkEarly
            | Mutation::EventLost
            | Mutation::ResumeGap
            | Mutation::EventsSwapped
            | Mutation::EventInvented
            | Mutation::EventUnfiltered => !told.events.is_empty(),
            _ => false,
        };
        if !fits || told.fragment {
            return false;
        }
        let mut watches = history.watches();
        let Some(watch) = watches.find(|watch| Some(watch.id) == told.watch) else {
            return false;
        };
        let next = || next_of(history, place, watch.id);
        match self {
            Mutation::EventBeforeStart => early(history, watch).is_some(),
            Mutation::EventLost => next().is_some(),
            Mutation::ResumeGap => {
                watch.resumes.is_some()
                    && first_of(history, watch.id) == Some(place)
                    && next().is_some()
            }
            Mutation::EventsSwapped => {
                next().is_some_and(|next| direct(history, place, next, watch))
            }
            Mutation::EventUnfiltered => unwanted(history, watch).is_some(),
            _ => true,
        }
    }

    fn break_operation(self, history: &mut History, place: usize) {
        let copy = history.clone();
        let Line::Op(op) = &mut history.lines[place] else {
            unreachable!("the caller has looked");
        };
        let returned = |other: &&Operation| other.returned < op.call;
        let writes = copy
            .operations()
            .filter(returned)
            .filter(|other| wrote(other));
        let before = writes.last().map(|other| other.revision);
        match (
            self,
            &mut op.request,
            op.answer.as_mut().expect("the caller has looked"),
        ) {
            (Mutation::ReadValue, _, Answer::Range(found)) => found.kvs[0].value.push('?'),
            (Mutation::ReadMissing, _, Answer::Range(found)) => {
                found.kvs.pop();
                found.count -= 1;
            }
            (Mutation::ReadOld, _, Answer::Range(found)) => found.kvs[0].version += 1,
            (Mutation::ReadStale, ..) => op.revision -= 1,
            (Mutation::ReadCompacted, Request::Range(range), _) => {
                let compactions = copy.operations().filter(returned).filter_map(compacts);
                range.revision = compactions.max().expect("there is one") - 1;
            }
            (Mutation::RefusedForNothing, _, answer) => {
                *answer = Answer::Refused(Refusal::Compacted);
                op.revision = 0;
            }
            (Mutation::RevisionTwice, ..) => op.revision = before.expect("there is one"),
            (Mutation::RevisionsSwapped, ..) => swap_revisions(history, place),
            (Mutation::WriteLost, ..) => drop(history.lines.remove(place)),
            (Mutation::CompareFlipped, Request::Txn(txn), _) => {
                txn.compare[0].result = match txn.compare[0].result {
                    Comparison::Equal => Comparison::NotEqual,
                    _ => Comparison::Equal,
                };
            }
            (Mutation::DeletedCount, _, Answer::Delete(answer)) => answer.deleted += 1,
            (Mutation::PreviousAnswer, _, Answer::Put(answer)) => {
                answer.prev.as_mut().expect("there is one").value.push('?');
            }
            _ => self.break_lease(history, place, &copy),
        }
    }

    fn break_lease(self, history: &mut History, place: usize, copy: &History) {
        let Line::Op(op) = &mut history.lines[place] else {
            unreachable!("the caller has looked");
        };
        let answer = op.answer.as_mut().expect("the caller has looked");
        match (self, &mut op.request, answer) {
            (Mutation::LeaseEarly, _, Answer::Grant(given)) => {
                let (lease, ttl) = (given.lease, given.ttl);
                lengthen(history, lease, ttl);
            }
            (Mutation::LeaseAfterEnd, Request::KeepAlive(name), Answer::Lease(answer)) => {
                *answer = LeaseAnswer {
                    ttl: ttl_of(copy, name.lease),
                    ..LeaseAnswer::default()
                };
            }
            (Mutation::LeaseUnknown, Request::Put(put), _) => put.lease = i64::MAX,
            (Mutation::LeaseEndMoved, ..) => op.revision -= 1,
            _ => unreachable!("{self:?} does not fit this operation"),
        }
    }

    fn break_watch(self, history: &mut History, place: usize) {
        let copy = history.clone();
        let Line::Told(told) = &mut history.lines[place] else {
            unreachable!("the caller has looked");
        };
        let watch = copy.watches().find(|watch| Some(watch.id) == told.watch);
        let watch = watch.expect("the caller has looked");
        match self {
            Mutation::EventLost => {
                told.events.remove(0);
                if told.events.is_empty() {
                    history.lines.remove(place);
                }
            }
            Mutation::ResumeGap => drop(history.lines.remove(place)),
            Mutation::EventTwice => {
                let again = Line::Told(told.clone());
                history.lines.insert(place, again);
            }
            Mutation::EventsSwapped => {
                let next = next_of(&copy, place, watch.id).expect("the caller has looked");
                if let Line::Told(later) = &copy.lines[next] {
                    told.at = later.at;
                }
                history.lines.swap(place, next);
            }
            Mutation::EventWrong => {
                let put = told.events.iter_mut().find(|event| !event.deleted);
                put.expect("there is one").kv.value.push('?');
            }
            Mutation::EventInvented => told.events[0].kv.key.push('?'),
            Mutation::EventPrevious => {
                let event = told.events.iter_mut().find_map(|event| event.prev.as_mut());
                event.expect("there is one").version += 1;
            }
            _ => self.tell_more(history, place, &copy, watch),
        }
    }

    /// The mutations of watches that add a response.
    fn tell_more(self, history: &mut History, place: usize, copy: &History, watch: &Watch) {
        let Line::Told(told) = &mut history.lines[place] else {
            unreachable!("the caller has looked");
        };
        match self {
            Mutation::EventUnfiltered => insert(history, place, unwanted(copy, watch)),
            Mutation::EventBeforeStart => insert(history, place, early(copy, watch)),
            Mutation::RevisionSplit => {
                let last = told.events.pop().expect("there are two");
                let rest = Told {
                    events: vec![last],
                    ..told.clone()
                };
                history.lines.insert(place + 1, Line::Told(rest));
            }
            Mutation::BookmarkEarly => {
                let revision = told.events[0].kv.modified;
                let early = Told {
                    revision,
                    events: Vec::new(),
                    ..told.clone()
                };
                history.lines.insert(place, Line::Told(early));
            }
            Mutation::ToldAfterEnd => {
                let after = Told {
                    canceled: false,
                    compacted: 0,
                    ..told.clone()
                };
                history.lines.insert(place + 1, Line::Told(after));
            }
            _ => unreachable!("{self:?} is of operations"),
        }
    }
}

/// Tells a watch of an event that stands elsewhere in the history, right after a line.
fn insert(history: &mut History, place: usize, found: Option<(Event, i64, i64)>) {
    let (event, at, revision) = found.expect("the caller has looked");
    let Line::Told(told) = &history.lines[place] else {
        unreachable!("the caller has looked");
    };
    let more = Told {
        at: at.max(told.at),
        revision: revision.max(told.revision),
        created: false,
        events: vec![Event {
            prev: None,
            ..event
        }],
        ..told.clone()
    };
    history.lines.insert(place + 1, Line::Told(more));
}

fn compacts(op: &Operation) -> Option<i64> {
    match (&op.request, &op.answer) {
        (Request::Compact(compact), Some(Answer::Done)) if compact.revision > 1 => {
            Some(compact.revision)
        }
        _ => None,
    }
}

fn swap_revisions(history: &mut History, place: usize) {
    let Line::Op(op) = &history.lines[place] else {
        return;
    };
    let (call, revision) = (op.call, op.revision);
    let before = history.lines.iter_mut().find_map(|line| match line {
        Line::Op(other) if other.returned < call && wrote(other) => Some(other),
        _ => None,
    });
    let other = std::mem::replace(&mut before.expect("there is one").revision, revision);
    if let Line::Op(op) = &mut history.lines[place] {
        op.revision = other;
    }
}

/// Whether a watch was told of a revision.
fn was_told(history: &History, revision: i64) -> bool {
    let mut events = history.told().flat_map(|told| &told.events);
    events.any(|event| event.kv.modified == revision)
}

/// Whether somebody found after some time that a lease has ended.
fn gone(history: &History, lease: i64, after: i64) -> bool {
    history
        .operations()
        .any(|op| match (&op.request, &op.answer) {
            (Request::KeepAlive(name) | Request::TimeToLive(name), Some(Answer::Lease(answer))) => {
                op.call > after && name.lease == lease && answer.ttl <= 0 && answer.granted == 0
            }
            _ => false,
        })
}

fn revokes(history: &History, lease: i64) -> impl Iterator<Item = &Operation> {
    history
        .operations()
        .filter(move |op| matches!(&op.request, Request::Revoke(name) if name.lease == lease))
}

fn ttl_of(history: &History, lease: i64) -> i64 {
    let mut grants = history.operations().filter_map(|op| match &op.answer {
        Some(Answer::Grant(given)) if given.lease == lease => Some(given.ttl),
        _ => None,
    });
    grants.next().unwrap_or(1)
}

/// Makes as if a lease had been granted for much longer.
fn lengthen(history: &mut History, lease: i64, ttl: i64) {
    let longer = ttl * 1_000;
    for line in &mut history.lines {
        let Line::Op(op) = line else { continue };
        match (&mut op.request, &mut op.answer) {
            (Request::Grant(asked), Some(Answer::Grant(given))) if given.lease == lease => {
                (asked.ttl, given.ttl) = (longer, longer);
            }
            (Request::KeepAlive(name), Some(Answer::Lease(answer)))
                if name.lease == lease && answer.ttl > 0 =>
            {
                answer.ttl = longer;
            }
            (Request::TimeToLive(name), Some(Answer::Lease(answer)))
                if name.lease == lease && answer.granted > 0 =>
            {
                answer.granted = longer;
                answer.ttl += longer - ttl;
            }
            _ => {}
        }
    }
}

/// The next line after `place` with events of the watch.
fn next_of(history: &History, place: usize, watch: u64) -> Option<usize> {
    let rest = history.lines.iter().enumerate().skip(place + 1);
    has_events(rest, watch)
}

fn first_of(history: &History, watch: u64) -> Option<usize> {
    has_events(history.lines.iter().enumerate(), watch)
}

fn has_events<'a>(mut lines: impl Iterator<Item = (usize, &'a Line)>, watch: u64) -> Option<usize> {
    let of = |line: &Line| matches!(line, Line::Told(told) if told.watch == Some(watch) && !told.events.is_empty());
    lines.find(|(_, line)| of(line)).map(|(place, _)| place)
}

/// Whether nothing but events of other watches lies between two responses, and they share no
/// revision.
fn direct(history: &History, from: usize, to: usize, watch: &Watch) -> bool {
    let revisions = |place: usize| match &history.lines[place] {
        Line::Told(told) => {
            let mut all = told.events.iter().map(|event| event.kv.modified);
            all.next()
                .map(|first| (first, all.next_back().unwrap_or(first), told.fragment))
        }
        _ => None,
    };
    let apart = match (revisions(from), revisions(to)) {
        (Some((_, last, _)), Some((first, _, cut))) => last < first && !cut,
        _ => false,
    };
    let of_stream = |line: &Line| matches!(line, Line::Told(told) if told.stream == watch.stream && told.events.is_empty());
    apart && !history.lines[from..to].iter().any(of_stream)
}

/// An event that a watch does not want, with the time and the header that it came with.
fn unwanted(history: &History, watch: &Watch) -> Option<(Event, i64, i64)> {
    let kind = |event: &Event| {
        if event.deleted {
            watch.no_delete
        } else {
            watch.no_put
        }
    };
    find_event(history, |event| {
        kind(event) || !watch.keys.contain(&event.kv.key)
    })
}

/// An event from before the start of a watch, otherwise wanted.
fn early(history: &History, watch: &Watch) -> Option<(Event, i64, i64)> {
    let kind = |event: &Event| {
        if event.deleted {
            watch.no_delete
        } else {
            watch.no_put
        }
    };
    let start = watch.start;
    find_event(history, |event| {
        event.kv.modified < start && !kind(event) && watch.keys.contain(&event.kv.key)
    })
}

fn find_event(history: &History, wanted: impl Fn(&Event) -> bool) -> Option<(Event, i64, i64)> {
    history.told().find_map(|told| {
        let event = told.events.iter().find(|event| wanted(event))?;
        Some((event.clone(), told.at, told.revision))
    })
}
