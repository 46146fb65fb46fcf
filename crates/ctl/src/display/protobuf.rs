//! The protobuf format: the message as it came, without a newline. Lists that this program makes
//! itself, one entry per endpoint, are no message.

use std::io::{Result, Write};

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
        Answer::Health(_) | Answer::Statuses(_) | Answer::Hashes(_) => return Ok(false),
    };
    out.write_all(&bytes)?;
    Ok(true)
}
