//! Reading a snapshot into a state.

use tenet_bolt::{BoltError, Content, Db};
use tenet_state::{Beginning, Import, State};

use crate::snapshot_file::SnapshotFile;

/// How the revision is raised.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bump {
    /// By how much.
    pub(super) by: u64,
    /// Is told the revisions before and after.
    pub(super) tell: fn(before: i64, after: i64),
}

/// The state that a snapshot holds, at the beginning of a new cluster.
///
/// # Errors
/// With the file, the place and what to do.
pub(super) fn read(
    path: &str,
    file: SnapshotFile,
    beginning: Beginning,
    bump: Option<Bump>,
) -> Result<State, String> {
    let told = |error: BoltError| match error {
        BoltError::NotADatabase => format!("{path}: {error}"),
        error => format!("{path}: {error}; take another snapshot"),
    };
    let db = Db::open(file).map_err(told)?;
    if let Some(error) = db.check().into_iter().next() {
        return Err(told(error));
    }
    let mut import = Import::new(config());
    let mut newest = 0;
    for bucket in db.walk(&db.root()) {
        let bucket = bucket.map_err(told)?;
        let Content::Bucket(entries) = &bucket.content else {
            let key = bucket.key.escape_ascii();
            let at = bucket.offset;
            return Err(format!(
                "{path}: byte {at}: {key} is a value where a bucket is due"
            ));
        };
        for entry in db.walk(entries) {
            let entry = entry.map_err(told)?;
            let at = entry.offset;
            let Content::Value(value) = &entry.content else {
                let (bucket, key) = (bucket.key.escape_ascii(), entry.key.escape_ascii());
                let text = format!("{path}: byte {at}: {bucket} holds a bucket {key}");
                return Err(text + ", which etcd never makes");
            };
            import
                .entry(&bucket.key, &entry.key, value)
                .map_err(|error| format!("{path}: byte {at}: {error}"))?;
            if bucket.key == b"key"[..] {
                newest = entry
                    .key
                    .first_chunk()
                    .map_or(0, |main| i64::from_be_bytes(*main));
            }
        }
    }
    if let Some(bump) = bump {
        let after = import
            .bump(bump.by)
            .map_err(|error| format!("{path}: {error}"))?;
        (bump.tell)(newest, after.get());
    }
    Ok(import.finish(beginning))
}

/// Leases keep the times that they have; every start raises those that are too short for it.
fn config() -> tenet_state::Config {
    tenet_state::Config {
        member: tenet_base::MemberId(0),
        min_lease_ttl_s: 0,
        quota_bytes: 0,
        learners_max: tenet_base::limits::LEARNERS_MAX,
    }
}
