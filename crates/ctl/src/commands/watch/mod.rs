//! `watch`: shows changes as they happen, or runs a program for each; with `--interactive`, as many
//! watches as standard input asks for.

mod args;

use std::ffi::OsString;
use std::io::{BufRead as _, Write as _};

use tenet_cli::flag::{Flag, Kind};
use tenet_cli::print::quote::quoted;
use tenet_client::{Client, KeyRange, Update, Watch, WatchError, WatchOptions};
use tenet_proto::etcdserverpb::ResponseHeader;
use tenet_proto::mvccpb::Event;
use tenet_proto::mvccpb::event::EventType;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::args::{Environment, WatchArgs, WatchFlags};
use super::child;
use super::txn::words;
use crate::display::{Answer, Display, Watched};
use crate::failure::{Exit, Failure, error_text};
use crate::flags::flag;
use crate::invocation::Invocation;
use crate::tree::{Command, Run, Section};

static INTERACTIVE: Flag = Flag::new(
    "interactive",
    Kind::Bool,
    "false",
    "Read what to watch from standard input.",
)
.short('i');
flag!(
    PREFIX,
    "prefix",
    Bool,
    "false",
    "Watch the keys that begin with the given one."
);
flag!(
    REV,
    "rev",
    Int64,
    "0",
    "Revision to begin with; 0 means from now on."
);
flag!(
    PREV_KV,
    "prev-kv",
    Bool,
    "false",
    "Show what was there before."
);
flag!(
    PROGRESS_NOTIFY,
    "progress-notify",
    Bool,
    "false",
    "Tell now and then that nothing has happened."
);

static FLAGS: &[&Flag] = &[&INTERACTIVE, &PREFIX, &REV, &PREV_KV, &PROGRESS_NOTIFY];

pub(super) static COMMAND: Command = Command {
    long: "What follows two dashes is a program, which is run for each change, with\n\
           ETCD_WATCH_REVISION, ETCD_WATCH_EVENT_TYPE, ETCD_WATCH_KEY and ETCD_WATCH_VALUE in its\n\
           environment; the last three are quoted. When it fails, the watch ends.\n\n\
           The key can also be given by ETCDCTL_WATCH_KEY and ETCDCTL_WATCH_RANGE_END.\n\n\
           With --interactive, lines are read from standard input:\n\n  \
           watch [options] <key> [range_end] [-- program ...]\n  \
           progress",
    flags: FLAGS,
    variables: &[args::ENV_KEY, args::ENV_RANGE_END],
    run: Run::Now(run),
    ..Command::new(
        "watch",
        "[options] [key or prefix] [range_end] [--] [exec-command arg1 arg2 ...]",
        "Shows changes as they happen",
        Some(Section::KeyValue),
    )
};

fn run(invocation: &mut Invocation) -> Result<(), Failure> {
    let environment = Environment::read();
    environment.check()?;
    let settings = &invocation.settings;
    let mut flags = WatchFlags::of(settings);
    flags.progress_notify = settings.bool(&PROGRESS_NOTIFY);
    if settings.bool(&INTERACTIVE) {
        let session = invocation.session()?;
        let client = session.client()?;
        return session.wait(interactive(&client, session.display, environment, flags));
    }
    let args = args::of_line(&invocation.line, &invocation.args, &environment)
        .map_err(|text| Failure::new(Exit::BadArgs, text))?;
    let session = invocation.session()?;
    let client = session.client()?;
    let options = options(&args, flags).map_err(|text| Failure::new(Exit::BadArgs, text))?;
    session.wait(async {
        let watch = client.watch(options).await;
        follow(watch, session.display, args.program).await
    })?;
    let text = "watch is canceled by the server";
    Err(Failure::new(Exit::Interrupted, text))
}

/// The watch that arguments and flags describe.
fn options(args: &WatchArgs, flags: WatchFlags) -> Result<WatchOptions, String> {
    let range = match &args.keys[..] {
        [] => return Err(args::BAD_NUMBER.to_owned()),
        [_, _] if flags.prefix => {
            return Err("`range_end` and `--prefix` are mutually exclusive".to_owned());
        }
        [key, end] => KeyRange::between(key.clone(), end.clone()),
        // More than two are taken for one.
        [key, ..] if flags.prefix => KeyRange::prefix(key.clone()),
        [key, ..] => KeyRange::key(key.clone()),
    };
    // Whole answers and an end where etcd's client ends: what is shown is the same then.
    let mut options = WatchOptions::new(range)
        .from_revision(flags.revision)
        .unfragmented()
        .end_without_leader()
        .end_when_compacted();
    if flags.prev_kv {
        options = options.prev_kv();
    }
    if flags.progress_notify {
        options = options.progress_notify();
    }
    Ok(options)
}

/// Shows a watch to its end.
async fn follow(
    watch: Result<Watch, WatchError>,
    display: Display,
    program: Vec<Vec<u8>>,
) -> Result<(), Failure> {
    let mut watch = match watch {
        Ok(watch) => watch,
        Err(error) => return show_end(&error, display),
    };
    loop {
        let (header, events) = match watch.next().await {
            Ok(Update::Events { header, events }) => (header, events),
            Ok(Update::Progress { header } | Update::Compacted { header, .. }) => {
                let line = format!("progress notify: {}\n", header.revision);
                write_out(&line)?;
                (header, Vec::new())
            }
            Err(error) => return show_end(&error, display),
        };
        let watched = Watched {
            header,
            events,
            ..Watched::default()
        };
        display.show(&Answer::Watch(&watched))?;
        if !program.is_empty() {
            run_for_each(&program, &watched.header, &watched.events).await?;
        }
    }
}

fn write_out(text: &str) -> Result<(), Failure> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(Failure::of_output)
}

/// What is said of a watch that has ended. One that the server has ended after a while is passed
/// over in silence.
fn show_end(error: &WatchError, display: Display) -> Result<(), Failure> {
    let mut watched = Watched {
        canceled: true,
        ..Watched::default()
    };
    let text = match error {
        WatchError::Canceled { .. } => return Ok(()),
        WatchError::Compacted {
            header,
            compact_revision,
        } => {
            watched.header = *header;
            watched.compact_revision = *compact_revision;
            error.to_string()
        }
        WatchError::Call(error) => error_text(error),
        WatchError::Refused { .. } => error.to_string(),
    };
    let _ = writeln!(std::io::stderr(), "watch was canceled ({text})");
    display.show(&Answer::Watch(&watched))
}

async fn run_for_each(
    program: &[Vec<u8>],
    header: &ResponseHeader,
    events: &[Event],
) -> Result<(), Failure> {
    for event in events {
        let kv = event.kv.clone().unwrap_or_default();
        let name = EventType::try_from(event.r#type).map_or("", |kind| kind.as_str_name());
        let variables = [
            ("ETCD_WATCH_REVISION", header.revision.to_string()),
            ("ETCD_WATCH_EVENT_TYPE", quoted(name.as_bytes())),
            ("ETCD_WATCH_KEY", quoted(&kv.key)),
            ("ETCD_WATCH_VALUE", quoted(&kv.value)),
        ];
        let variables = variables.map(|(name, value)| (name, OsString::from(value)));
        if let Err(failure) = child::run(program, variables.into()).await {
            let words: Vec<String> = program.iter().map(|word| quoted(word)).collect();
            let (words, text) = (words.join(" "), failure.text);
            let _ = writeln!(std::io::stderr(), "command [{words}] error ({text})");
            return Err(Failure::silent(Exit::Error));
        }
    }
    Ok(())
}

/// Watches what standard input asks for, until its end or the first program that fails.
async fn interactive(
    client: &Client,
    display: Display,
    environment: Environment,
    flags: WatchFlags,
) -> Result<(), Failure> {
    let mut lines = lines();
    let mut watches = JoinSet::new();
    loop {
        let line = tokio::select! {
            line = lines.recv() => line,
            Some(ended) = watches.join_next() => {
                match ended {
                    Ok(Err(failure)) => return Err(failure),
                    Ok(Ok(())) | Err(_) => continue,
                }
            }
        };
        let Some(line) = line else {
            let text = "error reading watch request line: EOF";
            return Err(Failure::new(Exit::InvalidInput, text));
        };
        let line = String::from_utf8_lossy(&line).into_owned();
        let words = words(&line)?;
        match words.first().map(Vec::as_slice) {
            None => complain(&format!(
                "Invalid command: {line} (watch and progress supported)"
            )),
            Some(b"watch") if words.len() < 2 && !environment.has_key() => complain(&format!(
                "Invalid command {line} (command type or key is not provided)"
            )),
            Some(b"watch") => {
                let (args, line_flags) = args::of_words(&words[1..], &environment)
                    .map_err(|text| Failure::new(Exit::BadArgs, text))?;
                let line_flags = WatchFlags {
                    // This one is the program's own.
                    progress_notify: flags.progress_notify,
                    ..line_flags
                };
                match options(&args, line_flags) {
                    Ok(options) => {
                        let watch = client.watch(options).await;
                        watches.spawn(follow(watch, display, args.program));
                    }
                    Err(text) => complain(&format!("Invalid command {line} ({text})")),
                }
            }
            Some(b"progress") => client.request_watch_progress(),
            Some(_) => complain(&format!("Invalid command {line} (only support watch)")),
        }
    }
}

fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// The lines of standard input, read beside everything else. One that does not end is none.
fn lines() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        loop {
            let mut line = Vec::new();
            let read = stdin.read_until(b'\n', &mut line);
            if read.is_err() || line.pop() != Some(b'\n') || sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
