//! From valid settings to the configuration: what is refused, defaults that depend on other values,
//! remarks.

use std::time::Duration;

use tenet_base::limits;
use tenet_cli::flag::Flag;
use tenet_cli::go::{GoDuration, Url};
use tenet_cli::log::{Entry, Level};
use tenet_cli::print::size::bytes_si;
use tenet_cli::settings::{Settings, Source};
use tenet_cli::value::Value;
use tenet_runtime::Retention;

use super::flags::{clustering, features, logging, member, security};
use super::load::Start;
use super::{
    ClusterState, Keepalive, Notices, ServerConfig, Stop, access, cluster, describe, gates,
    validate,
};

/// Watches are not told how far they are more often than this.
const WATCH_PROGRESS_INTERVAL_MIN: Duration = Duration::from_millis(100);
/// Requests above this are not recommended.
const REQUEST_BYTES_RECOMMENDED: u64 = 10 * 1024 * 1024;
/// Quotas above this are not recommended.
const QUOTA_BYTES_RECOMMENDED: i64 = 8 * 1024 * 1024 * 1024;

impl Start<'_> {
    /// From valid settings to the configuration.
    pub(super) fn finish(&mut self, mut settings: Settings) -> Result<ServerConfig, Box<Stop>> {
        let compaction = compaction_retention(&settings);
        if compaction.is_ok()
            && let Err(error) = validate::check_refused(&settings)
        {
            return Err(self.stop_invalid(&error));
        }
        self.update_defaults(&mut settings);
        let ignored = settings.without_effect();
        if !ignored.is_empty() {
            let names: Vec<_> = ignored.iter().map(|name| format!("--{name}")).collect();
            let text = "these flags are accepted, but have no effect here";
            self.late(Entry::new(Level::Warn, text).with("flags", names));
        }
        let config = self.build(&settings);
        let failure = validate::check_listeners(&settings).and(compaction.map(|_| ()));
        if let Err(error) = failure {
            self.notices.late.extend(config.start_failure(&error));
            return Err(self.stop(1));
        }
        self.say_limits(&settings);
        Ok(ServerConfig {
            notices: std::mem::take(&mut self.notices),
            ..config
        })
    }

    /// Defaults that depend on other values and on this machine: advertised URLs of listeners on
    /// all addresses, the first member's name, the data directory.
    fn update_defaults(&mut self, settings: &mut Settings) {
        let host = (self.invocation.default_host)();
        let mut used = false;
        if let Ok(host) = &host {
            used |= advertise_host(
                settings,
                host,
                &member::LISTEN_PEER_URLS,
                &clustering::INITIAL_ADVERTISE_PEER_URLS,
            );
        }
        let name = settings.text(&member::NAME).to_owned();
        let cluster = settings.text(&clustering::INITIAL_CLUSTER);
        if name != member::NAME.default && cluster == clustering::INITIAL_CLUSTER.default {
            let peers = &settings.urls(&clustering::INITIAL_ADVERTISE_PEER_URLS).urls;
            let cluster = Value::Text(cluster::of_one(&name, peers));
            let source = settings.get(&clustering::INITIAL_CLUSTER).source;
            settings.put(&clustering::INITIAL_CLUSTER, cluster, source);
        }
        match host {
            Ok(host) => {
                used |= advertise_host(
                    settings,
                    &host,
                    &member::LISTEN_CLIENT_URLS,
                    &clustering::ADVERTISE_CLIENT_URLS,
                );
                if used {
                    self.late(
                        Entry::new(Level::Info, "detected default host for advertise")
                            .with("host", host),
                    );
                }
            }
            Err(error) => {
                self.late(
                    Entry::new(Level::Info, "failed to detect default host").with("error", error),
                );
            }
        }
        if settings.text(&member::DATA_DIR).is_empty() {
            let dir = format!("{name}.etcd");
            let text = "'data-dir' was empty; using default";
            self.late(Entry::new(Level::Warn, text).with("data-dir", dir.as_str()));
            settings.put(&member::DATA_DIR, Value::Text(dir), Source::Default);
        }
    }

    fn build(&self, settings: &Settings) -> ServerConfig {
        let urls = |flag| settings.urls(flag).urls.clone();
        let count = |flag| usize::try_from(settings.uint(flag)).unwrap_or(usize::MAX);
        let duration = |flag| settings.duration(flag).to_std();
        let unless_zero = |duration: Duration| (!duration.is_zero()).then_some(duration);
        let wal_dir = settings.text(&member::WAL_DIR);
        let origins = settings.urls(&security::CORS).texts.iter().cloned();
        let existing =
            settings.text(&clustering::INITIAL_CLUSTER_STATE) == ClusterState::Existing.text();
        ServerConfig {
            name: settings.text(&member::NAME).to_owned(),
            data_dir: settings.text(&member::DATA_DIR).into(),
            wal_dir: (!wal_dir.is_empty()).then(|| wal_dir.into()),
            snapshot_count: or(
                settings.uint(&member::SNAPSHOT_COUNT),
                limits::SNAPSHOT_COUNT,
            ),
            auto_compaction: retention(settings),
            snapshot_catchup_entries: or(
                settings.uint(&member::SNAPSHOT_CATCHUP_ENTRIES),
                limits::SNAPSHOT_CATCHUP_ENTRIES,
            ),
            heartbeat_ms: settings.uint(&member::HEARTBEAT_INTERVAL),
            election_timeout_ms: settings.uint(&member::ELECTION_TIMEOUT),
            initial_election_tick_advance: settings.bool(&member::INITIAL_ELECTION_TICK_ADVANCE),
            listen_peer_urls: urls(&member::LISTEN_PEER_URLS),
            listen_client_urls: urls(&member::LISTEN_CLIENT_URLS),
            listen_client_http_urls: urls(&member::LISTEN_CLIENT_HTTP_URLS),
            listen_metrics_urls: urls(&member::LISTEN_METRICS_URLS),
            initial_advertise_peer_urls: urls(&clustering::INITIAL_ADVERTISE_PEER_URLS),
            advertise_client_urls: urls(&clustering::ADVERTISE_CLIENT_URLS),
            initial_cluster: settings.text(&clustering::INITIAL_CLUSTER).to_owned(),
            initial_cluster_state: if existing {
                ClusterState::Existing
            } else {
                ClusterState::New
            },
            initial_cluster_token: settings.text(&clustering::INITIAL_CLUSTER_TOKEN).to_owned(),
            quota_backend_bytes: or(
                settings.int(&member::QUOTA_BACKEND_BYTES),
                limits::QUOTA_BYTES_DEFAULT,
            ),
            max_txn_ops: count(&member::MAX_TXN_OPS),
            max_request_bytes: count(&member::MAX_REQUEST_BYTES).min(u32::MAX as usize),
            max_concurrent_streams: u32::try_from(settings.uint(&member::MAX_CONCURRENT_STREAMS))
                .unwrap_or(u32::MAX),
            keepalive: Keepalive {
                min_time: duration(&member::GRPC_KEEPALIVE_MIN_TIME),
                interval: unless_zero(duration(&member::GRPC_KEEPALIVE_INTERVAL)),
                timeout: unless_zero(duration(&member::GRPC_KEEPALIVE_TIMEOUT)),
            },
            socket_reuse_port: settings.bool(&member::SOCKET_REUSE_PORT),
            pre_vote: settings.bool(&clustering::PRE_VOTE),
            strict_reconfig_check: settings.bool(&clustering::STRICT_RECONFIG_CHECK),
            lease_checkpoint: gates::lease_checkpoint(settings.list(&member::FEATURE_GATES)),
            fast_lease_keep_alive: gates::enabled(
                settings.list(&member::FEATURE_GATES),
                "FastLeaseKeepAlive",
            ),
            max_wals: Some(count(&member::MAX_WALS)).filter(|&count| count > 0),
            log: self.log.clone().unwrap_or_default(),
            extensive_metrics: settings.text(&logging::METRICS) == "extensive",
            warning_unary_request: or_default(settings, &logging::WARNING_UNARY_REQUEST_DURATION),
            watch_progress_interval: watch_progress_interval(settings),
            warning_apply: duration(&features::WARNING_APPLY_DURATION),
            unsafe_no_fsync: settings.bool(&features::UNSAFE_NO_FSYNC),
            access: access::AccessRules::new(
                settings.list(&security::HOST_WHITELIST).to_vec(),
                origins,
            ),
            notices: Notices::default(),
            described: describe::Described::new(settings),
        }
    }

    /// Remarks about limits, which etcd makes while it starts.
    fn say_limits(&mut self, settings: &Settings) {
        let request = settings.uint(&member::MAX_REQUEST_BYTES);
        if request > REQUEST_BYTES_RECOMMENDED {
            let entry = Entry::new(Level::Warn, "exceeded recommended request limit")
                .with("max-request-bytes", request)
                .with("max-request-size", bytes_si(request))
                .with("recommended-request-bytes", REQUEST_BYTES_RECOMMENDED)
                .with(
                    "recommended-request-size",
                    bytes_si(REQUEST_BYTES_RECOMMENDED),
                );
            self.late(entry);
        }
        let quota = settings.int(&member::QUOTA_BACKEND_BYTES);
        if quota > QUOTA_BYTES_RECOMMENDED {
            let entry = Entry::new(Level::Warn, "quota exceeds the maximum value")
                .with("quota-name", "v3-applier")
                .with("quota-size-bytes", quota)
                .with("quota-size", bytes_si(quota.unsigned_abs()))
                .with("quota-maximum-size-bytes", QUOTA_BYTES_RECOMMENDED)
                .with(
                    "quota-maximum-size",
                    bytes_si(QUOTA_BYTES_RECOMMENDED.unsigned_abs()),
                );
            self.late(entry);
        }
        let interval = settings.duration(&features::WATCH_PROGRESS_NOTIFY_INTERVAL);
        if interval.0 > 0 && interval.to_std() < WATCH_PROGRESS_INTERVAL_MIN {
            let text = "adjusting watch progress notify interval to minimum period";
            let key = "min-watch-progress-notify-interval";
            self.late(Entry::new(Level::Warn, text).with(key, "100ms"));
        }
        for (flag, message, key, default) in [
            (
                &member::SNAPSHOT_COUNT,
                "updating snapshot-count to default",
                "snapshot-count",
                limits::SNAPSHOT_COUNT,
            ),
            (
                &member::SNAPSHOT_CATCHUP_ENTRIES,
                "updating snapshot catch-up entries to default",
                "snapshot-catchup-entries",
                limits::SNAPSHOT_CATCHUP_ENTRIES,
            ),
        ] {
            if settings.uint(flag) == 0 {
                let entry = Entry::new(Level::Info, message)
                    .with(&format!("given-{key}"), 0u64)
                    .with(&format!("updated-{key}"), default);
                self.late(entry);
            }
        }
    }
}

fn or<T: Default + PartialEq>(value: T, default: T) -> T {
    if value == T::default() {
        default
    } else {
        value
    }
}

/// What is not above zero is the default, and what is very short is raised.
fn watch_progress_interval(settings: &Settings) -> Duration {
    let given = settings.duration(&features::WATCH_PROGRESS_NOTIFY_INTERVAL);
    if given.0 <= 0 {
        return Duration::from_millis(limits::WATCH_PROGRESS_INTERVAL_MS);
    }
    given.to_std().max(WATCH_PROGRESS_INTERVAL_MIN)
}

fn or_default(settings: &Settings, flag: &Flag) -> Duration {
    let value = settings.duration(flag);
    let default = || flag.default.parse().unwrap_or(value);
    if value.0 == 0 {
        default().to_std()
    } else {
        value.to_std()
    }
}

/// If the listener is on all addresses and nothing is said about what to advertise, advertises this
/// machine's address. Returns whether it did.
fn advertise_host(settings: &mut Settings, host: &str, listen: &Flag, advertise: &Flag) -> bool {
    let advertised = &settings.urls(advertise).urls;
    let [only] = advertised.as_slice() else {
        return false;
    };
    let Some(listener) = settings.urls(listen).urls.first() else {
        return false;
    };
    let Ok(("0.0.0.0", port)) = listener.host_port() else {
        return false;
    };
    if only.to_string() != advertise.default {
        return false;
    }
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    let Ok(url) = Url::parse(&format!("{}://{host}:{port}", only.scheme)) else {
        return false;
    };
    let source = settings.get(advertise).source;
    settings.put(advertise, Value::Urls(vec![url].into()), source);
    true
}

/// What automatic compaction keeps, as etcd keeps it: nanoseconds, or a number of revisions; zero
/// for everything.
pub(super) fn compaction_retention(settings: &Settings) -> Result<GoDuration, String> {
    let text = settings.text(&clustering::AUTO_COMPACTION_RETENTION);
    let by_time = settings.text(&clustering::AUTO_COMPACTION_MODE) == "periodic";
    let text = if text.is_empty() { "0" } else { text };
    // Digits alone are hours or revisions; anything else is taken for a duration.
    let kept = match text.parse::<i64>() {
        Ok(hours) if hours >= 0 && by_time => hours
            .checked_mul(3_600 * 1_000_000_000)
            .map(GoDuration)
            .ok_or_else(|| format!("--auto-compaction-retention of {text} hours is too long"))?,
        Ok(revisions) if revisions >= 0 => GoDuration(revisions),
        _ => text
            .parse()
            .map_err(|error| format!("error parsing CompactionRetention: {error}"))?,
    };
    if kept.0 < 0 {
        return Err(format!(
            "--auto-compaction-retention must not be negative (set to {text})"
        ));
    }
    Ok(kept)
}

/// The same for the member.
fn retention(settings: &Settings) -> Option<Retention> {
    let kept = compaction_retention(settings).unwrap_or_default().0;
    if kept == 0 {
        return None;
    }
    Some(match settings.text(&clustering::AUTO_COMPACTION_MODE) {
        "periodic" => Retention::PeriodMs((kept as u64).div_ceil(1_000_000)),
        _ => Retention::Revisions(kept),
    })
}
