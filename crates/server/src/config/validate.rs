//! The rules that a configuration must keep, in etcd's order and words, and then those that follow
//! from what does not exist here.

use std::collections::BTreeSet;

use tenet_cli::go::{Url, quote};
use tenet_cli::log::{Entry, Format, Level, Outputs};
use tenet_cli::settings::Settings;

use super::flags::{clustering, features, logging, member, security, tracing};
use super::{LogSettings, describe, gates};

/// Why a configuration is not valid.
#[derive(Debug)]
pub(super) struct Invalid {
    /// The text that follows `failed to verify flags`.
    pub error: String,
    /// Exit code 2 stands for what makes etcd itself panic.
    pub code: i32,
    /// Whether the log settings had been found valid.
    pub log: Option<LogSettings>,
}

/// That client listeners need an address to advertise.
pub(super) const NO_ADVERTISED_URLS: &str =
    "--advertise-client-urls is required when --listen-client-urls is set explicitly";

const ELECTION_TIMEOUT_MS_MAX: u64 = 50_000;
/// Among the targets of the log, it silences all.
const SILENCE: &str = "/dev/null";
const TLS_VERSIONS: [&str; 2] = ["TLS1.2", "TLS1.3"];

/// etcd's rules. Warnings are added to the notices; the log settings come out.
pub(super) fn check(
    settings: &Settings,
    warnings: &mut Vec<Entry>,
) -> Result<LogSettings, Invalid> {
    let log = log_settings(settings).map_err(|(error, code)| Invalid {
        error,
        code,
        log: None,
    })?;
    match check_rules(settings, warnings) {
        Ok(()) => Ok(log),
        Err(error) => Err(Invalid {
            error,
            code: 1,
            log: Some(log),
        }),
    }
}

fn log_settings(settings: &Settings) -> Result<LogSettings, (String, i32)> {
    let fail = |error: String| Err((error, 1));
    match settings.text(&logging::LOGGER) {
        "zap" => {}
        "capnslog" => return fail("--logger=capnslog is removed in v3.5".to_owned()),
        other => return fail(format!("unknown logger option {}", quote(other))),
    }
    let given = settings.list(&logging::LOG_OUTPUTS);
    if given.len() > 1 && given.iter().any(|target| target == "default") {
        return fail("multi logoutput for \"default\" is not supported yet".to_owned());
    }
    if given.iter().any(|target| target == "systemd/journal") {
        return fail(
            "--log-outputs=systemd/journal is refused: write to stderr, which journald collects"
                .to_owned(),
        );
    }
    let level: Level = settings
        .text(&logging::LOG_LEVEL)
        .parse()
        .map_err(|error| (error, 2))?;
    let format = match settings.text(&logging::LOG_FORMAT) {
        "json" | "" => Format::Json,
        "console" => Format::Console,
        other => {
            return fail(format!(
                "unknown log format: {other}, supported values json, console"
            ));
        }
    };
    let target = |target: &String| {
        if target == "default" {
            "stderr".to_owned()
        } else {
            target.clone()
        }
    };
    let outputs: Vec<String> = if given.iter().any(|target| target == SILENCE) {
        vec![SILENCE.to_owned()]
    } else {
        BTreeSet::from_iter(given.iter().map(target))
            .into_iter()
            .collect()
    };
    let outputs = if outputs.is_empty() {
        LogSettings::default().outputs
    } else {
        outputs
    };
    Outputs::open(&outputs).map_err(|error| (error, 1))?;
    let about_logs = [
        &logging::LOGGER,
        &logging::LOG_OUTPUTS,
        &logging::LOG_LEVEL,
        &logging::LOG_FORMAT,
    ];
    let is_given = about_logs.into_iter().any(|flag| settings.is_given(flag));
    Ok(LogSettings {
        level,
        format,
        outputs,
        is_given,
    })
}

fn check_rules(settings: &Settings, warnings: &mut Vec<Entry>) -> Result<(), String> {
    let urls = |flag| settings.urls(flag).urls.as_slice();
    check_bindable(urls(&member::LISTEN_PEER_URLS))?;
    check_bindable(urls(&member::LISTEN_CLIENT_URLS))?;
    check_bindable(urls(&member::LISTEN_CLIENT_HTTP_URLS))?;
    if urls(&member::LISTEN_CLIENT_HTTP_URLS).is_empty() {
        let text =
            "Running http and grpc server on single port. This is not recommended for production.";
        warnings.push(Entry::new(Level::Warn, text));
    }
    check_bindable(urls(&member::LISTEN_METRICS_URLS))?;
    check_advertised(settings)?;
    check_bootstrap(settings)?;
    check_timing(settings)?;
    if !urls(&member::LISTEN_CLIENT_URLS).is_empty()
        && urls(&clustering::ADVERTISE_CLIENT_URLS).is_empty()
    {
        return Err(NO_ADVERTISED_URLS.to_owned());
    }
    match settings.text(&clustering::AUTO_COMPACTION_MODE) {
        "periodic" | "revision" => {}
        "" => return Err("undefined auto-compaction-mode".to_owned()),
        other => return Err(format!("unknown auto-compaction-mode {}", quote(other))),
    }
    check_tracing(settings)?;
    check_gates(settings, warnings)?;
    let hash_check = settings.duration(&features::COMPACT_HASH_CHECK_TIME);
    if hash_check.0 <= 0 {
        return Err(format!(
            "--compact-hash-check-time must be >0 (set to {hash_check})"
        ));
    }
    let name = settings.text(&member::NAME);
    if name == member::NAME.default {
        let text = "it isn't recommended to use default name, please set a value for --name. Note that \
                    etcd might run into issue when multiple members have the same default name";
        warnings.push(Entry::new(Level::Warn, text).with("name", name));
    }
    check_tls_versions(settings)
}

fn check_bindable(urls: &[Url]) -> Result<(), String> {
    for url in urls.iter().filter(|url| !url.is_unix()) {
        let (host, _) = url.host_port().map_err(|error| error.to_string())?;
        if !tenet_cli::go::url::is_bindable_host(host) {
            return Err(format!("expected IP in URL for binding ({url})"));
        }
    }
    Ok(())
}

fn check_has_host(urls: &[Url]) -> Result<(), String> {
    for url in urls.iter().filter(|url| !url.is_unix()) {
        let (host, _) = url.host_port().map_err(|error| error.to_string())?;
        if host.is_empty() {
            return Err(format!("unexpected empty host ({url})"));
        }
    }
    Ok(())
}

fn check_advertised(settings: &Settings) -> Result<(), String> {
    let peer = &settings.urls(&clustering::INITIAL_ADVERTISE_PEER_URLS).urls;
    let client = &settings.urls(&clustering::ADVERTISE_CLIENT_URLS).urls;
    let text = |urls| quote(&describe::texts(urls).join(","));
    check_has_host(peer).map_err(|error| {
        format!(
            "--initial-advertise-peer-urls {} must be \"host:port\" ({error})",
            text(peer)
        )
    })?;
    check_has_host(client).map_err(|error| {
        format!(
            "--advertise-client-urls {} must be in the format \"host:port\", \"unix:/path/to/socket\" or \
             \"unixs:/path/to/socket\" ({error})",
            text(client)
        )
    })
}

fn check_bootstrap(settings: &Settings) -> Result<(), String> {
    let state = settings.text(&clustering::INITIAL_CLUSTER_STATE);
    if !matches!(state, "new" | "existing") {
        return Err(format!("unexpected clusterState {}", quote(state)));
    }
    let endpoints = settings.list(&clustering::DISCOVERY_ENDPOINTS);
    let ways = [
        !settings.text(&clustering::INITIAL_CLUSTER).is_empty(),
        !settings.text(&clustering::DISCOVERY_SRV).is_empty(),
        !endpoints.is_empty(),
    ];
    if ways.into_iter().filter(|way| *way).count() > 1 {
        return Err(
            "multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", \
                    \"discovery-endpoints\" or \"discovery-srv\""
                .to_owned(),
        );
    }
    if settings.text(&clustering::DISCOVERY_TOKEN).is_empty() != endpoints.is_empty() {
        return Err("both --discovery-token and --discovery-endpoints must be set".to_owned());
    }
    if endpoints.iter().any(|endpoint| endpoint.trim().is_empty()) {
        return Err("--discovery-endpoints must not contain empty endpoints".to_owned());
    }
    Ok(())
}

fn check_timing(settings: &Settings) -> Result<(), String> {
    let heartbeat = settings.uint(&member::HEARTBEAT_INTERVAL);
    let election = settings.uint(&member::ELECTION_TIMEOUT);
    if heartbeat == 0 {
        return Err(format!(
            "--heartbeat-interval must be >0 (set to {heartbeat}ms)"
        ));
    }
    if election == 0 {
        return Err(format!(
            "--election-timeout must be >0 (set to {election}ms)"
        ));
    }
    if heartbeat.saturating_mul(5) > election {
        return Err(format!(
            "--election-timeout[{election}ms] should be at least as 5 times as --heartbeat-interval[{heartbeat}ms]"
        ));
    }
    if election > ELECTION_TIMEOUT_MS_MAX {
        return Err(format!(
            "--election-timeout[{election}ms] is too long, and should be set less than {ELECTION_TIMEOUT_MS_MAX}ms"
        ));
    }
    Ok(())
}

fn check_tracing(settings: &Settings) -> Result<(), String> {
    if !settings.bool(&tracing::ENABLE_DISTRIBUTED_TRACING) {
        return Ok(());
    }
    let reason = match settings.int(&tracing::SAMPLING_RATE) {
        ..0 => "tracing sampling rate must be positive",
        1_000_001.. => "tracing sampling rate must be less than 1000000",
        _ => return Ok(()),
    };
    // The spelling is etcd's.
    Err(format!(
        "distributed tracing configurition is not valid: ({reason})"
    ))
}

fn check_gates(settings: &Settings, warnings: &mut Vec<Entry>) -> Result<(), String> {
    let pairs = settings.list(&member::FEATURE_GATES);
    match (
        gates::enabled(pairs, "LeaseCheckpoint"),
        gates::enabled(pairs, "LeaseCheckpointPersist"),
    ) {
        (true, false) => {
            let text = "Detected that checkpointing is enabled without persistence. Consider enabling \
                        feature gate LeaseCheckpointPersist";
            warnings.push(Entry::new(Level::Warn, text));
        }
        (false, true) => {
            return Err(
                "enabling feature gate LeaseCheckpointPersist requires enabling feature gate \
                        LeaseCheckpoint"
                    .to_owned(),
            );
        }
        _ => {}
    }
    Ok(())
}

fn check_tls_versions(settings: &Settings) -> Result<(), String> {
    let (min, max) = (
        settings.text(&security::TLS_MIN_VERSION),
        settings.text(&security::TLS_MAX_VERSION),
    );
    for version in [min, max] {
        if !version.is_empty() && !TLS_VERSIONS.contains(&version) {
            return Err(format!(
                "unexpected TLS version {} (must be one of: {})",
                quote(version),
                TLS_VERSIONS.join(", ")
            ));
        }
    }
    // The names sort as the versions do.
    if !max.is_empty() && min > max {
        return Err(format!(
            "min version ({min}) is greater than max version ({max})"
        ));
    }
    if min == "TLS1.3" && !settings.list(&security::CIPHER_SUITES).is_empty() {
        return Err("cipher suites cannot be configured when only TLS1.3 is enabled".to_owned());
    }
    Ok(())
}

/// What is asked for and does not exist here, with its flag.
pub(super) fn check_refused(settings: &Settings) -> Result<(), String> {
    if let Some((flag, reason)) = settings.first_refused() {
        return Err(format!("--{} is refused: {reason}", flag.name));
    }
    if let Some(gate) = gates::first_refused(settings.list(&member::FEATURE_GATES)) {
        return Err(format!(
            "--feature-gates with {gate} is refused: what the gate switches does not exist yet"
        ));
    }
    Ok(())
}

/// Rules that etcd checks while it sets up its listeners, and reports as `discovery failed`.
pub(super) fn check_listeners(settings: &Settings) -> Result<(), String> {
    let urls = |flag| settings.urls(flag).urls.iter();
    if let Some(url) = urls(&member::LISTEN_PEER_URLS).find(|url| url.is_tls()) {
        return Err(format!(
            "cannot listen on TLS for {}: KeyFile and CertFile are not presented",
            url.host
        ));
    }
    let client = || urls(&member::LISTEN_CLIENT_URLS);
    let http = || urls(&member::LISTEN_CLIENT_HTTP_URLS);
    if let Some(url) = client().chain(http()).find(|url| url.is_tls()) {
        return Err(format!(
            "TLS key/cert (--cert-file, --key-file) must be provided for client url {url} with HTTPS scheme"
        ));
    }
    let place = |url: &Url| {
        if url.is_unix() {
            url.socket_path()
        } else {
            url.host.clone().into()
        }
    };
    if let Some(url) = http().find(|url| client().any(|other| place(other) == place(url))) {
        return Err(format!(
            "cannot bind both --listen-client-urls and --listen-client-http-urls on the same url {url}"
        ));
    }
    if urls(&member::LISTEN_METRICS_URLS).any(Url::is_tls) {
        return Err(
            "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url"
                .to_owned(),
        );
    }
    Ok(())
}
