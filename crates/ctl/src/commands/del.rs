//! `del`: deletes a key or a range of keys.

use std::io::Write as _;
use std::time::Duration;

use tenet_cli::flag::{Flag, Kind};
use tenet_cli::print::quote::quoted;
use tenet_cli::settings::Settings;
use tenet_proto::etcdserverpb::DeleteRangeRequest;

use super::get::range;
use crate::display::Answer;
use crate::failure::{Exit, Failure};
use crate::flags::flag;
use crate::invocation::Invocation;
use crate::tree::{Command, Run, Section};

flag!(
    PREFIX,
    "prefix",
    Bool,
    "false",
    "Delete the keys that begin with the given one."
);
flag!(PREV_KV, "prev-kv", Bool, "false", "Show what is deleted.");
flag!(
    FROM_KEY,
    "from-key",
    Bool,
    "false",
    "Delete the keys that are not before the given one."
);
flag!(
    RANGE,
    "range",
    Bool,
    "false",
    "Delete a range without giving time to think again."
);

static FLAGS: &[&Flag] = &[&PREFIX, &PREV_KV, &FROM_KEY, &RANGE];

pub(super) static COMMAND: Command = Command {
    flags: FLAGS,
    run: Run::Now(run),
    ..Command::new(
        "del",
        "[options] <key> [range_end]",
        "Deletes a key, or the keys from <key> up to, not including, <range_end>",
        Some(Section::KeyValue),
    )
};

fn run(invocation: &mut Invocation) -> Result<(), Failure> {
    let request = request(&invocation.settings, &invocation.args)?;
    let deadline = invocation.deadline();
    let session = invocation.session()?;
    let client = session.client()?.with_deadline(deadline);
    let answer = session.wait(client.delete_range(request))?;
    session.show(&Answer::Delete(&answer))
}

/// The time to think again about a range.
const SECOND_THOUGHT: Duration = Duration::from_secs(2);

/// The request that flags and arguments describe. A range that `--range` does not confirm is
/// announced, and there is time to interrupt.
pub(super) fn request(
    settings: &Settings,
    args: &[Vec<u8>],
) -> Result<DeleteRangeRequest, Failure> {
    let (prefix, from_key) = (settings.bool(&PREFIX), settings.bool(&FROM_KEY));
    let (key, end) = match args {
        [key] => (key, None),
        [key, end] => (key, Some(end)),
        _ => {
            let text =
                "del command needs one argument as key and an optional argument as range_end";
            return Err(Failure::new(Exit::BadArgs, text));
        }
    };
    if prefix && from_key {
        let text = "`--prefix` and `--from-key` cannot be set at the same time, choose one";
        return Err(Failure::new(Exit::BadArgs, text));
    }
    let range = range(key, end, prefix, from_key)?;
    if let Some(end) = end.filter(|_| !settings.bool(&RANGE)) {
        let _ = writeln!(
            std::io::stderr(),
            "Warning: Keys between {} and {} will be deleted. Please interrupt the command within \
             next 2 seconds to cancel. You can provide `--range` flag to avoid the delay.",
            quoted(key),
            quoted(end),
        );
        std::thread::sleep(SECOND_THOUGHT);
    }
    Ok(DeleteRangeRequest {
        prev_kv: settings.bool(&PREV_KV),
        ..range.into()
    })
}
