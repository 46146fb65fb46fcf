//! `elect`: stands for election and holds the office until it is interrupted, or watches who does.

use tenet_cli::flag::{Flag, Kind};
use tenet_client::{Client, Session};
use tenet_proto::etcdserverpb::RangeResponse;

use super::child::Stop;
use super::lock::{SESSION_TTL_SECONDS, failed, signals_failed};
use crate::display::{Answer, Display};
use crate::failure::{Exit, Failure};
use crate::invocation::Invocation;
use crate::tree::{Command, Run, Section};

static LISTEN: Flag =
    Flag::new("listen", Kind::Bool, "false", "Watch, and do not stand.").short('l');

pub(super) static COMMAND: Command = Command {
    long: "Shows its key and proposal once it is elected, and holds the office until it is\n\
           interrupted. With --listen it shows whoever is elected, and each new proposal.",
    flags: &[&LISTEN],
    run: Run::Now(run),
    ..Command::new(
        "elect",
        "<election-name> [proposal]",
        "Takes part in an election, or watches one",
        Some(Section::Concurrency),
    )
};

fn run(invocation: &mut Invocation) -> Result<(), Failure> {
    let bad_args = |text: &str| Err(Failure::new(Exit::BadArgs, text));
    let (name, proposal) = match &invocation.args[..] {
        [name] => (name.clone(), None),
        [name, proposal] => (name.clone(), Some(proposal.clone())),
        _ => {
            return bad_args(
                "elect takes one election name argument and an optional proposal argument",
            );
        }
    };
    let session = invocation.session()?;
    let client = session.client()?;
    let listens = invocation.settings.bool(&LISTEN);
    match proposal {
        None if !listens => bad_args("no proposal argument but -l not set"),
        Some(_) if listens => bad_args("proposal given but -l is set"),
        None => session.wait(observe(&client, session.display, &name)),
        Some(proposal) => session.wait(campaign(&client, session.display, &name, proposal)),
    }
}

async fn observe(client: &Client, display: Display, name: &[u8]) -> Result<(), Failure> {
    // An observer needs no session; etcdctl has one, whose lease can be seen.
    let _session = Session::new(client, SESSION_TTL_SECONDS).await?;
    let mut stop = Stop::listen().map_err(signals_failed)?;
    let mut observer = client.election_observer(name);
    loop {
        let leader = tokio::select! {
            leader = observer.next() => leader,
            () = stop.asked() => return Ok(()),
        };
        let Ok(leader) = leader else {
            return Err(Failure::new(Exit::Error, "elect: observer lost"));
        };
        display.show(&Answer::Range(&RangeResponse {
            header: Some(leader.header),
            kvs: vec![leader.kv],
            ..RangeResponse::default()
        }))?;
    }
}

async fn campaign(
    client: &Client,
    display: Display,
    name: &[u8],
    proposal: Vec<u8>,
) -> Result<(), Failure> {
    let session = Session::new(client, SESSION_TTL_SECONDS).await?;
    let mut stop = Stop::listen().map_err(signals_failed)?;
    let office = tokio::select! {
        office = session.campaign(name, proposal) => Some(office.map_err(|error| failed(&error))?),
        () = stop.asked() => None,
    };
    let Some(office) = office else {
        session.close().await?;
        return Err(Failure::new(Exit::Error, "context canceled"));
    };
    let answer = office.read().await?.unwrap_or_default();
    display.show(&Answer::Range(&answer))?;
    tokio::select! {
        () = stop.asked() => Ok(office.resign().await?),
        _ = session.expired() => Err(Failure::new(Exit::Error, "elect: session expired")),
    }
}
