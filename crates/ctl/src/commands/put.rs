//! `put`: puts a key.

use std::io::Read;

use tenet_cli::flag::{Flag, Kind};
use tenet_cli::print::number::parse_int;
use tenet_cli::settings::Settings;
use tenet_proto::etcdserverpb::PutRequest;

use crate::display::Answer;
use crate::failure::{Exit, Failure};
use crate::flags::flag;
use crate::invocation::Invocation;
use crate::tree::{Command, Run, Section};

flag!(
    LEASE,
    "lease",
    Text,
    "0",
    "Lease to attach the key to, in hexadecimal."
);
flag!(
    PREV_KV,
    "prev-kv",
    Bool,
    "false",
    "Show what was there before."
);
flag!(
    IGNORE_VALUE,
    "ignore-value",
    Bool,
    "false",
    "Keep the value that is there."
);
flag!(
    IGNORE_LEASE,
    "ignore-lease",
    Bool,
    "false",
    "Keep the lease that is there."
);

static FLAGS: &[&Flag] = &[&LEASE, &PREV_KV, &IGNORE_VALUE, &IGNORE_LEASE];

pub(super) static COMMAND: Command = Command {
    long: "A value that is not given as an argument is read from standard input, to its end,\n\
           unless --ignore-value is given.\n\n\
           A value that begins with a dash looks like a flag. Two dashes end the flags:\n\n  \
           put <key> -- <value>",
    flags: FLAGS,
    run: Run::Now(run),
    ..Command::new(
        "put",
        "[options] <key> <value> (<value> can also be given from stdin)",
        "Puts a key",
        Some(Section::KeyValue),
    )
};

fn run(invocation: &mut Invocation) -> Result<(), Failure> {
    let request = request(
        &invocation.settings,
        &invocation.args,
        &mut std::io::stdin().lock(),
    )?;
    let deadline = invocation.deadline();
    let session = invocation.session()?;
    let client = session.client()?.with_deadline(deadline);
    let answer = session.wait(client.put(request))?;
    session.show(&Answer::Put(&answer))
}

/// The request that flags and arguments describe, with the value from `stdin` if it is missing.
pub(super) fn request(
    settings: &Settings,
    args: &[Vec<u8>],
    stdin: &mut impl Read,
) -> Result<PutRequest, Failure> {
    let needs = || {
        let text = "put command needs 1 argument and input from stdin or 2 arguments";
        Failure::new(Exit::BadArgs, text)
    };
    let key = args.first().ok_or_else(needs)?;
    let ignore_value = settings.bool(&IGNORE_VALUE);
    let value = match args.get(1) {
        Some(_) if ignore_value => {
            let text = "put command needs only 1 argument when 'ignore-value' is set";
            return Err(Failure::new(Exit::BadArgs, text));
        }
        None if ignore_value => Vec::new(),
        Some(value) => value.clone(),
        None => {
            let mut value = Vec::new();
            match stdin.read_to_end(&mut value) {
                Ok(1..) => value,
                Ok(0) | Err(_) => return Err(needs()),
            }
        }
    };
    let lease = parse_int(settings.text(&LEASE), 16).map_err(|error| {
        Failure::new(
            Exit::BadArgs,
            format!("bad lease ID ({error}), expecting ID in Hex"),
        )
    })?;
    Ok(PutRequest {
        key: key.clone().into(),
        value: value.into(),
        lease,
        prev_kv: settings.bool(&PREV_KV),
        ignore_value,
        ignore_lease: settings.bool(&IGNORE_LEASE),
    })
}
