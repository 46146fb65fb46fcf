//! Reads that may wait for the medium: on threads that may, a limited number at a time.

use std::sync::Arc;
use tenet_base::limits::COLD_READS_MAX;
use tenet_proto::ApiError;
use tokio::sync::Semaphore;

/// Where reads go that would wait. Each waits for its turn behind those that came before.
#[derive(Clone, Debug)]
pub(crate) struct ColdReads(Arc<Semaphore>);

impl ColdReads {
    pub(crate) fn new() -> ColdReads {
        ColdReads(Arc::new(Semaphore::new(COLD_READS_MAX)))
    }

    /// Does `work` on a thread that may wait. Its turn lasts until it is done, even if nobody wants
    /// the result any more: otherwise clients that leave would occupy more threads than there are
    /// turns.
    ///
    /// # Errors
    /// If the member stops meanwhile.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let turn = Arc::clone(&self.0).acquire_owned().await;
        let turn = turn.map_err(|_| ApiError::Stopped)?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        match done.await {
            Ok(done) => Ok(done),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(ApiError::Stopped),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_turn_ends_with_the_work_and_not_with_its_client() {
        let pool = ColdReads::new();
        let running = Arc::new(AtomicUsize::new(0));
        let (release, released) = std::sync::mpsc::channel::<()>();
        let released = Arc::new(parking_lot::Mutex::new(released));
        for _ in 0..COLD_READS_MAX {
            let (work, count) = (pool.clone(), Arc::clone(&running));
            let released = Arc::clone(&released);
            let client = tokio::spawn(async move {
                let wait = move || {
                    count.fetch_add(1, Ordering::SeqCst);
                    let _ = released.lock().recv();
                };
                work.run(wait).await
            });
            while running.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
            running.store(0, Ordering::SeqCst);
            client.abort();
        }
        assert_eq!(pool.0.available_permits(), 0, "all are still at work");
        let next = tokio::spawn({
            let pool = pool.clone();
            async move { pool.run(|| 7).await }
        });
        release.send(()).expect("somebody waits");
        assert_eq!(next.await.expect("no panic"), Ok(7));
        drop(release);
    }
}
