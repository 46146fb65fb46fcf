//! What watches were not told.
//!
//! A watch that was told what is before and after a revision, and nothing of that revision, says
//! that nothing it wants has changed in it. Where nobody says to have made a revision this tells
//! candidates apart. It is a hint: a watch may have missed something, which is then its fault.

use std::collections::{BTreeMap, BTreeSet};

use super::format::{History, Line, Told, Watch};
use super::model::Change;
use super::watch::wants;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Silence<'a> {
    /// Watches with the first and the last revision of which they were told everything.
    watches: BTreeMap<u64, (&'a Watch, i64, i64)>,
    /// Which watch was told of which key in which revision that has no maker.
    told: BTreeSet<(u64, i64, &'a str)>,
}

impl<'a> Silence<'a> {
    pub(super) fn gather(history: &'a History, makers: &BTreeMap<i64, usize>) -> Silence<'a> {
        let mut silence = Silence::default();
        let mut streams: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for line in &history.lines {
            match line {
                Line::Watch(watch) => {
                    silence.watches.insert(watch.id, (watch, i64::MAX, 0));
                    streams.entry(watch.stream).or_default().push(watch.id);
                }
                Line::Told(told) => match told.watch {
                    Some(id) => silence.note(id, told, makers),
                    None => {
                        for id in streams.get(&told.stream).into_iter().flatten() {
                            silence.note(*id, told, makers);
                        }
                    }
                },
                Line::Op(_) | Line::Fault(_) => {}
            }
        }
        silence
    }

    fn note(&mut self, id: u64, told: &'a Told, makers: &BTreeMap<i64, usize>) {
        let Some((watch, first, last)) = self.watches.get_mut(&id) else {
            return;
        };
        if told.created {
            *first = match watch.start {
                0 => told.revision + 1,
                start => start,
            };
        }
        if told.is_progress() && *first < i64::MAX {
            *last = told.revision.max(*last);
        }
        for event in &told.events {
            let revision = event.kv.modified;
            *last = (revision - i64::from(told.fragment)).max(*last);
            if !makers.contains_key(&revision) {
                self.told.insert((id, revision, &event.kv.key));
            }
        }
    }

    /// Whether every watch that would have been told of these changes was.
    pub(super) fn allows(&self, revision: i64, changes: &[Change]) -> bool {
        let listening =
            |(_, first, last): &&(&Watch, i64, i64)| (*first..=*last).contains(&revision);
        self.watches.values().filter(listening).all(|(watch, ..)| {
            let mut wanted = changes.iter().filter(|change| wants(watch, change));
            wanted.all(|change| self.told.contains(&(watch.id, revision, &change.key)))
        })
    }
}
