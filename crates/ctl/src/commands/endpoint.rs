//! `endpoint`: what single members say of themselves. Also `defrag`, which asks them one by one.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tenet_cli::flag::{Flag, Kind};
use tenet_cli::go::GoDuration;
use tenet_client::{Client, Config, Error};
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::{
    AlarmMember, AlarmType, HashKvRequest, MemberListRequest, RangeRequest,
};
use tokio::task::JoinSet;

use super::print_line;
use crate::display::{Answer, Health};
use crate::failure::{Exit, Failure, error_text};
use crate::flags::{CLUSTER, COMMAND_TIMEOUT, DIAL_TIMEOUT, ENDPOINTS, flag};
use crate::invocation::{AttemptLog, Invocation, Session};
use crate::tree::{Command, Run, Section};

flag!(
    HASH_REV,
    "rev",
    Int64,
    "0",
    "Revision to hash up to; 0 means the newest."
);

pub(super) static COMMAND: Command = Command {
    shared: &[&CLUSTER],
    commands: &[&HEALTH, &STATUS, &HASHKV],
    run: Run::Help,
    ..Command::new(
        "endpoint",
        "<subcommand>",
        "Asks single members",
        Some(Section::Maintenance),
    )
};

static HEALTH: Command = Command {
    run: Run::Now(health),
    ..Command::below("health", "", "Checks whether members can serve")
};

static STATUS: Command = Command {
    long: "In the simple format, a line for each endpoint: endpoint, id, version, storage version,\n\
           size, size in use, share not in use, quota, whether it leads, whether it is a learner,\n\
           raft term, raft index, applied index, errors, downgrade target, whether a downgrade is\n\
           under way.",
    run: Run::Now(status),
    ..Command::below("status", "", "Shows the state of members")
};

static HASHKV: Command = Command {
    shared: &[&HASH_REV],
    run: Run::Now(hashkv),
    ..Command::below("hashkv", "", "Shows the hash of the keys of members")
};

pub(super) static DEFRAG: Command = Command {
    shared: &[&CLUSTER],
    run: Run::Now(defrag),
    ..Command::new(
        "defrag",
        "",
        "Gives unused space back",
        Some(Section::Maintenance),
    )
};

fn health(invocation: &mut Invocation) -> Result<(), Failure> {
    let session = invocation.session()?;
    let endpoints = endpoints(invocation, &session)?;
    let timeouts = Timeouts {
        dial: invocation.settings.duration(&DIAL_TIMEOUT).to_std(),
        command: invocation.settings.duration(&COMMAND_TIMEOUT).to_std(),
    };
    let checks = session.wait(async {
        let mut running = JoinSet::new();
        for endpoint in endpoints {
            let mut config = session.config.clone();
            config.endpoints = vec![endpoint.clone()];
            config.observer = Some(Arc::new(AttemptLog { logger: "client" }));
            running.spawn(check(endpoint, config, timeouts));
        }
        // In the order in which they end, as etcdctl has it.
        running.join_all().await
    });
    session.show(&Answer::Health(&checks))?;
    if checks.iter().any(|check| !check.error.is_empty()) {
        return Err(Failure::new(Exit::Error, "unhealthy cluster"));
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Timeouts {
    dial: Duration,
    command: Duration,
}

/// A member that can read a key linearizably, and has no alarm, is well.
async fn check(endpoint: String, config: Config, timeouts: Timeouts) -> Health {
    let ill = |took: String, error: String| Health {
        endpoint: endpoint.clone(),
        healthy: false,
        took,
        error,
    };
    let client = match Client::new(config) {
        Ok(client) => client,
        Err(error) => return ill(String::new(), error.to_string()),
    };
    if let Err(error) = client.with_timeout(timeouts.dial).authenticate().await {
        return ill(String::new(), error_text(&error));
    }
    let began = Instant::now();
    let client = client.with_deadline(began + timeouts.command);
    let request = RangeRequest {
        key: "health".into(),
        ..Default::default()
    };
    let read = client.range(request).await;
    let took = GoDuration::from_std(began.elapsed()).to_string();
    match read {
        // Whoever is refused has been served.
        Ok(_) | Err(Error::Api(ApiError::PermissionDenied)) => {}
        Err(error) => return ill(took, error_text(&error)),
    }
    match client.alarms().await {
        Ok(answer) if answer.alarms.is_empty() => Health {
            endpoint,
            healthy: true,
            took,
            error: String::new(),
        },
        Ok(answer) => ill(took, alarm_text(&answer.alarms)),
        Err(_) => ill(took, "Unable to fetch the alarm list".to_owned()),
    }
}

fn alarm_text(alarms: &[AlarmMember]) -> String {
    let mut text = "Active Alarm(s): ".to_owned();
    for alarm in alarms {
        text.push_str(match AlarmType::try_from(alarm.alarm) {
            Ok(AlarmType::Nospace) => "NOSPACE ",
            Ok(AlarmType::Corrupt) => "CORRUPT ",
            Ok(AlarmType::None) | Err(_) => "UNKNOWN ",
        });
    }
    text
}

fn status(invocation: &mut Invocation) -> Result<(), Failure> {
    let session = invocation.session()?;
    let mut statuses = Vec::new();
    let mut failed = false;
    for endpoint in endpoints(invocation, &session)? {
        let client = session
            .client_at(&endpoint)?
            .with_deadline(invocation.deadline());
        match session.wait(client.status()) {
            Ok(answer) => statuses.push((endpoint, answer)),
            Err(error) => {
                failed = true;
                warn(&format!(
                    "Failed to get the status of endpoint {endpoint} ({})",
                    error_text(&error)
                ));
            }
        }
    }
    session.show(&Answer::Statuses(&statuses))?;
    if failed {
        Err(Failure::silent(Exit::Error))
    } else {
        Ok(())
    }
}

fn hashkv(invocation: &mut Invocation) -> Result<(), Failure> {
    let session = invocation.session()?;
    let request = HashKvRequest {
        revision: invocation.settings.int(&HASH_REV),
    };
    let mut hashes = Vec::new();
    let mut failure = None;
    for endpoint in endpoints(invocation, &session)? {
        let client = session
            .client_at(&endpoint)?
            .with_deadline(invocation.deadline());
        match session.wait(client.hash_kv(request)) {
            Ok(answer) => hashes.push((endpoint, answer)),
            Err(error) => {
                warn(&format!(
                    "Failed to get the hash of endpoint {endpoint} ({})",
                    error_text(&error)
                ));
                failure = Some(error.into());
            }
        }
    }
    session.show(&Answer::Hashes(&hashes))?;
    failure.map_or(Ok(()), Err)
}

fn defrag(invocation: &mut Invocation) -> Result<(), Failure> {
    let session = invocation.session()?;
    let mut failed = false;
    for endpoint in endpoints(invocation, &session)? {
        let client = session
            .client_at(&endpoint)?
            .with_deadline(invocation.deadline());
        let began = Instant::now();
        let result = session.wait(client.defragment());
        let took = GoDuration::from_std(began.elapsed());
        match result {
            Ok(_) => print_line(&format!(
                "Finished defragmenting etcd member[{endpoint}]. took {took}"
            ))?,
            Err(error) => {
                failed = true;
                warn(&format!(
                    "Failed to defragment etcd member[{endpoint}]. took {took}. ({})",
                    error_text(&error)
                ));
            }
        }
    }
    if failed {
        Err(Failure::silent(Exit::Error))
    } else {
        Ok(())
    }
}

/// The endpoints that were given or, with `--cluster`, those that the members announce.
fn endpoints(invocation: &Invocation, session: &Session) -> Result<Vec<String>, Failure> {
    let settings = &invocation.settings;
    if !settings.bool(&CLUSTER) {
        return Ok(settings.list(&ENDPOINTS).to_vec());
    }
    let client = session
        .client()
        .map_err(|failure| Failure {
            exit: Exit::Error,
            ..failure
        })?
        .with_deadline(invocation.deadline());
    let answer = session.wait(client.member_list(MemberListRequest { linearizable: true }));
    match answer {
        Ok(answer) => Ok(answer
            .members
            .into_iter()
            .flat_map(|member| member.client_urls)
            .collect()),
        Err(error) => Err(Failure::new(
            Exit::Error,
            format!(
                "failed to fetch endpoints from etcd cluster member list: {}",
                error_text(&error)
            ),
        )),
    }
}

/// A line on standard error.
fn warn(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
