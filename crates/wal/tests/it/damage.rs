//! Damage of every kind at every place: repaired if only a write that nobody was told of is lost,
//! refused otherwise, and never taken for something else.

use crate::memory_disk::MemoryDisk;
use crate::script::{METADATA, Model, Script, Step, dir};
use tenet_base::disk::{DiskOp, FilePath};
use tenet_base::world::SplitMix64;
use tenet_base::{Index, Rng as _, Term};
use tenet_wal::{Opened, Options, WalError, open_with};

const SEGMENT_BYTES: u64 = 3_000;
const LOG_BYTES: u64 = 8_000;
const SECTOR_BYTES: usize = 512;

/// A log whose last batch lies at the end of its last segment.
struct Log {
    disk: MemoryDisk,
    options: Options,
    steps: Vec<Step>,
    /// The last segment.
    file: FilePath,
    /// Where the last batch begins and ends in it.
    batch: (usize, usize),
}

impl Log {
    fn new(seed: u64) -> Log {
        let mut script = Script::new(seed, SEGMENT_BYTES);
        let steps = script.run(LOG_BYTES);
        let Script {
            mut disk, options, ..
        } = script;
        disk.end_process();
        let writes: Vec<_> = steps
            .last()
            .unwrap()
            .ops
            .iter()
            .filter_map(as_write)
            .collect();
        let [(file, offset, len)] = writes[..] else {
            panic!("one batch is one write: {writes:?}")
        };
        let (file, batch) = (file.clone(), (offset, offset + len));
        assert_eq!(
            disk.files.keys().rfind(|file| is_segment(file)),
            Some(&file)
        );
        Log {
            disk,
            options,
            steps,
            file,
            batch,
        }
    }

    fn open(&self, disk: &MemoryDisk) -> Result<Opened, WalError> {
        open_with(disk, &dir(), None, self.options)
    }

    fn last(&self) -> &Step {
        self.steps.last().unwrap()
    }

    /// The bounds of all frames of a segment: start, end of the record, end of the padding.
    fn frames(&self, file: &FilePath) -> Vec<(usize, usize, usize)> {
        let bytes = &self.disk.files[file];
        let mut frames = Vec::new();
        let mut at = 0;
        while at + 8 <= bytes.len() {
            let field = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
            if field == 0 {
                break;
            }
            let end = at + 8 + (field & ((1 << 56) - 1)) as usize;
            let padded = end
                + if field >> 63 == 1 {
                    (field >> 56 & 7) as usize
                } else {
                    0
                };
            frames.push((at, end, padded));
            at = padded;
        }
        frames
    }
}

fn is_segment(file: &FilePath) -> bool {
    file.name().ends_with(".wal")
}

fn as_write(op: &DiskOp) -> Option<(&FilePath, usize, usize)> {
    match op {
        DiskOp::Write { path, offset, data } => Some((path, *offset as usize, data.len())),
        _ => None,
    }
}

/// Opens, repairs, writes one more entry, opens again: a log that was taken for good must be good
/// to go on with.
fn goes_on(log: &Log, disk: &MemoryDisk, opened: Opened) {
    let mut disk = disk.clone();
    let Opened {
        mut writer,
        repair,
        hard_state,
        mut entries,
        ..
    } = opened;
    disk.run(&repair);
    let entry = tenet_proto::raftpb::Entry {
        entry_type: 0,
        term: hard_state.term.max(1),
        index: writer.last_index().get() + 1,
        data: vec![1; 600].into(),
    };
    let state = tenet_proto::raftpb::HardState {
        term: entry.term,
        ..hard_state
    };
    let mut ops = Vec::new();
    assert!(writer.save(Some(&state), std::slice::from_ref(&entry), &mut ops));
    disk.run(&ops);
    entries.push(entry);
    let again = log
        .open(&disk)
        .expect("a repaired log that was written opens");
    assert_eq!(
        (again.entries, again.hard_state, again.cut),
        (entries, state, None)
    );
}

#[test]
fn whole_logs_open_with_everything() {
    for seed in 0..100 {
        let log = Log::new(seed);
        let opened = log.open(&log.disk).unwrap();
        assert!(log.last().after.equals(&opened));
        assert_eq!(opened.metadata, METADATA);
        assert_eq!((&opened.cut, opened.report.len()), (&None, 0));
        goes_on(&log, &log.disk, opened);
    }
}

#[test]
fn a_flip_anywhere_but_in_padding_or_free_space_is_refused_or_costs_only_the_last_batch() {
    let (mut flips, mut harmless, mut refused, mut cut) = (0, 0, 0, 0);
    for seed in 0..8 {
        let log = Log::new(seed);
        let mut rng = SplitMix64::new(seed);
        let mut disk = log.disk.clone();
        for file in log.disk.files.keys().cloned().collect::<Vec<_>>() {
            let frames = log.frames(&file);
            let data_end = frames.last().map_or(0, |(_, _, end)| *end);
            for at in 0..log.disk.files[&file].len() {
                let mask = 1_u8 << rng.below(8);
                disk.files.get_mut(&file).unwrap()[at] ^= mask;
                let in_batch = file == log.file && (log.batch.0..log.batch.1).contains(&at);
                let unused = !is_segment(&file)
                    || at >= data_end
                    || frames
                        .iter()
                        .any(|(_, end, padded)| (*end..*padded).contains(&at));
                flips += 1;
                match log.open(&disk) {
                    Ok(opened) if log.last().after.equals(&opened) => {
                        assert!(unused, "flip of {mask:02x} at {file}:{at} goes unseen");
                        harmless += 1;
                    }
                    Ok(opened) => {
                        assert!(
                            in_batch,
                            "flip of {mask:02x} at {file}:{at} loses synced data"
                        );
                        assert!(log.last().allows(&opened), "flip at {file}:{at}");
                        cut += 1;
                        goes_on(&log, &disk, opened);
                    }
                    Err(error) => {
                        assert!(
                            !unused,
                            "flip of {mask:02x} at {file}:{at} is harmless: {error}"
                        );
                        assert!(matches!(error, WalError::Damaged { .. }), "{error}");
                        refused += 1;
                    }
                }
                disk.files.get_mut(&file).unwrap()[at] ^= mask;
            }
        }
    }
    println!("{flips} flips: {harmless} harmless, {refused} refused, {cut} cut");
    assert!(flips > 50_000 && refused > 30_000 && harmless > 1_000 && cut > 0);
}

/// The checksum does not cover a record's kind, so each is tried as every other.
#[test]
fn no_record_passes_as_another_kind() {
    let mut tried = 0;
    for seed in 0..30 {
        let log = Log::new(seed);
        let mut disk = log.disk.clone();
        for file in log.disk.files.keys().cloned().collect::<Vec<_>>() {
            for (at, ..) in log.frames(&file) {
                let kind_at = at + 9;
                let kind = log.disk.files[&file][kind_at];
                for other in (0..=5)
                    .chain([7, 0x12, 0x83])
                    .filter(|other| *other != kind)
                {
                    disk.files.get_mut(&file).unwrap()[kind_at] = other;
                    let opened = log.open(&disk);
                    assert!(opened.is_err(), "{kind} passes as {other} at {file}:{at}");
                    tried += 1;
                }
                disk.files.get_mut(&file).unwrap()[kind_at] = kind;
            }
        }
    }
    assert!(tried > 10_000, "{tried}");
}

#[test]
fn a_file_cut_at_any_byte_holds_a_part_of_what_was_written() {
    let (mut cuts, mut whole) = (0, 0);
    for seed in 0..12 {
        let log = Log::new(seed);
        let bytes = log.disk.files[&log.file].clone();
        let floor = log.last().after.state.commit;
        let floor = (floor > 0).then(|| (Index(floor), Term(log.last().after.term(floor))));
        for (at, zeroed) in (0..log.batch.1).flat_map(|at| [(at, false), (at, true)]) {
            let mut disk = log.disk.clone();
            let mut shorter = bytes[..at].to_vec();
            shorter.resize(if zeroed { bytes.len() } else { at }, 0);
            disk.put(&log.file, shorter);
            cuts += 1;
            let Ok(opened) = log.open(&disk) else {
                let head = log.frames(&log.file)[1];
                assert!(
                    at < head.2,
                    "cut at {at} is refused: {:?}",
                    log.open(&disk).err()
                );
                continue;
            };
            assert!(
                log.steps.iter().rev().any(|step| step.allows(&opened)),
                "cut at {at} leaves something that was never there"
            );
            if at >= log.batch.0 {
                assert!(
                    log.last().allows(&opened),
                    "cut at {at} of the last batch loses more"
                );
            }
            // A store that has applied more than is left refuses.
            let last = opened.writer.last_index();
            let checked = open_with(&disk, &dir(), floor, log.options);
            match checked {
                Ok(_) => assert!(floor.is_none_or(|(index, _)| index <= last)),
                Err(WalError::EndsBefore { .. }) => assert!(floor.unwrap().0 > last),
                Err(WalError::TermMismatch { .. }) => {}
                Err(other) => panic!("cut at {at}: {other}"),
            }
            whole += usize::from(log.last().after.equals(&opened));
            if at % 16 == 0 {
                goes_on(&log, &disk, opened);
            }
        }
    }
    println!("{cuts} cuts, {whole} of them lost nothing");
    assert!(cuts > 10_000);
}

/// Zeroes the sectors of `file` in `from..to` for which `lost` says so.
fn lose(
    disk: &mut MemoryDisk,
    file: &FilePath,
    from: usize,
    to: usize,
    mut lost: impl FnMut() -> bool,
) {
    let bytes = disk.files.get_mut(file).unwrap();
    let mut at = from;
    while at < to {
        let end = ((at / SECTOR_BYTES + 1) * SECTOR_BYTES).min(to);
        if lost() {
            bytes[at..end].fill(0);
        }
        at = end;
    }
}

/// What a loss of power leaves of a batch that was not synced must never stop the member.
#[test]
fn a_torn_last_batch_is_always_repaired_to_a_part_of_it() {
    let (mut torn, mut cut) = (0, 0);
    for seed in 0..300 {
        let log = Log::new(seed);
        let mut rng = SplitMix64::new(seed);
        for _ in 0..16 {
            let mut disk = log.disk.clone();
            let (from, to) = log.batch;
            lose(&mut disk, &log.file, from, to, || rng.below(2) == 0);
            torn += 1;
            let opened = match log.open(&disk) {
                Ok(opened) => opened,
                Err(error) => {
                    panic!("seed {seed}: a torn batch at {from}..{to} is refused: {error}")
                }
            };
            assert!(log.last().allows(&opened), "seed {seed}");
            cut += usize::from(opened.cut.is_some());
            goes_on(&log, &disk, opened);
        }
    }
    println!("{torn} torn batches, {cut} of them cut");
    assert!(cut > torn / 5);
}

/// Whole sectors that read as zeros although they were synced: refused, but where the format
/// cannot tell them from a torn write. That concerns the last batch, and those before it only if
/// their hard states lie in the lost sector and one at most lies behind it.
#[test]
fn a_lost_sector_is_refused_unless_at_most_one_batch_ends_behind_it() {
    let (mut lost, mut refused, mut last, mut more) = (0, 0, 0, 0);
    for seed in 0..400 {
        let log = Log::new(seed);
        let writes = log
            .steps
            .iter()
            .flat_map(|step| &step.ops)
            .filter_map(as_write);
        let ends: Vec<usize> = writes
            .filter(|(file, ..)| **file == log.file)
            .map(|(_, offset, len)| offset + len)
            .collect();
        let frames = log.frames(&log.file);
        let states = || {
            frames
                .iter()
                .filter(|(.., end)| ends.contains(end))
                .map(|(at, ..)| *at)
        };
        for at in (0..log.batch.1).step_by(SECTOR_BYTES) {
            let mut disk = log.disk.clone();
            let sector_end = (at + SECTOR_BYTES).min(log.batch.1);
            lose(&mut disk, &log.file, at, sector_end, || true);
            lost += 1;
            match log.open(&disk) {
                Err(_) => refused += 1,
                Ok(opened) if log.last().allows(&opened) => last += 1,
                Ok(opened) => {
                    let behind = states().filter(|state| *state >= sector_end).count();
                    assert!(behind <= 1, "seed {seed}: {behind} batches end behind {at}");
                    assert!(
                        log.steps.iter().any(|step| step.allows(&opened)),
                        "seed {seed}"
                    );
                    more += 1;
                }
            }
        }
    }
    println!("{lost} sectors: {refused} refused, {last} cost of the last batch, {more} more");
    assert!(refused > lost / 2 && more < lost / 5);
}

#[test]
fn damage_in_a_closed_segment_names_file_offset_and_way_out() {
    let log = Log::new(1);
    let mut disk = log.disk.clone();
    let file = disk
        .files
        .keys()
        .find(|file| is_segment(file))
        .unwrap()
        .clone();
    let (at, ..) = log.frames(&file)[4];
    disk.files.get_mut(&file).unwrap()[at + 20] ^= 1;
    let error = log.open(&disk).unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "{file} is damaged at offset {at}: it cannot be read, in a segment that was closed; \
             put a good copy back, or remove this member from the cluster and add it again with \
             an empty data directory (a cluster of one: restore a snapshot)"
        )
    );
}

#[test]
fn a_missing_or_foreign_segment_is_refused() {
    let log = Log::new(2);
    let names: Vec<FilePath> = log
        .disk
        .files
        .keys()
        .filter(|file| is_segment(file))
        .cloned()
        .collect();
    assert!(names.len() >= 3);
    let mut disk = log.disk.clone();
    disk.files.remove(&names[1]);
    assert_eq!(
        log.open(&disk).unwrap_err(),
        WalError::SegmentMissing { dir: dir(), seq: 1 }
    );
    let mut disk = log.disk.clone();
    disk.files.remove(&names[0]);
    assert!(matches!(log.open(&disk), Err(WalError::BeginsAfter { .. })));
    // The same place in another history.
    let mut disk = log.disk.clone();
    let other = Log::new(3);
    let donor = other
        .disk
        .files
        .keys()
        .find(|file| file.name().starts_with("0000000000000001"));
    disk.put(&names[1], other.disk.files[donor.unwrap()].clone());
    let error = log.open(&disk).unwrap_err();
    assert!(
        matches!(&error, WalError::Damaged { file, offset: 0, .. } if *file == names[1]),
        "{error}"
    );
}

#[test]
fn a_store_of_another_history_is_refused() {
    let log = Log::new(5);
    let after: &Model = &log.last().after;
    let index = after.state.commit;
    let (right, wrong) = (after.term(index), after.term(index) + 1);
    let at = |term| {
        open_with(
            &log.disk,
            &dir(),
            Some((Index(index), Term(term))),
            log.options,
        )
    };
    assert_eq!(at(right).unwrap().entries, after.entries[index as usize..]);
    assert_eq!(
        at(wrong).unwrap_err(),
        WalError::TermMismatch {
            index: Index(index),
            in_log: Term(right),
            in_store: Term(wrong)
        }
    );
    let beyond = Some((Index(after.last() + 1), Term(right)));
    assert!(matches!(
        open_with(&log.disk, &dir(), beyond, log.options),
        Err(WalError::EndsBefore { .. })
    ));
}
