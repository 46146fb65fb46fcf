//! The way from the process's surroundings to a [`ServerConfig`]: which source counts, and in which
//! order things are said.

use tenet_cli::env::{self, Finding, Variable};
use tenet_cli::go::{GoDuration, quote};
use tenet_cli::go_flags::{self, ParseError};
use tenet_cli::log::{Entry, Level};
use tenet_cli::settings::{Settings, Source};
use tenet_cli::value::{Urls, Value};

use super::flags::{self, clustering, member};
use super::stop::invalid;
use super::validate::{self, Invalid, NO_ADVERTISED_URLS};
use super::{LogSettings, Notices, ServerConfig, Stop, from_file, host, meta};

const PREFIX: &str = "ETCD";

/// What surrounds a start of the server.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The name by which the program was called.
    pub program: String,
    /// The arguments after it.
    pub args: Vec<String>,
    /// The environment.
    pub variables: Vec<Variable>,
    /// The address of this machine towards others; see [`host::default_host`].
    pub default_host: fn() -> Result<String, String>,
}

impl Invocation {
    /// These arguments, in the environment and under the name of this process, on this machine.
    #[must_use]
    pub fn of_process(args: Vec<String>) -> Self {
        let program = std::env::args_os().next().unwrap_or_default();
        // A variable that is not UTF-8 is none of ours, or has a value that no flag takes.
        let variables = std::env::vars_os().map(|(key, value)| {
            (
                key.to_string_lossy().into_owned(),
                value.to_string_lossy().into_owned(),
            )
        });
        Self {
            program: program.to_string_lossy().into_owned(),
            args,
            variables: variables.collect(),
            default_host: host::default_host,
        }
    }
}

/// Decides the configuration.
///
/// # Errors
/// With the end of the start: after `--help` and `--version`, and whenever something is not valid
/// or refused.
pub fn load(invocation: &Invocation) -> Result<ServerConfig, Box<Stop>> {
    let mut settings = Settings::new(flags::GROUPS);
    let rest = match go_flags::parse(&mut settings, &invocation.args) {
        Ok(rest) => rest,
        Err(ParseError::Help) => {
            return Err(Box::new(Stop {
                stdout: meta::help(),
                stderr: meta::usage(),
                ..Stop::default()
            }));
        }
        Err(ParseError::Bad(text)) => {
            return Err(Stop::with_stderr(2, format!("{text}\n{}", meta::usage())));
        }
    };
    let mut start = Start {
        invocation,
        notices: Notices::default(),
        log: None,
    };
    if let Some(argument) = rest.first() {
        start.say_running();
        return Err(start.stop_invalid(&format!("{} is not a valid flag", quote(argument))));
    }
    if settings.bool(&flags::VERSION) {
        return Err(Stop::with_stdout(meta::version_text()));
    }
    let file = match settings.text(&flags::CONFIG_FILE) {
        "" => start.variable(&flags::CONFIG_FILE.env_name(PREFIX)),
        path => path,
    };
    let settings = if file.is_empty() {
        start.take_flags(&mut settings)?;
        settings
    } else {
        start.take_file(file)?
    };
    start.say_running();
    start.finish(settings)
}

/// A start on its way.
pub(super) struct Start<'a> {
    pub(super) invocation: &'a Invocation,
    pub(super) notices: Notices,
    pub(super) log: Option<LogSettings>,
}

impl<'a> Start<'a> {
    fn variable(&self, name: &str) -> &'a str {
        let variables = &self.invocation.variables;
        variables
            .iter()
            .find(|(key, _)| key == name)
            .map_or("", |(_, value)| value)
    }

    fn early(&mut self, entry: Entry) {
        self.notices.early.push(entry);
    }

    pub(super) fn late(&mut self, entry: Entry) {
        self.notices.late.push(entry);
    }

    fn say_running(&mut self) {
        let args = [
            std::slice::from_ref(&self.invocation.program),
            &self.invocation.args,
        ]
        .concat();
        self.late(Entry::new(Level::Info, "Running: ").with("args", args));
    }

    pub(super) fn stop(&mut self, code: i32) -> Box<Stop> {
        let (notices, log) = (std::mem::take(&mut self.notices), self.log.take());
        Box::new(Stop {
            code,
            notices,
            log,
            ..Stop::default()
        })
    }

    pub(super) fn stop_invalid(&mut self, error: &str) -> Box<Stop> {
        self.late(invalid(error));
        if error == NO_ADVERTISED_URLS {
            self.late(
                Entry::new(Level::Warn, "advertise client URLs are not set").with("error", error),
            );
        }
        self.stop(1)
    }

    /// Command line and environment.
    fn take_flags(&mut self, settings: &mut Settings) -> Result<(), Box<Stop>> {
        self.apply_environment(settings)?;
        self.raise_raft_timeouts(settings);
        let listens = settings.is_given(&member::LISTEN_CLIENT_URLS);
        if listens && !settings.is_given(&clustering::ADVERTISE_CLIENT_URLS) {
            let source = settings.get(&clustering::ADVERTISE_CLIENT_URLS).source;
            settings.put(
                &clustering::ADVERTISE_CLIENT_URLS,
                Value::Urls(Urls::default()),
                source,
            );
        }
        let discovers = !settings.text(&clustering::DISCOVERY_SRV).is_empty()
            || !settings.text(&clustering::DISCOVERY_SRV_NAME).is_empty()
            || !settings.list(&clustering::DISCOVERY_ENDPOINTS).is_empty();
        if discovers && !settings.is_given(&clustering::INITIAL_CLUSTER) {
            settings.put(
                &clustering::INITIAL_CLUSTER,
                Value::Text(String::new()),
                Source::Default,
            );
        }
        let checked = if settings.text(&clustering::DISCOVERY_FALLBACK) == "proxy" {
            let error =
                "v2 proxy is deprecated, and --discovery-fallback can't be configured as \"proxy\"";
            Err(Invalid {
                error: error.to_owned(),
                code: 1,
                log: None,
            })
        } else {
            validate::check(settings, &mut self.notices.late)
        };
        self.say_deprecated(settings);
        self.accept(checked)
    }

    /// Takes over the outcome of the check, or ends the start.
    fn accept(&mut self, checked: Result<LogSettings, Invalid>) -> Result<(), Box<Stop>> {
        match checked {
            Ok(log) => {
                self.log = Some(log);
                Ok(())
            }
            Err(Invalid { error, code: 2, .. }) => Err(Stop::with_stderr(2, format!("{error}\n"))),
            Err(Invalid { error, log, .. }) => {
                self.log = log;
                self.say_running();
                Err(self.stop_invalid(&error))
            }
        }
    }

    fn apply_environment(&mut self, settings: &mut Settings) -> Result<(), Box<Stop>> {
        let special = flags::VERSION.env_name(PREFIX);
        let is_special = |(key, value): &&Variable| *key == special && !value.is_empty();
        let mut variables = self.invocation.variables.clone();
        if let Some((key, value)) = variables.iter().find(is_special) {
            let text = "cannot set special environment variable";
            self.notices.early.push(
                Entry::new(Level::Warn, text)
                    .with("key", key.as_str())
                    .with("value", value.as_str()),
            );
            variables.retain(|(key, _)| *key != special);
        }
        let report = env::apply(settings, PREFIX, &variables, env::give_as_server);
        for finding in report.findings {
            self.early(match finding {
                Finding::Used((key, value)) => {
                    Entry::new(Level::Info, "recognized and used environment variable")
                        .with("variable-name", key)
                        .with("variable-value", value)
                }
                Finding::Unknown((key, value)) => {
                    Entry::new(Level::Warn, "unrecognized environment variable")
                        .with("environment-variable", format!("{key}={value}"))
                }
                Finding::Conflict(key) => {
                    // The closing parenthesis is etcd's.
                    let text = "conflicting environment variable is shadowed by corresponding \
                                command-line flag (either unset environment variable or disable flag))";
                    let entry = Entry::new(Level::Fatal, text).with("environment-variable", key);
                    self.early(entry);
                    return Err(self.stop(1));
                }
            });
        }
        if let Some(error) = report.error {
            self.say_running();
            return Err(self.stop_invalid(&error));
        }
        Ok(())
    }

    /// Timeouts of connections between members have a lower bound.
    fn raise_raft_timeouts(&mut self, settings: &mut Settings) {
        const MIN: GoDuration = GoDuration(5_000_000_000);
        for flag in [&member::RAFT_READ_TIMEOUT, &member::RAFT_WRITE_TIMEOUT] {
            if settings.duration(flag) < MIN {
                settings.put(flag, Value::Duration(MIN), settings.get(flag).source);
                let text = format!("{} increased to minimum value: {MIN}", flag.name);
                self.early(Entry::new(Level::Info, text));
            }
        }
    }

    /// The configuration file, from which alone everything comes then.
    fn take_file(&mut self, path: &str) -> Result<Settings, Box<Stop>> {
        let from_file::Read { settings, unknown } = match from_file::read(path) {
            Ok(read) => read,
            Err(from_file::Failure::Stop(stop)) => return Err(stop),
            Err(from_file::Failure::Invalid(error)) => {
                self.say_running();
                return Err(self.stop_invalid(&error));
            }
        };
        let checked = validate::check(&settings, &mut self.notices.late);
        if checked.is_ok() {
            let text = "loaded server configuration, other configuration command line flags and \
                        environment variables will be ignored if provided";
            self.late(Entry::new(Level::Info, text).with("path", path));
            if !unknown.is_empty() {
                let text = "unknown keys of the configuration file are ignored";
                self.late(Entry::new(Level::Warn, text).with("keys", unknown));
            }
            self.say_deprecated(&settings);
        }
        // Until the file is found valid, etcd speaks with its default logger.
        self.accept(checked.map_err(|invalid| Invalid {
            log: None,
            ..invalid
        }))?;
        Ok(settings)
    }

    fn say_deprecated(&mut self, settings: &Settings) {
        for (flag, text) in [
            (
                &member::MAX_SNAPSHOTS,
                "--max-snapshots is deprecated in 3.6 and will be decommissioned in 3.8.",
            ),
            (
                &clustering::V2_DEPRECATION,
                "--v2-deprecation is deprecated and scheduled for removal in v3.8. The default value is \
                 enforced, ignoring user input.",
            ),
        ] {
            if settings.is_given(flag) {
                self.late(Entry::new(Level::Warn, text));
            }
        }
    }
}
