//! Flags about logs and metrics.

use tenet_cli::flag::{Flag, Kind};

static ENABLE_PPROF: Flag = Flag::new(
    "enable-pprof",
    Kind::Bool,
    "false",
    "Serve Go's profiles under /debug/pprof.",
)
.in_file()
.no_effect("profiles of the Go runtime have no counterpart here");

/// How many metrics.
pub static METRICS: Flag = Flag::new(
    "metrics",
    Kind::Text,
    "basic",
    "Detail of the metrics: `extensive` adds the histogram of gRPC handling times.",
)
.in_file();

/// Metrics and profiles.
pub static MONITORING: &[&Flag] = &[&ENABLE_PPROF, &METRICS];

/// The logging library.
pub static LOGGER: Flag = Flag::new(
    "logger",
    Kind::Text,
    "zap",
    "Form of the log; `zap` is the only one.",
)
.in_file();

/// Where the log goes.
pub static LOG_OUTPUTS: Flag = Flag::new(
    "log-outputs",
    Kind::Set,
    "default",
    "Where the log goes: `default` and `stderr`, `stdout`, or files.",
)
.file_list("log-outputs")
.except("`systemd/journal` is refused; journald collects standard error");

/// Least serious entries shown.
pub static LOG_LEVEL: Flag = Flag::new(
    "log-level",
    Kind::Text,
    "info",
    "Least serious entries to log: debug, info, warn, error, panic or fatal.",
)
.in_file();

/// Form of a line.
pub static LOG_FORMAT: Flag = Flag::new(
    "log-format",
    Kind::Text,
    "json",
    "Form of a line: json or console.",
)
.in_file();

/// Rotate log files.
pub static ENABLE_LOG_ROTATION: Flag = Flag::new(
    "enable-log-rotation",
    Kind::Bool,
    "false",
    "Rotate the log file.",
)
.in_file()
.refused("rotation does not exist yet; let logrotate or journald do it");

static LOG_ROTATION_CONFIG_JSON: Flag = Flag::new(
    "log-rotation-config-json",
    Kind::Text,
    r#"{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}"#,
    "When and how to rotate, as JSON.",
)
.in_file()
.no_effect("only has a meaning beside --enable-log-rotation, which is refused");

/// Slow unary requests.
pub static WARNING_UNARY_REQUEST_DURATION: Flag = Flag::new(
    "warning-unary-request-duration",
    Kind::Duration,
    "300ms",
    "Unary requests that take longer are logged. 0 means the default.",
)
.in_file();

/// The flags of this group.
pub static FLAGS: &[&Flag] = &[
    &LOGGER,
    &LOG_OUTPUTS,
    &LOG_LEVEL,
    &LOG_FORMAT,
    &ENABLE_LOG_ROTATION,
    &LOG_ROTATION_CONFIG_JSON,
    &WARNING_UNARY_REQUEST_DURATION,
];
