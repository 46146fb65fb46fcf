//! `alarm`: the alarms of the members.

use crate::display::Answer;
use crate::failure::{Exit, Failure};
use crate::invocation::Invocation;
use crate::tree::{Command, Run, Section};

pub(super) static COMMAND: Command = Command {
    commands: &[&DISARM, &LIST],
    run: Run::Help,
    ..Command::new(
        "alarm",
        "<subcommand>",
        "Lists and lowers alarms",
        Some(Section::Maintenance),
    )
};

static DISARM: Command = Command {
    run: Run::Now(disarm),
    ..Command::below("disarm", "", "Lowers all alarms")
};

static LIST: Command = Command {
    run: Run::Now(list),
    ..Command::below("list", "", "Lists all alarms")
};

fn disarm(invocation: &mut Invocation) -> Result<(), Failure> {
    refuse_arguments(invocation, "disarm")?;
    let deadline = invocation.deadline();
    let session = invocation.session()?;
    let client = session.client()?.with_deadline(deadline);
    let answer = session.wait(client.disarm_all())?;
    session.show(&Answer::Alarms(&answer))
}

fn list(invocation: &mut Invocation) -> Result<(), Failure> {
    refuse_arguments(invocation, "list")?;
    let deadline = invocation.deadline();
    let session = invocation.session()?;
    let client = session.client()?.with_deadline(deadline);
    let answer = session.wait(client.alarms())?;
    session.show(&Answer::Alarms(&answer))
}

fn refuse_arguments(invocation: &Invocation, command: &str) -> Result<(), Failure> {
    if invocation.args.is_empty() {
        return Ok(());
    }
    let text = format!("alarm {command} command accepts no arguments");
    Err(Failure::new(Exit::BadArgs, text))
}
