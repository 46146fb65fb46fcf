//! `check datascale`.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tenet_client::Client;
use tokio::sync::mpsc;

use super::load::{self, Outcome, Puts, show_progress};
use super::{AUTO_COMPACT, AUTO_DEFRAG, DATASCALE_PREFIX, Load};
use super::{clients, compact, defragment, delete, print_line, refuse_used};
use crate::failure::{Exit, Failure};
use crate::invocation::Invocation;

const KEY_BYTES: usize = 512;
const VALUE_BYTES: usize = 512;
const METRIC: &str = "process_resident_memory_bytes";
/// Time for the server to send its metrics, and the most that is read of them.
const METRICS_LIMIT: Duration = Duration::from_secs(30);
const METRICS_BYTES_MAX: u64 = 64 * 1024 * 1024;

fn puts(load: Load) -> u64 {
    match load {
        Load::Small => 10_000,
        Load::Medium => 100_000,
        Load::Large => 1_000_000,
        Load::ExtraLarge => 3_000_000,
    }
}

pub(super) fn run(invocation: &mut Invocation) -> Result<(), Failure> {
    let load = Load::of(invocation)?;
    let session = invocation.session()?;
    let clients = clients(&session, load)?;
    let prefix = invocation.settings.text(&DATASCALE_PREFIX).to_owned();
    let del = format!("etcdctl del --prefix {prefix}");
    session.wait(refuse_used(&clients[0], &prefix, &del))?;
    let endpoint = session.config.endpoints[0].clone();
    let before = memory_bytes(&endpoint, "before")?;
    let (count, size) = (puts(load), KEY_BYTES + VALUE_BYTES);
    print_line(&format!(
        "Start data scale check for work load [{count} key-value pairs, {size} bytes per \
         key-value, {} concurrent clients].",
        clients.len()
    ))?;
    let outcome = session.wait(measure(&clients, &prefix, count));
    let after = memory_bytes(&endpoint, "after")?;
    let revision = session.wait(delete(&clients[0], &prefix))?;
    if invocation.settings.bool(&AUTO_COMPACT) {
        session.wait(compact(&clients[0], revision))?;
    }
    if invocation.settings.bool(&AUTO_DEFRAG) {
        defragment(&session)?;
    }
    if outcome.print_errors()? {
        return Err(Failure::silent(Exit::Error));
    }
    let used = (after - before) / (1024.0 * 1024.0);
    print_line(&format!(
        "PASS: Approximate system memory used : {used:.2} MB."
    ))
}

async fn measure(clients: &[Client], prefix: &str, count: u64) -> Outcome {
    let (sender, receiver) = mpsc::channel(clients.len());
    let puts = Puts::new(prefix, KEY_BYTES, VALUE_BYTES);
    let done = Arc::new(AtomicU64::new(0));
    let progress = move || {
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        if done.is_multiple_of(1_000) {
            show_progress(done, count);
        }
    };
    let producing = async move {
        for _ in 0..count {
            if sender.send(puts.next()).await.is_err() {
                return;
            }
        }
    };
    let (outcome, ()) = tokio::join!(load::run(clients, receiver, progress), producing);
    outcome
}

/// The memory of the server, by its own account. What is wrong with it is said on standard output.
fn memory_bytes(endpoint: &str, when: &str) -> Result<f64, Failure> {
    match read_memory_bytes(endpoint) {
        Ok(bytes) if bytes != 0.0 => return Ok(bytes),
        Ok(_) => {}
        Err(text) => print_line(&text)?,
    }
    print_line(&format!(
        "FAIL: Could not read {METRIC} {when} the put operations."
    ))?;
    Err(Failure::silent(Exit::Error))
}

fn read_memory_bytes(endpoint: &str) -> Result<f64, String> {
    let address = endpoint.strip_prefix("http://").unwrap_or(endpoint);
    let address = address.split('/').next().unwrap_or(address);
    let metrics = fetch(address).map_err(|error| {
        let url = tenet_cli::go::quote(&format!("http://{address}/metrics"));
        let error = tenet_cli::go::error_words(&error);
        format!("fetch error: Get {url}: dial tcp {address}: connect: {error}")
    })?;
    let value = metrics
        .lines()
        .find_map(|line| line.strip_prefix(METRIC))
        .map(str::trim)
        .filter(|value| !value.is_empty())
        .ok_or_else(|| format!("could not find: {METRIC}"))?;
    value
        .parse()
        .map_err(|error| format!("parse error: {error}"))
}

/// An answer in the oldest form of HTTP ends with the connection and comes in one piece.
fn fetch(address: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(METRICS_LIMIT))?;
    write!(stream, "GET /metrics HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(METRICS_BYTES_MAX).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
