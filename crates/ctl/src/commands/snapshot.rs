//! `snapshot save`: a snapshot of one member in a file.
//!
//! The file has its name only when it is whole, durable, and has the SHA-256 that the member sent
//! behind it; etcdctl looks at its length alone.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path as FilePath;
use std::time::Instant;

use sha2::{Digest as _, Sha256};
use tenet_cli::go::GoDuration;
use tenet_cli::log::{Entry, Level};
use tenet_cli::print::size::bytes_si;
use tenet_client::Client;

use super::print_line;
use crate::failure::{Exit, Failure, error_text};
use crate::flags::COMMAND_TIMEOUT;
use crate::invocation::{Invocation, Session, log};
use crate::snapshot_file::{SUM_BYTES, digits, go_error, has_sum};
use crate::tree::{Command, Run, Section};

pub(super) static COMMAND: Command = Command {
    commands: &[&SAVE],
    run: Run::Help,
    ..Command::new(
        "snapshot",
        "<subcommand>",
        "Takes snapshots",
        Some(Section::Maintenance),
    )
};

static SAVE: Command = Command {
    run: Run::Now(save),
    ..Command::below(
        "save",
        "<filename>",
        "Writes a snapshot of a member to a file",
    )
};

fn save(invocation: &mut Invocation) -> Result<(), Failure> {
    let args = invocation.text_args();
    let [path] = &args[..] else {
        let text = "snapshot save expects one argument <filename>";
        return Err(Failure::new(Exit::BadArgs, text));
    };
    let session = invocation.session()?;
    if session.config.endpoints.len() != 1 {
        let endpoints = session.config.endpoints.join(" ");
        let text =
            format!("snapshot must be requested to one selected node, not multiple [{endpoints}]");
        return Err(interrupted(text));
    }
    let mut client = session.client().map_err(|failure| Failure {
        exit: Exit::Interrupted,
        ..failure
    })?;
    // Without the flag a snapshot takes the time that it takes.
    if invocation.settings.get(&COMMAND_TIMEOUT).is_given() {
        client = client.with_deadline(invocation.deadline());
    }
    let part = format!("{path}.part");
    let saved = fetch(&session, &client, &part).and_then(|version| {
        fs::rename(&part, path).map_err(|error| {
            let error = go_error("rename", &part, &error);
            interrupted(format!("could not rename {part} to {path} ({error})"))
        })?;
        sync_parent(path);
        Ok(version)
    });
    if saved.is_err() {
        let _ = fs::remove_file(&part);
    }
    let version = saved?;
    log(&Entry::new(Level::Info, "saved").with("path", path.as_str()));
    print_line(&format!("Snapshot saved at {path}"))?;
    match version.is_empty() {
        true => Ok(()),
        false => print_line(&format!("Server version {version}")),
    }
}

/// Fetches a snapshot into the file `part` and gives the version that it is of.
fn fetch(session: &Session, client: &Client, part: &str) -> Result<String, Failure> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(part);
    let file = file.map_err(|error| {
        let error = go_error("open", part, &error);
        interrupted(format!("could not open {part} ({error})"))
    })?;
    log(&Entry::new(Level::Info, "created temporary db file").with("path", part));
    let began = Instant::now();
    let endpoint = session.config.endpoints[0].as_str();
    let mut fetched = Fetched::new(file);
    session.wait(async {
        let mut snapshot = client
            .snapshot()
            .await
            .map_err(|error| interrupted(error_text(&error)))?;
        log(&Entry::new(Level::Info, "fetching snapshot").with("endpoint", endpoint));
        loop {
            match snapshot.next().await {
                Ok(Some(message)) => {
                    fetched.version = message.version;
                    fetched.take(&message.blob).map_err(not_written)?;
                }
                Ok(None) => return Ok(()),
                Err(error) => return Err(not_written(error_text(&error))),
            }
        }
    })?;
    fetched.finish().map(|(bytes, version)| {
        let took = i64::try_from(began.elapsed().as_nanos()).unwrap_or(i64::MAX);
        log(&Entry::new(Level::Info, "fetched snapshot")
            .with("endpoint", endpoint)
            .with("size", bytes_si(bytes))
            .with("took", GoDuration(took).to_string())
            .with("etcd-version", version.as_str()));
        version
    })
}

/// A snapshot that is coming in.
struct Fetched {
    file: File,
    bytes: u64,
    sum: Sha256,
    /// The last bytes, which may be the checksum.
    tail: Vec<u8>,
    version: String,
}

impl Fetched {
    fn new(file: File) -> Fetched {
        Fetched {
            file,
            bytes: 0,
            sum: Sha256::new(),
            tail: Vec::new(),
            version: String::new(),
        }
    }

    fn take(&mut self, blob: &[u8]) -> Result<(), String> {
        self.bytes += blob.len() as u64;
        self.tail.extend_from_slice(blob);
        let summed = self.tail.len().saturating_sub(SUM_BYTES);
        self.sum.update(&self.tail[..summed]);
        self.tail.drain(..summed);
        self.file.write_all(blob).map_err(|error| error.to_string())
    }

    /// Proves that the snapshot is whole; gives its length and version.
    fn finish(self) -> Result<(u64, String), Failure> {
        let bytes = self.bytes;
        if !has_sum(bytes) {
            let text = format!("sha256 checksum not found [bytes: {bytes}]");
            return Err(interrupted(text));
        }
        let found = self.sum.finalize();
        if found[..] != self.tail[..] {
            return Err(interrupted(format!(
                "the snapshot was changed on its way, take it again: expected sha256 {}, got {}",
                digits(&self.tail),
                digits(&found)
            )));
        }
        self.file
            .sync_all()
            .map_err(|error| interrupted(format!("could not fsync snapshot: {error}")))?;
        Ok((bytes, self.version))
    }
}

/// The name is safe once its directory is synced; a file system that cannot does not matter here.
fn sync_parent(path: &str) {
    let parent = FilePath::new(path).parent();
    let parent = parent.filter(|parent| !parent.as_os_str().is_empty());
    if let Ok(dir) = File::open(parent.unwrap_or(FilePath::new("."))) {
        let _ = dir.sync_all();
    }
}

fn not_written(reason: impl std::fmt::Display) -> Failure {
    interrupted(format!("could not write snapshot: {reason}"))
}

fn interrupted(text: impl Into<String>) -> Failure {
    Failure::new(Exit::Interrupted, text)
}
