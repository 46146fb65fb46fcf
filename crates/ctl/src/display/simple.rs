//! The simple format: keys and values as they are, a line each.

use std::io::{Result, Write};

use tenet_cli::print::quote::write_hex;
use tenet_proto::etcdserverpb::{
    AlarmMember, AlarmType, DeleteRangeResponse, LeaseTimeToLiveResponse, PutResponse,
    RangeResponse, TxnResponse, response_op::Response,
};
use tenet_proto::mvccpb::event::EventType;
use tenet_proto::mvccpb::{Event, KeyValue};

use super::{Answer, Display, Health, Watched, lease_hex, rows};

pub(super) fn write(
    out: &mut impl Write,
    err: &mut impl Write,
    display: Display,
    answer: &Answer<'_>,
) -> Result<()> {
    match answer {
        Answer::Range(answer) => range(out, display, answer),
        Answer::Put(answer) => put(out, display, answer),
        Answer::Delete(answer) => delete(out, display, answer),
        Answer::Txn(answer) => txn(out, display, answer),
        Answer::Alarms(answer) => answer
            .alarms
            .iter()
            .try_for_each(|alarm| self::alarm(out, alarm)),
        Answer::Members(answer) => lines(out, &rows::members(answer)),
        Answer::Statuses(statuses) => lines(out, &rows::statuses(statuses)),
        Answer::Hashes(hashes) => lines(out, &rows::hashes(hashes)),
        Answer::Health(checks) => checks.iter().try_for_each(|check| health(out, err, check)),
        Answer::Watch(watched) => watch(out, display, watched),
        Answer::Granted(answer) => {
            let (id, ttl) = (lease_hex(answer.id), answer.ttl);
            writeln!(out, "lease {id} granted with TTL({ttl}s)")
        }
        Answer::Revoked(id, _) => writeln!(out, "lease {} revoked", lease_hex(*id)),
        Answer::KeptAlive(answer) => {
            let (id, ttl) = (lease_hex(answer.id), answer.ttl);
            writeln!(out, "lease {id} keepalived with TTL({ttl})")
        }
        Answer::TimeToLive(answer, keys) => time_to_live(out, answer, *keys),
        Answer::Leases(answer) => {
            writeln!(out, "found {} leases", answer.leases.len())?;
            let mut leases = answer.leases.iter();
            leases.try_for_each(|lease| writeln!(out, "{}", lease_hex(lease.id)))
        }
    }
}

fn watch(out: &mut impl Write, display: Display, watched: &Watched) -> Result<()> {
    for event in &watched.events {
        writeln!(out, "{}", event_name(event))?;
        if let Some(kv) = &event.prev_kv {
            key_value(out, display, kv)?;
        }
        key_value(out, display, &event.kv.clone().unwrap_or_default())?;
    }
    Ok(())
}

/// The name of an event's type, or its number if it has none.
pub(super) fn event_name(event: &Event) -> String {
    EventType::try_from(event.r#type).map_or_else(
        |_| event.r#type.to_string(),
        |kind| kind.as_str_name().to_owned(),
    )
}

fn time_to_live(
    out: &mut impl Write,
    answer: &LeaseTimeToLiveResponse,
    with_keys: bool,
) -> Result<()> {
    let id = lease_hex(answer.id);
    let (granted, left) = (answer.granted_ttl, answer.ttl);
    if granted == 0 && left == -1 {
        return writeln!(out, "lease {id} already expired");
    }
    write!(
        out,
        "lease {id} granted with TTL({granted}s), remaining({left}s)"
    )?;
    if with_keys {
        out.write_all(b", attached keys([")?;
        out.write_all(&answer.keys.join(&b' '))?;
        out.write_all(b"])")?;
    }
    out.write_all(b"\n")
}

fn range(out: &mut impl Write, display: Display, answer: &RangeResponse) -> Result<()> {
    answer
        .kvs
        .iter()
        .try_for_each(|kv| key_value(out, display, kv))
}

fn put(out: &mut impl Write, display: Display, answer: &PutResponse) -> Result<()> {
    out.write_all(b"OK\n")?;
    answer
        .prev_kv
        .iter()
        .try_for_each(|kv| key_value(out, display, kv))
}

fn delete(out: &mut impl Write, display: Display, answer: &DeleteRangeResponse) -> Result<()> {
    writeln!(out, "{}", answer.deleted)?;
    answer
        .prev_kvs
        .iter()
        .try_for_each(|kv| key_value(out, display, kv))
}

fn txn(out: &mut impl Write, display: Display, answer: &TxnResponse) -> Result<()> {
    let verdict = if answer.succeeded {
        "SUCCESS"
    } else {
        "FAILURE"
    };
    writeln!(out, "{verdict}")?;
    for operation in &answer.responses {
        out.write_all(b"\n")?;
        match &operation.response {
            Some(Response::ResponseRange(answer)) => range(out, display, answer)?,
            Some(Response::ResponsePut(answer)) => put(out, display, answer)?,
            Some(Response::ResponseDeleteRange(answer)) => delete(out, display, answer)?,
            // No request of this program has such an answer.
            Some(Response::ResponseTxn(_)) | None => writeln!(out, "unexpected response")?,
        }
    }
    Ok(())
}

fn key_value(out: &mut impl Write, display: Display, kv: &KeyValue) -> Result<()> {
    let mut line = |bytes: &[u8]| {
        if display.hex {
            write_hex(out, bytes)?;
        } else {
            out.write_all(bytes)?;
        }
        out.write_all(b"\n")
    };
    if !display.value_only {
        line(&kv.key)?;
    }
    line(&kv.value)
}

/// The text form of the message: fields that are zero are left out.
fn alarm(out: &mut impl Write, alarm: &AlarmMember) -> Result<()> {
    let mut fields = Vec::new();
    if alarm.member_id != 0 {
        fields.push(format!("memberID:{}", alarm.member_id));
    }
    if alarm.alarm != 0 {
        fields.push(format!("alarm:{}", alarm_name(alarm.alarm)));
    }
    writeln!(out, "{}", fields.join(" "))
}

/// The name of an alarm type, or its number if it has none.
pub(super) fn alarm_name(number: i32) -> String {
    AlarmType::try_from(number)
        .map_or_else(|_| number.to_string(), |kind| kind.as_str_name().to_owned())
}

fn health(out: &mut impl Write, err: &mut impl Write, check: &Health) -> Result<()> {
    let Health {
        endpoint,
        took,
        error,
        ..
    } = check;
    if error.is_empty() {
        writeln!(
            out,
            "{endpoint} is healthy: successfully committed proposal: took = {took}"
        )
    } else {
        writeln!(
            err,
            "{endpoint} is unhealthy: failed to commit proposal: {error}"
        )
    }
}

fn lines(out: &mut impl Write, rows: &[Vec<String>]) -> Result<()> {
    rows.iter()
        .try_for_each(|row| writeln!(out, "{}", row.join(", ")))
}
