//! Answers in the formats of `--write-out`: simple, fields, json, protobuf and table.
//!
//! Invariant: the bytes are etcdctl's for the same answer. What a format cannot show is refused
//! after the request has been made, as etcdctl does.

mod fields;
mod json;
mod protobuf;
mod rows;
mod simple;

use std::io::Write;

use tenet_cli::print::table;
use tenet_proto::etcdserverpb::{
    AlarmResponse, DeleteRangeResponse, HashKvResponse, LeaseGrantResponse, LeaseKeepAliveResponse,
    LeaseLeasesResponse, LeaseRevokeResponse, LeaseTimeToLiveResponse, MemberListResponse,
    PutResponse, RangeResponse, ResponseHeader, StatusResponse, TxnResponse,
};
use tenet_proto::mvccpb::Event;

use crate::failure::{Exit, Failure};

/// What there is to show.
pub(crate) enum Answer<'a> {
    Range(&'a RangeResponse),
    Put(&'a PutResponse),
    Delete(&'a DeleteRangeResponse),
    Txn(&'a TxnResponse),
    Members(&'a MemberListResponse),
    Alarms(&'a AlarmResponse),
    Health(&'a [Health]),
    Statuses(&'a [(String, StatusResponse)]),
    Hashes(&'a [(String, HashKvResponse)]),
    Watch(&'a Watched),
    Granted(&'a LeaseGrantResponse),
    /// The lease, which the answer does not name.
    Revoked(i64, &'a LeaseRevokeResponse),
    KeptAlive(&'a LeaseKeepAliveResponse),
    /// Whether keys were asked for.
    TimeToLive(&'a LeaseTimeToLiveResponse, bool),
    Leases(&'a LeaseLeasesResponse),
}

/// What a watch has to tell at once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watched {
    pub(crate) header: ResponseHeader,
    pub(crate) events: Vec<Event>,
    pub(crate) compact_revision: i64,
    /// Nothing follows.
    pub(crate) canceled: bool,
}

/// A lease in sixteen digits; a negative one is a sign and fifteen, as Go pads.
pub(crate) fn lease_hex(lease: i64) -> String {
    if lease < 0 {
        format!("-{:015x}", lease.unsigned_abs())
    } else {
        format!("{lease:016x}")
    }
}

/// The outcome of a health check.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    pub(crate) endpoint: String,
    pub(crate) healthy: bool,
    /// How long the check took, in Go's form.
    pub(crate) took: String,
    /// Empty if all is well.
    pub(crate) error: String,
}

/// A format by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Simple,
    Fields,
    Json,
    Protobuf,
    Table,
}

impl Format {
    pub(crate) const NAMES: &'static [&'static str] =
        &["fields", "json", "protobuf", "simple", "table"];

    pub(crate) fn parse(name: &str) -> Result<Format, Failure> {
        match name {
            "simple" => Ok(Format::Simple),
            "fields" => Ok(Format::Fields),
            "json" => Ok(Format::Json),
            "protobuf" => Ok(Format::Protobuf),
            "table" => Ok(Format::Table),
            _ => Err(Failure::new(Exit::BadFeature, "unsupported output format")),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Format::Simple => "simple",
            Format::Fields => "fields",
            Format::Json => "json",
            Format::Protobuf => "protobuf",
            Format::Table => "table",
        }
    }
}

/// How to show answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Display {
    pub(crate) format: Format,
    /// Bytes and ids in hexadecimal, where the format knows that.
    pub(crate) hex: bool,
    /// Values without keys, in the simple format.
    pub(crate) value_only: bool,
}

impl Display {
    /// Shows an answer on standard output.
    pub(crate) fn show(self, answer: &Answer<'_>) -> Result<(), Failure> {
        let mut out = std::io::BufWriter::with_capacity(64 * 1024, std::io::stdout().lock());
        self.write(&mut out, &mut std::io::stderr().lock(), answer)?;
        out.flush().map_err(Failure::of_output)
    }

    /// Writes an answer: data to `out`, what is wrong with an endpoint to `err`.
    pub(crate) fn write(
        self,
        out: &mut impl Write,
        err: &mut impl Write,
        answer: &Answer<'_>,
    ) -> Result<(), Failure> {
        let shown = match self.format {
            Format::Simple => simple::write(out, err, self, answer).map(|()| true),
            Format::Fields => fields::write(out, self, answer).map(|()| true),
            Format::Json => json::write(out, self, answer).map(|()| true),
            Format::Protobuf => protobuf::write(out, answer),
            Format::Table => write_table(out, answer),
        };
        if shown.map_err(Failure::of_output)? {
            return Ok(());
        }
        let text = format!("{} not supported as output format", self.format.name());
        Err(Failure::new(Exit::BadFeature, text))
    }
}

/// Nothing but what is a list of rows by nature is shown as a table.
fn write_table(out: &mut impl Write, answer: &Answer<'_>) -> std::io::Result<bool> {
    let (headings, rows): (&[&str], _) = match answer {
        Answer::Members(answer) => (rows::MEMBER_HEADINGS, rows::members(answer)),
        Answer::Health(checks) => (rows::HEALTH_HEADINGS, rows::health(checks)),
        Answer::Statuses(statuses) => (rows::STATUS_HEADINGS, rows::statuses(statuses)),
        Answer::Hashes(hashes) => (rows::HASH_HEADINGS, rows::hashes(hashes)),
        Answer::Range(_)
        | Answer::Put(_)
        | Answer::Delete(_)
        | Answer::Txn(_)
        | Answer::Alarms(_)
        | Answer::Watch(_)
        | Answer::Granted(_)
        | Answer::Revoked(..)
        | Answer::KeptAlive(_)
        | Answer::TimeToLive(..)
        | Answer::Leases(_) => return Ok(false),
    };
    out.write_all(table::render(headings, &rows).as_bytes())?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use tenet_cli::print::quote::unquoted;
    use tenet_proto::prost::Message;

    use super::*;

    /// Answers of etcd 3.7.1 as etcdctl prints them (the integration test says how to record them).
    const RECORDED: &str = include_str!("../../tests/recorded/answers.txt");

    #[test]
    fn recorded_answers_are_shown_as_etcdctl_shows_them() {
        let mut lines = RECORDED
            .lines()
            .filter(|line| !line.starts_with('#'))
            .peekable();
        let mut shown = 0;
        while let Some(line) = lines.next() {
            let (request, message) = line.split_once('\t').expect("a request and a message");
            let message = unhex(message);
            while let Some(line) = lines.next_if(|line| line.starts_with('\t')) {
                let (format, expected) = line[1..].split_once('\t').expect("a format and a text");
                let expected = unquoted(expected).expect("a quoted text");
                let found = show(request, &message, format);
                // A table of what is none is refused: nothing was on standard output.
                assert_eq!(
                    found.unwrap_or_default(),
                    blanks(expected),
                    "{request} -w {format}"
                );
                shown += 1;
            }
        }
        assert!(shown > 130, "only {shown} were recorded");
    }

    fn unhex(text: &str) -> Vec<u8> {
        let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
        (0..text.len()).step_by(2).map(digit).collect()
    }

    /// Between the fields of an alarm etcdctl has one blank or two, by its build.
    fn blanks(text: Vec<u8>) -> Vec<u8> {
        match String::from_utf8(text) {
            Ok(text) if text.starts_with("memberID:") => text.replace("  ", " ").into_bytes(),
            Ok(text) => text.into_bytes(),
            Err(bytes) => bytes.into_bytes(),
        }
    }

    fn show(request: &str, mut message: &[u8], format: &str) -> Option<Vec<u8>> {
        let (format, hex) = match format.split_once(' ') {
            Some((format, _)) => (format, true),
            None => (format, false),
        };
        let format = Format::parse(format).expect("a format");
        let display = Display {
            format,
            hex,
            value_only: false,
        };
        let bytes = &mut message;
        let mut out = Vec::new();
        let mut write = |answer: &Answer<'_>| display.write(&mut out, &mut Vec::new(), answer);
        let written = match request.split(' ').next().expect("a command") {
            "get" => write(&Answer::Range(
                &RangeResponse::decode(bytes).expect("an answer"),
            )),
            "put" => write(&Answer::Put(
                &PutResponse::decode(bytes).expect("an answer"),
            )),
            "del" => write(&Answer::Delete(
                &DeleteRangeResponse::decode(bytes).expect("one"),
            )),
            "txn" => write(&Answer::Txn(
                &TxnResponse::decode(bytes).expect("an answer"),
            )),
            "member" => write(&Answer::Members(
                &MemberListResponse::decode(bytes).expect("one"),
            )),
            "alarm" => write(&Answer::Alarms(
                &AlarmResponse::decode(bytes).expect("an answer"),
            )),
            other => panic!("{other} is not recorded"),
        };
        written.ok().map(|()| out)
    }
}
