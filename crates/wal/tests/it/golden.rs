//! The log and snapshot files of real etcd.

use crate::memory_disk::MemoryDisk;
use crate::script::dir;
use tenet_base::disk::DiskOp;
use tenet_base::{ClusterId, Index, MemberId, Term};
use tenet_proto::raftpb::{ConfState, Entry, HardState};
use tenet_wal::{From, Log, Metadata, Options, WalError, create_with, open, read, snap};

const WAL_NAME: &str = "0000000000000000-0000000000000000.wal";

struct Golden {
    version: &'static str,
    wal: &'static [u8],
    snap: &'static [u8],
}

const GOLDEN: [Golden; 3] = [
    Golden {
        version: "3.5.35",
        wal: include_bytes!("../../testdata/etcd-3.5.35.wal"),
        snap: include_bytes!("../../testdata/etcd-3.5.35.snap"),
    },
    Golden {
        version: "3.6.16",
        wal: include_bytes!("../../testdata/etcd-3.6.16.wal"),
        snap: include_bytes!("../../testdata/etcd-3.6.16.snap"),
    },
    Golden {
        version: "3.7.1",
        wal: include_bytes!("../../testdata/etcd-3.7.1.wal"),
        snap: include_bytes!("../../testdata/etcd-3.7.1.snap"),
    },
];

/// The ids follow from the peer URL and the token, which are equal in all three.
const MEMBER: MemberId = MemberId(0x8764_63e1_4074_c0ac);
const CLUSTER: ClusterId = ClusterId(0xdbf3_dc71_5cb1_5242);

fn disk(golden: &Golden) -> MemoryDisk {
    let mut bytes = golden.wal.to_vec();
    bytes.resize(1_000_000, 0);
    let mut disk = MemoryDisk::default();
    disk.put(&dir().join(WAL_NAME), bytes);
    disk
}

fn read_all(golden: &Golden, from: From) -> Result<Log, WalError> {
    read(&disk(golden), &dir(), from)
}

#[test]
fn logs_of_all_versions_are_read_whole() {
    for golden in &GOLDEN {
        let log = read_all(golden, From::Oldest).unwrap();
        assert_eq!(log.metadata.member, MEMBER, "{}", golden.version);
        assert_eq!(log.metadata.cluster, CLUSTER, "{}", golden.version);
        assert_eq!(
            log.hard_state,
            HardState {
                term: 2,
                vote: MEMBER.get(),
                commit: 398
            }
        );
        assert_eq!(log.entries.len(), 398);
        assert!(
            (1..)
                .zip(&log.entries)
                .all(|(index, entry)| entry.index == index)
        );
        assert_eq!((log.start.index, log.damage), (Index(0), None));
        let places: Vec<_> = log.positions.iter().map(|it| (it.index, it.term)).collect();
        assert_eq!(places, [(Index(0), Term(0)), (Index(201), Term(2))]);
        let conf_state = ConfState {
            voters: vec![MEMBER.get()],
            ..ConfState::default()
        };
        assert_eq!(log.positions[1].conf_state, Some(conf_state));
    }
}

#[test]
fn the_head_of_a_new_log_is_etcds_to_the_byte() {
    for golden in &GOLDEN {
        let metadata = Metadata {
            member: MEMBER,
            cluster: CLUSTER,
        };
        let mut ops = Vec::new();
        let options = Options {
            segment_bytes: 4_096,
        };
        create_with(&dir(), metadata, options, &mut ops);
        let head = ops.iter().find_map(|op| match op {
            DiskOp::Write {
                offset: 0, data, ..
            } => Some(data),
            _ => None,
        });
        let head = head.expect("a head is written");
        assert_eq!(head.len(), 80);
        assert_eq!(*head, golden.wal[..80], "{}", golden.version);
    }
}

#[test]
fn reading_begins_at_the_snapshot_record_that_is_asked_for() {
    let golden = &GOLDEN[2];
    let whole = read_all(golden, From::Oldest).unwrap();
    let newest = read_all(golden, From::Newest).unwrap();
    assert_eq!(
        (newest.start.index, newest.start.term),
        (Index(201), Term(2))
    );
    assert_eq!(newest.entries, whole.entries[201..]);
    assert_eq!(
        read_all(golden, From::At(Index(201), Term(2))).unwrap(),
        newest
    );
    assert_eq!(
        read_all(golden, From::At(Index(201), Term(1))).unwrap_err(),
        WalError::PositionNotFound {
            dir: dir(),
            index: Index(201),
            term: Term(1)
        }
    );
}

#[test]
fn a_log_of_etcd_can_be_gone_on_with() {
    for golden in &GOLDEN {
        let mut disk = disk(golden);
        let floor = Some((Index(201), Term(2)));
        let mut opened = open(&disk, &dir(), floor).unwrap();
        assert_eq!(
            (opened.start.index, opened.entries.len()),
            (Index(201), 197)
        );
        disk.run(&opened.repair);
        let entry = Entry {
            entry_type: 0,
            term: 2,
            index: 399,
            data: "more".into(),
        };
        let mut ops = Vec::new();
        assert!(
            opened
                .writer
                .save(None, std::slice::from_ref(&entry), &mut ops)
        );
        disk.run(&ops);
        opened.entries.push(entry);
        let again = open(&disk, &dir(), floor).unwrap();
        assert_eq!(
            (again.entries, again.hard_state),
            (opened.entries, opened.hard_state)
        );
    }
}

#[test]
fn snapshot_files_are_read_and_written_to_the_byte() {
    for golden in &GOLDEN {
        let snapshot = snap::decode(golden.snap).unwrap();
        assert_eq!((snapshot.index(), snapshot.term()), (201, 2));
        assert!(snapshot.data.starts_with(br#"{"Root":"#));
        assert_eq!(snap::encode(&snapshot), golden.snap, "{}", golden.version);
        let mut ops = Vec::new();
        let path = snap::save(&dir(), &snapshot, &mut ops);
        assert_eq!(path.name(), "0000000000000002-00000000000000c9.snap");
        let mut disk = disk(golden);
        disk.run(&ops);
        assert_eq!(disk.files[&path], golden.snap);
    }
}

#[test]
fn a_damaged_snapshot_file_is_refused() {
    let file = GOLDEN[2].snap;
    assert_eq!(snap::decode(&[]), Err(snap::SnapError::Malformed));
    for len in 1..file.len() {
        assert_eq!(
            snap::decode(&file[..len]),
            Err(snap::SnapError::Malformed),
            "{len}"
        );
    }
    for at in 0..file.len() {
        let mut bent = file.to_vec();
        bent[at] ^= 1 << (at % 8);
        assert!(snap::decode(&bent).is_err(), "{at}");
    }
}
