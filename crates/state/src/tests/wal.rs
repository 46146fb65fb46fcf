//! The entries in a segment of etcd's log.

use bytes::Bytes;
use tenet_base::disk::{DiskError, DiskView, FilePath};
use tenet_proto::raftpb::Entry;

/// A directory that holds one log segment, the first.
struct Directory(Bytes);

const SEGMENT: &str = "0000000000000000-0000000000000000.wal";

impl DiskView for Directory {
    fn list(&self, _dir: &FilePath) -> Result<Option<Vec<String>>, DiskError> {
        Ok(Some(vec![SEGMENT.to_owned()]))
    }

    fn len(&self, path: &FilePath) -> Result<Option<u64>, DiskError> {
        Ok((path.name() == SEGMENT).then_some(self.0.len() as u64))
    }

    fn read_at(&self, _path: &FilePath, offset: u64, len: usize) -> Result<Bytes, DiskError> {
        let start = self.0.len().min(offset as usize);
        let end = self.0.len().min(start.saturating_add(len));
        Ok(self.0.slice(start..end))
    }
}

/// The entries, each index once, in order.
pub(super) fn entries(segment: Vec<u8>) -> Vec<Entry> {
    let directory = Directory(segment.into());
    let log = tenet_wal::read(&directory, &FilePath::new("wal"), tenet_wal::From::Oldest).unwrap();
    assert_eq!(log.damage, None);
    log.entries
}
