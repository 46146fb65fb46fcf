//! The page of metrics: Prometheus' text format as etcd's library writes it.
//!
//! A scrape asks every source to write its families to a [`Page`], which sorts and prints them.
//! Sources keep plain counters; nothing is registered anywhere, and a family exists on the page
//! when something has written a series to it.

pub(crate) mod grpc;
mod page;
mod peers;
mod process;

pub use page::{Page, Rows};
pub use peers::collect_peers;
pub(crate) use process::{collect_process, descriptors};
