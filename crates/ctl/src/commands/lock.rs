//! `lock`: holds a lock until it is interrupted, or while a program runs.
//!
//! The lease of an interrupted or ended command is left to run out, as etcdctl does: only the key
//! is deleted. The exception is an interrupted wait, where ending the lease is the sure way to give
//! up the place in line.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use tenet_cli::flag::{Flag, Kind};
use tenet_cli::log::{Entry, Level};
use tenet_client::{Client, ConcurrencyError, Lock, Session, WatchError};

use super::child::{self, Stop};
use crate::display::{Answer, Display};
use crate::failure::{Exit, Failure, error_text};
use crate::flags::flag;
use crate::invocation::{Invocation, log};
use crate::tree::{Command, Run, Section};

flag!(
    TTL,
    "ttl",
    Int,
    "10",
    "Seconds after which the lock of a holder that has gone silent is lost."
);

static FLAGS: &[&Flag] = &[&TTL];

/// Time to live of sessions that are not told any.
pub(super) const SESSION_TTL_SECONDS: i64 = 60;

pub(super) static COMMAND: Command = Command {
    long: "Shows its key once it holds the lock, and holds it until it is interrupted. With a\n\
           program, runs it while it holds the lock, with ETCD_LOCK_KEY and ETCD_LOCK_REV in its\n\
           environment, and ends with its exit code.\n\n\
           The revision at which the key was created grows from holder to holder: it is what\n\
           stores that the lock guards should check.",
    flags: FLAGS,
    run: Run::Now(run),
    ..Command::new(
        "lock",
        "<lockname> [exec-command arg1 arg2 ...]",
        "Holds a lock",
        Some(Section::Concurrency),
    )
};

fn run(invocation: &mut Invocation) -> Result<(), Failure> {
    let Some((name, program)) = invocation.args.split_first() else {
        let text = "lock takes a lock name argument and an optional command to execute";
        return Err(Failure::new(Exit::BadArgs, text));
    };
    let (name, program) = (name.clone(), program.to_vec());
    let session = invocation.session()?;
    let client = session.client()?;
    let ttl = match invocation.settings.int(&TTL) {
        ttl @ 1.. => ttl,
        _ => {
            let text = "WithTTL(): TTL should be > 0, preserving current TTL";
            let mut entry =
                Entry::new(Level::Warn, text).with("current-session-ttl", SESSION_TTL_SECONDS);
            entry.logger = "etcd-client";
            log(&entry);
            SESSION_TTL_SECONDS
        }
    };
    session.wait(hold(&client, session.display, ttl, &name, &program))
}

async fn hold(
    client: &Client,
    display: Display,
    ttl_seconds: i64,
    name: &[u8],
    program: &[Vec<u8>],
) -> Result<(), Failure> {
    let session = Session::new(client, ttl_seconds).await?;
    let mut stop = Stop::listen().map_err(signals_failed)?;
    let lock = tokio::select! {
        lock = session.lock(name) => Some(lock.map_err(|error| failed(&error))?),
        () = stop.asked() => None,
    };
    let Some(lock) = lock else {
        session.close().await?;
        return Err(Failure::new(Exit::Error, "context canceled"));
    };
    if !program.is_empty() {
        return hold_while(lock, program).await;
    }
    let Some(answer) = lock.read().await? else {
        return Err(Failure::new(Exit::Error, "lock lost on init"));
    };
    display.show(&Answer::Range(&answer))?;
    tokio::select! {
        () = stop.asked() => Ok(lock.unlock().await?),
        _ = session.expired() => Err(Failure::new(Exit::Error, "session expired")),
    }
}

/// Runs a program. What asks this one to end is the program's affair meanwhile.
async fn hold_while(lock: Lock, program: &[Vec<u8>]) -> Result<(), Failure> {
    let key = OsString::from_vec(lock.key().to_vec());
    let revision = OsString::from(lock.header().revision.to_string());
    // What is in the environment already stays, as in etcdctl.
    let mut variables = vec![("ETCD_LOCK_KEY", key), ("ETCD_LOCK_REV", revision)];
    variables.retain(|(name, _)| std::env::var_os(name).is_none());
    let ended = child::run(program, variables).await;
    let unlocked = lock.unlock().await;
    ended.map_err(|failure| {
        let exit = failure.code.map_or(Exit::Error, Exit::Child);
        Failure::new(exit, failure.text)
    })?;
    Ok(unlocked?)
}

pub(super) fn signals_failed(error: std::io::Error) -> Failure {
    Failure::new(Exit::Error, format!("cannot listen for signals: {error}"))
}

/// A lost lock or office, in the words of etcd's client.
pub(super) fn failed(error: &ConcurrencyError) -> Failure {
    let text = match error {
        ConcurrencyError::SessionExpired => "mutex: session is expired".to_owned(),
        ConcurrencyError::Lost => "election: not leader".to_owned(),
        ConcurrencyError::Call(error) | ConcurrencyError::Watch(WatchError::Call(error)) => {
            error_text(error)
        }
        error => error.to_string(),
    };
    Failure::new(Exit::Error, text)
}
