//! One run of a command: what it was told, and the way to the cluster.
//!
//! Invariant: things are checked in etcdctl's order, since each check has an exit code and a text of
//! its own and the first one wins.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tenet_cli::env::{self, Finding};
use tenet_cli::flag::{Flag, Group, Kind};
use tenet_cli::go::GoDuration;
use tenet_cli::log::{Entry, Format as LogFormat, Level, Outputs};
use tenet_cli::settings::{Settings, Source};
use tenet_client::{Client, Config, ConfigError, Credentials, FailedAttempt, KeepAlive, Observer};
use tokio::runtime::Runtime;

use crate::display::{Answer, Display, Format};
use crate::failure::{Exit, Failure};
use crate::flags;
use crate::prompt;
use crate::tree::Path;

/// The prefix of environment variables.
const ENV_PREFIX: &str = "ETCDCTL";

/// A command that is being run.
pub(crate) struct Invocation {
    pub(crate) path: Path,
    pub(crate) settings: Settings,
    /// The arguments that are no flags. Keys and values are bytes, not text.
    pub(crate) args: Vec<Vec<u8>>,
    /// Everything after the name of the program, as it came.
    pub(crate) line: Vec<Vec<u8>>,
    /// How the program is called in its own texts.
    pub(crate) program: &'static str,
}

/// The way to the cluster and back.
pub(crate) struct Session {
    pub(crate) config: Config,
    pub(crate) display: Display,
    pub(crate) runtime: Runtime,
    dial_timeout: std::time::Duration,
}

impl Invocation {
    /// The arguments as texts, for arguments that are words or numbers.
    pub(crate) fn text_args(&self) -> Vec<String> {
        self.args
            .iter()
            .map(|arg| String::from_utf8_lossy(arg).into_owned())
            .collect()
    }

    /// The end of the time for a short command that begins now. What the environment says of it
    /// counts only for commands that look at the environment first, as in etcdctl.
    pub(crate) fn deadline(&self) -> Instant {
        let timeout = self.settings.duration(&flags::COMMAND_TIMEOUT).to_std();
        let now = Instant::now();
        // A time too long to add is as good as a year.
        now.checked_add(timeout)
            .unwrap_or(now + std::time::Duration::from_secs(31_536_000))
    }

    /// Takes the environment into account and gets ready to connect.
    pub(crate) fn session(&mut self) -> Result<Session, Failure> {
        self.apply_environment()?;
        if self.settings.bool(&flags::DEBUG) {
            self.print_settings();
        }
        self.refuse_discovery()?;
        let endpoints = self.settings.list(&flags::ENDPOINTS);
        let mut config = Config::new(endpoints.iter().map(|endpoint| endpoint.trim()));
        config.keep_alive = self.keep_alive();
        self.set_limits(&mut config);
        self.refuse_tls()?;
        config.credentials = self.credentials()?;
        let display = self.display()?;
        let settings = &self.settings;
        config.observer = Some(Arc::new(AttemptLog {
            logger: "etcd-client",
        }));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::new(Exit::Error, format!("cannot wait for I/O: {error}")))?;
        let dial_timeout = settings.duration(&flags::DIAL_TIMEOUT).to_std();
        Ok(Session {
            config,
            display,
            runtime,
            dial_timeout,
        })
    }

    /// Only flags that a command has from its parents have variables.
    fn apply_environment(&mut self) -> Result<(), Failure> {
        let groups = self.path.inherited();
        let mut inherited = Settings::new(&groups);
        for flag in flags_of(&groups) {
            let setting = self.settings.get(flag);
            inherited.put(flag, setting.value.clone(), setting.source);
        }
        let variables = std::env::vars_os().map(|(name, value)| {
            (
                name.to_string_lossy().into_owned(),
                value.to_string_lossy().into_owned(),
            )
        });
        // Some are no flag's, and are looked at by the command itself.
        let own = self.path.command().variables;
        let variables: Vec<env::Variable> = variables
            .filter(|(name, _)| !own.contains(&&name[..]))
            .collect();
        // A value that is none leaves the flag alone, without a word, as in etcdctl.
        let report = env::apply(&mut inherited, ENV_PREFIX, &variables, env::give_as_ctl);
        for finding in &report.findings {
            match finding {
                Finding::Used(_) => {}
                Finding::Unknown((name, value)) => log(&Entry::new(
                    Level::Warn,
                    "unrecognized environment variable",
                )
                .with("environment-variable", format!("{name}={value}"))),
                Finding::Conflict(name) => {
                    let text = "conflicting environment variable is shadowed by corresponding \
                                command-line flag (either unset environment variable or disable \
                                flag))";
                    log(&Entry::new(Level::Fatal, text).with("environment-variable", name.as_str()));
                    return Err(Failure::silent(Exit::Error));
                }
            }
        }
        for flag in flags_of(&groups) {
            let setting = inherited.get(flag);
            if setting.source == Source::Environment {
                self.settings
                    .put(flag, setting.value.clone(), setting.source);
            }
        }
        Ok(())
    }

    /// `--debug`: every flag that has a variable, in its form.
    fn print_settings(&self) {
        let groups = self.path.inherited();
        let mut flags: Vec<&Flag> = flags_of(&groups).collect();
        flags.sort_by_key(|flag| flag.name);
        let mut err = std::io::stderr().lock();
        for flag in flags {
            let value = &self.settings.get(flag).value;
            let value = match flag.kind {
                Kind::List => format!("[{value}]"),
                _ => value.to_string(),
            };
            let _ = writeln!(err, "{}={value}", flag.env_name(ENV_PREFIX));
        }
    }

    fn refuse_discovery(&self) -> Result<(), Failure> {
        if self.settings.text(&flags::DISCOVERY_SRV).is_empty() {
            return Ok(());
        }
        let text = "--discovery-srv is not there yet; name the members with --endpoints";
        Err(Failure::new(Exit::Error, text))
    }

    fn refuse_tls(&self) -> Result<(), Failure> {
        for flag in [&flags::CERT, &flags::KEY, &flags::CACERT] {
            let setting = self.settings.get(flag);
            if setting.is_given() && self.settings.text(flag).is_empty() {
                let text = format!("empty string is passed to --{} option", flag.name);
                return Err(Failure::new(Exit::BadArgs, text));
            }
        }
        let wanted = [&flags::CERT, &flags::KEY, &flags::CACERT]
            .into_iter()
            .find(|flag| !self.settings.text(flag).is_empty())
            .or_else(|| {
                let insecure = self.settings.bool(&flags::INSECURE_TRANSPORT);
                (!insecure).then_some(&flags::INSECURE_TRANSPORT)
            })
            .or_else(|| {
                let skip = self.settings.bool(&flags::INSECURE_SKIP_TLS_VERIFY);
                skip.then_some(&flags::INSECURE_SKIP_TLS_VERIFY)
            });
        match wanted {
            None => Ok(()),
            Some(flag) => {
                let text = format!("--{} asks for TLS, which is not there yet", flag.name);
                Err(Failure::new(Exit::BadArgs, text))
            }
        }
    }

    fn keep_alive(&self) -> Option<KeepAlive> {
        let interval = self.settings.duration(&flags::KEEPALIVE_TIME);
        let timeout = self.settings.duration(&flags::KEEPALIVE_TIMEOUT);
        (interval > GoDuration(0)).then(|| KeepAlive {
            interval: interval.to_std(),
            timeout: timeout.to_std(),
        })
    }

    fn set_limits(&self, config: &mut Config) {
        for (flag, limit) in [
            (&flags::MAX_REQUEST_BYTES, &mut config.send_bytes_max),
            (&flags::MAX_RECV_BYTES, &mut config.receive_bytes_max),
        ] {
            if let Ok(given @ 1..) = usize::try_from(self.settings.int(flag)) {
                *limit = given;
            }
        }
    }

    fn credentials(&self) -> Result<Option<Credentials>, Failure> {
        let token = self.settings.text(&flags::AUTH_JWT_TOKEN);
        if !token.is_empty() {
            return Ok(Some(Credentials::Token(token.to_owned())));
        }
        let user = self.settings.text(&flags::USER);
        let password = self.settings.text(&flags::PASSWORD);
        if user.is_empty() {
            return Ok(None);
        }
        let (user, password) = match user.split_once(':') {
            _ if !password.is_empty() => (user, password.to_owned()),
            Some((user, password)) => (user, password.to_owned()),
            None => (user, prompt::password("Password: ")?),
        };
        // Without one of the two there is no one to be: etcd's client calls without a name then.
        Ok(
            (!user.is_empty() && !password.is_empty()).then(|| Credentials::Password {
                user: user.to_owned(),
                password,
            }),
        )
    }

    fn display(&self) -> Result<Display, Failure> {
        let format = Format::parse(self.settings.text(&flags::WRITE_OUT))?;
        Ok(Display {
            format,
            hex: self.settings.bool(&flags::HEX),
            value_only: false,
        })
    }
}

impl Session {
    /// A client of the endpoints that were given.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        self.client_of(self.config.clone())
    }

    /// A client of one endpoint.
    pub(crate) fn client_at(&self, endpoint: &str) -> Result<Client, Failure> {
        let endpoints = vec![endpoint.to_owned()];
        self.client_of(Config {
            endpoints,
            ..self.config.clone()
        })
    }

    fn client_of(&self, config: Config) -> Result<Client, Failure> {
        // The gRPC layer of etcd's client checks the limits when one of them is given.
        let defaults = Config::new(self.config.endpoints.clone());
        let receive_is_given = config.receive_bytes_max != defaults.receive_bytes_max;
        let send_is_given = config.send_bytes_max != defaults.send_bytes_max;
        if receive_is_given && send_is_given && config.send_bytes_max > config.receive_bytes_max {
            let (receive, send) = (config.receive_bytes_max, config.send_bytes_max);
            let text = ConfigError::Limits { receive, send }.to_string();
            return Err(Failure::new(Exit::BadConnection, text));
        }
        let client = Client::new(config)
            .map_err(|error| Failure::new(Exit::BadConnection, error.to_string()))?;
        let proven = self
            .runtime
            .block_on(async { client.with_timeout(self.dial_timeout).authenticate().await });
        match proven {
            Ok(()) => Ok(client),
            Err(error) => Err(Failure {
                exit: Exit::BadConnection,
                ..Failure::from(error)
            }),
        }
    }

    /// Waits for a call.
    pub(crate) fn wait<T>(&self, call: impl Future<Output = T>) -> T {
        self.runtime.block_on(call)
    }

    pub(crate) fn show(&self, answer: &Answer<'_>) -> Result<(), Failure> {
        self.display.show(answer)
    }
}

fn flags_of(groups: &[Group]) -> impl Iterator<Item = &'static Flag> {
    groups.iter().flat_map(|group| group.flags.iter().copied())
}

/// Writes a log line.
pub(crate) fn log(entry: &Entry) {
    Outputs::stderr().write(&entry.line(LogFormat::Json, SystemTime::now()));
}

/// Says on standard error which attempts have failed.
pub(crate) struct AttemptLog {
    pub(crate) logger: &'static str,
}

impl Observer for AttemptLog {
    fn attempt_failed(&self, attempt: &FailedAttempt<'_>) {
        let peer = match attempt.peer {
            Some(peer) => format!(
                "Peer{{Addr: '{}', LocalAddr: '{}', AuthInfo: 'insecure'}}",
                peer.remote, peer.local
            ),
            None => "Peer{Addr: <nil>, LocalAddr: <nil>, AuthInfo: <nil>}".to_owned(),
        };
        // etcd's line has an address in memory between scheme and target.
        let target = format!(
            "etcd-endpoints://{:p}/{}",
            attempt.target.as_ptr(),
            attempt.target
        );
        let mut entry = Entry::new(Level::Warn, "retrying of unary invoker failed")
            .with("target", target)
            .with("peer", peer)
            .with("method", attempt.method)
            .with("attempt", attempt.attempt)
            .with("error", attempt.status.to_string());
        entry.logger = self.logger;
        log(&entry);
    }
}
