//! Bringing a member up from its data directory.
//!
//! A directory without a log founds a new member: the log begins with etcd's first records, and
//! the members of the initial cluster enter it as configuration changes. A member that joins a
//! running cluster begins with an empty log: it belongs to no configuration, so it cannot vote or
//! campaign, and learns all from the leader. A directory with a log is
//! restarted: the store gives the state at its cut A = (index, term), the log is read from A
//! on, and nothing at or below A is executed again.
//!
//! Refused, with the directory left as it was: a log without our store beside it (etcd's own
//! directory), a store or log that is damaged, a log that does not reach A with A's term, a
//! store of another member or cluster.
//!
//! ```text
//! member/wal/                 etcd's log
//! member/store/               the state, see `docs/store-format.md`
//! member/ballast              takes room that is given up when there is none, see `space`
//! member/snap/db              a note for people and for etcd's tools, which cannot open it
//! ```

use crate::applier::{Applier, FlushPolicy};
use crate::compactor::Retention;
use crate::consensus::{Consensus, Timeouts};
use crate::duties::Duties;
use crate::frontend::{Frontend, Limits};
use crate::identity::{Identity, RequestIds};
use crate::keeper::Keeper;
use crate::lease::{LeaseOptions, Lessor};
use crate::log_writer::LogWriter;
use crate::progress::Progress;
use crate::received::Receiver;
use crate::space::Space;
use crate::waiter::Waiter;
use crate::watch::{WatchHub, WatchOptions};
use bytes::Bytes;
use std::sync::Arc;
use tenet_base::disk::{DiskError, DiskOp, DiskView, FilePath};
use tenet_base::{Index, MemberId, limits};
use tenet_proto::membershippb::Attributes;
use tenet_proto::prost::Message as _;
use tenet_proto::raftpb::{ConfChange, ConfChangeType, ConfState, Entry, EntryType, HardState};
use tenet_raft::{Config, MemoryLog, Raft};
use tenet_state::{Member, RecoverError, State, bootstrap_member_id, cluster_id};
use tenet_store::{Manifest, OpenError, Opened, Store};
use tenet_wal::{Metadata, Position, WalError};

/// What people and tools find at the place of etcd's database.
const NOTE: &str = "\
This is a data directory of Tenet, not of etcd.
The key-value store is in member/store and the log in member/wal.
Take a snapshot from the running server to move data to etcd.
";

/// A member that a new cluster starts with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Founder {
    /// Its name.
    pub name: String,
    /// Its peer URLs, sorted.
    pub peer_urls: Vec<String>,
}

/// What a member is told at its start.
#[derive(Clone, Debug)]
pub struct Options {
    /// This member's name.
    pub name: String,
    /// The client URLs it publishes.
    pub client_urls: Vec<String>,
    /// The members of a new cluster, this one among them; ignored at a restart.
    pub initial_cluster: Vec<Founder>,
    /// What enters the ids of a new cluster.
    pub initial_cluster_token: String,
    /// Who this member is in a running cluster that it was added to, if it is to join one; ignored
    /// at a restart.
    pub joins: Option<Identity>,
    /// Ticks without word from a leader before an election.
    pub election_ticks: u32,
    /// Length of a tick.
    pub tick_ms: u64,
    /// Skip most of the wait for the first election.
    pub initial_tick_advance: bool,
    /// Ask before campaigning.
    pub pre_vote: bool,
    /// Entries applied between two flushes of the state.
    pub snapshot_count: u64,
    /// What history automatic compaction keeps; `None` for all.
    pub auto_compaction: Option<Retention>,
    /// Entries kept behind a flush for slow followers.
    pub snapshot_catchup_entries: u64,
    /// Log segments that are kept at least.
    pub keep_segments: usize,
    /// Write down what is left of leases, so that it survives restarts.
    pub lease_checkpoints: bool,
    /// Renew known leases without waiting for all committed entries to be applied.
    pub fast_lease_keep_alive: bool,
    /// Sizes of the log's files.
    pub wal: tenet_wal::Options,
    /// Limits on requests and space.
    pub limits: Limits,
    /// What flags say about watches.
    pub watch: WatchOptions,
    /// Learners that a cluster may have.
    pub learners_max: usize,
    /// The cluster version of this release, as `X.Y.0`.
    pub cluster_version: String,
    /// The wall clock, for request ids.
    pub unix_ms: u64,
    /// Randomness for election jitter.
    pub seed: u64,
}

/// Why a member could not be brought up.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum BootError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(transparent)]
    Wal(#[from] WalError),
    #[error(
        "the store cannot be opened: {0}. Restore this member from a snapshot, or remove it and add it again"
    )]
    Store(#[from] OpenError),
    #[error(
        "the store cannot be recovered: {0}. Restore this member from a snapshot, or remove it and add it again"
    )]
    Recover(#[from] RecoverError),
    #[error(
        "{wal} has a log but {store} is not there: this is a data directory of etcd, or one whose \
         store was lost. To move etcd's data here, take a snapshot with \"etcdctl snapshot save\" \
         and restore it into an empty directory; to go on with etcd, start etcd"
    )]
    NotOurs { wal: FilePath, store: FilePath },
    #[error("{path} is a database of etcd, but there is no log beside it: move it away first")]
    ForeignDatabase { path: FilePath },
    #[error("couldn't find local name \"{0}\" in the initial cluster configuration")]
    NotInCluster(String),
    #[error(
        "the log in {path} belongs to member {log}, the store to member {store}: the directories \
         were mixed up"
    )]
    OtherMember {
        path: FilePath,
        log: MemberId,
        store: MemberId,
    },
    #[error("clusters of more than one member are not there yet: --initial-cluster names {0}")]
    ManyMembers(usize),
    #[error("the consensus core refuses its settings: {0}")]
    Config(String),
}

/// A member that is ready to run.
#[derive(Debug)]
pub struct Booted<W> {
    /// To be done, in order, before anything else is submitted.
    pub prepare: Vec<DiskOp>,
    /// Who this member is.
    pub identity: Identity,
    /// The actors.
    pub consensus: Consensus<W>,
    #[allow(missing_docs)]
    pub log_writer: LogWriter,
    #[allow(missing_docs)]
    pub applier: Applier<W>,
    #[allow(missing_docs)]
    pub keeper: Keeper,
    /// What runs on the callers' threads.
    pub frontend: Frontend,
    /// Where watch sessions are opened.
    pub watches: WatchHub,
    /// Makes states of the snapshots that come.
    pub receiver: Receiver,
    /// The time of leases.
    pub lessor: Arc<Lessor<W>>,
    /// What an operator may want to know of the recovery, one sentence each.
    pub report: Vec<String>,
}

/// The directories of a member, relative to the root of the disk.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    member: FilePath,
    pub(crate) wal: FilePath,
    pub(crate) store: FilePath,
    pub(crate) ballast: FilePath,
    snap: FilePath,
    note: FilePath,
}

impl Layout {
    pub(crate) fn new() -> Self {
        let member = FilePath::new("member");
        let snap = member.join("snap");
        Layout {
            wal: member.join("wal"),
            store: member.join("store"),
            ballast: member.join("ballast"),
            note: snap.join("db"),
            snap,
            member,
        }
    }
}

/// Looks at the data directory and makes the member that is in it, or a new one.
///
/// # Errors
/// See [`BootError`]. Nothing is changed on the disk by this function.
pub fn boot<W: Waiter>(view: &dyn DiskView, options: &Options) -> Result<Booted<W>, BootError> {
    let layout = Layout::new();
    let segments = view.list(&layout.wal)?.unwrap_or_default();
    let has_log = segments.iter().any(|name| name.ends_with(".wal"));
    let has_store = view.list(&layout.store)?.is_some();
    match (has_log, has_store) {
        (true, true) => restart(view, &layout, options),
        (true, false) => Err(BootError::NotOurs {
            wal: layout.wal.clone(),
            store: layout.store,
        }),
        (false, _) => match options.joins {
            None => found(view, &layout, options),
            Some(identity) => join(view, &layout, identity, options),
        },
    }
}

/// A new member of a new cluster.
fn found<W: Waiter>(
    view: &dyn DiskView,
    layout: &Layout,
    options: &Options,
) -> Result<Booted<W>, BootError> {
    refuse_foreign_database(view, layout)?;
    let founders = &options.initial_cluster;
    let token = &options.initial_cluster_token;
    let id_of = |founder: &Founder| bootstrap_member_id(&founder.peer_urls, token);
    let identity = founding_identity(founders, &options.name, token)?;
    let member = identity.member;
    let (hard_state, entries) = founding_entries(founders, id_of);
    let mut prepare = prepare_directories(layout);
    let metadata = Metadata {
        member,
        cluster: identity.cluster,
    };
    // The log is never there without these entries, or a restart would find nobody who votes.
    let wal = tenet_wal::create_founded(
        &layout.wal,
        metadata,
        options.wal,
        &hard_state,
        &entries,
        &mut prepare,
    );
    let log = Log {
        hard_state,
        entries,
        wal,
    };
    let state = State::over(state_config(options, member), new_store(layout, identity));
    let mut booted = assemble(state, log, identity, options)?;
    booted.prepare = prepare;
    Ok(booted)
}

/// A new member of a running cluster.
fn join<W: Waiter>(
    view: &dyn DiskView,
    layout: &Layout,
    identity: Identity,
    options: &Options,
) -> Result<Booted<W>, BootError> {
    refuse_foreign_database(view, layout)?;
    let mut prepare = prepare_directories(layout);
    let metadata = Metadata {
        member: identity.member,
        cluster: identity.cluster,
    };
    let wal = tenet_wal::create_with(&layout.wal, metadata, options.wal, &mut prepare);
    let log = Log {
        hard_state: HardState::default(),
        entries: Vec::new(),
        wal,
    };
    let config = state_config(options, identity.member);
    let state = State::over(config, new_store(layout, identity));
    let mut booted = assemble(state, log, identity, options)?;
    booted.prepare = prepare;
    Ok(booted)
}

/// Who the founder called `name` is.
pub(crate) fn founding_identity(
    founders: &[Founder],
    name: &str,
    token: &str,
) -> Result<Identity, BootError> {
    let id_of = |founder: &Founder| bootstrap_member_id(&founder.peer_urls, token);
    let local = founders
        .iter()
        .find(|founder| founder.name == name)
        .ok_or_else(|| BootError::NotInCluster(name.to_owned()))?;
    let ids: Vec<MemberId> = founders.iter().map(id_of).collect();
    Ok(Identity {
        cluster: cluster_id(&ids),
        member: id_of(local),
    })
}

/// The configuration that the founders make.
pub(crate) fn founding_conf_state(ids: impl Iterator<Item = MemberId>) -> ConfState {
    let mut voters: Vec<u64> = ids.map(MemberId::get).collect();
    voters.sort_unstable();
    ConfState {
        voters,
        ..ConfState::default()
    }
}

/// What a cluster's log begins with: each founding member enters by a configuration change, in
/// term 1 and committed from the start. Every founder writes the same.
pub(crate) fn founding_entries(
    founders: &[Founder],
    id_of: impl Fn(&Founder) -> MemberId,
) -> (HardState, Vec<Entry>) {
    let mut members: Vec<(MemberId, Bytes)> = founders
        .iter()
        .map(|f| (id_of(f), founding_context(id_of(f), f)))
        .collect();
    members.sort();
    let entries: Vec<Entry> = members
        .into_iter()
        .zip(1..)
        .map(|((id, context), index)| {
            let change = ConfChange {
                change_type: ConfChangeType::AddNode.into(),
                node_id: id.get(),
                context,
                ..ConfChange::default()
            };
            Entry {
                entry_type: EntryType::ConfChange.into(),
                term: 1,
                index,
                data: change.encode_to_vec().into(),
            }
        })
        .collect();
    let hard_state = HardState {
        term: 1,
        vote: 0,
        commit: entries.len() as u64,
    };
    (hard_state, entries)
}

/// A member that has run before.
fn restart<W: Waiter>(
    view: &dyn DiskView,
    layout: &Layout,
    options: &Options,
) -> Result<Booted<W>, BootError> {
    let found = tenet_store::open(view, &layout.store)?;
    let mut opened = open_log(view, layout, found.store.as_ref(), options)?;
    let manifest = found.store.as_ref().map(|store| &store.manifest);
    let side_bytes = manifest.map_or(0, Manifest::side_bytes);
    let member = opened.metadata.member;
    let identity = Identity {
        cluster: opened.metadata.cluster,
        member,
    };
    let config = state_config(options, member);
    let state = match found.store {
        Some(store) => {
            refuse_other_member(layout, identity, &store)?;
            State::recover(config, view, store)?
        }
        None => State::over(config, new_store(layout, identity)),
    };
    let (index, term) = state.applied();
    if opened.start.index < index {
        // What a loss of power kept from being done when the snapshot was installed.
        let position = Position {
            index,
            term,
            conf_state: Some(state.conf_state().clone()),
        };
        opened.writer.save_position(&position, &mut opened.repair);
        opened.hard_state.commit = opened.hard_state.commit.max(index.get());
        opened.hard_state.term = opened.hard_state.term.max(term.get());
        opened.entries.clear();
    }
    let log = Log {
        hard_state: opened.hard_state,
        entries: opened.entries,
        wal: opened.writer,
    };
    let mut booted = assemble(state, log, identity, options)?;
    booted.prepare = opened.repair;
    // What was read of the directory may be there only until the power fails: a process may have
    // ended before it synced it. What the manifest does not name goes once it is sure to stay.
    booted.prepare.push(DiskOp::SyncDir {
        path: layout.store.clone(),
    });
    let strays = found.strays.into_iter();
    booted
        .prepare
        .extend(strays.map(|path| DiskOp::Remove { path }));
    if view.len(&layout.note)?.is_none() {
        booted.prepare.extend(leave_note(layout));
    }
    let ballast_bytes = view.len(&layout.ballast)?.unwrap_or(0);
    let progress = Arc::clone(booted.frontend.progress());
    booted.keeper = new_keeper(layout, progress, ballast_bytes, side_bytes);
    booted.report = opened.report;
    Ok(booted)
}

/// Opens the log from where the store stands. The log need not reach a store that came as a
/// snapshot: then it is opened from its own newest snapshot record.
fn open_log(
    view: &dyn DiskView,
    layout: &Layout,
    store: Option<&Opened>,
    options: &Options,
) -> Result<tenet_wal::Opened, BootError> {
    let cut = store.map(|store| store.manifest.cut);
    let floor = cut.map(|cut| (cut.applied, cut.term));
    let received = store.is_some_and(|store| store.manifest.received);
    match tenet_wal::open_with(view, &layout.wal, floor, options.wal) {
        Err(WalError::EndsBefore { .. } | WalError::TermMismatch { .. }) if received => {
            let start = tenet_wal::read(view, &layout.wal, tenet_wal::From::Newest)?.start;
            let floor = Some((start.index, start.term));
            Ok(tenet_wal::open_with(view, &layout.wal, floor, options.wal)?)
        }
        opened => Ok(opened?),
    }
}

/// `ballast_bytes` and `side_bytes` are what there is of ballast and of files beside the segments.
pub(crate) fn new_keeper(
    layout: &Layout,
    progress: Arc<Progress>,
    ballast_bytes: u64,
    side_bytes: u64,
) -> Keeper {
    let space = Space::new(layout.ballast.clone(), ballast_bytes, side_bytes);
    Keeper::new(space, progress, layout.store.clone(), layout.wal.clone())
}

pub(crate) fn new_store(layout: &Layout, identity: Identity) -> Store {
    Store::new(layout.store.clone(), identity.cluster, identity.member)
}

fn refuse_other_member(
    layout: &Layout,
    identity: Identity,
    store: &Opened,
) -> Result<(), BootError> {
    let Identity { cluster, member } = identity;
    let manifest = &store.manifest;
    if (manifest.cluster, manifest.member) == (cluster, member) {
        return Ok(());
    }
    Err(BootError::OtherMember {
        path: layout.member.clone(),
        log: member,
        store: manifest.member,
    })
}

/// What the log holds after the state's applied index.
struct Log {
    hard_state: HardState,
    entries: Vec<Entry>,
    wal: tenet_wal::WalWriter,
}

fn assemble<W: Waiter>(
    state: State,
    log: Log,
    identity: Identity,
    options: &Options,
) -> Result<Booted<W>, BootError> {
    let (applied, term) = state.applied();
    // What the state holds was committed, whatever the last hard state in the log says.
    let mut hard_state = log.hard_state;
    hard_state.commit = hard_state.commit.max(applied.get());
    let last = log.entries.last().map_or(applied, Entry::index);
    assert!(
        hard_state.commit <= last.get(),
        "the log ends at {last}, but {} was committed: entries were lost",
        hard_state.commit
    );
    let conf_state = state.conf_state().clone();
    let base = (applied, term);
    let mut memory = MemoryLog::with_state(hard_state, conf_state.clone(), base, log.entries);
    if !applied.is_zero() {
        // What is before it is given to others as a snapshot.
        let named = memory.create_snapshot(applied, conf_state.clone(), Bytes::new());
        named.map_err(|error| BootError::Config(error.to_string()))?;
    }
    let raft = Raft::new(raft_config(options, identity.member, applied), memory)
        .map_err(|error| BootError::Config(error.to_string()))?;
    let progress = Arc::new(Progress::default());
    progress.set_durable(last);
    progress.set_committed(Index(hard_state.commit));

    let ids = Arc::new(RequestIds::new(identity.member, options.unix_ms));
    let views = state.views();
    let watches = WatchHub::new(
        identity,
        Arc::clone(&progress),
        views.clone(),
        options.watch,
    );
    let timeouts = Timeouts {
        request_ticks: request_ticks(options),
        election_ticks: options.election_ticks.into(),
    };
    let attributes = Attributes {
        name: options.name.clone(),
        client_urls: options.client_urls.clone(),
    };
    let duties = Duties::new(
        identity.member,
        attributes,
        &options.cluster_version,
        Arc::clone(&ids),
        options.auto_compaction,
    );
    let leases = state.leases();
    let lessor = Arc::new(Lessor::new(
        identity.member,
        lease_options(options),
        Arc::clone(&progress),
        Arc::clone(&ids),
        leases.map(|(id, lease)| (id, lease.ttl_s, lease.remaining_s)),
    ));
    let policy = flush_policy(options);
    Ok(Booted {
        prepare: Vec::new(),
        identity,
        consensus: Consensus::new(
            raft,
            conf_state,
            Arc::clone(&progress),
            timeouts,
            applied,
            options.snapshot_catchup_entries,
            ids.next(),
            options.initial_tick_advance,
        ),
        log_writer: LogWriter::new(log.wal, Arc::clone(&progress), options.keep_segments),
        applier: Applier::new(
            state,
            Arc::clone(&progress),
            watches.clone(),
            duties,
            Arc::clone(&lessor),
            policy,
            request_ticks(options) * options.tick_ms,
        ),
        keeper: new_keeper(&Layout::new(), Arc::clone(&progress), 0, 0),
        frontend: Frontend::new(identity, options.limits, progress, views, ids),
        watches,
        receiver: Receiver::new(state_config(options, identity.member), identity),
        lessor,
        report: Vec::new(),
    })
}

/// What etcd writes into the configuration change that a founding member enters with.
fn founding_context(id: MemberId, founder: &Founder) -> Bytes {
    let member = Member {
        id,
        peer_urls: founder.peer_urls.clone(),
        name: founder.name.clone(),
        ..Member::default()
    };
    member.to_json().into()
}

fn lease_options(options: &Options) -> LeaseOptions {
    LeaseOptions {
        tick_ms: options.tick_ms,
        extension_ms: u64::from(options.election_ticks) * options.tick_ms,
        request_ms: request_ticks(options) * options.tick_ms,
        checkpoints: options.lease_checkpoints,
        fast_keep_alive: options.fast_lease_keep_alive,
    }
}

/// Five seconds and two election timeouts, as in etcd.
fn request_ticks(options: &Options) -> u64 {
    let election_ms = u64::from(options.election_ticks) * options.tick_ms;
    (limits::REQUEST_TIMEOUT_BASE_MS + 2 * election_ms).div_ceil(options.tick_ms.max(1))
}

/// With etcd's default count, flushes are rather due by bytes: a file for every 10,000 small
/// entries would be many syncs for little. Who gives a smaller count gets it.
fn flush_policy(options: &Options) -> FlushPolicy {
    let bytes = if options.snapshot_count < limits::SNAPSHOT_COUNT {
        0
    } else {
        limits::STORE_FLUSH_BYTES / 2
    };
    FlushPolicy {
        entries: options.snapshot_count,
        bytes,
    }
}

fn raft_config(options: &Options, member: MemberId, applied: Index) -> Config {
    Config {
        election_ticks: options.election_ticks,
        pre_vote: options.pre_vote,
        max_committed_bytes_per_output: limits::APPLY_BYTES_MAX,
        applied,
        seed: options.seed,
        ..Config::new(member)
    }
}

fn state_config(options: &Options, member: MemberId) -> tenet_state::Config {
    // etcd: three halves of the election timeout, whole ticks, rounded up to seconds.
    let ticks = u64::from(options.election_ticks) * 3 / 2;
    tenet_state::Config {
        member,
        min_lease_ttl_s: (ticks * options.tick_ms).div_ceil(1_000) as i64,
        quota_bytes: options.limits.quota_bytes,
        learners_max: options.learners_max,
    }
}

/// The store directory comes first: a log without it would be taken for etcd's.
pub(crate) fn prepare_directories(layout: &Layout) -> Vec<DiskOp> {
    let mut ops = vec![
        DiskOp::CreateDir {
            path: layout.member.clone(),
        },
        DiskOp::CreateDir {
            path: layout.store.clone(),
        },
        DiskOp::SyncDir {
            path: layout.member.clone(),
        },
        DiskOp::SyncDir {
            path: layout.member.parent(),
        },
    ];
    ops.extend(leave_note(layout));
    ops
}

/// Nothing depends on the note, so it is not synced; a start that misses it writes it again.
fn leave_note(layout: &Layout) -> [DiskOp; 4] {
    let path = layout.note.clone();
    [
        DiskOp::CreateDir {
            path: layout.snap.clone(),
        },
        DiskOp::Create {
            path: path.clone(),
            reserve_bytes: 0,
        },
        DiskOp::Write {
            path: path.clone(),
            offset: 0,
            data: Bytes::from_static(NOTE.as_bytes()),
        },
        DiskOp::Close { path },
    ]
}

fn refuse_foreign_database(view: &dyn DiskView, layout: &Layout) -> Result<(), BootError> {
    if view.len(&layout.note)?.is_none() {
        return Ok(());
    }
    let found = view.read_at(&layout.note, 0, NOTE.len())?;
    // A torn note is ours too: the start that wrote it did not get further.
    let ours = NOTE.as_bytes().starts_with(&found) || found.iter().all(|byte| *byte == 0);
    if ours {
        Ok(())
    } else {
        Err(BootError::ForeignDatabase {
            path: layout.note.clone(),
        })
    }
}
