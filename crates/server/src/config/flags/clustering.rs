//! Flags about the cluster: who its first members are, and how they find each other.

use tenet_cli::flag::{Flag, Kind};

/// Why bootstrap by discovery is refused.
const NO_DISCOVERY: &str =
    "bootstrap by discovery does not exist yet; name the members with --initial-cluster";
/// Why details of discovery do nothing.
const ONLY_DISCOVERY: &str = "only has a meaning beside --discovery-endpoints, which is refused";

/// Peer URLs told to others.
pub static INITIAL_ADVERTISE_PEER_URLS: Flag = Flag::new(
    "initial-advertise-peer-urls",
    Kind::Urls { also: &[""] },
    "http://localhost:2380",
    "URLs under which other members reach this one.",
)
.in_file();

/// First members.
pub static INITIAL_CLUSTER: Flag = Flag::new(
    "initial-cluster",
    Kind::Text,
    "default=http://localhost:2380",
    "The first members, as name=URL,name=URL. A name may repeat.",
)
.in_file();

/// Bootstrap or join.
pub static INITIAL_CLUSTER_STATE: Flag = Flag::new(
    "initial-cluster-state",
    Kind::Choice(&["new", "existing"]),
    "new",
    "Whether a member without data starts a new cluster or joins an existing one.",
)
.in_file();

/// Token of the cluster.
pub static INITIAL_CLUSTER_TOKEN: Flag = Flag::new(
    "initial-cluster-token",
    Kind::Text,
    "etcd-cluster",
    "Goes into the ids of cluster and members, so that clusters do not mix.",
)
.in_file();

/// Client URLs in the member list.
pub static ADVERTISE_CLIENT_URLS: Flag = Flag::new(
    "advertise-client-urls",
    Kind::Urls { also: &[""] },
    "http://localhost:2379",
    "URLs under which clients reach this member. Required beside --listen-client-urls.",
)
.in_file();

/// Discovery token.
pub static DISCOVERY_TOKEN: Flag = Flag::new(
    "discovery-token",
    Kind::Text,
    "",
    "Token of the cluster at the discovery service.",
)
.file_key("discovery-config.token")
.refused(NO_DISCOVERY);

/// Discovery servers.
pub static DISCOVERY_ENDPOINTS: Flag = Flag::new(
    "discovery-endpoints",
    Kind::Set,
    "",
    "Endpoints of the discovery service.",
)
.file_list("discovery-config.client.endpoints")
.refused(NO_DISCOVERY);

static DISCOVERY_DIAL_TIMEOUT: Flag = Flag::new(
    "discovery-dial-timeout",
    Kind::Duration,
    "2s",
    "Timeout for connecting to the discovery service.",
)
.file_key("discovery-config.client.dial-timeout")
.no_effect(ONLY_DISCOVERY);

static DISCOVERY_REQUEST_TIMEOUT: Flag = Flag::new(
    "discovery-request-timeout",
    Kind::Duration,
    "5s",
    "Timeout for a request to the discovery service.",
)
.file_key("discovery-config.client.request-timeout")
.no_effect(ONLY_DISCOVERY);

static DISCOVERY_KEEPALIVE_TIME: Flag = Flag::new(
    "discovery-keepalive-time",
    Kind::Duration,
    "2s",
    "Time between pings to the discovery service.",
)
.file_key("discovery-config.client.keepalive-time")
.no_effect(ONLY_DISCOVERY);

static DISCOVERY_KEEPALIVE_TIMEOUT: Flag = Flag::new(
    "discovery-keepalive-timeout",
    Kind::Duration,
    "6s",
    "Wait for the discovery service to answer a ping.",
)
.file_key("discovery-config.client.keepalive-timeout")
.no_effect(ONLY_DISCOVERY);

static DISCOVERY_INSECURE_TRANSPORT: Flag = Flag::new(
    "discovery-insecure-transport",
    Kind::Bool,
    "true",
    "Speak plain text with the discovery service.",
)
.file_key("discovery-config.client.secure.insecure-transport")
.no_effect(ONLY_DISCOVERY);

static DISCOVERY_INSECURE_SKIP_TLS_VERIFY: Flag = Flag::new(
    "discovery-insecure-skip-tls-verify",
    Kind::Bool,
    "false",
    "Do not check the certificate of the discovery service.",
)
.file_key("discovery-config.client.secure.insecure-skip-tls-verify")
.no_effect(ONLY_DISCOVERY);

static DISCOVERY_CERT: Flag = Flag::new(
    "discovery-cert",
    Kind::Text,
    "",
    "Certificate to show to the discovery service.",
)
.file_key("discovery-config.client.secure.cert")
.no_effect(ONLY_DISCOVERY)
.path();

static DISCOVERY_KEY: Flag = Flag::new(
    "discovery-key",
    Kind::Text,
    "",
    "Private key of --discovery-cert.",
)
.file_key("discovery-config.client.secure.key")
.no_effect(ONLY_DISCOVERY)
.path();

static DISCOVERY_CACERT: Flag = Flag::new(
    "discovery-cacert",
    Kind::Text,
    "",
    "Authorities for the certificate of the discovery service.",
)
.file_key("discovery-config.client.secure.cacert")
.no_effect(ONLY_DISCOVERY)
.path();

static DISCOVERY_USER: Flag = Flag::new(
    "discovery-user",
    Kind::Text,
    "",
    "User at the discovery service.",
)
.file_key("discovery-config.client.auth.username")
.no_effect(ONLY_DISCOVERY);

static DISCOVERY_PASSWORD: Flag = Flag::new(
    "discovery-password",
    Kind::Text,
    "",
    "Password at the discovery service.",
)
.file_key("discovery-config.client.auth.password")
.no_effect(ONLY_DISCOVERY);

/// A leftover of the v2 proxy.
pub static DISCOVERY_FALLBACK: Flag = Flag::new(
    "discovery-fallback",
    Kind::Choice(&["exit", "proxy"]),
    "exit",
    "A leftover: etcd accepts `exit` and stops at `proxy`.",
)
.no_effect("`exit` means nothing in etcd either; `proxy` stops the start as it does there");

/// Domain of SRV records.
pub static DISCOVERY_SRV: Flag = Flag::new(
    "discovery-srv",
    Kind::Text,
    "",
    "Domain whose SRV records name the first members.",
)
.in_file()
.refused(NO_DISCOVERY);

/// Suffix of SRV service names.
pub static DISCOVERY_SRV_NAME: Flag = Flag::new(
    "discovery-srv-name",
    Kind::Text,
    "",
    "Suffix of the service names that --discovery-srv looks up.",
)
.in_file()
.refused(NO_DISCOVERY);

/// Refuse unsafe membership changes.
pub static STRICT_RECONFIG_CHECK: Flag = Flag::new(
    "strict-reconfig-check",
    Kind::Bool,
    "true",
    "Refuse changes of membership that would cost the quorum.",
)
.in_file();

/// Pre-vote.
pub static PRE_VOTE: Flag = Flag::new(
    "pre-vote",
    Kind::Bool,
    "true",
    "Ask the others before campaigning, so that a member that was cut off does not disturb.",
)
.in_file();

/// What auto-compaction keeps.
pub static AUTO_COMPACTION_RETENTION: Flag = Flag::new(
    "auto-compaction-retention",
    Kind::Text,
    "0",
    "History that automatic compaction keeps: hours or a duration, or a number of revisions. 0 is off.",
)
.in_file();

/// How auto-compaction counts.
pub static AUTO_COMPACTION_MODE: Flag = Flag::new(
    "auto-compaction-mode",
    Kind::Text,
    "periodic",
    "Whether --auto-compaction-retention is a time (periodic) or a number of revisions (revision).",
)
.in_file();

/// Stage of the v2 store.
pub static V2_DEPRECATION: Flag = Flag::new(
    "v2-deprecation",
    Kind::Choices(&[
        "write-only",
        "write-only-skip-check",
        "write-only-drop-data",
        "gone",
    ]),
    "",
    "Stage of the v2 store. Deprecated; etcd ignores the value.",
)
.shown_default("write-only")
.in_file()
.no_effect("etcd ignores the value too");

/// The flags of this group.
pub static FLAGS: &[&Flag] = &[
    &INITIAL_ADVERTISE_PEER_URLS,
    &INITIAL_CLUSTER,
    &INITIAL_CLUSTER_STATE,
    &INITIAL_CLUSTER_TOKEN,
    &ADVERTISE_CLIENT_URLS,
    &DISCOVERY_TOKEN,
    &DISCOVERY_ENDPOINTS,
    &DISCOVERY_DIAL_TIMEOUT,
    &DISCOVERY_REQUEST_TIMEOUT,
    &DISCOVERY_KEEPALIVE_TIME,
    &DISCOVERY_KEEPALIVE_TIMEOUT,
    &DISCOVERY_INSECURE_TRANSPORT,
    &DISCOVERY_INSECURE_SKIP_TLS_VERIFY,
    &DISCOVERY_CERT,
    &DISCOVERY_KEY,
    &DISCOVERY_CACERT,
    &DISCOVERY_USER,
    &DISCOVERY_PASSWORD,
    &DISCOVERY_FALLBACK,
    &DISCOVERY_SRV,
    &DISCOVERY_SRV_NAME,
    &STRICT_RECONFIG_CHECK,
    &PRE_VOTE,
    &AUTO_COMPACTION_RETENTION,
    &AUTO_COMPACTION_MODE,
    &V2_DEPRECATION,
];
