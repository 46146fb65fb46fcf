//! Snapshot records, above all of a snapshot that was received and takes the place of the log.

use crate::memory_disk::MemoryDisk;
use crate::script::{METADATA, dir};
use tenet_base::disk::{DiskOp, FilePath};
use tenet_base::{Index, Term};
use tenet_proto::raftpb::{ConfState, Entry, HardState};
use tenet_wal::{
    From, Opened, Options, Position, WalError, WalWriter, create_with, open_with, read,
};

const OPTIONS: Options = Options {
    segment_bytes: 4_096,
};
const VOTER: u64 = 0x9a3f_05c1_77e0_d2b4;

fn entry(term: u64, index: u64) -> Entry {
    Entry {
        entry_type: 0,
        term,
        index,
        data: format!("{term}/{index}").into(),
    }
}

fn position(term: u64, index: u64) -> Position {
    let conf_state = Some(ConfState {
        voters: vec![VOTER],
        ..ConfState::default()
    });
    Position {
        index: Index(index),
        term: Term(term),
        conf_state,
    }
}

fn open(disk: &MemoryDisk, floor: Option<(u64, u64)>) -> Result<Opened, WalError> {
    let floor = floor.map(|(index, term)| (Index(index), Term(term)));
    open_with(disk, &dir(), floor, OPTIONS)
}

/// A log of five entries at term 1, two of them committed, opened again.
fn five_entries() -> (MemoryDisk, WalWriter) {
    let mut disk = MemoryDisk::default();
    let mut ops = vec![DiskOp::CreateDir {
        path: FilePath::new("member"),
    }];
    let mut writer = create_with(&dir(), METADATA, OPTIONS, &mut ops);
    let entries: Vec<Entry> = (1..=5).map(|index| entry(1, index)).collect();
    writer.save(
        Some(&HardState {
            term: 1,
            vote: VOTER,
            commit: 2,
        }),
        &entries,
        &mut ops,
    );
    disk.run(&ops);
    (disk, writer)
}

#[test]
fn a_received_snapshot_takes_the_place_of_the_log() {
    for index in [4, 5, 9] {
        let (mut disk, mut writer) = five_entries();
        let mut ops = Vec::new();
        writer.save(
            Some(&HardState {
                term: 3,
                vote: 0,
                commit: 2,
            }),
            &[],
            &mut ops,
        );
        writer.save_position(&position(3, index), &mut ops);
        assert_eq!(
            (writer.first_index(), writer.last_index()),
            (Index(index + 1), Index(index))
        );
        writer.save(None, &[entry(3, index + 1)], &mut ops);
        disk.run(&ops);
        disk.end_process();

        let opened = open(&disk, Some((index, 3))).unwrap();
        assert_eq!(opened.entries, [entry(3, index + 1)]);
        assert_eq!(
            opened.hard_state,
            HardState {
                term: 3,
                vote: 0,
                commit: index
            }
        );
        assert_eq!(opened.start, position(3, index));
        // A store that is older than the snapshot cannot go on: entries between are not there.
        let older = open(&disk, Some((2, 1))).unwrap_err();
        let (dir, applied, begins_after) = (dir(), Index(2), Index(index));
        assert_eq!(
            older,
            WalError::BeginsAfter {
                dir: dir.clone(),
                applied,
                begins_after
            }
        );
        let newest = read(&disk, &dir, From::Newest).unwrap();
        assert_eq!(
            (newest.start, newest.entries),
            (position(3, index), vec![entry(3, index + 1)])
        );
    }
}

#[test]
fn a_snapshot_of_the_own_state_leaves_the_log_as_it_is() {
    let (mut disk, mut writer) = five_entries();
    let mut ops = Vec::new();
    writer.save_position(&position(1, 2), &mut ops);
    // Known to be committed by whoever took the snapshot, though not yet here.
    writer.save_position(&position(1, 4), &mut ops);
    disk.run(&ops);
    disk.end_process();
    let opened = open(&disk, None).unwrap();
    assert_eq!((opened.entries.len(), opened.hard_state.commit), (5, 4));
    let places: Vec<_> = opened.positions.iter().map(|it| it.index.get()).collect();
    assert_eq!(places, [0, 2, 4]);
}

/// The snapshot record is there, the hard state behind it is not: as if it had not come.
#[test]
fn a_torn_snapshot_record_gives_the_old_log_back() {
    let (mut disk, mut writer) = five_entries();
    let (mut whole, mut ops) = (disk.clone(), Vec::new());
    writer.save(
        Some(&HardState {
            term: 3,
            vote: 0,
            commit: 2,
        }),
        &[],
        &mut ops,
    );
    disk.run(&ops);
    let mut ops = Vec::new();
    writer.save_position(&position(3, 4), &mut ops);
    let DiskOp::Write { path, offset, data } = &ops[0] else {
        panic!("{ops:?}")
    };
    let (path, offset, data) = (path.clone(), *offset as usize, data.clone());
    disk.end_process();
    for len in 0..data.len() {
        let mut torn = disk.clone();
        torn.files.get_mut(&path).unwrap()[offset..offset + len].copy_from_slice(&data[..len]);
        let Opened {
            entries,
            hard_state,
            mut writer,
            repair,
            ..
        } = open(&torn, None).unwrap();
        if hard_state.commit == 4 {
            // All but the padding is there.
            assert!(data[len..].iter().all(|byte| *byte == 0));
            continue;
        }
        assert_eq!(
            (entries.len(), hard_state),
            (
                5,
                HardState {
                    term: 3,
                    vote: 0,
                    commit: 2
                }
            )
        );
        torn.run(&repair);
        assert!(
            torn.files[&path][offset..].iter().all(|byte| *byte == 0),
            "cut at {len}"
        );
        let mut ops = Vec::new();
        writer.save(None, &[entry(3, 6)], &mut ops);
        torn.run(&ops);
        assert_eq!(
            open(&torn, None).unwrap().entries.last(),
            Some(&entry(3, 6))
        );
    }
    // In a directory of etcd the record can be synced without a hard state: it is left there.
    whole = std::mem::take(&mut whole);
    whole.end_process();
    assert_eq!(read(&whole, &dir(), From::Oldest).unwrap().entries.len(), 5);
}

#[test]
fn an_entry_shows_that_its_term_was_reached() {
    let (mut disk, mut writer) = five_entries();
    let mut ops = Vec::new();
    let state = HardState {
        term: 4,
        vote: VOTER,
        commit: 3,
    };
    writer.save(Some(&state), &[entry(4, 6)], &mut ops);
    let DiskOp::Write { path, offset, data } = &ops[0] else {
        panic!("{ops:?}")
    };
    let (path, offset) = (path.clone(), *offset as usize);
    // The entry's frame, and not the state's.
    let frame = 8 + usize::from(data[0]).next_multiple_of(8);
    disk.files.get_mut(&path).unwrap()[offset..offset + frame].copy_from_slice(&data[..frame]);
    disk.end_process();
    let opened = open(&disk, None).unwrap();
    assert_eq!(opened.entries.last(), Some(&entry(4, 6)));
    assert_eq!(
        opened.hard_state,
        HardState {
            term: 4,
            vote: 0,
            commit: 2
        }
    );
    assert_eq!(opened.cut, None);
}

#[test]
#[should_panic(expected = "the state machine does not belong to this log")]
fn a_snapshot_that_contradicts_a_committed_entry_is_not_recorded() {
    let (_, mut writer) = five_entries();
    writer.save_position(&position(7, 2), &mut Vec::new());
}

#[test]
#[should_panic(expected = "would replace one that is committed (commit 2)")]
fn a_committed_entry_is_not_overwritten() {
    let (_, mut writer) = five_entries();
    writer.save(
        Some(&HardState {
            term: 9,
            vote: 0,
            commit: 2,
        }),
        &[entry(9, 2)],
        &mut Vec::new(),
    );
}

#[test]
#[should_panic(expected = "entry 8 does not follow the log's last, 5")]
fn a_gap_is_not_written() {
    let (_, mut writer) = five_entries();
    writer.save(None, &[entry(1, 8)], &mut Vec::new());
}

#[test]
#[should_panic(expected = "the vote in term 1 changes")]
fn a_vote_is_not_changed() {
    let (_, mut writer) = five_entries();
    writer.save(
        Some(&HardState {
            term: 1,
            vote: 7,
            commit: 2,
        }),
        &[],
        &mut Vec::new(),
    );
}
