//! A state from the buckets of a snapshot, etcd's or ours.
//!
//! The snapshot becomes the beginning of a new cluster: keys, leases, users, roles, alarms and the
//! cluster's version are taken over; members, the raft configuration and the place in the log are
//! new. Or it comes from the leader of this very cluster, and then all is taken over. Whatever is
//! not understood is refused, not dropped.

use crate::members::Member;
use crate::state::{Config, State};
use crate::tables::{
    APPLIED, AUTH_ENABLED, Bucket, CLUSTER_VERSION, CONF_STATE, FINISHED_COMPACTION,
    SCHEDULED_COMPACTION, STORAGE_VERSION, TERM, Tables,
};
use crate::version::Version;
use bytes::Bytes;
use std::collections::BTreeMap;
use tenet_base::{Index, LeaseId, Revision, Term};
use tenet_mvcc::ImportError as KeyError;
use tenet_proto::raftpb::ConfState;
use tenet_store::Store;

/// Why a snapshot cannot be taken in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// Authentication is on.
    #[error(
        "authentication is enabled in this snapshot, and this version cannot enforce it yet: \
         switch it off (\"etcdctl auth disable\") and take another snapshot; users and roles are \
         kept"
    )]
    AuthEnabled,
    /// A bucket that is not etcd's.
    #[error(
        "bucket {0:?} is not known: a newer etcd or another program wrote this file, and restoring \
         it here would lose what is in it"
    )]
    UnknownBucket(String),
    /// It was written by a newer version.
    #[error(
        "{what} is {found}, and this version knows up to {max}: restore it with a newer version"
    )]
    Newer {
        /// Which version.
        what: &'static str,
        /// What the snapshot has.
        found: String,
        /// What is known here.
        max: Version,
    },
    /// An entry of a small table is wrong.
    #[error("{0}")]
    Table(String),
    /// An entry of the keys is wrong.
    #[error("key: {0}")]
    Keys(#[from] KeyError),
}

/// A state in the making.
#[derive(Debug)]
pub struct Import {
    config: Config,
    tables: Tables,
    keys: tenet_mvcc::Import,
    /// Of the same cluster and log.
    same_log: bool,
    /// Which live keys are on which lease.
    leased: BTreeMap<Bytes, LeaseId>,
    finished: Option<Revision>,
    scheduled: Option<Revision>,
}

/// What the new cluster begins with.
#[derive(Clone, Debug)]
pub struct Beginning {
    /// Its members.
    pub members: Vec<Member>,
    /// Its raft configuration.
    pub conf_state: ConfState,
    /// The last entry of its log.
    pub applied: (Index, Term),
}

impl Import {
    /// Waits for the first entry, to be put into an empty store.
    #[must_use]
    pub fn new(config: Config, store: Store) -> Self {
        Import {
            tables: Tables::new(&config),
            config,
            keys: tenet_mvcc::Import::new(store),
            same_log: false,
            leased: BTreeMap::new(),
            finished: None,
            scheduled: None,
        }
    }

    /// As [`Import::new`], for a snapshot of the leader: members, configuration and the place in the
    /// log are taken over, too.
    #[must_use]
    pub fn of_leader(config: Config, store: Store) -> Self {
        Import {
            same_log: true,
            ..Import::new(config, store)
        }
    }

    /// Takes in an entry. Those of a bucket come in the order of their keys.
    ///
    /// # Errors
    /// If this version does not understand it.
    pub fn entry(&mut self, bucket: &[u8], key: &[u8], value: &[u8]) -> Result<(), ImportError> {
        if bucket == crate::Export::KEYS.as_bytes() {
            return self.key(key, value);
        }
        let Some(known) = Bucket::of_etcd(bucket) else {
            let name = bucket.escape_ascii().to_string();
            return Err(ImportError::UnknownBucket(name));
        };
        match (known, key) {
            (Bucket::Members | Bucket::MembersRemoved, _) if !self.same_log => return Ok(()),
            (Bucket::Meta, _) => return self.meta(key, value),
            (Bucket::Auth, AUTH_ENABLED) => {
                return match value {
                    [0] => Ok(()),
                    _ => Err(ImportError::AuthEnabled),
                };
            }
            (Bucket::Cluster, CLUSTER_VERSION) => refuse_newer("its cluster version", value)?,
            _ => {}
        }
        let taken = self.tables.restore(known, key, value);
        taken.map_err(ImportError::Table)
    }

    fn key(&mut self, key: &[u8], value: &[u8]) -> Result<(), ImportError> {
        let imported = self.keys.entry(key, value)?;
        match imported.lease {
            Some(lease) => {
                self.leased
                    .insert(Bytes::copy_from_slice(imported.key), lease);
            }
            None => {
                self.leased.remove(imported.key);
            }
        }
        Ok(())
    }

    fn meta(&mut self, key: &[u8], value: &[u8]) -> Result<(), ImportError> {
        match key {
            STORAGE_VERSION => refuse_newer("its storage version", value)?,
            FINISHED_COMPACTION => self.finished = Some(main_revision(key, value)?),
            SCHEDULED_COMPACTION => self.scheduled = Some(main_revision(key, value)?),
            APPLIED | TERM | CONF_STATE if self.same_log => {
                let taken = self.tables.restore(Bucket::Meta, key, value);
                taken.map_err(ImportError::Table)?;
            }
            // They belong to the log of the old cluster.
            APPLIED | TERM | CONF_STATE => {}
            _ => {
                let text = format!("meta: unknown key {}", key.escape_ascii());
                return Err(ImportError::Table(text));
            }
        }
        Ok(())
    }

    /// Raises the revision by `by` and compacts there, so that no client sees a revision go back.
    ///
    /// # Errors
    /// If there is no such revision.
    pub fn bump(&mut self, by: u64) -> Result<Revision, ImportError> {
        let revision = self.keys.bump(by)?;
        self.scheduled = Some(revision);
        Ok(revision)
    }

    /// The state, as the beginning of a new cluster.
    #[must_use]
    pub fn finish(mut self, beginning: Beginning) -> State {
        for member in beginning.members {
            self.tables.members.restore(member);
        }
        self.tables.conf_state = beginning.conf_state;
        (self.tables.applied, self.tables.term) = beginning.applied;
        self.finish_of_leader()
    }

    /// The state as the leader has it, at the entry that the snapshot names.
    #[must_use]
    pub fn finish_of_leader(self) -> State {
        let Import {
            config,
            mut tables,
            keys,
            leased,
            finished,
            scheduled,
            same_log: _,
        } = self;
        for (key, lease) in leased {
            // etcd passes over keys whose lease is gone.
            if tables.leases.contains(lease) {
                tables.leases.move_key(&key, lease);
            }
        }
        let mvcc = keys.finish(finished.max(scheduled), tables.applied, tables.term);
        State::of(config, mvcc, tables)
    }
}

fn refuse_newer(what: &'static str, value: &[u8]) -> Result<(), ImportError> {
    let max = Version::CLUSTER_MAX;
    let text = String::from_utf8_lossy(value);
    match Version::parse(&text) {
        Some(version) if version <= max => Ok(()),
        _ => Err(ImportError::Newer {
            what,
            found: text.into_owned(),
            max,
        }),
    }
}

/// The main part of a revision as etcd spells it.
fn main_revision(key: &[u8], value: &[u8]) -> Result<Revision, ImportError> {
    let main = value.first_chunk().map(|main| i64::from_be_bytes(*main));
    let whole = value.len() == 17 && value[8] == b'_';
    let revision = main.filter(|main| whole && (0..i64::MAX).contains(main));
    revision.map(Revision).ok_or_else(|| {
        let (key, value) = (key.escape_ascii(), value.escape_ascii());
        ImportError::Table(format!("meta: {key} is {value}, which is no revision"))
    })
}
