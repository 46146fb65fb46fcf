//! The page of metrics: Prometheus' text format as etcd's library writes it.
//!
//! A scrape asks every source to write its families to a [`Page`], which sorts and prints them.
//! Sources keep plain counters; nothing is registered anywhere, and a family exists on the page
//! when something has written a series to it.

pub(crate) mod grpc;
mod page;
mod peers;
mod process;

use std::sync::Arc;

pub use page::{Page, Rows};
pub use peers::collect_peers;
pub(crate) use process::{collect_process, descriptors};

/// Writes families to a page.
type Collect = dyn Fn(&mut Page) + Send + Sync;

/// Metrics of what is neither the member nor its transports to clients.
#[derive(Clone, Default)]
pub struct OtherMetrics(Vec<Arc<Collect>>);

impl OtherMetrics {
    /// Adds what `collect` writes.
    pub fn add(&mut self, collect: impl Fn(&mut Page) + Send + Sync + 'static) {
        self.0.push(Arc::new(collect));
    }

    pub(crate) fn collect(&self, page: &mut Page) {
        for collect in &self.0 {
            collect(page);
        }
    }
}

impl std::fmt::Debug for OtherMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("OtherMetrics").field(&self.0.len()).finish()
    }
}
