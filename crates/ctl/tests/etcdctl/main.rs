//! Ours beside the real etcdctl.
//!
//! Always: lines that need no server must give what etcdctl gave when they were recorded (the
//! answers that were recorded with them are checked where they are printed).
//!
//! With the real programs at hand, everything is compared side by side: two servers are started
//! from the same binary with the same identity, and every case runs etcdctl against the one and
//! ours against the other. So both see the same history, and writes are proven by the reads that
//! follow. Standard output, standard error and exit code must be equal byte for byte, but for the
//! differences that [`normal`] names and justifies.
//!
//! ```text
//! cargo test -p tenet-ctl --test etcdctl
//! ETCD=<server> ETCDCTL=<etcdctl> cargo test -p tenet-ctl --test etcdctl \
//!     [-- <chapter or part of a line>]
//! ETCD=<server> ETCDCTL=<etcdctl> cargo test -p tenet-ctl --test etcdctl -- record
//! ```
//!
//! `CTL` names another program than this crate's as ours, `SERVER` another server for ours, so that
//! client and server are compared with etcd's at once. What that server is known to refuse is left
//! out then, as [`refusals`] says.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod cases;
mod compare;
mod normal;
mod record;
mod refusals;
mod run;
mod servers;
mod shell;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let called = args.next().unwrap_or_default();
    // Called through a link of this name, this program is the one under test.
    if Path::new(&called)
        .file_name()
        .is_some_and(|name| name == "etcdctl")
    {
        return tenet_ctl::main(args.collect());
    }
    let words: Vec<String> = args.map(|arg| arg.to_string_lossy().into_owned()).collect();
    let word = words.iter().find(|word| !word.starts_with('-'));
    let result = match word.map(String::as_str) {
        Some("record") => Real::find().and_then(|real| record::write(&real)),
        filter => check(filter),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("etcdctl test: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The real programs.
struct Real {
    server: PathBuf,
    /// What ours talks to.
    other_server: PathBuf,
    etcdctl: PathBuf,
}

impl Real {
    fn find() -> Result<Real, String> {
        let variable = |name: &str| {
            let path = std::env::var_os(name).map(PathBuf::from);
            path.ok_or_else(|| format!("{name} must name a program"))
        };
        let server = variable("ETCD")?;
        Ok(Real {
            other_server: variable("SERVER").unwrap_or_else(|_| server.clone()),
            server,
            etcdctl: variable("ETCDCTL")?,
        })
    }
}

fn check(filter: Option<&str>) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let ours = match std::env::var_os("CTL") {
        Some(ours) => PathBuf::from(ours),
        None => {
            let link = folder.path().join("etcdctl");
            let own = std::env::current_exe().map_err(|error| error.to_string())?;
            std::os::unix::fs::symlink(own, &link).map_err(|error| error.to_string())?;
            link
        }
    };
    record::check_lines(&ours, folder.path())?;
    match Real::find() {
        Ok(real) => compare::all(&real, &ours, folder.path(), filter),
        Err(missing) => {
            println!("not compared side by side: {missing}");
            Ok(())
        }
    }
}
