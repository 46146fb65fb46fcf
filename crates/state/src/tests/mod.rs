//! Tests of the whole state machine: etcd's own logs replayed, and random transactions against
//! an obvious interpreter.

mod golden;
mod history;
mod moves;
mod rules;
mod twin;
mod wal;

use crate::{Applied, Config, Fatal, State};
use std::io::Read as _;
use tenet_base::disk::FilePath;
use tenet_base::memory_disk::MemoryDisk;
use tenet_base::{Index, MemberId, Term};
use tenet_proto::etcdserverpb::InternalRaftRequest;
use tenet_proto::prost::Message as _;
use tenet_proto::raftpb::{ConfChange, ConfChangeType, ConfState, Entry, EntryType};
use tenet_store::Opened;

fn config() -> Config {
    Config {
        member: MemberId(1),
        min_lease_ttl_s: 2,
        quota_bytes: 0,
        learners_max: 1,
    }
}

/// A disk with what the state has made durable.
fn flushed(state: &mut State) -> MemoryDisk {
    let mut disk = MemoryDisk::default();
    let mut job = state.flush(true);
    while let Some(ops) = job.step().unwrap() {
        disk.run(ops).unwrap();
    }
    state.finished(job.finish(&disk).unwrap());
    disk
}

fn opened(disk: &MemoryDisk) -> Opened {
    let found = tenet_store::open(disk, &FilePath::new("store")).unwrap();
    found.store.unwrap()
}

fn gunzip(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut reader = flate2::read::GzDecoder::new(data);
    reader.read_to_end(&mut out).unwrap();
    out
}

/// What one entry did.
#[derive(Debug)]
enum Outcome {
    Empty,
    Request(Box<InternalRaftRequest>, Applied),
    ConfChange(crate::ConfApplied),
}

/// Applies one entry of a log as a member would.
fn apply(state: &mut State, entry: &Entry) -> Result<Outcome, Fatal> {
    let (index, term) = (Index(entry.index), Term(entry.term));
    if entry.entry_type == EntryType::ConfChange as i32 {
        let change = ConfChange::decode(entry.data.clone()).unwrap();
        let applied = state.apply_conf_change(index, term, &change)?;
        let conf_state = changed(state.conf_state(), &applied.change);
        state.set_conf_state(conf_state);
        return Ok(Outcome::ConfChange(applied));
    }
    if entry.data.is_empty() {
        state.apply_empty(index, term);
        return Ok(Outcome::Empty);
    }
    let request = InternalRaftRequest::decode(entry.data.clone()).unwrap();
    let applied = state.apply(index, term, &request)?;
    Ok(Outcome::Request(Box::new(request), applied))
}

/// What raft makes of a change, as far as these logs need it.
fn changed(before: &ConfState, change: &ConfChange) -> ConfState {
    let mut state = before.clone();
    let id = change.node_id;
    if id == 0 || change.change_type == ConfChangeType::UpdateNode as i32 {
        return state;
    }
    state.voters.retain(|voter| *voter != id);
    state.learners.retain(|learner| *learner != id);
    if change.change_type == ConfChangeType::AddNode as i32 {
        state.voters.push(id);
        state.voters.sort_unstable();
    } else if change.change_type == ConfChangeType::AddLearnerNode as i32 {
        state.learners.push(id);
        state.learners.sort_unstable();
    }
    state
}
