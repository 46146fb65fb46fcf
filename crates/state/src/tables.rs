//! The small tables beside the keys, and their one serial form.
//!
//! The form is that of etcd's buckets, (bucket, key, value) with etcd's bytes, so that a
//! flush, a snapshot for people and the hash over everything share one definition. What etcd
//! derives again from the keys (which key is on which lease) has a bucket of its own here.

use crate::alarm::Alarms;
use crate::auth::Auth;
use crate::lease::Leases;
use crate::members::{Member, Members, json};
use crate::{Config, Version};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tenet_base::{Index, LeaseId, MemberId, Revision, Term};
use tenet_proto::etcdserverpb::{AlarmMember, DowngradeInfo};
use tenet_proto::leasepb;
use tenet_proto::prost::Message;
use tenet_proto::raftpb::ConfState;
use tenet_proto::{authpb, prost};

/// All small tables, with the place in the log that they stand for.
#[derive(Clone, Debug)]
pub(crate) struct Tables {
    pub(crate) applied: Index,
    pub(crate) term: Term,
    pub(crate) conf_state: ConfState,
    pub(crate) leases: Leases,
    pub(crate) members: Members,
    pub(crate) alarms: Alarms,
    pub(crate) auth: Auth,
    pub(crate) cluster_version: Option<Version>,
    pub(crate) downgrade: Option<DowngradeInfo>,
}

/// A table. The numbers stand in files: never change one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Bucket {
    Alarm = 1,
    Auth = 2,
    AuthRoles = 3,
    AuthUsers = 4,
    Cluster = 5,
    Lease = 6,
    Members = 7,
    MembersRemoved = 8,
    Meta = 9,
    /// Ours: key to lease, of live keys that are on one.
    LeasedKeys = 10,
}

impl Bucket {
    /// etcd's buckets before and after its bucket of keys, in the order of their names.
    pub(crate) const BEFORE_KEYS: [Bucket; 5] = [
        Bucket::Alarm,
        Bucket::Auth,
        Bucket::AuthRoles,
        Bucket::AuthUsers,
        Bucket::Cluster,
    ];
    pub(crate) const AFTER_KEYS: [Bucket; 4] = [
        Bucket::Lease,
        Bucket::Members,
        Bucket::MembersRemoved,
        Bucket::Meta,
    ];

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        let mut all = Self::BEFORE_KEYS
            .into_iter()
            .chain(Self::AFTER_KEYS)
            .chain([Bucket::LeasedKeys]);
        all.find(|bucket| *bucket as u8 == number)
    }

    /// The bucket of etcd that has this name, but for that of the keys.
    pub(crate) fn of_etcd(name: &[u8]) -> Option<Self> {
        let mut all = Self::BEFORE_KEYS.into_iter().chain(Self::AFTER_KEYS);
        all.find(|bucket| bucket.name().as_bytes() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Bucket::Alarm => "alarm",
            Bucket::Auth => "auth",
            Bucket::AuthRoles => "authRoles",
            Bucket::AuthUsers => "authUsers",
            Bucket::Cluster => "cluster",
            Bucket::Lease => "lease",
            Bucket::Members => "members",
            Bucket::MembersRemoved => "members_removed",
            Bucket::Meta => "meta",
            Bucket::LeasedKeys => "leasedKeys",
        }
    }
}

const AUTH_REVISION: &[u8] = b"authRevision";
pub(crate) const AUTH_ENABLED: &[u8] = b"authEnabled";
pub(crate) const CLUSTER_VERSION: &[u8] = b"clusterVersion";
const DOWNGRADE: &[u8] = b"downgrade";
pub(crate) const APPLIED: &[u8] = b"consistent_index";
pub(crate) const TERM: &[u8] = b"term";
pub(crate) const CONF_STATE: &[u8] = b"confState";
pub(crate) const STORAGE_VERSION: &[u8] = b"storageVersion";
pub(crate) const FINISHED_COMPACTION: &[u8] = b"finishedCompactRev";
pub(crate) const SCHEDULED_COMPACTION: &[u8] = b"scheduledCompactRev";
const REMOVED: &[u8] = b"removed";

/// The entries of one bucket, in the order of their keys.
pub(crate) type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// What etcd's bucket `meta` has of a finished compaction.
pub(crate) fn compaction_entries(compacted: Option<Revision>) -> Entries {
    let entry = |name: &[u8], revision: Revision| {
        let value = [&revision.get().to_be_bytes()[..], b"_", &[0; 8]].concat();
        (name.to_vec(), value)
    };
    let entries =
        |revision| [FINISHED_COMPACTION, SCHEDULED_COMPACTION].map(|name| entry(name, revision));
    compacted.into_iter().flat_map(entries).collect()
}

impl Tables {
    pub(crate) fn new(config: &Config) -> Self {
        Tables {
            applied: Index::ZERO,
            term: Term::ZERO,
            conf_state: ConfState::default(),
            leases: Leases::new(config.min_lease_ttl_s),
            members: Members::default(),
            alarms: Alarms::default(),
            auth: Auth::new(),
            cluster_version: None,
            downgrade: None,
        }
    }

    /// The entries of one bucket.
    pub(crate) fn entries(&self, bucket: Bucket) -> Entries {
        let mut entries = self.unordered_entries(bucket);
        // Member ids are spelled as text and lease ids are signed: neither sorts as it counts.
        entries.sort_unstable();
        entries
    }

    fn unordered_entries(&self, bucket: Bucket) -> Entries {
        match bucket {
            Bucket::Alarm => {
                let alarms = self.alarms.all();
                alarms
                    .iter()
                    .map(|alarm| (alarm.encode_to_vec(), vec![]))
                    .collect()
            }
            Bucket::Auth => vec![(AUTH_REVISION.to_vec(), be(self.auth.revision()))],
            Bucket::AuthRoles => messages(self.auth.roles()),
            Bucket::AuthUsers => messages(self.auth.users()),
            Bucket::Cluster => self.cluster_entries(),
            Bucket::Lease => self.lease_entries(),
            Bucket::Members => {
                let entry = |member: &Member| (member.id.to_string().into(), member.to_json());
                self.members.iter().map(entry).collect()
            }
            Bucket::MembersRemoved => {
                let entry = |id: MemberId| (id.to_string().into(), REMOVED.to_vec());
                self.members.removed().map(entry).collect()
            }
            Bucket::Meta => vec![
                (APPLIED.to_vec(), be(self.applied.get())),
                (TERM.to_vec(), be(self.term.get())),
                (
                    CONF_STATE.to_vec(),
                    json(&ConfStateJson::from(&self.conf_state)),
                ),
            ],
            Bucket::LeasedKeys => self.leased_keys(),
        }
    }

    fn cluster_entries(&self) -> Entries {
        let mut entries = Entries::new();
        if let Some(version) = self.cluster_version {
            entries.push((CLUSTER_VERSION.to_vec(), version.to_string().into()));
        }
        if let Some(info) = &self.downgrade {
            entries.push((DOWNGRADE.to_vec(), json(&DowngradeJson::from(info))));
        }
        entries
    }

    fn lease_entries(&self) -> Entries {
        let entry = |(id, lease): (LeaseId, &crate::Lease)| {
            let record = leasepb::Lease {
                id: id.get(),
                ttl: lease.ttl_s,
                remaining_ttl: lease.remaining_s,
            };
            (id.get().to_be_bytes().to_vec(), record.encode_to_vec())
        };
        self.leases.iter().map(entry).collect()
    }

    fn leased_keys(&self) -> Entries {
        let entry = |id: LeaseId, key: &Bytes| (key.to_vec(), id.get().to_be_bytes().to_vec());
        let leases = self.leases.iter();
        leases
            .flat_map(|(id, lease)| lease.keys.iter().map(move |key| entry(id, key)))
            .collect()
    }

    /// Takes one entry back. Leases come before the keys on them.
    pub(crate) fn restore(
        &mut self,
        bucket: Bucket,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), String> {
        let told = |error: &dyn std::fmt::Display| format!("{}: {error}", bucket.name());
        let decoded = |error: prost::DecodeError| told(&error);
        match bucket {
            Bucket::Alarm => {
                let alarm = AlarmMember::decode(key).map_err(decoded)?;
                self.alarms.restore(MemberId(alarm.member_id), alarm.alarm);
            }
            Bucket::Auth => {
                expect_key(bucket, key, AUTH_REVISION)?;
                self.auth.restore_revision(number(bucket, value)?);
            }
            Bucket::AuthRoles => {
                let role = authpb::Role::decode(Bytes::copy_from_slice(value)).map_err(decoded)?;
                self.auth.restore_role(text(bucket, key)?, role);
            }
            Bucket::AuthUsers => {
                let user = authpb::User::decode(Bytes::copy_from_slice(value)).map_err(decoded)?;
                self.auth.restore_user(text(bucket, key)?, user);
            }
            Bucket::Cluster => self.restore_cluster(key, value)?,
            Bucket::Lease => {
                let lease = leasepb::Lease::decode(value).map_err(decoded)?;
                self.leases
                    .restore(LeaseId(lease.id), lease.ttl, lease.remaining_ttl);
            }
            Bucket::Members => {
                let member = Member::from_json(value).map_err(|error| told(&error))?;
                self.members.restore(member);
            }
            Bucket::MembersRemoved => {
                let id = u64::from_str_radix(&text(bucket, key)?, 16);
                let id = id.map_err(|error| told(&error))?;
                self.members.restore_removed(MemberId(id));
            }
            Bucket::Meta => self.restore_meta(key, value)?,
            Bucket::LeasedKeys => {
                let id = LeaseId(number(bucket, value)? as i64);
                if !self.leases.contains(id) {
                    return Err(format!(
                        "{}: a key is on lease {id}, which is not there",
                        bucket.name()
                    ));
                }
                self.leases.move_key(key, id);
            }
        }
        Ok(())
    }

    fn restore_cluster(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        if key == CLUSTER_VERSION {
            let text = text(Bucket::Cluster, value)?;
            let version = Version::parse(&text).ok_or(format!("cluster: version {text:?}"))?;
            self.cluster_version = Some(version);
            return Ok(());
        }
        expect_key(Bucket::Cluster, key, DOWNGRADE)?;
        let json: DowngradeJson =
            serde_json::from_slice(value).map_err(|error| format!("cluster: {error}"))?;
        self.downgrade = Some(json.into());
        Ok(())
    }

    fn restore_meta(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        match key {
            APPLIED => self.applied = Index(number(Bucket::Meta, value)?),
            TERM => self.term = Term(number(Bucket::Meta, value)?),
            _ => {
                expect_key(Bucket::Meta, key, CONF_STATE)?;
                let json: ConfStateJson =
                    serde_json::from_slice(value).map_err(|error| format!("meta: {error}"))?;
                self.conf_state = json.into();
            }
        }
        Ok(())
    }
}

fn messages<'a, M: Message + 'a>(records: impl Iterator<Item = (&'a str, &'a M)>) -> Entries {
    records
        .map(|(name, record)| (name.as_bytes().to_vec(), record.encode_to_vec()))
        .collect()
}

fn be(number: u64) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

fn number(bucket: Bucket, value: &[u8]) -> Result<u64, String> {
    let bytes = value.try_into().map_err(|_| {
        let len = value.len();
        format!("{}: a number of {len} bytes where 8 are due", bucket.name())
    })?;
    Ok(u64::from_be_bytes(bytes))
}

fn text(bucket: Bucket, bytes: &[u8]) -> Result<String, String> {
    let text = String::from_utf8(bytes.to_vec());
    text.map_err(|error| format!("{}: {error}", bucket.name()))
}

fn expect_key(bucket: Bucket, key: &[u8], expected: &[u8]) -> Result<(), String> {
    if key == expected {
        return Ok(());
    }
    Err(format!(
        "{}: unknown key {}",
        bucket.name(),
        key.escape_ascii()
    ))
}

/// etcd's JSON of a raft configuration.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct ConfStateJson {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    voters: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    learners: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    voters_outgoing: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    learners_next: Vec<u64>,
    auto_leave: bool,
}

impl From<&ConfState> for ConfStateJson {
    fn from(state: &ConfState) -> Self {
        ConfStateJson {
            voters: state.voters.clone(),
            learners: state.learners.clone(),
            voters_outgoing: state.voters_outgoing.clone(),
            learners_next: state.learners_next.clone(),
            auto_leave: state.auto_leave,
        }
    }
}

impl From<ConfStateJson> for ConfState {
    fn from(json: ConfStateJson) -> Self {
        ConfState {
            voters: json.voters,
            learners: json.learners,
            voters_outgoing: json.voters_outgoing,
            learners_next: json.learners_next,
            auto_leave: json.auto_leave,
        }
    }
}

/// etcd's JSON of a downgrade.
#[derive(Serialize, Deserialize)]
struct DowngradeJson {
    #[serde(rename = "target-version")]
    target_version: String,
    enabled: bool,
}

impl From<&DowngradeInfo> for DowngradeJson {
    fn from(info: &DowngradeInfo) -> Self {
        DowngradeJson {
            target_version: info.target_version.clone(),
            enabled: info.enabled,
        }
    }
}

impl From<DowngradeJson> for DowngradeInfo {
    fn from(json: DowngradeJson) -> Self {
        DowngradeInfo {
            enabled: json.enabled,
            target_version: json.target_version,
        }
    }
}
