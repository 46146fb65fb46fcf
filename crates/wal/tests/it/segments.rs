//! Cutting, preparing, releasing segments, and reading entries back from them.

use crate::script::{Script, dir};
use std::collections::BTreeSet;
use tenet_base::disk::{DiskOp, FilePath};
use tenet_base::world::SplitMix64;
use tenet_base::{Index, Rng as _, Term};
use tenet_proto::raftpb::entry_bytes;
use tenet_wal::{WalError, entries, open_with};

fn segments(script: &Script) -> Vec<FilePath> {
    script
        .disk
        .files
        .keys()
        .filter(|file| file.name().ends_with(".wal"))
        .cloned()
        .collect()
}

#[test]
fn segments_are_closed_at_their_length_and_locked() {
    let mut script = Script::new(7, 2_000);
    let steps = script.run(20_000);
    let files = segments(&script);
    assert!(files.len() >= 8, "{}", files.len());
    for (seq, file) in files.iter().enumerate() {
        assert!(file.name().starts_with(&format!("{seq:016x}-")), "{file}");
        let len = script.disk.files[file].len();
        let last = seq + 1 == files.len();
        assert!(
            if last {
                len >= 2_000
            } else {
                len <= 2_000 && len.is_multiple_of(8)
            },
            "{file}: {len}"
        );
    }
    assert_eq!(
        script.disk.locked,
        files.iter().cloned().collect::<BTreeSet<_>>()
    );

    // Without a prepared segment each cut makes its own.
    let made = |ops: &[DiskOp]| ops.iter().any(|op| matches!(op, DiskOp::Create { .. }));
    let cut = |ops: &[DiskOp]| ops.iter().any(|op| matches!(op, DiskOp::Rename { .. }));
    assert!(steps.iter().all(|step| made(&step.ops) == cut(&step.ops)));
    let cuts = steps.iter().filter(|step| cut(&step.ops)).count();
    assert_eq!(cuts + 1, files.len());
}

#[test]
fn with_the_next_segment_prepared_no_batch_takes_new_room() {
    let mut script = Script::new(7, 4_000);
    let (mut prepared, mut cuts) = (0, 0);
    for _ in 0..400 {
        if script.writer.wants_next() || !script.writer.has_room(4_000) {
            let (preparation, create) = script.writer.prepare(12_000, 8);
            assert!(preparation.bytes >= 12_000);
            script.disk.run(&[create]);
            script.writer.prepared(preparation);
            assert!(!script.writer.wants_next() && script.writer.has_room(1 << 30));
            prepared += 1;
        }
        let lens = |script: &Script| {
            let files = script.disk.files.iter();
            let lens = files.map(|(_, bytes)| bytes.len());
            lens.sum::<usize>()
        };
        let before = lens(&script);
        let step = script.step();
        assert!(lens(&script) <= before, "{:?}", step.ops);
        assert!(
            !step
                .ops
                .iter()
                .any(|op| matches!(op, DiskOp::Create { .. }))
        );
        cuts += usize::from(
            step.ops
                .iter()
                .any(|op| matches!(op, DiskOp::Rename { .. })),
        );
    }
    assert!(cuts > 5 && prepared > 5, "{prepared} prepared, {cuts} cuts");
}

#[test]
fn the_order_of_a_cut_is_length_head_sync_name_sync_write_sync() {
    let mut script = Script::new(3, 2_000);
    let ops = script
        .run(20_000)
        .into_iter()
        .map(|step| step.ops)
        .find(|ops| ops.iter().any(|op| matches!(op, DiskOp::Rename { .. })))
        .unwrap();
    let kinds: Vec<&str> = ops
        .iter()
        .filter(|op| !matches!(op, DiskOp::Create { .. }))
        .map(|op| match op {
            DiskOp::Write { path, .. } if path.name().ends_with(".tmp") => "head",
            DiskOp::Write { .. } => "write",
            DiskOp::SetLen { .. } => "length",
            DiskOp::SyncData { path } if path.name().ends_with(".tmp") => "sync head",
            DiskOp::SyncData { .. } => "sync",
            DiskOp::Close { .. } => "close",
            DiskOp::Rename { .. } => "rename",
            DiskOp::SyncDir { .. } => "sync name",
            DiskOp::Lock { .. } => "lock",
            _ => "other",
        })
        .collect();
    assert_eq!(
        kinds,
        [
            "length",
            "head",
            "sync head",
            "close",
            "rename",
            "sync name",
            "lock",
            "write",
            "sync"
        ]
    );
}

#[test]
fn released_segments_go_oldest_first_and_the_rest_opens_at_the_floor() {
    for seed in 0..40 {
        let mut script = Script::new(seed, 2_000);
        script.run(16_000);
        let index = script.writer.hard_state().commit;
        let mut ops = Vec::new();
        script
            .writer
            .save_position(&script.position_at(index), &mut ops);
        script.disk.run(&ops);
        let before = segments(&script);

        // With more kept than there are, they are only unlocked.
        let mut ops = Vec::new();
        script.writer.release(Index(index), before.len(), &mut ops);
        assert!(ops.iter().all(|op| matches!(op, DiskOp::Close { .. })));
        script.disk.run(&ops);

        let mut ops = Vec::new();
        script.writer.release(Index(index), 1, &mut ops);
        script.disk.run(&ops);
        let after = segments(&script);
        assert!(after.len() < before.len(), "seed {seed}");
        assert_eq!(after, before[before.len() - after.len()..]);
        assert_eq!(
            script.disk.locked,
            after.iter().cloned().collect::<BTreeSet<_>>()
        );
        let removals = ops
            .iter()
            .filter(|op| matches!(op, DiskOp::Remove { .. }))
            .count();
        assert_eq!(removals, before.len() - after.len());
        for pair in ops.windows(2) {
            if matches!(pair[0], DiskOp::Remove { .. }) {
                assert!(matches!(pair[1], DiskOp::SyncDir { .. }), "{pair:?}");
            }
        }

        script.disk.end_process();
        let floor = (Index(index), Term(script.model.term(index)));
        let opened = open_with(&script.disk, &dir(), Some(floor), script.options).unwrap();
        assert_eq!(opened.entries, script.model.entries[index as usize..]);
        assert_eq!(
            opened.start.conf_state,
            script.position_at(index).conf_state
        );
        assert_eq!(opened.writer.last_index(), Index(script.model.last()));
        assert!(matches!(
            open_with(&script.disk, &dir(), None, script.options),
            Err(WalError::BeginsAfter {
                applied: Index(0),
                ..
            })
        ));
    }
}

#[test]
#[should_panic(expected = "what lies between would be lost")]
fn nothing_is_released_that_no_snapshot_record_covers() {
    let mut script = Script::new(7, 2_000);
    script.run(8_000);
    let index = script.writer.hard_state().commit;
    let mut ops = Vec::new();
    script
        .writer
        .save_position(&script.position_at(index), &mut ops);
    script.writer.release(Index(index + 1), 1, &mut ops);
}

#[test]
fn entries_are_read_back_from_closed_and_open_segments() {
    let mut spans = 0;
    for seed in 0..30 {
        let mut script = Script::new(seed, 2_000);
        let mut rng = SplitMix64::new(seed);
        for _ in 0..60 {
            script.step();
            check_read_back(&script, &mut rng);
            spans += 1;
        }
        // The same through a writer that opened the log.
        script.disk.end_process();
        let opened = open_with(&script.disk, &dir(), None, script.options).unwrap();
        script.writer = opened.writer;
        for _ in 0..20 {
            check_read_back(&script, &mut rng);
        }
    }
    assert!(spans > 1_000);
}

fn check_read_back(script: &Script, rng: &mut SplitMix64) {
    let last = script.model.last();
    let lo = 1 + rng.below(last.max(1));
    let hi = lo + rng.below(last + 2 - lo);
    if hi > last + 1 || lo > last {
        return;
    }
    let span = script.writer.locate(Index(lo), Index(hi)).unwrap();
    let wanted = &script.model.entries[lo as usize - 1..hi as usize - 1];
    assert_eq!(entries(&script.disk, &span, u64::MAX).unwrap(), wanted);

    // With a limit: as many as fit, but one at least.
    let max_bytes = rng.below(400);
    let limited = entries(&script.disk, &span, max_bytes).unwrap();
    let mut bytes = 0;
    let fit = wanted.iter().take_while(|entry| {
        bytes += entry_bytes(entry);
        bytes <= max_bytes
    });
    let count = fit.count().max(1).min(wanted.len());
    assert_eq!(limited, wanted[..count]);
}

#[test]
fn entries_that_are_not_held_or_are_damaged_are_not_read_back() {
    let mut script = Script::new(9, 2_000);
    script.run(10_000);
    let last = script.model.last();
    let beyond = script.writer.locate(Index(1), Index(last + 2)).unwrap_err();
    let (lo, hi, first) = (Index(1), Index(last + 2), Index(1));
    assert_eq!(
        beyond,
        WalError::NotHeld {
            lo,
            hi,
            first,
            last: Index(last)
        }
    );
    assert!(script.writer.locate(Index(0), Index(2)).is_err());

    let span = script.writer.locate(Index(1), Index(last + 1)).unwrap();
    let file = segments(&script).remove(1);
    let mut refused = 0;
    for at in 0..script.disk.files[&file].len() {
        script.disk.files.get_mut(&file).unwrap()[at] ^= 0x10;
        match entries(&script.disk, &span, u64::MAX) {
            Ok(found) => assert_eq!(found, script.model.entries, "{at}"),
            Err(WalError::Damaged { file: damaged, .. }) => {
                assert_eq!(damaged, file);
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
        script.disk.files.get_mut(&file).unwrap()[at] ^= 0x10;
    }
    assert!(refused > 1_000, "{refused}");

    script.disk.files.remove(&file);
    let gone = entries(&script.disk, &span, u64::MAX).unwrap_err();
    assert_eq!(gone.to_string(), format!("read {file}: the file is gone"));
}
