//! `check`: measures the cluster by putting keys of its own, and deletes them again.

mod datascale;
mod load;
mod perf;

use std::time::Duration;

use tenet_cli::flag::{Flag, Kind};
use tenet_client::{Client, KeyRange};
use tenet_proto::etcdserverpb::{CompactionRequest, DeleteRangeRequest, RangeRequest};

use super::print_line;
use crate::failure::{Exit, Failure, error_text};
use crate::flags::flag;
use crate::invocation::{Invocation, Session};
use crate::tree::{Command, Run, Section};

flag!(
    LOAD,
    "load",
    Text,
    "s",
    "How much: s(mall), m(edium), l(arge) or xl(arge)."
);
flag!(
    PERF_PREFIX,
    "prefix",
    Text,
    "/etcdctl-check-perf/",
    "What the keys that are put begin with."
);
flag!(
    DATASCALE_PREFIX,
    "prefix",
    Text,
    "/etcdctl-check-datascale/",
    "What the keys that are put begin with."
);
flag!(
    AUTO_COMPACT,
    "auto-compact",
    Bool,
    "false",
    "Compact the store afterwards."
);
flag!(
    AUTO_DEFRAG,
    "auto-defrag",
    Bool,
    "false",
    "Give unused space back afterwards."
);

pub(super) static COMMAND: Command = Command {
    commands: &[&PERF, &DATASCALE],
    run: Run::Help,
    ..Command::new(
        "check",
        "<subcommand>",
        "Measures the cluster",
        Some(Section::Utility),
    )
};

static PERF: Command = Command {
    long: "Puts keys for a minute, as many a second as the load says: 150 by 50 clients (s), 1,000\n\
           by 200 (m), 8,000 by 500 (l) or 15,000 by 1,000 (xl). The cluster passes if it takes 90%\n\
           of them, none takes longer than half a second, and they differ by a standard deviation\n\
           of at most a tenth of a second.",
    flags: &[&LOAD, &PERF_PREFIX, &AUTO_COMPACT, &AUTO_DEFRAG],
    run: Run::Now(perf::run),
    ..Command::below("perf", "[options]", "Measures how fast the cluster is")
};

static DATASCALE: Command = Command {
    long: "Puts 10,000 keys (s), 100,000 (m), 1,000,000 (l) or 3,000,000 (xl) of 1 KiB each, and\n\
           shows by how much the memory of the first endpoint has grown.",
    flags: &[&LOAD, &DATASCALE_PREFIX, &AUTO_COMPACT, &AUTO_DEFRAG],
    run: Run::Now(datascale::run),
    ..Command::below(
        "datascale",
        "[options]",
        "Measures the memory that data takes",
    )
};

/// A load by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Load {
    Small,
    Medium,
    Large,
    ExtraLarge,
}

impl Load {
    fn of(invocation: &Invocation) -> Result<Load, Failure> {
        match invocation.settings.text(&LOAD) {
            "s" | "small" => Ok(Load::Small),
            "m" | "medium" => Ok(Load::Medium),
            "l" | "large" => Ok(Load::Large),
            "xl" | "xLarge" => Ok(Load::ExtraLarge),
            other => {
                let text = format!("unknown load option {other}");
                Err(Failure::new(Exit::BadFeature, text))
            }
        }
    }

    fn clients(self) -> usize {
        match self {
            Load::Small => 50,
            Load::Medium => 200,
            Load::Large => 500,
            Load::ExtraLarge => 1_000,
        }
    }
}

/// As many clients as the load asks for, each with a connection of its own. There is at least one.
fn clients(session: &Session, load: Load) -> Result<Vec<Client>, Failure> {
    (0..load.clients()).map(|_| session.client()).collect()
}

/// Refuses to touch keys that are somebody's.
async fn refuse_used(client: &Client, prefix: &str, quoted_del: &str) -> Result<(), Failure> {
    let request = RangeRequest {
        limit: 1,
        ..RangeRequest::from(KeyRange::prefix(prefix.to_owned()))
    };
    if client.range(request).await?.kvs.is_empty() {
        return Ok(());
    }
    let prefix = tenet_cli::go::quote(prefix);
    let text = format!("prefix {prefix} has keys. Delete with {quoted_del} first");
    Err(Failure::new(Exit::InvalidInput, text))
}

/// Time for what follows the measurement.
const CLEANUP_LIMIT: Duration = Duration::from_secs(30);

/// Deletes the keys that were put; the revision at which they are gone.
async fn delete(client: &Client, prefix: &str) -> Result<i64, tenet_client::Error> {
    let request = DeleteRangeRequest::from(KeyRange::prefix(prefix.to_owned()));
    let answer = client.delete_range(request).await?;
    Ok(answer.header.map_or(0, |header| header.revision))
}

async fn compact(client: &Client, revision: i64) -> Result<(), Failure> {
    print_line(&format!("Compacting with revision {revision}"))?;
    let request = CompactionRequest {
        revision,
        physical: true,
    };
    client.with_timeout(CLEANUP_LIMIT).compact(request).await?;
    print_line(&format!("Compacted with revision {revision}"))
}

fn defragment(session: &Session) -> Result<(), Failure> {
    for endpoint in &session.config.endpoints {
        let name = tenet_cli::go::quote(endpoint);
        print_line(&format!("Defragmenting {name}"))?;
        let client = session.client_at(endpoint)?;
        session
            .wait(client.defragment())
            .map_err(|error| Failure::new(Exit::Error, error_text(&error)))?;
        print_line(&format!("Defragmented {name}"))?;
    }
    Ok(())
}
