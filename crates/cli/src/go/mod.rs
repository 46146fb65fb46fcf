//! Go's text forms of plain values, as flags, environment variables, log lines and etcdctl's
//! output show them: numbers, booleans, durations, quoted strings, URLs.
//!
//! Invariant: what Go 1.26 accepts is accepted, what it refuses is refused with Go's words, and
//! what is printed reads back equal. Nothing here knows about flags.

pub mod duration;
pub mod number;
pub mod os;
pub mod quote;
pub mod url;

pub use duration::GoDuration;
pub use os::error_words;
pub use quote::quote;
pub use url::Url;
