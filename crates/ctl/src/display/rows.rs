//! Answers that are lists of rows: cells for the table format, joined by commas for the simple one.

use tenet_cli::print::size::bytes_si;
use tenet_proto::etcdserverpb::{HashKvResponse, MemberListResponse, StatusResponse};

use super::Health;

pub(super) const MEMBER_HEADINGS: &[&str] = &[
    "ID",
    "Status",
    "Name",
    "Peer Addrs",
    "Client Addrs",
    "Is Learner",
];

pub(super) fn members(answer: &MemberListResponse) -> Vec<Vec<String>> {
    let row = |member: &tenet_proto::etcdserverpb::Member| {
        let status = if member.name.is_empty() {
            "unstarted"
        } else {
            "started"
        };
        vec![
            format!("{:x}", member.id),
            status.to_owned(),
            member.name.clone(),
            member.peer_urls.join(","),
            member.client_urls.join(","),
            member.is_learner.to_string(),
        ]
    };
    answer.members.iter().map(row).collect()
}

pub(super) const HEALTH_HEADINGS: &[&str] = &["endpoint", "health", "took", "error"];

pub(super) fn health(checks: &[Health]) -> Vec<Vec<String>> {
    let row = |check: &Health| {
        vec![
            check.endpoint.clone(),
            check.healthy.to_string(),
            check.took.clone(),
            check.error.clone(),
        ]
    };
    checks.iter().map(row).collect()
}

pub(super) const STATUS_HEADINGS: &[&str] = &[
    "endpoint",
    "ID",
    "version",
    "storage version",
    "db size",
    "in use",
    "percentage not in use",
    "quota",
    "is leader",
    "is learner",
    "raft term",
    "raft index",
    "raft applied index",
    "errors",
    "downgrade target version",
    "downgrade enabled",
];

pub(super) fn statuses(statuses: &[(String, StatusResponse)]) -> Vec<Vec<String>> {
    let row = |(endpoint, status): &(String, StatusResponse)| {
        let member = status.header.as_ref().map_or(0, |header| header.member_id);
        let downgrade = status.downgrade_info.clone().unwrap_or_default();
        vec![
            endpoint.clone(),
            format!("{member:x}"),
            status.version.clone(),
            status.storage_version.clone(),
            bytes_si(status.db_size.cast_unsigned()),
            bytes_si(status.db_size_in_use.cast_unsigned()),
            format!("{}%", percent_not_in_use(status)),
            bytes_si(status.db_size_quota.cast_unsigned()),
            (status.leader == member).to_string(),
            status.is_learner.to_string(),
            status.raft_term.to_string(),
            status.raft_index.to_string(),
            status.raft_applied_index.to_string(),
            status.errors.join(", "),
            downgrade.target_version,
            downgrade.enabled.to_string(),
        ]
    };
    statuses.iter().map(row).collect()
}

fn percent_not_in_use(status: &StatusResponse) -> i64 {
    match status.db_size {
        // A server that tells no size: nothing to divide by.
        0 => 0,
        size => 100 - status.db_size_in_use.wrapping_mul(100).wrapping_div(size),
    }
}

pub(super) const HASH_HEADINGS: &[&str] = &["endpoint", "hash", "hash_revision"];

pub(super) fn hashes(hashes: &[(String, HashKvResponse)]) -> Vec<Vec<String>> {
    let row = |(endpoint, hash): &(String, HashKvResponse)| {
        vec![
            endpoint.clone(),
            hash.hash.to_string(),
            hash.hash_revision.to_string(),
        ]
    };
    hashes.iter().map(row).collect()
}
