//! The protobuf format: the message as it came, without a newline. Lists that this program makes
//! itself, one entry per endpoint, are no message. Of answers about leases etcdctl prints the header
//! only, and of a revocation nothing.

use std::io::{Result, Write};

use tenet_proto::etcdserverpb::{ResponseHeader, WatchResponse};
use tenet_proto::prost::Message;

use super::Answer;

pub(super) fn write(out: &mut impl Write, answer: &Answer<'_>) -> Result<bool> {
    let bytes = match answer {
        Answer::Range(answer) => answer.encode_to_vec(),
        Answer::Put(answer) => answer.encode_to_vec(),
        Answer::Delete(answer) => answer.encode_to_vec(),
        Answer::Txn(answer) => answer.encode_to_vec(),
        Answer::Members(answer) => answer.encode_to_vec(),
        Answer::Alarms(answer) => answer.encode_to_vec(),
        Answer::Watch(watched) => WatchResponse {
            header: Some(watched.header),
            canceled: watched.canceled,
            compact_revision: watched.compact_revision,
            events: watched.events.clone(),
            ..WatchResponse::default()
        }
        .encode_to_vec(),
        Answer::Granted(answer) => header(answer.header),
        Answer::KeptAlive(answer) => header(answer.header),
        Answer::TimeToLive(answer, _) => header(answer.header),
        Answer::Leases(answer) => header(answer.header),
        Answer::Health(_) | Answer::Statuses(_) | Answer::Hashes(_) | Answer::Revoked(..) => {
            return Ok(false);
        }
    };
    out.write_all(&bytes)?;
    Ok(true)
}

fn header(header: Option<ResponseHeader>) -> Vec<u8> {
    header.unwrap_or_default().encode_to_vec()
}
