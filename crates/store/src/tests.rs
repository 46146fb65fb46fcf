//! The store against a plain map, on a disk in memory.

use crate::{Cut, Hot, Job, Marks, ReadError, Records, Rev, Sides, Store, View, open};
use bytes::Bytes;
use std::collections::BTreeMap;
use tenet_base::disk::FilePath;
use tenet_base::limits::STORE_SEGMENT_BYTES;
use tenet_base::memory_disk::MemoryDisk;
use tenet_base::world::SplitMix64;
use tenet_base::{ClusterId, Index, MemberId, Revision, Rng, Term};

type Model = BTreeMap<Rev, Vec<u8>>;

fn dir() -> FilePath {
    FilePath::new("store")
}

fn new_store() -> Store {
    Store::new(dir(), ClusterId(1), MemberId(2))
}

fn contents(view: &View) -> Model {
    view.scan(Rev::MIN)
        .map(|record| {
            let record = record.expect("readable");
            record.verify();
            (record.rev, record.data.to_vec())
        })
        .collect()
}

fn cut_at(revision: i64) -> Cut {
    Cut {
        applied: Index(revision as u64),
        term: Term(1),
        revision: Revision(revision),
        compacted: None,
    }
}

/// A list of live records stands for the index.
fn sides(model: &Model, revision: i64, with_index: bool) -> Sides {
    let mut index = Vec::new();
    for rev in model.keys() {
        index.extend_from_slice(&rev.main.to_le_bytes());
        index.extend_from_slice(&rev.sub.to_le_bytes());
    }
    let chunks: Vec<Bytes> = index.chunks(100).map(Bytes::copy_from_slice).collect();
    let tables = Bytes::from(format!("tables at {revision}"));
    Sides {
        cut: cut_at(revision),
        tables: Box::new(std::iter::once(tables)),
        index: with_index
            .then(|| Box::new([Bytes::from_static(b"i")].into_iter().chain(chunks)) as _),
    }
}

fn run(job: Job, store: &mut Store, disk: &mut MemoryDisk) {
    let mut job = job;
    while let Some(ops) = job.step().expect("readable") {
        disk.run(ops).expect("possible");
    }
    store.finished(job.finish(disk).expect("there"));
}

/// Opens what is on the disk and releases what the index and the records behind it do not have.
fn reopen(disk: &MemoryDisk) -> Option<(Store, i64)> {
    use tenet_base::disk::DiskView as _;
    let found = open(disk, &dir()).expect("intact");
    let opened = found.store?;
    let mut store = opened.store;
    let len = disk.len(&opened.index).expect("there").expect("there");
    let index = disk.read_at(&opened.index, 1, len as usize).expect("there");
    let view = store.view();
    let mut marks = Marks::default();
    for entry in index.chunks(12) {
        let main = i64::from_le_bytes(entry[..8].try_into().expect("eight"));
        let sub = u32::from_le_bytes(entry[8..].try_into().expect("four"));
        let info = view
            .info(Rev::new(main, sub))
            .expect("the index names what is there");
        marks.insert(info.place);
    }
    let behind = Rev::new(opened.manifest.index.revision.get() + 1, 0);
    let mut behind_index = 0;
    for info in view.scan_infos(behind) {
        marks.insert(info.place);
        behind_index += 1;
    }
    store.recovered(&marks, behind_index);
    Some((store, opened.manifest.cut.revision.get()))
}

struct World {
    rng: SplitMix64,
    store: Store,
    disk: MemoryDisk,
    model: Model,
    next: i64,
}

impl World {
    fn new(seed: u64) -> World {
        World {
            rng: SplitMix64::new(seed),
            store: new_store(),
            disk: MemoryDisk::default(),
            model: Model::new(),
            next: 2,
        }
    }

    fn append(&mut self, transactions: u64) {
        for _ in 0..transactions {
            for sub in 0..1 + self.rng.below(3) as u32 {
                let rev = Rev::new(self.next, sub);
                let data = vec![self.next as u8; self.rng.below(900) as usize];
                self.store
                    .append(rev, false, |out| out.extend_from_slice(&data));
                self.model.insert(rev, data);
            }
            self.next += 1;
            if self.rng.below(5) == 0 {
                self.store.view();
            }
        }
    }

    fn release(&mut self, one_in: u64) {
        let rng = &mut self.rng;
        let gone: Vec<Rev> = self
            .model
            .keys()
            .copied()
            .filter(|_| rng.below(one_in) == 0)
            .collect();
        for rev in gone {
            self.store.release(rev);
            self.model.remove(&rev);
        }
    }

    fn flush_job(&mut self, with_index: bool) -> Job {
        let with_index = with_index || !self.store.has_durable();
        let sides = sides(&self.model, self.next - 1, with_index);
        self.store.flush(sides)
    }

    fn flush(&mut self, with_index: bool) {
        let job = self.flush_job(with_index);
        run(job, &mut self.store, &mut self.disk);
    }

    /// Rewrites as long as something is gained.
    fn rewrite(&mut self) -> usize {
        let mut rewrites = 0;
        while let Some(job) = self.store.rewrite() {
            run(job, &mut self.store, &mut self.disk);
            rewrites += 1;
            assert!(rewrites < 1_000, "rewriting does not come to an end");
        }
        rewrites
    }

    /// Whatever is alive is there, in every way of reading.
    fn check(&mut self) {
        let view = self.store.view();
        let shown = contents(&view);
        for (rev, data) in &self.model {
            assert_eq!(shown.get(rev), Some(data), "record {rev}");
            assert_eq!(
                view.get(*rev).expect("readable").as_deref(),
                Some(&data[..])
            );
            assert_eq!(
                self.store.get(*rev).expect("readable").as_deref(),
                Some(&data[..])
            );
            let hot = Hot(&view).get(*rev).expect("in memory");
            assert_eq!(hot.as_deref(), Some(&data[..]));
            let found = view
                .find(*rev, crate::Patience::Wait)
                .expect("readable")
                .expect("there");
            assert_eq!((found.rev, &found.data[..]), (*rev, &data[..]));
            let info = view.info(*rev).expect("there");
            assert_eq!(
                (info.len, info.crc, info.place),
                (data.len(), found.crc, found.place)
            );
        }
        let infos: Vec<Rev> = view.scan_infos(Rev::MIN).map(|info| info.rev).collect();
        assert!(infos.iter().eq(shown.keys()));
        assert_eq!(self.store.file_size(), self.store.count_files());
        assert_eq!(
            self.store.size().live_bytes,
            self.model
                .values()
                .map(|data| data.len() as u64 + 16)
                .sum::<u64>()
        );
    }
}

#[test]
fn what_is_live_survives_flushes_rewrites_and_restarts() {
    for (seed, one_in) in [(1, 1), (2, 2), (3, 3), (4, 50), (5, u64::MAX)] {
        let mut world = World::new(seed);
        for round in 0..6 {
            world.append(300);
            let before = world.store.view();
            let shown = contents(&before);
            world.flush(false);
            world.release(one_in);
            world.check();
            if round % 2 == 0 {
                world.flush(true);
                world.rewrite();
                let size = world.store.size();
                assert!(
                    size.total_bytes * 7 <= size.live_bytes * 8 + 16,
                    "an eighth or more is garbage: {size:?}"
                );
            }
            assert_eq!(contents(&before), shown, "a view changed");
            world.check();
            world.flush(false);
            let (store, revision) = reopen(&world.disk).expect("a store");
            assert_eq!(revision, world.next - 1);
            if round % 2 == 0 {
                world.store = store;
                world.check();
            }
        }
    }
}

#[test]
fn a_crash_between_any_two_operations_leaves_one_of_two_cuts() {
    let mut world = World::new(11);
    world.append(50);
    world.flush(true);
    world.release(2);
    world.append(50);
    let before = world.next - 51;
    let live = world.model.clone();
    let mut job = world.flush_job(true);
    let mut cuts = Vec::new();
    while let Some(ops) = job.step().expect("readable") {
        for op in ops {
            world.disk.run(vec![op]).expect("possible");
            let (mut store, revision) = reopen(&world.disk).expect("a store");
            let shown = contents(&store.view());
            for (rev, data) in live.iter().filter(|(rev, _)| rev.main <= revision) {
                assert_eq!(shown.get(rev), Some(data), "record {rev} at cut {revision}");
            }
            cuts.push(revision);
        }
    }
    cuts.dedup();
    assert_eq!(cuts, [before, world.next - 1]);
    world
        .store
        .finished(job.finish(&world.disk).expect("there"));
    let mut job = world.store.rewrite().expect("half is garbage");
    while let Some(ops) = job.step().expect("readable") {
        for op in ops {
            world.disk.run(vec![op]).expect("possible");
            let (mut store, _) = reopen(&world.disk).expect("a store");
            let shown = contents(&store.view());
            assert!(live.iter().all(|(rev, data)| shown.get(rev) == Some(data)));
        }
    }
    world
        .store
        .finished(job.finish(&world.disk).expect("there"));
    world.check();
    // What was left over is found, and nothing else is.
    let strays = open(&world.disk, &dir()).expect("intact").strays;
    assert_eq!(strays, []);
}

#[test]
fn what_was_released_after_the_index_stays_until_there_is_another() {
    let mut world = World::new(12);
    world.append(400);
    world.flush(true);
    world.release(2);
    assert!(world.store.wants_index());
    assert!(world.store.rewrite().is_none(), "the index still names it");
    world.flush(false);
    assert!(world.store.rewrite().is_none(), "the index still names it");
    world.flush(true);
    assert!(!world.store.wants_index());
    assert!(world.rewrite() > 0);
    world.check();
}

#[test]
fn releases_during_a_job_are_carried_over() {
    let mut world = World::new(13);
    world.append(300);
    let job = world.flush_job(true);
    world.release(3);
    world.append(30);
    run(job, &mut world.store, &mut world.disk);
    world.check();
    world.flush(true);
    world.release(2);
    world.flush(true);
    let job = world.store.rewrite().expect("much is garbage");
    world.release(2);
    run(job, &mut world.store, &mut world.disk);
    world.check();
    assert!(
        world.store.rewrite().is_none(),
        "the index names what was released meanwhile"
    );
    world.flush(true);
    world.rewrite();
    world.check();
}

#[test]
fn many_small_files_become_few() {
    let mut world = World::new(14);
    for _ in 0..40 {
        world.append(3);
        world.flush(false);
        world.rewrite();
    }
    let view = world.store.view();
    assert!(view.sealed.len() <= 8, "{} segments", view.sealed.len());
    world.check();
}

#[test]
fn no_flipped_bit_in_a_segment_is_given_out() {
    let mut world = World::new(15);
    world.append(8);
    world.flush(true);
    let path = world
        .disk
        .paths()
        .find(|path| path.as_str().ends_with(".segment"));
    let path = path.expect("a file").clone();
    let len = world.disk.contents(&path).expect("there").len();
    let (mut refused, mut unread) = (0, 0);
    for at in 0..len {
        for bit in 0..8 {
            let mut disk = world.disk.clone();
            disk.contents(&path).expect("there")[at] ^= 1 << bit;
            match open(&disk, &dir()) {
                Err(_) => refused += 1,
                Ok(found) => {
                    let mut store = found.store.expect("a store").store;
                    let scanned: Result<Vec<_>, _> = store.view().scan(Rev::MIN).collect();
                    match scanned {
                        Err(ReadError::Damaged {
                            path: named,
                            offset,
                            ..
                        }) => {
                            assert_eq!(named, path);
                            assert!(offset <= at as u64);
                            unread += 1;
                        }
                        other => panic!("bit {bit} of byte {at}: {other:?}"),
                    }
                }
            }
        }
    }
    assert!(refused > 0 && unread > 0);
    assert_eq!(refused + unread, len * 8);
}

#[test]
fn a_file_that_is_missing_short_or_another_is_named() {
    let mut world = World::new(16);
    world.append(20);
    world.flush(true);
    world.append(20);
    world.flush(false);
    let paths: Vec<FilePath> = world.disk.paths().cloned().collect();
    for path in paths.iter().filter(|path| path.name() != "MANIFEST") {
        let mut disk = world.disk.clone();
        disk.contents(path).expect("there").pop();
        let error = open(&disk, &dir()).expect_err("short").to_string();
        assert!(error.contains(path.as_str()), "{error}");
        let remove = tenet_base::disk::DiskOp::Remove { path: path.clone() };
        disk.run(vec![remove]).expect("possible");
        let error = open(&disk, &dir()).expect_err("gone").to_string();
        assert!(
            error.contains(path.as_str()) && error.contains("gone"),
            "{error}"
        );
    }
    let mut disk = world.disk.clone();
    let segments: Vec<_> = paths
        .iter()
        .filter(|p| p.as_str().ends_with(".segment"))
        .collect();
    let other = disk.contents(segments[0]).expect("there").clone();
    *disk.contents(segments[1]).expect("there") = other;
    assert!(
        open(&disk, &dir()).is_err(),
        "a file in the place of another"
    );
}

#[test]
fn scans_begin_anywhere() {
    let mut world = World::new(9);
    world.append(700);
    world.flush(true);
    world.release(4);
    world.append(300);
    world
        .store
        .append(Rev::new(9_000, 0), true, |out| out.push(7));
    let view = world.store.view();
    let all: Vec<Rev> = contents(&view).into_keys().collect();
    for _ in 0..300 {
        let from = Rev::new(world.rng.below(1_100) as i64, world.rng.below(3) as u32);
        let expected = &all[all.partition_point(|&rev| rev < from)..];
        let found: Vec<Rev> = view
            .scan(from)
            .map(|record| record.expect("there").rev)
            .collect();
        assert_eq!(found, expected, "from {from}");
        let infos: Vec<Rev> = view.scan_infos(from).map(|info| info.rev).collect();
        assert_eq!(infos, expected, "from {from}");
    }
    assert_eq!(view.scan(Rev::MAX).count(), 0);
    let mut last = view.scan(Rev::new(9_000, 0));
    assert!(last.all(|record| record.expect("there").tombstone));
}

#[test]
fn pending_records_are_read_back_before_a_view_shows_them() {
    let mut store = new_store();
    let old = store.view();
    store.append(Rev::new(2, 0), false, |out| out.push(1));
    let is_there = |found: Result<Option<Bytes>, ReadError>| found.expect("readable").is_some();
    assert!(is_there(store.get(Rev::new(2, 0))));
    assert!(!is_there(old.get(Rev::new(2, 0))));
    assert!(is_there(store.view().get(Rev::new(2, 0))));
    assert!(!is_there(store.get(Rev::new(2, 1))));
}

#[test]
fn the_tail_stays_short_and_segments_span_any_gap() {
    let mut world = World::new(17);
    for main in 2..5_000 {
        world.store.append(Rev::new(main, 0), false, |out| {
            out.extend_from_slice(&[0; 100])
        });
        let view = world.store.view();
        assert!(view.tail.len() <= 32, "{} in the tail", view.tail.len());
    }
    for main in [1 << 33, 1 << 34, (1 << 34) + 1, i64::MAX] {
        world
            .store
            .append(Rev::new(main, 0), false, |out| out.push(1));
        world
            .store
            .append(Rev::new(main, 1), false, |out| out.push(2));
    }
    for main in [4_999, 1 << 34, i64::MAX] {
        world.store.release(Rev::new(main, 0));
    }
    world.next = 5_000;
    world.flush(true);
    let view = world.store.view();
    for main in [1 << 33, 1 << 34, (1 << 34) + 1, i64::MAX] {
        let found = view.get(Rev::new(main, 1)).expect("readable");
        assert_eq!(found.as_deref(), Some(&[2][..]));
    }
    assert!(view.sealed.len() <= 5 + 500_000 / STORE_SEGMENT_BYTES);
}

#[test]
#[should_panic(expected = "the applier went back")]
fn records_cannot_be_appended_backwards() {
    let mut store = new_store();
    store.append(Rev::new(3, 0), false, |_| {});
    store.append(Rev::new(2, 9), false, |_| {});
}

#[test]
#[should_panic(expected = "released twice")]
fn a_record_cannot_be_released_twice() {
    let mut store = new_store();
    store.append(Rev::new(3, 0), false, |_| {});
    store.release(Rev::new(3, 0));
    store.release(Rev::new(3, 0));
}
