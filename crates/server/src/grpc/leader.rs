//! Ends streams whose clients asked for a leader when there has been none for a while.
//!
//! etcd's rule: a member looks every election timeout; the third look in a row that finds no
//! leader ends all such streams. New calls of such clients are refused at once instead.

use crate::api::Api;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

/// Looks without a leader after which streams are ended.
const LOOKS_MAX: u32 = 3;

/// Done when streams must end.
pub(super) type Lost = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How often streams had to end. Cheap to share; a stream that does not ask costs nothing.
#[derive(Debug, Default)]
pub(crate) struct LeaderLosses(watch::Sender<u64>);

impl LeaderLosses {
    /// Done at the next loss.
    pub(super) fn next(&self) -> Lost {
        let mut losses = self.0.subscribe();
        Box::pin(async move {
            if losses.changed().await.is_err() {
                // The server is gone, and with it whoever could say so.
                std::future::pending::<()>().await;
            }
        })
    }

    /// Looks after the leader for ever.
    pub(crate) async fn look<A: Api>(&self, api: A, interval: Duration) {
        let mut looks = 0;
        loop {
            sleep(interval).await;
            looks = if api.leader().is_some() { 0 } else { looks + 1 };
            if looks >= LOOKS_MAX {
                self.0.send_modify(|losses| *losses += 1);
            }
        }
    }
}
