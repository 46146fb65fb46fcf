//! Texts about the server as a program: help, version, and the part of COMPATIBILITY.md that lists
//! its flags.

use tenet_cli::{docs, help as render};

use super::{ETCD_VERSION, flags};

/// Every option with its default.
#[must_use]
pub fn help() -> String {
    render::options(flags::GROUPS)
}

/// How the program is called.
#[must_use]
pub fn usage() -> String {
    "Usage:\n\n  \
     etcd [flags]\n    Run a member of a cluster.\n\n  \
     etcd --version\n    Print versions.\n\n  \
     etcd -h | --help\n    Print this, and every flag on standard output.\n\n  \
     etcd --config-file <file>\n    Take the configuration from a YAML or JSON file, and nothing from \
     elsewhere.\n\n"
        .to_owned()
}

/// What `--version` prints: etcd's four lines, which tools parse, then ours.
#[must_use]
pub fn version_text() -> String {
    format!(
        "etcd Version: {ETCD_VERSION}\nGit SHA: {}\nGo Version: {}\nGo OS/Arch: {}/{}\nTenet Version: {}\n",
        git_sha(),
        go_version(),
        go_os(),
        go_arch(),
        env!("CARGO_PKG_VERSION"),
    )
}

/// The commit of the build, where the build names it.
pub(super) fn git_sha() -> &'static str {
    option_env!("TENET_GIT_SHA").unwrap_or("Not provided (set TENET_GIT_SHA for the build)")
}

/// What stands where etcd names its compiler.
pub(super) fn go_version() -> &'static str {
    concat!("none (Rust ", env!("CARGO_PKG_RUST_VERSION"), ")")
}

/// The operating system by Go's name.
pub(super) fn go_os() -> &'static str {
    match std::env::consts::OS {
        "macos" => "darwin",
        os => os,
    }
}

/// The processor by Go's name.
pub(super) fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        "x86" => "386",
        arch => arch,
    }
}

/// The three lists of flags for COMPATIBILITY.md, as Markdown.
#[must_use]
pub fn compatibility_markdown() -> String {
    docs::effect_lists(flags::GROUPS, "ETCD")
}
