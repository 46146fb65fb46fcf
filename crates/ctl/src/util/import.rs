//! Reading a snapshot into a state.

use tenet_bolt::BoltError;
use tenet_runtime::{NewCluster, TakeInError, take_in};
use tenet_state::{Import, State};

use crate::snapshot_file::SnapshotFile;

/// How the revision is raised.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bump {
    /// By how much.
    pub(super) by: u64,
    /// Is told the revisions before and after.
    pub(super) tell: fn(before: i64, after: i64),
}

/// The state that a snapshot holds, at the beginning of `cluster`.
///
/// # Errors
/// With the file, the place and what to do.
pub(super) fn read(
    path: &str,
    file: SnapshotFile,
    cluster: &NewCluster,
    bump: Option<Bump>,
) -> Result<State, String> {
    let mut import = Import::new(config(), cluster.store());
    let newest = take_in(file, &mut import).map_err(|error| match error {
        TakeInError::File(error) if error != BoltError::NotADatabase => {
            format!("{path}: {error}; take another snapshot")
        }
        error => format!("{path}: {error}"),
    })?;
    if let Some(bump) = bump {
        let after = import
            .bump(bump.by)
            .map_err(|error| format!("{path}: {error}"))?;
        (bump.tell)(newest.get(), after.get());
    }
    Ok(import.finish(cluster.beginning()))
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

#[cfg(test)]
mod tests {
    use super::*;
    use tenet_bolt::{Planner, Writer};
    use tenet_runtime::{Founder, NewCluster};

    /// What is said of a file with these buckets, each of one entry, after `change`.
    fn refusal(buckets: &[(&str, &[u8], &[u8])], change: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut planner = Planner::new();
        for (bucket, key, value) in buckets {
            planner.bucket(bucket.as_bytes());
            planner.entry(key, value.len()).unwrap();
        }
        let mut writer = Writer::new(planner.finish().unwrap());
        for (bucket, key, value) in buckets {
            writer.bucket(bucket.as_bytes()).unwrap();
            writer.entry(key, value).unwrap();
        }
        let mut bytes = writer.finish().unwrap().to_vec();
        change(&mut bytes);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.db").display().to_string();
        std::fs::write(&path, bytes).unwrap();
        let founder = Founder {
            name: "default".to_owned(),
            peer_urls: vec!["http://localhost:2380".to_owned()],
        };
        let cluster = NewCluster::new(vec![founder], "default", "t").unwrap();
        let file = SnapshotFile::open(&path).unwrap();
        let error = read(&path, file, &cluster, None).unwrap_err();
        error.strip_prefix(&path).unwrap().to_owned()
    }

    #[test]
    fn what_is_wrong_is_told_with_file_and_place() {
        let revision = b"\0\0\0\0\0\0\0\x02_\0\0\0\0\0\0\0\0";
        let sound = (
            "key",
            &revision[..],
            &b"\x0a\x01k\x10\x02\x18\x02\x20\x01"[..],
        );
        // The first bucket's entry stands behind two meta pages and the list of free pages.
        let at = 3 * 4096 + 16;
        let said = refusal(&[("key", revision, b"\x0a\x01k")], |_| {});
        let expected = format!(": byte {at}: key: revision 2.0: its key-value does not follow");
        assert!(said.starts_with(&expected), "{said}");
        let said = refusal(&[sound, ("zoo", b"k", b"v")], |_| {});
        let expected = format!(": byte {}: bucket \"zoo\" is not known", at + 4096);
        assert!(said.starts_with(&expected), "{said}");
        let said = refusal(&[("auth", b"authEnabled", b"\x01"), sound], |_| {});
        let expected = format!(": byte {at}: authentication is enabled in this snapshot");
        assert!(said.starts_with(&expected), "{said}");
        let said = refusal(&[sound], |bytes| bytes.truncate(bytes.len() - 1));
        assert!(
            said.contains("was not copied whole; take another"),
            "{said}"
        );
        let said = refusal(&[sound], |bytes| bytes[3 * 4096 + 8] = 0x40);
        let expected = format!(": damaged at byte {}: flags", 3 * 4096);
        assert!(said.starts_with(&expected), "{said}");
        let said = refusal(&[sound], |bytes| bytes[..8192].fill(0));
        assert!(said.starts_with(": no bbolt database"), "{said}");
    }
}
