//! What our server has not yet. What needs it is not compared when both client and server are ours;
//! everything else must be equal.
//!
//! Invariant: the list is true. Each entry names a command by whose answer the server shows that it
//! still refuses; when it does not, the comparison fails until the entry is taken off.

use std::path::Path;

use crate::cases::case_of;
use crate::run::{Surroundings, run};
use crate::servers::Server;

/// Something that the server refuses.
struct Refusal {
    what: &'static str,
    reason: &'static str,
    /// Chapters that are about it.
    chapters: &'static [&'static str],
    /// A command, and what it says as long as the server refuses.
    shown_by: (&'static str, &'static str),
}

const REFUSALS: &[Refusal] = &[Refusal {
    what: "users and roles",
    reason: "the Auth service is not there yet, nor is the JSON gateway that sets up the cases",
    chapters: &["auth"],
    shown_by: (
        "get a --user root:pw",
        "unknown method Authenticate for service etcdserverpb.Auth",
    ),
}];

/// Why a whole chapter is left out.
pub(crate) fn of_chapter(chapter: &str) -> Option<String> {
    let mut refusals = REFUSALS.iter();
    refusals
        .find(|refusal| refusal.chapters.contains(&chapter))
        .map(|refusal| format!("{}: {}", refusal.what, refusal.reason))
}

/// Checks that everything in the list is still refused.
pub(crate) fn check(binary: &Path, ours: &Path, folder: &Path) -> Result<(), String> {
    let server = Server::start(binary, folder.join("refusals"))?;
    let places = server.places();
    let endpoint = server.endpoint();
    let surroundings = Surroundings {
        folder: server.folder(),
        endpoint: &endpoint,
        places: &places,
        server: Some(&server),
    };
    for refusal in REFUSALS {
        let (line, answer) = refusal.shown_by;
        let output = run(&case_of(line), ours, &surroundings)?;
        let errors = String::from_utf8_lossy(&output.stderr);
        if !errors.contains(answer) {
            return Err(format!(
                "{}: expected to be refused by the server, which answers to {line:?}: {errors}",
                refusal.what
            ));
        }
    }
    Ok(())
}
