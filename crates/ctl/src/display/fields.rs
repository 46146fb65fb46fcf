//! The fields format: a line `"Name" : value` for each field, strings quoted as Go quotes them.

use std::io::{Result, Write};

use tenet_cli::print::quote::quoted;
use tenet_proto::etcdserverpb::{
    AlarmResponse, DeleteRangeResponse, HashKvResponse, LeaseTimeToLiveResponse,
    MemberListResponse, PutResponse, RangeResponse, ResponseHeader, StatusResponse, TxnResponse,
    response_op::Response,
};
use tenet_proto::mvccpb::KeyValue;

use super::simple::{alarm_name, event_name};
use super::{Answer, Display, Health, Watched, lease_hex};

pub(super) fn write(out: &mut impl Write, display: Display, answer: &Answer<'_>) -> Result<()> {
    let mut fields = Fields {
        out,
        hex: display.hex,
    };
    match answer {
        Answer::Range(answer) => fields.range(answer),
        Answer::Put(answer) => fields.put(answer),
        Answer::Delete(answer) => fields.delete(answer),
        Answer::Txn(answer) => fields.txn(answer),
        Answer::Members(answer) => fields.members(answer),
        Answer::Alarms(answer) => fields.alarms(answer),
        Answer::Health(checks) => checks.iter().try_for_each(|check| fields.health(check)),
        Answer::Statuses(statuses) => statuses
            .iter()
            .try_for_each(|(endpoint, status)| fields.status(endpoint, status)),
        Answer::Hashes(hashes) => hashes
            .iter()
            .try_for_each(|(endpoint, hash)| fields.hash(endpoint, hash)),
        Answer::Watch(watched) => fields.watch(watched),
        Answer::Granted(answer) => fields.lease(answer.header.as_ref(), answer.id, answer.ttl),
        Answer::Revoked(_, answer) => fields.header(answer.header.as_ref()),
        Answer::KeptAlive(answer) => fields.lease(answer.header.as_ref(), answer.id, answer.ttl),
        Answer::TimeToLive(answer, _) => fields.time_to_live(answer),
        Answer::Leases(answer) => {
            fields.header(answer.header.as_ref())?;
            let mut leases = answer.leases.iter();
            leases.try_for_each(|lease| fields.lease_id("ID", lease.id))
        }
    }
}

struct Fields<'a, W> {
    out: &'a mut W,
    hex: bool,
}

impl<W: Write> Fields<'_, W> {
    fn field(&mut self, name: &str, value: impl std::fmt::Display) -> Result<()> {
        writeln!(self.out, "\"{name}\" : {value}")
    }

    fn quoted(&mut self, name: &str, value: &[u8]) -> Result<()> {
        self.field(name, quoted(value))
    }

    /// An identity, in hexadecimal where asked for.
    fn id(&mut self, name: &str, id: u64) -> Result<()> {
        if self.hex {
            self.field(name, format_args!("{id:x}"))
        } else {
            self.field(name, id)
        }
    }

    fn end(&mut self) -> Result<()> {
        self.out.write_all(b"\n")
    }

    fn header(&mut self, header: Option<&ResponseHeader>) -> Result<()> {
        let header = header.copied().unwrap_or_default();
        self.id("ClusterID", header.cluster_id)?;
        self.id("MemberID", header.member_id)?;
        if header.revision > 0 {
            self.field("Revision", header.revision)?;
        }
        self.field("RaftTerm", header.raft_term)
    }

    fn key_value(&mut self, prefix: &str, kv: &KeyValue) -> Result<()> {
        writeln!(self.out, "\"{prefix}Key\" : {}", quoted(&kv.key))?;
        writeln!(
            self.out,
            "\"{prefix}CreateRevision\" : {}",
            kv.create_revision
        )?;
        writeln!(self.out, "\"{prefix}ModRevision\" : {}", kv.mod_revision)?;
        writeln!(self.out, "\"{prefix}Version\" : {}", kv.version)?;
        writeln!(self.out, "\"{prefix}Value\" : {}", quoted(&kv.value))?;
        self.lease_id(&format!("{prefix}Lease"), kv.lease)
    }

    fn lease_id(&mut self, name: &str, lease: i64) -> Result<()> {
        if self.hex {
            self.field(name, lease_hex(lease))
        } else {
            self.field(name, lease)
        }
    }

    fn watch(&mut self, watched: &Watched) -> Result<()> {
        self.header(Some(&watched.header))?;
        for event in &watched.events {
            self.field("Type", event_name(event))?;
            if let Some(kv) = &event.prev_kv {
                self.key_value("Prev", kv)?;
            }
            self.key_value("", &event.kv.clone().unwrap_or_default())?;
        }
        Ok(())
    }

    fn lease(&mut self, header: Option<&ResponseHeader>, id: i64, ttl: i64) -> Result<()> {
        self.header(header)?;
        self.lease_id("ID", id)?;
        self.field("TTL", ttl)
    }

    fn time_to_live(&mut self, answer: &LeaseTimeToLiveResponse) -> Result<()> {
        self.lease(answer.header.as_ref(), answer.id, answer.ttl)?;
        self.field("GrantedTTL", answer.granted_ttl)?;
        answer
            .keys
            .iter()
            .try_for_each(|key| self.quoted("Key", key))
    }

    fn range(&mut self, answer: &RangeResponse) -> Result<()> {
        self.header(answer.header.as_ref())?;
        for kv in &answer.kvs {
            self.key_value("", kv)?;
        }
        self.field("More", answer.more)?;
        self.field("Count", answer.count)
    }

    fn put(&mut self, answer: &PutResponse) -> Result<()> {
        self.header(answer.header.as_ref())?;
        answer
            .prev_kv
            .iter()
            .try_for_each(|kv| self.key_value("Prev", kv))
    }

    fn delete(&mut self, answer: &DeleteRangeResponse) -> Result<()> {
        self.header(answer.header.as_ref())?;
        self.field("Deleted", answer.deleted)?;
        answer
            .prev_kvs
            .iter()
            .try_for_each(|kv| self.key_value("Prev", kv))
    }

    fn txn(&mut self, answer: &TxnResponse) -> Result<()> {
        self.header(answer.header.as_ref())?;
        self.field("Succeeded", answer.succeeded)?;
        for operation in &answer.responses {
            match &operation.response {
                Some(Response::ResponseRange(answer)) => self.range(answer)?,
                Some(Response::ResponsePut(answer)) => self.put(answer)?,
                Some(Response::ResponseDeleteRange(answer)) => self.delete(answer)?,
                // No request of this program has such an answer.
                Some(Response::ResponseTxn(_)) | None => self.quoted("Unknown", b"")?,
            }
        }
        Ok(())
    }

    fn members(&mut self, answer: &MemberListResponse) -> Result<()> {
        self.header(answer.header.as_ref())?;
        for member in &answer.members {
            self.id("ID", member.id)?;
            self.quoted("Name", member.name.as_bytes())?;
            for url in &member.peer_urls {
                self.quoted("PeerURL", url.as_bytes())?;
            }
            for url in &member.client_urls {
                self.quoted("ClientURL", url.as_bytes())?;
            }
            self.field("IsLearner", member.is_learner)?;
            self.end()?;
        }
        Ok(())
    }

    fn alarms(&mut self, answer: &AlarmResponse) -> Result<()> {
        self.header(answer.header.as_ref())?;
        for alarm in &answer.alarms {
            self.id("MemberID", alarm.member_id)?;
            self.field("AlarmType", alarm_name(alarm.alarm))?;
            self.end()?;
        }
        Ok(())
    }

    fn health(&mut self, check: &Health) -> Result<()> {
        self.quoted("Endpoint", check.endpoint.as_bytes())?;
        self.field("Health", check.healthy)?;
        self.field("Took", &check.took)?;
        self.field("Error", &check.error)?;
        self.end()
    }

    fn status(&mut self, endpoint: &str, status: &StatusResponse) -> Result<()> {
        let downgrade = status.downgrade_info.clone().unwrap_or_default();
        self.header(status.header.as_ref())?;
        self.quoted("Version", status.version.as_bytes())?;
        self.quoted("StorageVersion", status.storage_version.as_bytes())?;
        self.field("DBSize", status.db_size)?;
        self.field("DBSizeInUse", status.db_size_in_use)?;
        self.field("DBSizeQuota", status.db_size_quota)?;
        self.field("Leader", status.leader)?;
        self.field("IsLearner", status.is_learner)?;
        self.field("RaftIndex", status.raft_index)?;
        self.field("RaftTerm", status.raft_term)?;
        self.field("RaftAppliedIndex", status.raft_applied_index)?;
        self.field("Errors", format_args!("[{}]", status.errors.join(" ")))?;
        self.quoted("Endpoint", endpoint.as_bytes())?;
        self.quoted(
            "DowngradeTargetVersion",
            downgrade.target_version.as_bytes(),
        )?;
        self.field("DowngradeEnabled", downgrade.enabled)?;
        self.end()
    }

    fn hash(&mut self, endpoint: &str, hash: &HashKvResponse) -> Result<()> {
        self.header(hash.header.as_ref())?;
        self.quoted("Endpoint", endpoint.as_bytes())?;
        self.field("Hash", hash.hash)?;
        self.field("HashRevision", hash.hash_revision)?;
        self.end()
    }
}
