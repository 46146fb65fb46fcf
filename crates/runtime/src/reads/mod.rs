//! Reads that take long or may wait: what they may occupy, of memory and of threads.
//!
//! All clients share one [`ReadBudget`] and one [`ColdReads`]; nothing of either belongs to a
//! connection, so a reader that is slow, or reads much, costs the others no more than its share.

mod budget;
mod cold;
mod long;
mod watches;

pub(crate) use budget::{ReadBudget, Share};
pub(crate) use cold::ColdReads;
pub use long::{LongAnswer, RangeAnswer, RangeStream};
pub use watches::Watches;
