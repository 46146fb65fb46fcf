//! The one door out.
//!
//! After a failed write or sync, or an entry that cannot be applied, going on could acknowledge
//! what is not durable or let members diverge. So the process says why, with what to do, and ends.

use std::process;

/// The exit code of a member that could not go on.
const EXIT_CODE: i32 = 1;

/// Logs why and ends the process.
pub(crate) fn exit(what: &str, error: &dyn std::fmt::Display) -> ! {
    tracing::error!(target: "tenet", level_name = "fatal", error = %error, "{what}");
    process::exit(EXIT_CODE)
}
