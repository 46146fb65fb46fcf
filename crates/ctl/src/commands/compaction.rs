//! `compaction`: drops history.

use tenet_cli::flag::{Flag, Kind};
use tenet_cli::print::number::parse_int;
use tenet_proto::etcdserverpb::CompactionRequest;

use super::print_line;
use crate::failure::{Exit, Failure};
use crate::flags::flag;
use crate::invocation::Invocation;
use crate::tree::{Command, Run, Section};

flag!(
    PHYSICAL,
    "physical",
    Bool,
    "false",
    "Wait until the old revisions are gone from disk."
);

pub(super) static COMMAND: Command = Command {
    flags: &[&PHYSICAL],
    run: Run::Now(run),
    ..Command::new(
        "compaction",
        "[options] <revision>",
        "Drops the history before a revision",
        Some(Section::KeyValue),
    )
};

fn run(invocation: &mut Invocation) -> Result<(), Failure> {
    let args = invocation.text_args();
    let [revision] = &args[..] else {
        return Err(Failure::new(
            Exit::BadArgs,
            "compaction command needs 1 argument",
        ));
    };
    let revision =
        parse_int(revision, 10).map_err(|error| Failure::new(Exit::Error, error.to_string()))?;
    let physical = invocation.settings.bool(&PHYSICAL);
    let session = invocation.session()?;
    let client = session.client()?.with_deadline(invocation.deadline());
    session.wait(client.compact(CompactionRequest { revision, physical }))?;
    print_line(&format!("compacted revision {revision}"))
}
