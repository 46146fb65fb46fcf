//! The declarations of every flag of the server: etcd's 113, and the 15 that it still accepts from
//! its past.
//!
//! The class of each follows one rule. What exists is effective. What can have no meaning here, or
//! has one only beside a flag that is refused, is accepted without effect. What has a meaning that
//! does not exist yet is refused, unless the value is the default.

use tenet_cli::flag::{Flag, Group, Kind};

pub mod auth;
pub mod clustering;
pub mod features;
pub mod logging;
pub mod member;
pub mod security;
pub mod tracing;

/// Path of the configuration file.
pub static CONFIG_FILE: Flag = Flag::new(
    "config-file",
    Kind::Text,
    "",
    "Read the configuration from this YAML or JSON file. All other flags and environment variables \
     are then ignored. Durations are whole nanoseconds there.",
)
.path();

/// Print versions and stop.
pub static VERSION: Flag = Flag::new(
    "version",
    Kind::Bool,
    "false",
    "Print the version and stop.",
);

/// All flags, in the order of help.
pub static GROUPS: &[Group] = &[
    Group {
        title: "Member",
        flags: member::FLAGS,
    },
    Group {
        title: "Clustering",
        flags: clustering::FLAGS,
    },
    Group {
        title: "Security",
        flags: security::FLAGS,
    },
    Group {
        title: "Auth",
        flags: auth::FLAGS,
    },
    Group {
        title: "Profiling and monitoring",
        flags: logging::MONITORING,
    },
    Group {
        title: "Logging",
        flags: logging::FLAGS,
    },
    Group {
        title: "Distributed tracing",
        flags: tracing::FLAGS,
    },
    Group {
        title: "Features",
        flags: features::FLAGS,
    },
    Group {
        title: "Unsafe",
        flags: features::UNSAFE,
    },
    Group {
        title: "Other",
        flags: &[&CONFIG_FILE, &VERSION],
    },
    Group {
        title: "Of the past",
        flags: PAST,
    },
];

/// A flag of etcd's past: accepted, whatever its value.
const fn past(name: &'static str) -> Flag {
    Flag::new(
        name,
        Kind::Ignored,
        "",
        "Accepted and ignored, as etcd does.",
    )
    .no_effect("etcd ignores it too")
    .hidden()
}

static PAST: &[&Flag] = &[
    &const { past("cluster-active-size") },
    &const { past("cluster-remove-delay") },
    &const { past("cluster-sync-interval") },
    &const { past("config") },
    &const { past("force") },
    &const { past("max-result-buffer") },
    &const { past("max-retry-attempts") },
    &const { past("peer-heartbeat-interval") },
    &const { past("peer-election-timeout") },
    &const { past("retry-interval") },
    &const { past("snapshot") },
    &const { past("v") },
    &const { past("vv") },
    &const { past("test.coverprofile") },
    &const { past("test.outputdir") },
];
