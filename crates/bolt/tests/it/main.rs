//! Files as a caller sees them: written and read back, from etcd, damaged.

mod damage;
mod etcd;
mod twin;

use bytes::Bytes;
use std::collections::BTreeMap;
use std::io::Read as _;
use tenet_bolt::{BoltError, Bucket, Content, Db, Planner, Source, Writer};

/// Buckets with their entries: the dumb twin of a file.
pub type Buckets = BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, Vec<u8>>>;

/// The file that holds `buckets`, put together from what the writer gives, at most `piece` bytes
/// late.
pub fn write(buckets: &Buckets, piece: usize) -> Bytes {
    let mut planner = Planner::new();
    for (name, entries) in buckets {
        planner.bucket(name);
        for (key, value) in entries {
            planner.entry(key, value.len()).unwrap();
        }
    }
    let plan = planner.finish().unwrap();
    let mut file = Vec::new();
    let mut writer = Writer::new(plan);
    for (name, entries) in buckets {
        writer.bucket(name).unwrap();
        for (key, value) in entries {
            writer.entry(key, value).unwrap();
            if writer.ready_bytes() >= piece {
                file.extend_from_slice(&writer.take(1));
            }
        }
    }
    file.extend_from_slice(&writer.finish().unwrap());
    assert_eq!(file.len() as u64, plan.len_bytes());
    file.into()
}

/// What a file holds, with buckets inside of buckets under the names of both.
pub fn read<S: Source>(db: &Db<S>) -> Result<Buckets, BoltError> {
    fn take<S: Source>(
        db: &Db<S>,
        name: &[u8],
        bucket: &Bucket,
        found: &mut Buckets,
    ) -> Result<(), BoltError> {
        for entry in db.walk(bucket) {
            let entry = entry?;
            match entry.content {
                Content::Value(value) => {
                    let entries = found.entry(name.to_vec()).or_default();
                    entries.insert(entry.key.to_vec(), value.to_vec());
                }
                Content::Bucket(bucket) => {
                    let name = [name, &entry.key].concat();
                    found.entry(name.clone()).or_default();
                    take(db, &name, &bucket, found)?;
                }
            }
        }
        Ok(())
    }
    let mut found = Buckets::new();
    take(db, b"", &db.root(), &mut found)?;
    Ok(found)
}

/// A file of the test data.
pub fn testdata(name: &str) -> Bytes {
    let packed: &[u8] = match name {
        "etcd-3.5.35.db.gz" => include_bytes!("../../testdata/etcd-3.5.35.db.gz"),
        "etcd-3.6.16.db.gz" => include_bytes!("../../testdata/etcd-3.6.16.db.gz"),
        _ => include_bytes!("../../testdata/etcd-3.7.1.db.gz"),
    };
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(packed)
        .read_to_end(&mut bytes)
        .unwrap();
    bytes.into()
}
