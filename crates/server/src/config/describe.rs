//! The line that etcd logs when it starts, with all of its configuration.

use tenet_cli::go::{GoDuration, Url};
use tenet_cli::log::{Entry, Level};
use tenet_cli::settings::Settings;

use super::finish::compaction_retention;
use super::{ETCD_VERSION, ServerConfig, flags, meta};

/// Values that the line shows though they have no effect, as fields in their order.
#[derive(Clone, Debug, Default)]
pub(super) struct Described {
    max_snapshots: u64,
    feature_gates: String,
    compact_hash_check: GoDuration,
    auto_compaction_mode: String,
    auto_compaction: GoDuration,
    discovery: Vec<(&'static str, tenet_cli::log::Field)>,
}

impl Described {
    pub(super) fn new(settings: &Settings) -> Self {
        let hidden = [
            &flags::clustering::DISCOVERY_SRV,
            &flags::clustering::DISCOVERY_SRV_NAME,
        ];
        let shown = |name: &str| name.starts_with("discovery-") && name != "discovery-password";
        let discovery = flags::clustering::FLAGS.iter().filter(|flag| {
            shown(flag.name)
                && !hidden.iter().any(|hidden| hidden.name == flag.name)
                && flag.name != flags::clustering::DISCOVERY_FALLBACK.name
        });
        Self {
            max_snapshots: settings.uint(&flags::member::MAX_SNAPSHOTS),
            feature_gates: settings.list(&flags::member::FEATURE_GATES).join(","),
            compact_hash_check: settings.duration(&flags::features::COMPACT_HASH_CHECK_TIME),
            auto_compaction: compaction_retention(settings).unwrap_or_default(),
            auto_compaction_mode: settings
                .text(&flags::clustering::AUTO_COMPACTION_MODE)
                .to_owned(),
            discovery: discovery
                .map(|flag| {
                    let value = &settings.get(flag).value;
                    let field = match value {
                        tenet_cli::value::Value::Bool(value) => (*value).into(),
                        other => other.to_string().into(),
                    };
                    (flag.name, field)
                })
                .collect(),
        }
    }
}

pub(super) fn texts(urls: &[Url]) -> Vec<String> {
    urls.iter().map(ToString::to_string).collect()
}

impl ServerConfig {
    /// The line. `member_initialized` says whether the data directory holds a member already, and
    /// `initial_cluster` is what is bootstrapped, empty if nothing is.
    #[must_use]
    pub fn start_entry(&self, member_initialized: bool) -> Entry {
        let ms = |ms: u64| GoDuration::from_std(std::time::Duration::from_millis(ms)).to_string();
        let path = |path: &std::path::Path| path.display().to_string();
        let wal_dir = self.wal_dir.as_deref().map(path).unwrap_or_default();
        let cpus = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
        let members = if member_initialized {
            String::new()
        } else {
            self.members_text()
        };
        let d = &self.described;
        // etcd shows the election timeout in whole heartbeats.
        let election_ms = self.election_timeout_ms / self.heartbeat_ms * self.heartbeat_ms;
        let mut entry = Entry::new(Level::Info, "starting an etcd server")
            .with("etcd-version", ETCD_VERSION)
            .with("git-sha", meta::git_sha())
            .with("go-version", meta::go_version())
            .with("go-os", meta::go_os())
            .with("go-arch", meta::go_arch())
            .with("max-cpu-set", cpus)
            .with("max-cpu-available", cpus)
            .with("member-initialized", member_initialized)
            .with("name", self.name.as_str())
            .with("data-dir", path(&self.data_dir))
            .with("wal-dir", wal_dir.as_str())
            .with("wal-dir-dedicated", wal_dir)
            .with("member-dir", path(&self.data_dir.join("member")))
            .with("force-new-cluster", false)
            .with("heartbeat-interval", ms(self.heartbeat_ms))
            .with("election-timeout", ms(election_ms))
            .with(
                "initial-election-tick-advance",
                self.initial_election_tick_advance,
            )
            .with("snapshot-count", self.snapshot_count)
            .with("max-wals", self.max_wals.map_or(0, |n| n as u64))
            .with("max-snapshots", d.max_snapshots)
            .with("snapshot-catchup-entries", self.snapshot_catchup_entries)
            .with(
                "initial-advertise-peer-urls",
                texts(&self.initial_advertise_peer_urls),
            )
            .with("listen-peer-urls", texts(&self.listen_peer_urls))
            .with("advertise-client-urls", texts(&self.advertise_client_urls))
            .with("listen-client-urls", texts(&self.listen_client_urls))
            .with("listen-metrics-urls", texts(&self.listen_metrics_urls))
            .with("local-address", "")
            .with("cors", self.access.origins())
            .with("host-whitelist", self.access.hosts())
            .with("initial-cluster", members)
            .with("initial-cluster-state", self.initial_cluster_state.text())
            .with("initial-cluster-token", self.initial_cluster_token.as_str())
            .with("quota-backend-bytes", self.quota_backend_bytes)
            .with("max-request-bytes", self.max_request_bytes as u64)
            .with("max-concurrent-streams", self.max_concurrent_streams)
            .with("pre-vote", self.pre_vote)
            .with("feature-gates", d.feature_gates.as_str())
            .with("initial-corrupt-check", false)
            .with("corrupt-check-time-interval", "0s")
            .with(
                "compact-check-time-interval",
                d.compact_hash_check.to_string(),
            )
            .with("auto-compaction-mode", d.auto_compaction_mode.as_str())
            .with("auto-compaction-retention", d.auto_compaction.to_string())
            .with("auto-compaction-interval", d.auto_compaction.to_string());
        for (name, field) in &d.discovery {
            entry = entry.with(name, field.clone());
        }
        entry
            .with("downgrade-check-interval", "5s")
            .with("max-learners", 1u64)
            .with(
                "v2-deprecation",
                flags::clustering::V2_DEPRECATION
                    .shown_default
                    .unwrap_or_default(),
            )
    }
}
