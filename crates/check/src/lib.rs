//! Pure checkers of what must be true of a run, whatever has happened in it.
//!
//! A checker is told what members do, in the order in which they do it, sees more than any of them,
//! and says which property was broken first. It knows the messages and entries of `proto` and
//! nothing of the code that it judges, so that a mistake there is not repeated here.
//!
//! [`raft`] looks at members from within, [`history`] at what their clients were told.

pub mod history;
pub mod raft;
