//! The entries in a segment of etcd's log.

use tenet_base::disk::FilePath;
use tenet_base::memory_disk::MemoryDisk;
use tenet_proto::raftpb::Entry;

const SEGMENT: &str = "wal/0000000000000000-0000000000000000.wal";

/// The entries, each index once, in order.
pub(super) fn entries(segment: Vec<u8>) -> Vec<Entry> {
    let mut disk = MemoryDisk::default();
    disk.put(&FilePath::new(SEGMENT), segment);
    let log = tenet_wal::read(&disk, &FilePath::new("wal"), tenet_wal::From::Oldest).unwrap();
    assert_eq!(log.damage, None);
    log.entries
}
