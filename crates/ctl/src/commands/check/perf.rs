//! `check perf`.

use std::time::Duration;

use tenet_client::Client;
use tenet_proto::etcdserverpb::PutRequest;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::load::{self, Outcome, Puts, show_progress};
use super::{AUTO_COMPACT, AUTO_DEFRAG, CLEANUP_LIMIT, Load, PERF_PREFIX};
use super::{clients, compact, defragment, delete, print_line, refuse_used};
use crate::failure::{Exit, Failure, error_text};
use crate::invocation::Invocation;

const SECONDS: u64 = 60;
const KEY_BYTES: usize = 256;
const VALUE_BYTES: usize = 1024;
/// The least part of the rate that passes.
const RATE_PART_MIN: f64 = 0.9;
const SLOWEST_SECONDS_MAX: f64 = 0.5;
const DEVIATION_SECONDS_MAX: f64 = 0.1;

fn puts_per_second(load: Load) -> u32 {
    match load {
        Load::Small => 150,
        Load::Medium => 1_000,
        Load::Large => 8_000,
        Load::ExtraLarge => 15_000,
    }
}

pub(super) fn run(invocation: &mut Invocation) -> Result<(), Failure> {
    let load = Load::of(invocation)?;
    let session = invocation.session()?;
    let clients = clients(&session, load)?;
    let prefix = invocation.settings.text(&PERF_PREFIX).to_owned();
    let auto_compact = invocation.settings.bool(&AUTO_COMPACT);
    let rate = puts_per_second(load);
    let outcome = session.wait(async {
        let limited = clients[0].with_timeout(Duration::from_secs(SECONDS));
        let del = format!("'etcdctl del --prefix {prefix}'");
        refuse_used(&limited, &prefix, &del).await?;
        let outcome = measure(&clients, &prefix, rate).await;
        clean_up(&clients[0], &prefix, auto_compact).await?;
        Ok::<Outcome, Failure>(outcome)
    })?;
    if invocation.settings.bool(&AUTO_DEFRAG) {
        defragment(&session)?;
    }
    if judge(&outcome, rate)? {
        print_line("PASS")
    } else {
        print_line("FAIL")?;
        Err(Failure::silent(Exit::Error))
    }
}

async fn measure(clients: &[Client], prefix: &str, rate: u32) -> Outcome {
    let (sender, puts) = mpsc::channel(clients.len());
    let (outcome, ()) = tokio::join!(
        load::run(clients, puts, || {}),
        produce(sender, Puts::new(prefix, KEY_BYTES, VALUE_BYTES), rate)
    );
    outcome
}

/// Offers puts at the rate, for the time of the measurement or until interrupted. What the cluster
/// does not take in time is not made up for later.
async fn produce(sender: mpsc::Sender<PutRequest>, puts: Puts, rate: u32) {
    let began = Instant::now();
    let end = began + Duration::from_secs(SECONDS);
    let pause = Duration::from_secs(1) / rate;
    let mut shown = 0;
    let mut next = began;
    let producing = async {
        while next < end {
            tokio::time::sleep_until(next).await;
            let seconds = began.elapsed().as_secs();
            if seconds > shown {
                shown = seconds;
                show_progress(shown, SECONDS);
            }
            // Timers are coarse: all that is due by now is offered.
            let now = Instant::now();
            while next <= now {
                if sender.send(puts.next()).await.is_err() {
                    return;
                }
                next += pause;
            }
            if next + Duration::from_millis(100) < Instant::now() {
                next = Instant::now();
            }
        }
        show_progress(SECONDS, SECONDS);
    };
    tokio::select! {
        () = producing => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

async fn clean_up(client: &Client, prefix: &str, auto_compact: bool) -> Result<(), Failure> {
    match delete(&client.with_timeout(CLEANUP_LIMIT), prefix).await {
        Ok(revision) if auto_compact => compact(client, revision).await,
        Ok(_) => Ok(()),
        Err(error) => print_line(&format!(
            "FAIL: Cleanup failed during key deletion: ERROR({})",
            error_text(&error)
        )),
    }
}

/// Says how the cluster did; whether it passes.
fn judge(outcome: &Outcome, rate: u32) -> Result<bool, Failure> {
    let mut passed = !outcome.print_errors()?;
    let mut line = |good: bool, pass: String, fail: String| {
        passed &= good;
        print_line(if good { &pass } else { &fail })
    };
    let per_second = outcome.per_second();
    // etcdctl rounds up, in its own way.
    let shown = per_second as u64 + 1;
    line(
        per_second / f64::from(rate) > RATE_PART_MIN,
        format!("PASS: Throughput is {shown} writes/s"),
        format!("FAIL: Throughput too low: {shown} writes/s"),
    )?;
    let slowest = outcome.slowest_seconds();
    line(
        slowest <= SLOWEST_SECONDS_MAX,
        format!("PASS: Slowest request took {slowest:.6}s"),
        format!("Slowest request took too long: {slowest:.6}s"),
    )?;
    let deviation = outcome.deviation_seconds();
    line(
        deviation <= DEVIATION_SECONDS_MAX,
        format!("PASS: Stddev is {deviation:.6}s"),
        format!("Stddev too high: {deviation:.6}s"),
    )?;
    Ok(passed)
}
