//! What the programs of Tenet have in common on the outside: one declaration per flag, from which
//! parser, help, environment variable, configuration key, completion and documentation follow; Go's
//! text forms; etcd's log lines and exit codes.
//!
//! Invariant: a program's flags are declared once, as data. Nothing here knows what a flag does.

pub mod completion;
pub mod docs;
pub mod env;
pub mod file;
pub mod flag;
pub mod go;
pub mod go_flags;
pub mod help;
pub mod log;
pub mod members;
pub mod posix_flags;
pub mod print;
pub mod settings;
pub mod value;
pub mod yaml;
