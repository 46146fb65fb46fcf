//! The json format: the structs of etcd's Go client as `encoding/json` writes them. Numbers and
//! enums are numbers, bytes are base64, zero fields are left out.

use std::io::{Result, Write};

use tenet_cli::print::json::{Object, base64, list};
use tenet_proto::etcdserverpb::{
    AlarmMember, AlarmResponse, DeleteRangeResponse, HashKvResponse, LeaseGrantResponse,
    LeaseKeepAliveResponse, LeaseLeasesResponse, LeaseRevokeResponse, LeaseTimeToLiveResponse,
    Member, MemberListResponse, PutResponse, RangeResponse, ResponseHeader, ResponseOp,
    StatusResponse, TxnResponse, response_op::Response,
};
use tenet_proto::mvccpb::{Event, KeyValue};

use super::{Answer, Display, Health, Watched};

pub(super) fn write(out: &mut impl Write, display: Display, answer: &Answer<'_>) -> Result<()> {
    match answer {
        Answer::Range(answer) => range(out, answer),
        Answer::Put(answer) => put(out, answer),
        Answer::Delete(answer) => delete(out, answer),
        Answer::Txn(answer) => txn(out, answer),
        Answer::Members(answer) if display.hex => members_in_hex(out, answer),
        Answer::Members(answer) => members(out, answer),
        Answer::Alarms(answer) => alarms(out, answer),
        Answer::Health(checks) => entries(out, checks, health),
        Answer::Statuses(statuses) => entries(out, statuses, |out, (endpoint, status)| {
            entry(out, endpoint, "Status", |out| self::status(out, status))
        }),
        Answer::Hashes(hashes) => entries(out, hashes, |out, (endpoint, hash)| {
            entry(out, endpoint, "HashKV", |out| self::hash(out, hash))
        }),
        Answer::Watch(watched) => watch(out, watched),
        Answer::Granted(answer) => granted(out, answer),
        Answer::Revoked(_, answer) => revoked(out, answer),
        Answer::KeptAlive(answer) => kept_alive(out, answer),
        Answer::TimeToLive(answer, _) => time_to_live(out, answer),
        Answer::Leases(answer) => leases(out, answer),
    }?;
    out.write_all(b"\n")
}

/// A list of endpoints. Without any, Go's list was never made and is null.
fn entries<W: Write, T>(
    out: &mut W,
    items: &[T],
    write: impl FnMut(&mut W, &T) -> Result<()>,
) -> Result<()> {
    if items.is_empty() {
        out.write_all(b"null")
    } else {
        list(out, items, write)
    }
}

fn entry<W: Write>(
    out: &mut W,
    endpoint: &str,
    name: &str,
    write: impl FnOnce(&mut W) -> Result<()>,
) -> Result<()> {
    let mut object = Object::begin(out)?;
    object.string_always("Endpoint", endpoint)?;
    write(object.name(name)?)?;
    object.end()
}

fn header<W: Write>(object: &mut Object<'_, W>, header: Option<&ResponseHeader>) -> Result<()> {
    let Some(header) = header else { return Ok(()) };
    let mut object = Object::begin(object.name("header")?)?;
    header_fields(&mut object, header)?;
    object.end()
}

fn header_fields<W: Write>(object: &mut Object<'_, W>, header: &ResponseHeader) -> Result<()> {
    object.number("cluster_id", header.cluster_id)?;
    object.number("member_id", header.member_id)?;
    object.number("revision", header.revision)?;
    object.number("raft_term", header.raft_term)
}

fn key_value<W: Write>(out: &mut W, kv: &KeyValue) -> Result<()> {
    let mut object = Object::begin(out)?;
    object.bytes("key", &kv.key)?;
    object.number("create_revision", kv.create_revision)?;
    object.number("mod_revision", kv.mod_revision)?;
    object.number("version", kv.version)?;
    object.bytes("value", &kv.value)?;
    object.number("lease", kv.lease)?;
    object.end()
}

fn range<W: Write>(out: &mut W, answer: &RangeResponse) -> Result<()> {
    let mut object = Object::begin(out)?;
    header(&mut object, answer.header.as_ref())?;
    object.list("kvs", &answer.kvs, key_value)?;
    object.bool("more", answer.more)?;
    object.number("count", answer.count)?;
    object.end()
}

fn put<W: Write>(out: &mut W, answer: &PutResponse) -> Result<()> {
    let mut object = Object::begin(out)?;
    header(&mut object, answer.header.as_ref())?;
    if let Some(kv) = &answer.prev_kv {
        key_value(object.name("prev_kv")?, kv)?;
    }
    object.end()
}

fn delete<W: Write>(out: &mut W, answer: &DeleteRangeResponse) -> Result<()> {
    let mut object = Object::begin(out)?;
    header(&mut object, answer.header.as_ref())?;
    object.number("deleted", answer.deleted)?;
    object.list("prev_kvs", &answer.prev_kvs, key_value)?;
    object.end()
}

fn txn<W: Write>(out: &mut W, answer: &TxnResponse) -> Result<()> {
    let mut object = Object::begin(out)?;
    header(&mut object, answer.header.as_ref())?;
    object.bool("succeeded", answer.succeeded)?;
    object.list("responses", &answer.responses, operation)?;
    object.end()
}

/// The answer to an operation is wrapped twice, as Go's oneof is.
fn operation<W: Write>(out: &mut W, operation: &ResponseOp) -> Result<()> {
    let mut outer = Object::begin(out)?;
    let mut inner = Object::begin(outer.name("Response")?)?;
    match &operation.response {
        Some(Response::ResponseRange(answer)) => range(inner.name("response_range")?, answer)?,
        Some(Response::ResponsePut(answer)) => put(inner.name("response_put")?, answer)?,
        Some(Response::ResponseDeleteRange(answer)) => {
            delete(inner.name("response_delete_range")?, answer)?;
        }
        Some(Response::ResponseTxn(answer)) => txn(inner.name("response_txn")?, answer)?,
        None => {}
    }
    inner.end()?;
    outer.end()
}

fn members<W: Write>(out: &mut W, answer: &MemberListResponse) -> Result<()> {
    let mut object = Object::begin(out)?;
    header(&mut object, answer.header.as_ref())?;
    object.list("members", &answer.members, |out, member| {
        let mut object = Object::begin(out)?;
        object.number("ID", member.id)?;
        member_fields(&mut object, member)?;
        object.end()
    })?;
    object.end()
}

fn member_fields<W: Write>(object: &mut Object<'_, W>, member: &Member) -> Result<()> {
    object.string("name", &member.name)?;
    object.strings("peerURLs", &member.peer_urls)?;
    object.strings("clientURLs", &member.client_urls)?;
    object.bool("isLearner", member.is_learner)
}

/// With ids as hexadecimal strings; nothing is left out of the frame.
fn members_in_hex<W: Write>(out: &mut W, answer: &MemberListResponse) -> Result<()> {
    let mut object = Object::begin(out)?;
    match &answer.header {
        Some(header) => {
            let mut object = Object::begin(object.name("header")?)?;
            object.string_always("cluster_id", &format!("{:x}", header.cluster_id))?;
            object.string_always("member_id", &format!("{:x}", header.member_id))?;
            object.number("revision", header.revision)?;
            object.number("raft_term", header.raft_term)?;
            object.end()?;
        }
        None => object.name("header")?.write_all(b"null")?,
    }
    list(object.name("members")?, &answer.members, |out, member| {
        let mut object = Object::begin(out)?;
        object.string_always("ID", &format!("{:x}", member.id))?;
        member_fields(&mut object, member)?;
        object.end()
    })?;
    object.end()
}

fn alarms<W: Write>(out: &mut W, answer: &AlarmResponse) -> Result<()> {
    let mut object = Object::begin(out)?;
    header(&mut object, answer.header.as_ref())?;
    object.list("alarms", &answer.alarms, |out, alarm: &AlarmMember| {
        let mut object = Object::begin(out)?;
        object.number("memberID", alarm.member_id)?;
        object.number("alarm", alarm.alarm)?;
        object.end()
    })?;
    object.end()
}

fn health<W: Write>(out: &mut W, check: &Health) -> Result<()> {
    let mut object = Object::begin(out)?;
    object.string_always("endpoint", &check.endpoint)?;
    object.bool_always("health", check.healthy)?;
    object.string_always("took", &check.took)?;
    object.string("error", &check.error)?;
    object.end()
}

fn status<W: Write>(out: &mut W, status: &StatusResponse) -> Result<()> {
    let mut object = Object::begin(out)?;
    header(&mut object, status.header.as_ref())?;
    object.string("version", &status.version)?;
    object.number("dbSize", status.db_size)?;
    object.number("leader", status.leader)?;
    object.number("raftIndex", status.raft_index)?;
    object.number("raftTerm", status.raft_term)?;
    object.number("raftAppliedIndex", status.raft_applied_index)?;
    object.strings("errors", &status.errors)?;
    object.number("dbSizeInUse", status.db_size_in_use)?;
    object.bool("isLearner", status.is_learner)?;
    object.string("storageVersion", &status.storage_version)?;
    object.number("dbSizeQuota", status.db_size_quota)?;
    if let Some(downgrade) = &status.downgrade_info {
        let mut object = Object::begin(object.name("downgradeInfo")?)?;
        object.bool("enabled", downgrade.enabled)?;
        object.string("targetVersion", &downgrade.target_version)?;
        object.end()?;
    }
    object.end()
}

fn hash<W: Write>(out: &mut W, hash: &HashKvResponse) -> Result<()> {
    let mut object = Object::begin(out)?;
    header(&mut object, hash.header.as_ref())?;
    object.number("hash", hash.hash)?;
    object.number("compact_revision", hash.compact_revision)?;
    object.number("hash_revision", hash.hash_revision)?;
    object.end()
}

/// A struct of the client's own, whose fields have no names for JSON and leave nothing out.
fn watch<W: Write>(out: &mut W, watched: &Watched) -> Result<()> {
    let mut object = Object::begin(out)?;
    let mut header = Object::begin(object.name("Header")?)?;
    header_fields(&mut header, &watched.header)?;
    header.end()?;
    entries(object.name("Events")?, &watched.events, event)?;
    object.number_always("CompactRevision", watched.compact_revision)?;
    object.bool_always("Canceled", watched.canceled)?;
    object.bool_always("Created", false)?;
    object.string_always("CancelReason", "")?;
    object.end()
}

fn event<W: Write>(out: &mut W, event: &Event) -> Result<()> {
    let mut object = Object::begin(out)?;
    object.number("type", event.r#type)?;
    if let Some(kv) = &event.kv {
        key_value(object.name("kv")?, kv)?;
    }
    if let Some(kv) = &event.prev_kv {
        key_value(object.name("prev_kv")?, kv)?;
    }
    object.end()
}

/// The answers about leases are structs of the client's own too, with the header's fields among
/// theirs.
fn with_header<W: Write>(out: &mut W, header: Option<ResponseHeader>) -> Result<Object<'_, W>> {
    let mut object = Object::begin(out)?;
    header_fields(&mut object, &header.unwrap_or_default())?;
    Ok(object)
}

fn granted<W: Write>(out: &mut W, answer: &LeaseGrantResponse) -> Result<()> {
    let mut object = with_header(out, answer.header)?;
    object.number_always("ID", answer.id)?;
    object.number_always("TTL", answer.ttl)?;
    object.string_always("Error", &answer.error)?;
    object.end()
}

fn revoked<W: Write>(out: &mut W, answer: &LeaseRevokeResponse) -> Result<()> {
    let mut object = Object::begin(out)?;
    header(&mut object, answer.header.as_ref())?;
    object.end()
}

fn kept_alive<W: Write>(out: &mut W, answer: &LeaseKeepAliveResponse) -> Result<()> {
    let mut object = with_header(out, answer.header)?;
    object.number_always("ID", answer.id)?;
    object.number_always("TTL", answer.ttl)?;
    object.end()
}

fn time_to_live<W: Write>(out: &mut W, answer: &LeaseTimeToLiveResponse) -> Result<()> {
    let mut object = with_header(out, answer.header)?;
    object.number_always("id", answer.id)?;
    object.number_always("ttl", answer.ttl)?;
    object.number_always("granted-ttl", answer.granted_ttl)?;
    entries(object.name("keys")?, &answer.keys, |out, key| {
        base64(out, key)
    })?;
    object.end()
}

fn leases<W: Write>(out: &mut W, answer: &LeaseLeasesResponse) -> Result<()> {
    let mut object = with_header(out, answer.header)?;
    list(object.name("leases")?, &answer.leases, |out, lease| {
        let mut object = Object::begin(out)?;
        object.number_always("id", lease.id)?;
        object.end()
    })?;
    object.end()
}
