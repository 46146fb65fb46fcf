//! `lease`: makes, renews and ends leases.

use tenet_cli::flag::{Flag, Kind};
use tenet_cli::print::number::parse_int;
use tenet_client::Error;
use tenet_proto::etcdserverpb::{LeaseGrantRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest};

use super::print_line;
use crate::display::{Answer, Format, lease_hex};
use crate::failure::{Exit, Failure, error_text};
use crate::flags::flag;
use crate::invocation::Invocation;
use crate::tree::{Command, Run, Section};

flag!(KEYS, "keys", Bool, "false", "Show the keys of the lease.");
flag!(
    ONCE,
    "once",
    Bool,
    "false",
    "Renew it once, instead of again and again."
);

pub(super) static COMMAND: Command = Command {
    commands: &[&GRANT, &REVOKE, &TIME_TO_LIVE, &LIST, &KEEP_ALIVE],
    run: Run::Help,
    ..Command::new(
        "lease",
        "<subcommand>",
        "Makes, renews and ends leases",
        Some(Section::KeyValue),
    )
};

static GRANT: Command = Command {
    run: Run::Now(grant),
    ..Command::below("grant", "<ttl>", "Makes a lease")
};
static REVOKE: Command = Command {
    run: Run::Now(revoke),
    ..Command::below("revoke", "<leaseID>", "Ends a lease")
};
static TIME_TO_LIVE: Command = Command {
    flags: &[&KEYS],
    run: Run::Now(time_to_live),
    ..Command::below(
        "timetolive",
        "<leaseID> [options]",
        "Shows what is left of a lease",
    )
};
static LIST: Command = Command {
    run: Run::Now(list),
    ..Command::below("list", "", "Lists the leases")
};
static KEEP_ALIVE: Command = Command {
    flags: &[&ONCE],
    run: Run::Now(keep_alive),
    ..Command::below("keep-alive", "[options] <leaseID>", "Renews a lease")
};

/// The only argument.
fn argument(invocation: &Invocation, needed: &str) -> Result<String, Failure> {
    match &invocation.text_args()[..] {
        [argument] => Ok(argument.clone()),
        _ => {
            let text = format!(
                "lease {} command needs {needed}",
                invocation.path.command().name
            );
            Err(Failure::new(Exit::BadArgs, text))
        }
    }
}

fn lease_id(text: &str) -> Result<i64, Failure> {
    parse_int(text, 16).map_err(|error| {
        let text = format!("bad lease ID arg ({error}), expecting ID in Hex");
        Failure::new(Exit::BadArgs, text)
    })
}

fn grant(invocation: &mut Invocation) -> Result<(), Failure> {
    let ttl = argument(invocation, "TTL argument")?;
    let ttl = parse_int(&ttl, 10)
        .map_err(|error| Failure::new(Exit::BadArgs, format!("bad TTL ({error})")))?;
    let deadline = invocation.deadline();
    let session = invocation.session()?;
    let client = session.client()?.with_deadline(deadline);
    let answer = session
        .wait(client.lease_grant(LeaseGrantRequest { ttl, id: 0 }))
        .map_err(|error| wrapped("failed to grant lease", &error))?;
    session.show(&Answer::Granted(&answer))
}

fn revoke(invocation: &mut Invocation) -> Result<(), Failure> {
    let id = lease_id(&argument(invocation, "1 argument")?)?;
    let deadline = invocation.deadline();
    let session = invocation.session()?;
    let client = session.client()?.with_deadline(deadline);
    let answer = session
        .wait(client.lease_revoke(LeaseRevokeRequest { id }))
        .map_err(|error| wrapped("failed to revoke lease", &error))?;
    session.show(&Answer::Revoked(id, &answer))
}

fn wrapped(what: &str, error: &Error) -> Failure {
    Failure::new(Exit::Error, format!("{what} ({})", error_text(error)))
}

/// The rest have no time limit, and an exit code of their own.
fn failed(error: Error) -> Failure {
    Failure {
        exit: Exit::BadConnection,
        ..Failure::from(error)
    }
}

fn time_to_live(invocation: &mut Invocation) -> Result<(), Failure> {
    let id = argument(invocation, "lease ID as argument")?;
    let session = invocation.session()?;
    let client = session.client()?;
    let id = lease_id(&id)?;
    let keys = invocation.settings.bool(&KEYS);
    let answer = session
        .wait(client.lease_time_to_live(LeaseTimeToLiveRequest { id, keys }))
        .map_err(failed)?;
    session.show(&Answer::TimeToLive(&answer, keys))
}

fn list(invocation: &mut Invocation) -> Result<(), Failure> {
    let session = invocation.session()?;
    let client = session.client()?;
    let answer = session.wait(client.leases()).map_err(failed)?;
    session.show(&Answer::Leases(&answer))
}

fn keep_alive(invocation: &mut Invocation) -> Result<(), Failure> {
    let id = lease_id(&argument(invocation, "lease ID as argument")?)?;
    let session = invocation.session()?;
    let client = session.client()?;
    if invocation.settings.bool(&ONCE) {
        let answer = session
            .wait(client.lease_keep_alive_once(id))
            .map_err(failed)?;
        return session.show(&Answer::KeptAlive(&answer));
    }
    session.wait(async {
        let mut keep_alive = client.keep_alive(id);
        while let Some(answer) = keep_alive.next().await {
            session.show(&Answer::KeptAlive(&answer))?;
        }
        Ok::<(), Failure>(())
    })?;
    if session.display.format == Format::Simple {
        print_line(&format!("lease {} expired or revoked.", lease_hex(id)))?;
    }
    Ok(())
}
