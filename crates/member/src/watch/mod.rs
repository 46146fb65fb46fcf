//! Watches: who is told of which change.
//!
//! The applier routes each published change through an index of interests to the sessions that
//! want it ([`WatchHub`]). A [`WatchSession`] stands for one stream of a client: it takes the
//! client's requests and gives out encoded responses when its transport has room for them.
//!
//! A session is handed places in the history, never the events themselves: what is sent is read
//! from the published view when it is sent. A session whose list of places is full, or who does
//! not read for long, loses the list and keeps one revision per watch, a cursor; such a watch is
//! *lagging* and reads the history in revision order until it has caught up. So what a client that
//! does not read costs does not grow with the changes that it misses.
//!
//! Guarantees, as etcd's: the events of a watch come in revision order, each once, none left out;
//! those of one revision come together (or in fragments of one response); a progress response says
//! that everything up to its revision has been given; what was compacted before it could be sent
//! ends the watch and says so.
//!
//! Invariants: every change up to [`hub::Hub`]'s `routed` revision is in the lists of all watches
//! that want it, or the watch is lagging with a cursor at or before it; locks are taken in the
//! order hub, inbox; nobody is woken under a lock.

mod encode;
mod hub;
mod inbox;
mod lag;
mod session;
mod slab;
#[cfg(test)]
mod tests;

pub use hub::{WatchCounts, WatchHub, WatchOptions};
pub use session::{Pulled, WatchSession};
