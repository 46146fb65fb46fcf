//! `member`: the members of the cluster.

use tenet_proto::etcdserverpb::MemberListRequest;

use super::get::is_serializable;
use crate::display::Answer;
use crate::failure::Failure;
use crate::flags::CONSISTENCY;
use crate::invocation::Invocation;
use crate::tree::{Command, Run, Section};

pub(super) static COMMAND: Command = Command {
    commands: &[&ADD, &REMOVE, &UPDATE, &LIST, &PROMOTE],
    run: Run::Help,
    ..Command::new(
        "member",
        "<subcommand>",
        "Lists and changes the members",
        Some(Section::Maintenance),
    )
};

static ADD: Command = Command::below("add", "<memberName> [options]", "Adds a member");
static REMOVE: Command = Command::below("remove", "<memberID>", "Removes a member");
static UPDATE: Command = Command::below(
    "update",
    "<memberID> [options]",
    "Changes the peer URLs of a member",
);
static PROMOTE: Command = Command::below("promote", "<memberID>", "Makes a learner a voter");

static LIST: Command = Command {
    long: "In the simple format, a line for each member: id, started or unstarted, name, peer \
           URLs,\nclient URLs, whether it is a learner.",
    flags: &[&CONSISTENCY],
    run: Run::Now(list),
    ..Command::below("list", "", "Lists the members")
};

fn list(invocation: &mut Invocation) -> Result<(), Failure> {
    // etcdctl names the value of another command's flag here, which is always its default.
    let serializable = is_serializable(invocation.settings.text(&CONSISTENCY), "l")?;
    let deadline = invocation.deadline();
    let session = invocation.session()?;
    let client = session.client()?.with_deadline(deadline);
    let request = MemberListRequest {
        linearizable: !serializable,
    };
    let answer = session.wait(client.member_list(request))?;
    session.show(&Answer::Members(&answer))
}
