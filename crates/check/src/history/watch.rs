//! What watches promise, checked against the history of writes that the search has proven.
//!
//! Each watch is followed along the proven changes: everything that it wants and that lies between
//! its position and what it is told next was left out.
//!
//! It must not know how a server serves watches, only what its clients may rely on.

use std::collections::{BTreeMap, BTreeSet};

use super::format::{Event, History, Kv, Line, Request, Told, Watch, json, millis};
use super::model::{Change, Store};
use super::report::{Property, Report, Violation};

/// Where a change stands: its revision and its place in it.
type Position = (i64, usize);

/// A watch and how far it is.
struct Followed<'a> {
    watch: &'a Watch,
    /// The first revision that it is to be told; none until it has begun.
    start: Option<i64>,
    /// Everything wanted before here was told, or stands in `missed`.
    position: Position,
    missed: BTreeSet<Position>,
    /// Up to here it was said to be complete.
    bookmark: i64,
    /// The last response said that more of it follows.
    cut: bool,
    over: bool,
}

/// Checks all watches of a history.
pub(super) fn check(history: &History, store: &Store, report: &mut Report) {
    let mut checker = Checker {
        store,
        compactions: compactions(history),
        watches: BTreeMap::new(),
        streams: BTreeMap::new(),
        report,
    };
    for line in &history.lines {
        match line {
            Line::Watch(watch) => checker.begin(watch),
            Line::Told(told) => checker.told(told),
            Line::Op(_) | Line::Fault(_) => {}
        }
    }
    checker.finish();
}

/// When each compaction was asked for, by its revision; what was refused may be left in.
fn compactions(history: &History) -> BTreeMap<i64, i64> {
    let mut found = BTreeMap::new();
    for op in history.operations() {
        if let Request::Compact(compact) = &op.request {
            let first = found.entry(compact.revision).or_insert(op.call);
            *first = op.call.min(*first);
        }
    }
    found
}

struct Checker<'a, 'r> {
    store: &'a Store,
    compactions: BTreeMap<i64, i64>,
    watches: BTreeMap<u64, Followed<'a>>,
    /// The watches of each stream.
    streams: BTreeMap<u64, Vec<u64>>,
    report: &'r mut Report,
}

impl<'a> Checker<'a, '_> {
    fn begin(&mut self, watch: &'a Watch) {
        self.report.watches += 1;
        self.report.resumed += usize::from(watch.resumes.is_some());
        self.streams.entry(watch.stream).or_default().push(watch.id);
        let followed = Followed {
            watch,
            start: None,
            position: (0, 0),
            missed: BTreeSet::new(),
            bookmark: 0,
            cut: false,
            over: false,
        };
        if self.watches.insert(watch.id, followed).is_some() {
            let what = format!("two watches have the id {}", watch.id);
            let violation = Violation::new(Property::Form, what, vec![json(watch)]);
            self.report.violations.push(violation);
        }
    }

    fn told(&mut self, told: &Told) {
        let Some(id) = told.watch else {
            return self.stream_bookmark(told);
        };
        let Some(mut followed) = self.watches.remove(&id) else {
            let what = format!("something was told to watch {id}, which nobody asked for");
            let violation = Violation::new(Property::Form, what, vec![json(told)]);
            return self.report.violations.push(violation);
        };
        self.told_to(&mut followed, told);
        self.watches.insert(id, followed);
    }

    /// A response for all watches of a stream says how far each of them is.
    fn stream_bookmark(&mut self, told: &Told) {
        for id in self.streams.get(&told.stream).cloned().unwrap_or_default() {
            let mut followed = self.watches.remove(&id).expect("it is on the stream");
            if followed.start.is_some() && !followed.over {
                self.bookmark(&mut followed, told);
            }
            self.watches.insert(id, followed);
        }
    }

    fn told_to(&mut self, followed: &mut Followed<'a>, told: &Told) {
        if followed.over {
            let what = "it was told something after its end".into();
            return self.broken(followed, Property::WatchLife, what, told);
        }
        if told.created {
            self.created(followed, told);
        } else if followed.start.is_none() && !told.canceled {
            let what = "it was told something before its beginning".into();
            return self.broken(followed, Property::WatchLife, what, told);
        }
        if told.canceled {
            self.canceled(followed, told);
        } else if told.is_progress() {
            self.bookmark(followed, told);
        } else {
            self.events(followed, told);
        }
    }

    fn created(&mut self, followed: &mut Followed<'a>, told: &Told) {
        if followed.start.is_some() {
            let what = "it began twice".into();
            self.broken(followed, Property::WatchLife, what, told);
        }
        let start = match followed.watch.start {
            0 => told.revision + 1,
            start => start,
        };
        followed.start = Some(start);
        followed.position = (start, 0);
    }

    fn canceled(&mut self, followed: &mut Followed<'a>, told: &Told) {
        followed.over = true;
        if told.compacted == 0 {
            return;
        }
        let asked = self.compactions.get(&told.compacted);
        if asked.is_none_or(|asked| *asked > told.at) {
            let what = format!(
                "it ended by a compaction at revision {} that nobody had asked for",
                told.compacted
            );
            self.broken(followed, Property::WatchLife, what, told);
        } else if followed.position.0 >= told.compacted {
            let what = format!(
                "it ended by a compaction at revision {}, but needed only what comes from {} on",
                told.compacted, followed.position.0
            );
            self.broken(followed, Property::WatchLife, what, told);
        }
    }

    fn bookmark(&mut self, followed: &mut Followed<'a>, told: &Told) {
        self.report.bookmarks += 1;
        if told.revision >= followed.start.unwrap_or(i64::MAX) {
            followed.bookmark = followed.bookmark.max(told.revision);
            self.advance(followed, (told.revision + 1, 0));
        }
    }

    /// Moves a watch forward; what it wants on the way was left out.
    fn advance(&self, followed: &mut Followed<'a>, to: Position) {
        while followed.position < to {
            let (revision, place) = followed.position;
            let changes = self.store.changes(revision);
            match changes.get(place) {
                Some(change) => {
                    if wants(followed.watch, change) {
                        followed.missed.insert(followed.position);
                    }
                    followed.position.1 += 1;
                }
                // Beyond the last revision there is nothing to walk over.
                None if revision > self.store.revision() => followed.position = to,
                None => followed.position = (revision + 1, 0),
            }
        }
    }

    fn events(&mut self, followed: &mut Followed<'a>, told: &Told) {
        let (revision, place) = followed.position;
        let first = told.events.first().map(|event| event.kv.modified);
        if place > 0 && first == Some(revision) && !followed.cut {
            let next = (revision, place);
            if !self.is_repeated(followed, &told.events[0], next) {
                let what = format!("revision {revision} was split over two responses");
                self.broken(followed, Property::WatchAtomic, what, told);
            }
        }
        for event in &told.events {
            self.report.events += 1;
            self.event(followed, event, told);
        }
        followed.cut = told.fragment;
        if told.fragment && !followed.watch.fragment {
            let what = "a response was cut that may not be".into();
            self.broken(followed, Property::WatchAtomic, what, told);
        }
    }

    /// Whether an event is one that was told before, so that it splits nothing.
    fn is_repeated(&self, followed: &Followed<'a>, event: &Event, next: Position) -> bool {
        let place = self.place_of(event);
        place.is_some_and(|place| place < next && !followed.missed.contains(&place))
    }

    fn place_of(&self, event: &Event) -> Option<Position> {
        let revision = event.kv.modified;
        let mut changes = self.store.changes(revision).iter();
        let place = changes.position(|change| change.key == event.kv.key)?;
        Some((revision, place))
    }

    fn event(&mut self, followed: &mut Followed<'a>, event: &Event, told: &Told) {
        let revision = event.kv.modified;
        if told.revision < revision {
            let what = format!("an event of revision {revision} came under an older header");
            self.broken(followed, Property::WatchTrue, what, told);
        }
        let Some(place) = self.place_of(event) else {
            let what = format!(
                "nothing has changed {} in revision {revision}",
                event.kv.key
            );
            return self.broken(followed, Property::WatchTrue, what, told);
        };
        let change = &self.store.changes(revision)[place.1];
        if !tells(event, change) {
            let was = json(&change.now.as_deref());
            let what = format!("revision {revision} left {was} in {}", change.key);
            return self.broken(followed, Property::WatchTrue, what, told);
        }
        if revision < followed.start.unwrap_or(0) || !wants(followed.watch, change) {
            let what = format!("an event of revision {revision} was not asked for");
            return self.broken(followed, Property::WatchFiltered, what, told);
        }
        self.previous(followed, event, change, told);
        self.in_order(followed, place, told);
    }

    fn in_order(&mut self, followed: &mut Followed<'a>, place: Position, told: &Told) {
        if place.0 <= followed.bookmark {
            followed.missed.remove(&place);
            let what = format!(
                "an event of revision {} came after it was said to be complete up to {}",
                place.0, followed.bookmark
            );
            self.broken(followed, Property::WatchBookmark, what, told);
        } else if place >= followed.position {
            self.advance(followed, place);
            followed.position.1 += 1;
        } else if followed.missed.remove(&place) {
            let what = format!("an event of revision {} came after later ones", place.0);
            self.broken(followed, Property::WatchOrdered, what, told);
        } else {
            let what = format!("an event of revision {} came twice", place.0);
            self.broken(followed, Property::WatchUnique, what, told);
        }
    }

    fn previous(&mut self, followed: &Followed<'a>, event: &Event, change: &Change, told: &Told) {
        let revision = event.kv.modified;
        let before = change.before.as_deref().filter(|_| followed.watch.prev_kv);
        if event.prev.as_ref() == before {
            return;
        }
        // What was before may be gone, if that was asked for.
        let mut gone = self.compactions.range(revision..);
        if event.prev.is_none() && gone.any(|(_, asked)| *asked <= told.at) {
            return;
        }
        let what = format!(
            "before revision {revision} {} was {}, told was {}",
            change.key,
            json(&before),
            json(&event.prev)
        );
        self.broken(followed, Property::WatchPrevious, what, told);
    }

    /// What was left out and never came.
    fn finish(&mut self) {
        let watches = std::mem::take(&mut self.watches);
        for followed in watches.values() {
            let Some((revision, place)) = followed.missed.first().copied() else {
                continue;
            };
            let change = &self.store.changes(revision)[place];
            let what = format!(
                "watch {} was never told of {} events, the first of {} in revision {revision}",
                followed.watch.id,
                followed.missed.len(),
                change.key
            );
            let evidence = vec![json(followed.watch)];
            let violation = Violation::new(Property::WatchReliable, what, evidence);
            self.report.violations.push(violation);
        }
    }

    fn broken(&mut self, followed: &Followed<'a>, property: Property, what: String, told: &Told) {
        let what = format!("watch {}: {what}", followed.watch.id);
        let evidence = vec![
            json(followed.watch),
            format!("at {}: {}", millis(told.at), json(told)),
        ];
        let violation = Violation::new(property, what, evidence);
        self.report.violations.push(violation);
    }
}

/// Whether a watch asks for a change, wherever it begins.
pub(super) fn wants(watch: &Watch, change: &Change) -> bool {
    let kind = match change.now {
        Some(_) => !watch.no_put,
        None => !watch.no_delete,
    };
    kind && watch.keys.contain(&change.key)
}

/// Whether an event tells what a change has left.
fn tells(event: &Event, change: &Change) -> bool {
    match change.now.as_deref() {
        Some(kv) => !event.deleted && *kv == event.kv,
        None => {
            let rest = Kv {
                key: change.key.clone(),
                modified: event.kv.modified,
                ..Kv::default()
            };
            event.deleted && event.kv == rest
        }
    }
}
