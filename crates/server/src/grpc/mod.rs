//! gRPC over HTTP/2, as etcd's clients expect it of grpc-go.
//!
//! It stands on the `h2` crate directly. All calls of a connection run inside the connection's own
//! task: no task per call, one wake-up for however many calls finish together, and their answers
//! leave in one write. A call in which both sides stream is a session in that task ([`duplex`]).
//! Calls that may walk many keys get a task of their own, so that they hold up
//! nobody ([`kv`]).
//!
//! What differs visibly between gRPC servers is grpc-go's here: texts and codes of oversized,
//! undecodable and compressed messages, of unknown methods and malformed headers; what happens to
//! a client that pings too often ([`guard`]), or whose authority is a path ([`authority`]); trailers. Comments name the rule; the tests hold the
//! texts as the running etcd gives them.
//!
//! Invariants: a call is counted as started at most once and then as handled exactly once, however
//! it ends; what a client can make us keep is bounded per connection ([`budget`]).

mod authority;
mod budget;
mod call;
mod cluster;
mod connection;
mod coordination;
mod duplex;
mod frames;
mod guard;
mod head;
mod health;
mod inbound;
mod kv;
mod leader;
mod lease;
mod long;
mod maintenance;
mod method;
mod outbound;
mod outbox;
mod slow;
mod status;
mod waker;
mod watch;

pub(crate) use connection::{Phase, Server, Settings, serve_connection};
pub(crate) use leader::LeaderLosses;
pub(crate) use method::{Description, Method};
pub(crate) use status::code_name;
