//! The simple format: keys and values as they are, a line each.

use std::io::{Result, Write};

use tenet_cli::print::quote::write_hex;
use tenet_proto::etcdserverpb::{
    AlarmMember, AlarmType, DeleteRangeResponse, PutResponse, RangeResponse, TxnResponse,
    response_op::Response,
};
use tenet_proto::mvccpb::KeyValue;

use super::{Answer, Display, Health, rows};

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
    }
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
