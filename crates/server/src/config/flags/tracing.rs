//! Flags about distributed tracing, which does not exist yet.

use tenet_cli::flag::{Flag, Kind};

const ONLY_TRACING: &str =
    "only has a meaning beside --enable-distributed-tracing, which is refused";

/// Send spans.
pub static ENABLE_DISTRIBUTED_TRACING: Flag = Flag::new(
    "enable-distributed-tracing",
    Kind::Bool,
    "false",
    "Send spans of requests to an OpenTelemetry collector.",
)
.in_file()
.refused("distributed tracing does not exist yet");

static ADDRESS: Flag = Flag::new(
    "distributed-tracing-address",
    Kind::Text,
    "localhost:4317",
    "Address of the collector.",
)
.in_file()
.no_effect(ONLY_TRACING);
static SERVICE_NAME: Flag = Flag::new(
    "distributed-tracing-service-name",
    Kind::Text,
    "etcd",
    "Name of the service in spans.",
)
.in_file()
.no_effect(ONLY_TRACING);
static INSTANCE_ID: Flag = Flag::new(
    "distributed-tracing-instance-id",
    Kind::Text,
    "",
    "Id of this instance in spans.",
)
.in_file()
.no_effect(ONLY_TRACING);

/// Share of requests.
pub static SAMPLING_RATE: Flag = Flag::new(
    "distributed-tracing-sampling-rate",
    Kind::Int,
    "0",
    "Traced requests in a million. 0 follows the caller.",
)
.in_file()
.no_effect(ONLY_TRACING);

/// The flags of this group.
pub static FLAGS: &[&Flag] = &[
    &ENABLE_DISTRIBUTED_TRACING,
    &ADDRESS,
    &SERVICE_NAME,
    &INSTANCE_ID,
    &SAMPLING_RATE,
];
