//! Puts under load, and what is to be said of how long they took.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tenet_client::Client;
use tenet_proto::etcdserverpb::PutRequest;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use super::print_line;
use crate::failure::{Failure, error_text};

/// The outcome of many puts.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    latencies_seconds: Vec<f64>,
    errors: BTreeMap<String, u64>,
    total: Duration,
}

impl Outcome {
    pub(super) fn per_second(&self) -> f64 {
        self.latencies_seconds.len() as f64 / self.total.as_secs_f64()
    }

    pub(super) fn slowest_seconds(&self) -> f64 {
        self.latencies_seconds.iter().copied().fold(0.0, f64::max)
    }

    /// The standard deviation.
    pub(super) fn deviation_seconds(&self) -> f64 {
        let count = self.latencies_seconds.len() as f64;
        let mean = self.latencies_seconds.iter().sum::<f64>() / count;
        let squares = self.latencies_seconds.iter().map(|x| (x - mean).powi(2));
        (squares.sum::<f64>() / count).sqrt()
    }

    /// Tells what went wrong; whether anything did.
    pub(super) fn print_errors(&self) -> Result<bool, Failure> {
        if self.errors.is_empty() {
            return Ok(false);
        }
        print_line("FAIL: too many errors")?;
        for (text, count) in &self.errors {
            print_line(&format!("FAIL: ERROR({text}) -> {count}"))?;
        }
        Ok(true)
    }
}

/// Runs puts that come over the channel on all clients, one at a time each, until the channel is
/// closed.
pub(super) async fn run(
    clients: &[Client],
    puts: mpsc::Receiver<PutRequest>,
    progress: impl Fn() + Send + Sync + Clone + 'static,
) -> Outcome {
    let began = Instant::now();
    let puts = Arc::new(Mutex::new(puts));
    let mut workers = JoinSet::new();
    for client in clients {
        let (client, puts, progress) = (client.clone(), puts.clone(), progress.clone());
        workers.spawn(async move {
            let mut outcome = Outcome::default();
            loop {
                let next = puts.lock().await.recv().await;
                let Some(put) = next else { return outcome };
                let began = Instant::now();
                match client.put(put).await {
                    Ok(_) => outcome
                        .latencies_seconds
                        .push(began.elapsed().as_secs_f64()),
                    Err(error) => *outcome.errors.entry(error_text(&error)).or_default() += 1,
                }
                progress();
            }
        });
    }
    let mut whole = Outcome::default();
    while let Some(outcome) = workers.join_next().await {
        // A worker does not panic; if one did, its puts would be missing from the rate.
        let Ok(outcome) = outcome else { continue };
        whole.latencies_seconds.extend(outcome.latencies_seconds);
        for (text, count) in outcome.errors {
            *whole.errors.entry(text).or_default() += count;
        }
    }
    whole.total = began.elapsed();
    whole
}

/// Puts of random keys of a size, with values of zeros.
pub(super) struct Puts {
    prefix: String,
    key_len: usize,
    value: Bytes,
}

impl Puts {
    pub(super) fn new(prefix: &str, key_len: usize, value_len: usize) -> Puts {
        Puts {
            prefix: prefix.to_owned(),
            key_len,
            value: vec![0; value_len].into(),
        }
    }

    pub(super) fn next(&self) -> PutRequest {
        // Every RandomState has keys of its own: enough chance for keys that differ.
        let chance = RandomState::new().hash_one(0);
        let mut key = self.prefix.clone().into_bytes();
        let begin = key.len();
        key.resize(begin + self.key_len, 0);
        key[begin..begin + 8].copy_from_slice(&chance.to_le_bytes());
        PutRequest {
            key: key.into(),
            value: self.value.clone(),
            ..PutRequest::default()
        }
    }
}

/// Shows how far a measurement is, to a person at a terminal.
pub(super) fn show_progress(done: u64, all: u64) {
    let mut err = std::io::stderr();
    if err.is_terminal() {
        let end = if done >= all { "\n" } else { "" };
        let _ = write!(err, "\r{done} / {all}{end}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_the_puts() {
        let outcome = Outcome {
            latencies_seconds: vec![0.1, 0.3],
            errors: BTreeMap::new(),
            total: Duration::from_secs(4),
        };
        assert!((outcome.per_second() - 0.5).abs() < 1e-9);
        assert!((outcome.slowest_seconds() - 0.3).abs() < 1e-9);
        assert!((outcome.deviation_seconds() - 0.1).abs() < 1e-9);
    }

    #[test]
    fn keys_have_their_size_and_differ() {
        let puts = Puts::new("p/", 256, 1024);
        let (one, two) = (puts.next(), puts.next());
        assert_eq!((one.key.len(), one.value.len()), (258, 1024));
        assert!(one.key.starts_with(b"p/") && one.key != two.key);
    }
}
