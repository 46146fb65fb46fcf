//! The binary: picks the program by the name that it was called by, or else by its first argument.
//!
//! `tenet` alone is the server. Called `etcd`, `etcdctl` or `etcdutl` (a copy or a link), it is that
//! program and nothing else, so that scripts need not know the difference.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What can be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    Server,
    Ctl,
    Util,
    Bench,
    Version,
    /// Planned, by its name.
    Later(&'static str),
}

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let path = args.next().unwrap_or_default();
    let called_as = Path::new(&path)
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("tenet");
    let mut args: Vec<OsString> = args.collect();
    let (program, is_named) = pick(called_as, args.first().and_then(|first| first.to_str()));
    if is_named {
        args.remove(0);
    }
    run(program, args, called_as)
}

fn run(program: Program, args: Vec<OsString>, called_as: &str) -> ExitCode {
    match program {
        Program::Server => match args.into_iter().map(OsString::into_string).collect() {
            Ok(args) => tenet_server::main(args, called_as),
            Err(arg) => not_utf8(&arg),
        },
        Program::Ctl => tenet_ctl::main(args),
        Program::Util => tenet_ctl::util_main(args),
        Program::Bench => tenet_bench::main(args),
        Program::Version => version(),
        Program::Later(name) => later(name),
    }
}

/// The program, and whether the first argument was its name.
fn pick(called_as: &str, first: Option<&str>) -> (Program, bool) {
    match called_as {
        "etcd" => return (Program::Server, false),
        "etcdctl" => return (Program::Ctl, false),
        "etcdutl" => return (Program::Util, false),
        _ => {}
    }
    match first {
        Some("server") => (Program::Server, true),
        Some("ctl") => (Program::Ctl, true),
        Some("bench") => (Program::Bench, true),
        Some("version") => (Program::Version, true),
        Some("util") => (Program::Util, true),
        Some("up") => (Program::Later("up"), true),
        Some("lab") => (Program::Later("lab"), true),
        _ => (Program::Server, false),
    }
}

#[allow(clippy::print_stdout)] // It was asked for.
fn version() -> ExitCode {
    println!("tenet {}", env!("CARGO_PKG_VERSION"));
    println!(
        "serves the surface of etcd {}",
        tenet_server::config::ETCD_VERSION
    );
    ExitCode::SUCCESS
}

#[allow(clippy::print_stderr)] // There is no log yet.
fn later(name: &str) -> ExitCode {
    eprintln!("tenet {name} is not there yet; there are server, ctl, util, bench and version");
    ExitCode::FAILURE
}

#[allow(clippy::print_stderr)] // There is no log yet.
fn not_utf8(arg: &OsStr) -> ExitCode {
    eprintln!("the argument {arg:?} is not UTF-8, and no flag takes such a value");
    ExitCode::from(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_decides_before_the_argument() {
        for (called_as, first, expected) in [
            ("tenet", None, (Program::Server, false)),
            ("tenet", Some("--name"), (Program::Server, false)),
            ("tenet", Some("server"), (Program::Server, true)),
            ("tenet", Some("ctl"), (Program::Ctl, true)),
            ("tenet", Some("bench"), (Program::Bench, true)),
            ("tenet", Some("version"), (Program::Version, true)),
            ("tenet", Some("lab"), (Program::Later("lab"), true)),
            ("etcd", Some("ctl"), (Program::Server, false)),
            ("etcdctl", Some("version"), (Program::Ctl, false)),
            ("etcdutl", None, (Program::Util, false)),
            (
                "something-else",
                Some("--version"),
                (Program::Server, false),
            ),
        ] {
            assert_eq!(pick(called_as, first), expected, "{called_as} {first:?}");
        }
    }
}
