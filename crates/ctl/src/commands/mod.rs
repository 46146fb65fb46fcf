//! The commands.

mod alarm;
mod check;
mod child;
mod compaction;
mod del;
mod elect;
mod endpoint;
mod get;
mod lease;
mod lock;
mod member;
mod put;
mod snapshot;
mod txn;
mod utility;
mod watch;

pub(crate) use utility::help;

use std::io::Write as _;

use crate::failure::Failure;
use crate::flags;
use crate::tree::{Command, Run, Section};

/// The program itself.
pub(crate) static ROOT: Command = Command {
    name: "etcdctl",
    usage: "[command]",
    short: "A command line client of the v3 API",
    long: "",
    section: None,
    flags: &[],
    shared: flags::GLOBAL,
    variables: &[],
    commands: &[
        &get::COMMAND,
        &put::COMMAND,
        &del::COMMAND,
        &txn::COMMAND,
        &compaction::COMMAND,
        &alarm::COMMAND,
        &endpoint::DEFRAG,
        &endpoint::COMMAND,
        &MOVE_LEADER,
        &watch::COMMAND,
        &utility::VERSION,
        &lease::COMMAND,
        &member::COMMAND,
        &snapshot::COMMAND,
        &MAKE_MIRROR,
        &lock::COMMAND,
        &elect::COMMAND,
        &AUTH,
        &USER,
        &ROLE,
        &check::COMMAND,
        &utility::COMPLETION,
        &DOWNGRADE,
        &utility::OPTIONS,
        &utility::HELP,
    ],
    run: Run::Help,
};

static MOVE_LEADER: Command = Command::new(
    "move-leader",
    "<transferee-member-id>",
    "Hands leadership to another member",
    Some(Section::Maintenance),
);
static MAKE_MIRROR: Command = Command::new(
    "make-mirror",
    "[options] <destination>",
    "Copies keys to another cluster as they change",
    Some(Section::Utility),
);
static AUTH: Command = Command {
    commands: &[
        &Command::below("enable", "", "Begins to ask for users"),
        &Command::below("disable", "", "Ceases to ask for users"),
        &Command::below("status", "", "Shows whether users are asked for"),
    ],
    run: Run::Help,
    ..Command::new(
        "auth",
        "<subcommand>",
        "Turns authentication on and off",
        Some(Section::Authentication),
    )
};
static USER: Command = Command {
    commands: &[
        &Command::below(
            "add",
            "<user name or user:password> [options]",
            "Adds a user",
        ),
        &Command::below("delete", "<user name>", "Deletes a user"),
        &Command::below("get", "<user name> [options]", "Shows a user"),
        &Command::below("list", "", "Lists the users"),
        &Command::below("passwd", "<user name> [options]", "Changes a password"),
        &Command::below(
            "grant-role",
            "<user name> <role name>",
            "Gives a user a role",
        ),
        &Command::below(
            "revoke-role",
            "<user name> <role name>",
            "Takes a role from a user",
        ),
    ],
    run: Run::Help,
    ..Command::new(
        "user",
        "<subcommand>",
        "Manages users",
        Some(Section::Authentication),
    )
};
static ROLE: Command = Command {
    commands: &[
        &Command::below("add", "<role name>", "Adds a role"),
        &Command::below("delete", "<role name>", "Deletes a role"),
        &Command::below("get", "<role name>", "Shows a role"),
        &Command::below("list", "", "Lists the roles"),
        &Command::below(
            "grant-permission",
            "[options] <role name> <permission type> <key> [endkey]",
            "Gives a role a permission",
        ),
        &Command::below(
            "revoke-permission",
            "<role name> <key> [endkey]",
            "Takes a permission from a role",
        ),
    ],
    run: Run::Help,
    ..Command::new(
        "role",
        "<subcommand>",
        "Manages roles",
        Some(Section::Authentication),
    )
};
static DOWNGRADE: Command = Command {
    commands: &[
        &Command::below(
            "validate",
            "<TARGET_VERSION>",
            "Says whether a downgrade can begin",
        ),
        &Command::below("enable", "<TARGET_VERSION>", "Begins a downgrade"),
        &Command::below("cancel", "", "Ends a downgrade that was begun"),
    ],
    run: Run::Help,
    ..Command::new(
        "downgrade",
        "<subcommand>",
        "Leads the cluster to an older version",
        Some(Section::Maintenance),
    )
};

/// A line on standard output.
fn print_line(text: &str) -> Result<(), Failure> {
    writeln!(std::io::stdout(), "{text}").map_err(Failure::of_output)
}
