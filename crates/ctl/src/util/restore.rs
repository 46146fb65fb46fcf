//! `snapshot restore`: a data directory from a snapshot, etcd's or ours.
//!
//! The snapshot is read and judged as a whole before anything is written, and the directory has
//! its name only when it is whole.

use std::path::{Path as FilePath, PathBuf};
use std::time::SystemTime;

use tenet_cli::go::Url;
use tenet_cli::log::{Entry, Format, Level, Outputs};
use tenet_cli::members;
use tenet_cli::settings::Settings;
use tenet_cli::value::parse_urls;
use tenet_runtime::{Founder, NewCluster, RestoreTarget};

use super::flags::{
    BUMP_REVISION, DATA_DIR, INITIAL_ADVERTISE_PEER_URLS, INITIAL_CLUSTER, INITIAL_CLUSTER_TOKEN,
    INITIAL_MEMORY_MAP_SIZE, MARK_COMPACTED, NAME, RESTORE, SKIP_HASH_CHECK, WAL_DIR,
};
use super::import::{self, Bump};
use crate::failure::{Exit, Failure};
use crate::invocation::Invocation;
use crate::snapshot_file::SnapshotFile;
use crate::tree::{Command, Run};

pub(super) static COMMAND: Command = Command {
    flags: RESTORE,
    run: Run::Now(restore),
    ..Command::below(
        "restore",
        "<filename> --data-dir {output dir} [options]",
        "Makes a data directory from a snapshot",
    )
};

fn restore(invocation: &mut Invocation) -> Result<(), Failure> {
    let args = invocation.text_args();
    let [path] = &args[..] else {
        let text = "snapshot restore requires exactly one argument";
        return Err(Failure::new(Exit::BadArgs, text));
    };
    let settings = &invocation.settings;
    let bump = bump(settings)?;
    let made = make(path, settings, bump);
    made.map_err(|text| Failure::new(Exit::Error, text))
}

fn bump(settings: &Settings) -> Result<Option<Bump>, Failure> {
    let by = settings.uint(&BUMP_REVISION);
    if settings.bool(&MARK_COMPACTED) != (by > 0) {
        let text = "--mark-compacted required if --revision-bump > 0";
        return Err(Failure::new(Exit::BadArgs, text));
    }
    let tell = |before: i64, after: i64| {
        log(Entry::new(Level::Info, "bumping latest revision")
            .with("latest-revision", before)
            .with("bump-amount", after - before)
            .with("new-latest-revision", after));
        log(Entry::new(Level::Info, "marking revision compacted").with("revision", after));
    };
    Ok((by > 0).then_some(Bump { by, tell }))
}

fn make(path: &str, settings: &Settings, bump: Option<Bump>) -> Result<(), String> {
    let cluster = cluster(settings)?;
    let target = target(settings);
    target.check().map_err(|error| error.to_string())?;
    log(told("restoring snapshot", path, settings, &target));
    let file = SnapshotFile::open(path)?;
    if !settings.bool(&SKIP_HASH_CHECK) {
        file.verify().inspect_err(|_| log(unproven(path)))?;
    }
    for member in &cluster.beginning().members {
        log(Entry::new(Level::Info, "added member")
            .with("cluster-id", cluster.identity().cluster.to_string())
            .with("local-member-id", "0")
            .with("added-peer-id", member.id.to_string())
            .with("added-peer-peer-urls", member.peer_urls.clone())
            .with("added-peer-is-learner", false));
    }
    let mut state = import::read(path, file, &cluster, bump)?;
    target
        .write(&cluster, &mut state)
        .map_err(|error| error.to_string())?;
    log(told("restored snapshot", path, settings, &target));
    Ok(())
}

/// The new cluster, judged as a start would judge it.
fn cluster(settings: &Settings) -> Result<NewCluster, String> {
    let name = settings.text(&NAME);
    let advertised = parse_urls(settings.text(&INITIAL_ADVERTISE_PEER_URLS))?;
    let members = members::parse(settings.text(&INITIAL_CLUSTER))?;
    let own = members::find_own(&members, name)?;
    members::check_advertised(name, &advertised, own)?;
    members::check_duplicates(&members)?;
    let founders = members.iter().map(|(name, urls)| Founder {
        name: name.clone(),
        peer_urls: urls.iter().map(Url::to_string).collect(),
    });
    let token = settings.text(&INITIAL_CLUSTER_TOKEN);
    NewCluster::new(founders.collect(), name, token).map_err(|error| error.to_string())
}

fn target(settings: &Settings) -> RestoreTarget {
    let data_dir = match settings.text(&DATA_DIR) {
        "" => PathBuf::from(format!("{}.etcd", settings.text(&NAME))),
        given => PathBuf::from(given),
    };
    let wal_dir = Some(settings.text(&WAL_DIR))
        .filter(|given| !given.is_empty() && FilePath::new(given) != usual_wal_dir(&data_dir))
        .map(PathBuf::from);
    RestoreTarget { data_dir, wal_dir }
}

fn usual_wal_dir(data_dir: &FilePath) -> PathBuf {
    data_dir.join("member").join("wal")
}

fn told(message: &str, path: &str, settings: &Settings, target: &RestoreTarget) -> Entry {
    let RestoreTarget { data_dir, wal_dir } = target;
    let wal_dir = wal_dir.clone().unwrap_or_else(|| usual_wal_dir(data_dir));
    let text = |path: &FilePath| path.display().to_string();
    Entry::new(Level::Info, message)
        .with("path", path)
        .with("wal-dir", text(&wal_dir))
        .with("data-dir", text(data_dir))
        .with("snap-dir", text(&data_dir.join("member").join("snap")))
        .with(
            "initial-memory-map-size",
            settings.uint(&INITIAL_MEMORY_MAP_SIZE),
        )
}

/// What etcdutl's words do not say.
fn unproven(path: &str) -> Entry {
    let text = "snapshot refused: it was not copied whole, or was changed since it was taken; copy \
                it again or take another one. A copy of etcd's member/snap/db has no checksum and \
                needs --skip-hash-check";
    Entry::new(Level::Error, text).with("path", path)
}

/// Writes a line to standard error, in the form that etcdutl has.
fn log(entry: Entry) {
    Outputs::stderr().write(&entry.line(Format::Console, SystemTime::now()));
}
