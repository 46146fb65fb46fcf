//! etcd's write-ahead log and .snap formats, without I/O: writing appends [`DiskOp`]s to the
//! caller's list, reading goes through a [`DiskView`].
//!
//! A log is a directory of numbered segments; a segment is a sequence of frames; a frame holds a
//! record: an entry, a hard state, a snapshot record, or what stands at a segment's head. A running
//! checksum ties each record to all before it, across segments. etcd 3.5 to 3.7 read what this
//! crate writes, and the other way round.
//!
//! Invariants:
//! * A batch is one write, ended by a hard-state record, and the next is written only after its
//!   sync; behind it there are zeros. So a loss of power tears at most the last batch, and what
//!   cannot be such a tear is refused ([`WalError`]), never cut.
//! * Nothing at or below the index that the store has applied is ever cut.
//! * What is read is bounded by what the files hold, and verified before it is used.
//!
//! This crate knows nothing of consensus or of what entries carry.
//!
//! [`DiskOp`]: tenet_base::disk::DiskOp
//! [`DiskView`]: tenet_base::disk::DiskView

mod error;
mod frame;
#[cfg(test)]
mod golden_tests;
mod log_map;
mod name;
mod open;
mod payload;
mod read_back;
mod replay;
mod scan;
pub mod snap;
mod tail;
mod window;
mod writer;

pub use error::WalError;
pub use open::{Cut, Damage, From, Log, Opened, exists, open, open_with, read};
pub use payload::{Metadata, Position};
pub use read_back::{Span, entries};
pub use writer::{
    Options, Preparation, WalWriter, batch_bytes, create, create_founded, create_with,
    position_bytes,
};
