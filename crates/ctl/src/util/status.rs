//! `snapshot status`: whether a snapshot is sound, and what is in it.

use std::collections::HashSet;

use bytes::Bytes;
use tenet_base::crc;
use tenet_bolt::{BoltError, Content, Db};
use tenet_cli::go::{error_words, quote};
use tenet_cli::print::size::bytes_si;
use tenet_cli::print::{json, table};
use tenet_proto::mvccpb::KeyValue;
use tenet_proto::prost::Message as _;

use super::flags::WRITE_OUT;
use super::print;
use crate::failure::{Exit, Failure};
use crate::invocation::Invocation;
use crate::snapshot_file::SnapshotFile;
use crate::tree::{Command, Run};

pub(super) static COMMAND: Command = Command {
    long: "In the simple format, a line: hash of everything, newest revision, keys, size, version\n\
           of the stored data.",
    run: Run::Now(status),
    ..Command::below(
        "status",
        "<filename>",
        "Shows whether a snapshot is sound, and what is in it",
    )
};

/// What there is to say about a snapshot.
#[derive(Debug, Default)]
struct Status {
    hash: u32,
    revision: i64,
    keys: usize,
    bytes: u64,
    version: String,
}

fn status(invocation: &mut Invocation) -> Result<(), Failure> {
    let args = invocation.text_args();
    let [path] = &args[..] else {
        let text = "snapshot status requires exactly one argument";
        return Err(Failure::new(Exit::BadArgs, text));
    };
    if let Err(error) = std::fs::metadata(path) {
        let text = format!("stat {path}: {}", error_words(&error));
        return Err(Failure::new(Exit::Error, text));
    }
    let format = invocation.settings.text(&WRITE_OUT);
    let show = match format {
        "simple" => simple,
        "fields" => fields,
        "json" => as_json,
        "table" => as_table,
        "protobuf" => {
            let text = "protobuf not supported as output format";
            return Err(Failure::new(Exit::BadFeature, text));
        }
        _ => {
            return Err(Failure::new(Exit::BadFeature, "unsupported output format"));
        }
    };
    let status = look(path).map_err(|text| Failure::new(Exit::Error, text))?;
    print(&show(&status))
}

fn look(path: &str) -> Result<Status, String> {
    let db = Db::open(SnapshotFile::open(path)?).map_err(|error| match error {
        BoltError::NotADatabase => "invalid database".to_owned(),
        error => format!("{path}: {error}; take another snapshot"),
    })?;
    let errors = db.check();
    if !errors.is_empty() {
        let lines: Vec<String> = errors
            .iter()
            .map(|error| format!("{path}: {error}"))
            .collect();
        return Err(format!(
            "snapshot file integrity check failed. {} errors found.\n{}",
            errors.len(),
            lines.join("\n")
        ));
    }
    read(&db).map_err(|error| format!("{path}: {error}"))
}

fn read(db: &Db<SnapshotFile>) -> Result<Status, String> {
    let mut status = Status {
        bytes: db.len_bytes(),
        hash: crc::crc32c(b""),
        ..Status::default()
    };
    let mut keys: HashSet<Bytes> = HashSet::new();
    for bucket in db.walk(&db.root()) {
        let bucket = bucket.map_err(|error| error.to_string())?;
        let name = String::from_utf8_lossy(&bucket.key);
        let Content::Bucket(entries) = &bucket.content else {
            return Err(format!("nil bucket: {}", quote(&name)));
        };
        status.hash = crc::extend(status.hash, &bucket.key);
        for entry in db.walk(entries) {
            let entry = entry.map_err(|error| error.to_string())?;
            status.hash = crc::extend(status.hash, &entry.key);
            let Content::Value(value) = entry.content else {
                continue;
            };
            status.hash = crc::extend(status.hash, &value);
            match (&bucket.key[..], &entry.key[..]) {
                (b"key", key) => {
                    count(&mut status, &mut keys, key, value)
                        .map_err(|reason| format!("byte {}: {reason}", entry.offset))?;
                }
                (b"meta", b"storageVersion") => {
                    status.version = String::from_utf8_lossy(&value).into_owned();
                }
                _ => {}
            }
        }
    }
    status.keys = keys.len();
    Ok(status)
}

/// Takes in an entry of the keys.
fn count(
    status: &mut Status,
    keys: &mut HashSet<Bytes>,
    revision: &[u8],
    value: Bytes,
) -> Result<(), String> {
    let tombstone = match revision.len() {
        17 => false,
        18 if revision[17] == b't' => true,
        _ => return Err(format!("{} is no revision", revision.escape_ascii())),
    };
    let main = revision
        .first_chunk()
        .map_or(0, |main| i64::from_be_bytes(*main));
    status.revision = main;
    let kv = KeyValue::decode(value)
        .map_err(|error| format!("revision {main} is no key-value: {error}"))?;
    if tombstone {
        keys.remove(&kv.key);
    } else if !keys.contains(&kv.key) {
        // A copy, since the key shares memory with the page that it stands on.
        keys.insert(Bytes::copy_from_slice(&kv.key));
    }
    Ok(())
}

fn simple(status: &Status) -> String {
    let (size, version) = (bytes_si(status.bytes), &status.version);
    let (hash, revision, keys) = (status.hash, status.revision, status.keys);
    format!("{hash:x}, {revision}, {keys}, {size}, {version}\n")
}

fn fields(status: &Status) -> String {
    format!(
        "\"Hash\" : {}\n\"Revision\" : {}\n\"Keys\" : {}\n\"Size\" : {}\n\"Version\" : {}\n",
        status.hash, status.revision, status.keys, status.bytes, status.version
    )
}

fn as_json(status: &Status) -> String {
    let mut out = Vec::new();
    let written = (|| {
        let mut object = json::Object::begin(&mut out)?;
        object.number_always("hash", status.hash)?;
        object.number_always("revision", status.revision)?;
        object.number_always("totalKey", status.keys as u64)?;
        object.number_always("totalSize", status.bytes)?;
        object.string_always("version", &status.version)?;
        object.end()
    })();
    written.expect("memory takes every write");
    out.push(b'\n');
    String::from_utf8_lossy(&out).into_owned()
}

fn as_table(status: &Status) -> String {
    let headings = ["hash", "revision", "total keys", "total size", "version"];
    let row = vec![
        format!("{:x}", status.hash),
        status.revision.to_string(),
        status.keys.to_string(),
        bytes_si(status.bytes),
        status.version.clone(),
    ];
    table::render(&headings, &[row])
}
