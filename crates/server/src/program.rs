//! The server as a program: from its arguments to its end.

use crate::api::Api;
use crate::config::{self, ClusterState, ServerConfig, Stop};
use crate::greeting;
use crate::init::{self, Received, Signals};
use crate::listen::{ListenError, Listener, SocketOptions, connections_max};
use crate::log::{self, Form};
use crate::metrics::OtherMetrics;
use crate::peers::{self, PeerSettings, Peers};
use crate::serve::{Role, ServeOptions, Serving};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tenet_base::{MemberId, limits};
use tenet_cli::go::Url;
use tenet_cli::log::{Entry, Level, Outputs};
use tenet_member::Founder;
use tenet_runtime::Node;
use tenet_state::bootstrap_member_id;
use tokio::time::timeout;

/// What etcd calls a start that failed, whatever the reason.
const START_FAILED: &str = "discovery failed";

/// Runs the server with these arguments (without the program's name) until it is told to end.
/// Called `tenet` it greets a person on a terminal; called anything else it only logs.
#[must_use]
pub fn main(args: Vec<String>, called_as: &str) -> ExitCode {
    let config = match config::load(&config::Invocation::of_process(args)) {
        Ok(config) => config,
        Err(stop) => return exit(&stop),
    };
    let greets = called_as == "tenet" && !config.log.is_given && log::on_terminal();
    if let Err(error) = open_log(&config, greets) {
        log::write(&Entry::new(Level::Fatal, START_FAILED).with("error", error));
        return ExitCode::FAILURE;
    }
    init::raise_descriptor_limit();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return start_failed(&config, &format!("cannot start threads: {error}")),
    };
    let ended = runtime.block_on(run(&config, greets));
    // What still runs has been given its time.
    runtime.shutdown_background();
    match ended {
        Ok(signal) => {
            if let Some(signal) = signal {
                init::end_by(signal);
            }
            ExitCode::SUCCESS
        }
        Err(code) => code,
    }
}

fn exit(stop: &Stop) -> ExitCode {
    u8::try_from(stop.report()).map_or(ExitCode::FAILURE, ExitCode::from)
}

fn open_log(config: &ServerConfig, greets: bool) -> Result<(), String> {
    let outputs = Outputs::open(&config.log.outputs)?;
    if greets {
        log::open(Level::Warn, Form::Person, outputs);
    } else {
        for entry in &config.notices.early {
            log::write(entry);
        }
        log::open(config.log.level, Form::Lines(config.log.format), outputs);
    }
    for entry in &config.notices.late {
        // Told to people by the documentation rather than at every start.
        if !greets {
            log::write(entry);
        }
    }
    Ok(())
}

fn start_failed(config: &ServerConfig, error: &str) -> ExitCode {
    for entry in config.start_failure(error) {
        log::write(&entry);
    }
    ExitCode::FAILURE
}

/// A listening socket, its URL and what it is for.
struct Opened {
    listener: Listener,
    role: Role,
}

/// A member that was started, and what is to be known to talk to its peers.
struct Started {
    node: Node,
    founders: Vec<(MemberId, Vec<String>)>,
    remotes: Vec<(MemberId, Vec<String>)>,
}

/// Serves until a signal comes, or the member was removed from its cluster.
async fn run(config: &ServerConfig, greets: bool) -> Result<Option<Received>, ExitCode> {
    let failed = |error: &str| start_failed(config, error);
    let mut signals = Signals::catch().map_err(|error| failed(&error.to_string()))?;
    // Listening comes before the member: whoever cannot listen must not have made a directory.
    let opened = open_listeners(config).map_err(|error| listen_failed(config, &error))?;
    let for_peers = open_peer_listeners(config).map_err(|error| listen_failed(config, &error))?;
    let connections_max = connections_max().map_err(|error| failed(&error))?;
    let started = start_node(config).await?;
    let node = started.node.clone();
    let peers =
        Peers::start(&node, peer_settings(config, started)).map_err(|error| failed(&error))?;
    for listener in for_peers {
        peers.listen(listener);
    }
    let standing = node.clone();
    log::set_position(Box::new(move || standing.position()));
    log_addresses(config, &node);
    let mut options = serve_options(config, connections_max);
    let measured = Arc::clone(&peers);
    options
        .other_metrics
        .add(move |page| measured.collect(page));
    let serving = Serving::new(node.clone(), options);
    let (metrics, clients): (Vec<_>, Vec<_>) = opened
        .into_iter()
        .partition(|opened| opened.role == Role::Metrics);
    for Opened { listener, role } in metrics {
        let address = format!("http://{}", listener.address);
        log::write(&Entry::new(Level::Info, "serving metrics").with("address", address));
        serving.listen(listener, role);
    }
    tokio::select! {
        () = node.ready() => {}
        () = peers.removed() => return Ok(end(config, serving, &node, &peers, None).await),
        signal = signals.next() => {
            return Ok(end(config, serving, &node, &peers, Some(signal)).await);
        }
    }
    log::write(&Entry::new(Level::Info, "ready to serve client requests"));
    notify_init();
    let mut addresses = Vec::new();
    for Opened { listener, role } in clients {
        let told = "serving client traffic insecurely; this is strongly discouraged!";
        let entry = Entry::new(Level::Info, told)
            .with("traffic", role.traffic())
            .with("address", listener.address.as_str());
        log::write(&entry);
        if role != Role::ClientHttp {
            addresses.push(shown(&listener));
        }
        serving.listen(listener, role);
    }
    log::write(
        &Entry::new(Level::Info, "grpc service status changed")
            .with("service", "")
            .with("status", "SERVING"),
    );
    if greets {
        greet(config, &addresses);
    }
    let signal = tokio::select! {
        signal = signals.next() => Some(signal),
        () = peers.removed() => None,
    };
    Ok(end(config, serving, &node, &peers, signal).await)
}

fn shown(listener: &Listener) -> String {
    if listener.is_unix() {
        format!("unix://{}", listener.address)
    } else {
        format!("http://{}", listener.address)
    }
}

#[allow(clippy::print_stdout)] // A person at a terminal is spoken to.
fn greet(config: &ServerConfig, addresses: &[String]) {
    let sync = greeting::measure_sync(&config.data_dir).ok();
    print!("{}", greeting::text(addresses, &config.data_dir, sync));
}

fn open_listeners(config: &ServerConfig) -> Result<Vec<Opened>, ListenError> {
    let options = SocketOptions {
        reuse_port: config.socket_reuse_port,
        unacknowledged_max: config.keepalive.timeout.unwrap_or_default(),
    };
    let apart = !config.listen_client_http_urls.is_empty();
    let client = if apart {
        Role::ClientGrpc
    } else {
        Role::Client
    };
    let all = [
        (&config.listen_client_urls, client),
        (&config.listen_client_http_urls, Role::ClientHttp),
        (&config.listen_metrics_urls, Role::Metrics),
    ];
    let urls = all
        .into_iter()
        .flat_map(|(urls, role)| urls.iter().map(move |url| (url, role)));
    urls.map(|(url, role)| {
        Ok(Opened {
            listener: Listener::bind(url, options)?,
            role,
        })
    })
    .collect()
}

/// Says who is in the way, if that can be seen.
fn listen_failed(config: &ServerConfig, error: &ListenError) -> ExitCode {
    let owner = match error {
        ListenError::Bind { owner, .. } => owner.clone(),
        ListenError::Address { .. } => None,
    };
    for mut entry in config.start_failure(&error.to_string()) {
        if let Some(owner) = &owner {
            entry = entry.with("used-by", owner.as_str());
        }
        log::write(&entry);
    }
    ExitCode::FAILURE
}

async fn start_node(config: &ServerConfig) -> Result<Started, ExitCode> {
    let initialized = is_initialized(config);
    let mut options = node_options(config, Vec::new());
    let (mut founders, mut remotes) = (Vec::new(), Vec::new());
    if !initialized {
        let bootstrap = config.bootstrap().map_err(|entries| {
            for entry in entries {
                log::write(&entry);
            }
            ExitCode::FAILURE
        })?;
        let members = bootstrap.members.into_iter();
        let members = members.map(|(name, urls)| (name, texts(&urls)));
        if config.initial_cluster_state == ClusterState::Existing {
            let initial = members.collect();
            let patience = Duration::from_secs(1) + election_timeout(config);
            let joined = peers::join(&initial, &config.name, patience).await;
            let joined = joined.map_err(|error| start_failed(config, &error))?;
            options.joins = Some(joined.identity);
            remotes = joined.members;
        } else {
            let founder = |(name, peer_urls)| Founder { name, peer_urls };
            options.initial_cluster = members.map(founder).collect();
            let token = &config.initial_cluster_token;
            let known = options.initial_cluster.iter();
            let known = known.map(|f| {
                (
                    bootstrap_member_id(&f.peer_urls, token),
                    f.peer_urls.clone(),
                )
            });
            founders.extend(known);
        }
    }
    log::write(&config.start_entry(initialized));
    let node = tenet_runtime::start(&options);
    let node = node.map_err(|error| start_failed(config, &error.to_string()))?;
    Ok(Started {
        node,
        founders,
        remotes,
    })
}

fn election_timeout(config: &ServerConfig) -> Duration {
    Duration::from_millis(config.election_timeout_ms)
}

fn peer_settings(config: &ServerConfig, started: Started) -> PeerSettings {
    let Started {
        node,
        founders,
        remotes,
    } = started;
    let ticks = (config.election_timeout_ms / config.heartbeat_ms.max(1)) as u32;
    let alone = node.views().load().cluster.members.len() == 1;
    let hurries = config.initial_election_tick_advance && !alone;
    PeerSettings {
        advertised: texts(&config.initial_advertise_peer_urls),
        election_timeout: election_timeout(config),
        hurry_ticks: hurries.then(|| ticks.saturating_sub(2)),
        snapshot_dir: config.data_dir.join("member").join("snap"),
        founders,
        remotes,
    }
}

fn open_peer_listeners(config: &ServerConfig) -> Result<Vec<Listener>, ListenError> {
    let options = SocketOptions {
        reuse_port: config.socket_reuse_port,
        unacknowledged_max: Duration::ZERO,
    };
    let urls = config.listen_peer_urls.iter();
    urls.map(|url| Listener::bind(url, options)).collect()
}

/// Whether there is a log in the data directory: then flags about a new cluster are not looked at.
fn is_initialized(config: &ServerConfig) -> bool {
    let default = config.data_dir.join("member").join("wal");
    let wal: &Path = config.wal_dir.as_deref().unwrap_or(&default);
    let is_segment = |name: &Path| name.extension().is_some_and(|extension| extension == "wal");
    std::fs::read_dir(wal)
        .is_ok_and(|mut files| files.any(|file| file.is_ok_and(|file| is_segment(&file.path()))))
}

fn node_options(config: &ServerConfig, initial_cluster: Vec<Founder>) -> tenet_runtime::Options {
    tenet_runtime::Options {
        name: config.name.clone(),
        data_dir: config.data_dir.clone(),
        wal_dir: config.wal_dir.clone(),
        advertise_client_urls: texts(&config.advertise_client_urls),
        initial_cluster,
        initial_cluster_token: config.initial_cluster_token.clone(),
        joins: None,
        strict_reconfiguration: config.strict_reconfig_check,
        snapshot_count: config.snapshot_count,
        auto_compaction: config.auto_compaction,
        snapshot_catchup_entries: config.snapshot_catchup_entries,
        keep_segments: config.max_wals.unwrap_or(0),
        heartbeat_ms: config.heartbeat_ms,
        election_ms: config.election_timeout_ms,
        initial_election_tick_advance: config.initial_election_tick_advance,
        pre_vote: config.pre_vote,
        quota_bytes: config.quota_backend_bytes,
        lease_checkpoints: config.lease_checkpoint,
        fast_lease_keep_alive: config.fast_lease_keep_alive,
        request_bytes_max: config.max_request_bytes,
        txn_ops_max: config.max_txn_ops,
        learners_max: limits::LEARNERS_MAX,
        watch_progress_interval_ms: config.watch_progress_interval.as_millis() as u64,
        slow_apply: config.warning_apply,
        unsafe_no_fsync: config.unsafe_no_fsync,
    }
}

fn serve_options(config: &ServerConfig, connections_max: usize) -> ServeOptions {
    ServeOptions {
        message_bytes_max: config.max_request_bytes + limits::GRPC_OVERHEAD_BYTES,
        streams_max: config.max_concurrent_streams,
        ping_interval_min: config.keepalive.min_time,
        keepalive_interval: config.keepalive.interval.unwrap_or_default(),
        keepalive_timeout: config.keepalive.timeout.unwrap_or(Duration::MAX),
        slow_request: config.warning_unary_request,
        extensive_metrics: config.extensive_metrics,
        connections_max,
        access: config.access.clone(),
        other_metrics: OtherMetrics::default(),
        election_timeout: Duration::from_millis(config.election_timeout_ms),
    }
}

fn texts(urls: &[Url]) -> Vec<String> {
    urls.iter().map(ToString::to_string).collect()
}

fn log_addresses(config: &ServerConfig, node: &Node) {
    let (member, ..) = node.position();
    let entry = Entry::new(Level::Info, "now serving peer/client/metrics")
        .with("local-member-id", member.to_string())
        .with(
            "initial-advertise-peer-urls",
            texts(&config.initial_advertise_peer_urls),
        )
        .with("listen-peer-urls", texts(&config.listen_peer_urls))
        .with(
            "advertise-client-urls",
            texts(&config.advertise_client_urls),
        )
        .with("listen-client-urls", texts(&config.listen_client_urls))
        .with("listen-metrics-urls", texts(&config.listen_metrics_urls));
    log::write(&entry);
}

fn notify_init() {
    log::write(&Entry::new(Level::Info, "notifying init daemon"));
    let entry = match init::notify_ready() {
        Ok(()) => Entry::new(Level::Info, "successfully notified init daemon"),
        Err(error) => Entry::new(Level::Error, "failed to notify systemd for readiness")
            .with("error", error.to_string()),
    };
    log::write(&entry);
}

/// Ends everything within its time: calls first, then the member.
async fn end(
    config: &ServerConfig,
    serving: Serving<Node>,
    node: &Node,
    peers: &Peers,
    signal: Option<Received>,
) -> Option<Received> {
    if let Some(signal) = signal {
        let said = Entry::new(Level::Info, "received signal; shutting down");
        log::write(&said.with("signal", signal.name));
    } else {
        let said = "the member has been permanently removed from the cluster";
        log::write(&Entry::new(Level::Error, said));
    }
    let about = |message: &str| {
        Entry::new(Level::Info, message)
            .with("name", config.name.as_str())
            .with("data-dir", config.data_dir.display().to_string())
            .with(
                "advertise-peer-urls",
                texts(&config.initial_advertise_peer_urls),
            )
            .with(
                "advertise-client-urls",
                texts(&config.advertise_client_urls),
            )
    };
    log::write(&about("closing etcd server"));
    peers
        .stop(Duration::from_millis(limits::HAND_OVER_MS))
        .await;
    serving.stop(Duration::from_millis(limits::DRAIN_MS)).await;
    if timeout(Duration::from_millis(limits::STOP_MS), node.stop())
        .await
        .is_err()
    {
        log::write(
            &Entry::new(
                Level::Warn,
                "the member did not stop in time; ending all the same",
            )
            .with("timeout-ms", limits::STOP_MS),
        );
    }
    peers.hang_up();
    log::write(&about("closed etcd server"));
    signal
}
