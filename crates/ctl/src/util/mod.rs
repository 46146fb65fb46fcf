//! etcdutl: work on files without a server, as `tenet util` and under its own name.
//!
//! A drop-in for etcdutl 3.7 where it is there: flags, outputs, texts of errors and exit codes are
//! its. Snapshots are restored into a data directory of Tenet.
//!
//! Known differences: nothing is left behind by a restore that fails; a damaged file is refused
//! with its place where etcdutl panics; `snapshot status` looks at every page, and says so where
//! etcdutl's check finds nothing.

mod flags;
mod import;
mod restore;
mod status;

use std::io::Write as _;

use crate::failure::Failure;
use crate::invocation::Invocation;
use crate::tree::{Command, Run};

/// The program itself.
pub(crate) static ROOT: Command = Command {
    name: "etcdutl",
    shared: flags::GLOBAL,
    commands: &[
        &SNAPSHOT,
        &DEFRAG,
        &HASHKV,
        &MIGRATE,
        &COMPLETION,
        &VERSION,
        &HELP,
    ],
    run: Run::Help,
    ..Command::below("etcdutl", "[command]", "Works on data without a server")
};

static SNAPSHOT: Command = Command {
    commands: &[&restore::COMMAND, &status::COMMAND],
    run: Run::Help,
    ..Command::below(
        "snapshot",
        "<subcommand>",
        "Looks at and restores snapshots",
    )
};

static DEFRAG: Command = Command::below("defrag", "", "Gives unused space back");
static HASHKV: Command = Command::below(
    "hashkv",
    "<filename>",
    "Shows the hash of the keys of a file",
);
static MIGRATE: Command = Command::below("migrate", "", "Changes the version of a data directory");

static COMPLETION: Command = Command::below(
    "completion",
    "[shell]",
    "Writes a completion script for a shell",
);
static HELP: Command = Command {
    run: Run::Now(crate::commands::help),
    ..Command::below("help", "[command]", "Shows what a command does")
};

static VERSION: Command = Command {
    run: Run::Now(version),
    ..Command::below("version", "", "Shows the version")
};

fn version(_: &mut Invocation) -> Result<(), Failure> {
    print("etcdutl version: 3.7.1\nAPI version: 3.7\n")
}

fn print(text: &str) -> Result<(), Failure> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(Failure::of_output)
}
