//! The client against servers that do as each test says, and against a real one:
//!
//! ```text
//! cargo test -p tenet-client --test client
//! ETCD=<server> cargo test -p tenet-client --test client
//! ```

mod calls;
mod leases;
mod real;
mod scripted;
mod watches;
