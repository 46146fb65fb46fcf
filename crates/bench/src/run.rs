//! A run: connect, warm up, measure.
//!
//! Each worker thread has a single-threaded runtime with its own connections and clients, so
//! that no call crosses threads. Phases are jobs sent to the workers; between two phases nothing
//! is in flight, and that is when the processes' CPU time is read.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::BenchError;
use crate::options::Load;
use crate::pace::{Extent, Pace};
use crate::process::{Memory, Process};
use crate::progress::Progress;
use crate::wire::{CallError, Connection};
use crate::workload::Workload;

/// Longest latency that is told apart: one hour. A longer one counts as this.
const LATENCY_NS_MAX: u64 = 3_600_000_000_000;
/// Decimal digits to which a latency is exact.
const LATENCY_DIGITS: u8 = 3;

/// What the clients of a phase saw.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) latency_ns: Histogram<u64>,
    pub(crate) errors: BTreeMap<String, u64>,
    /// Answers in each second since the phase's start.
    pub(crate) answers_by_second: Vec<u64>,
}

impl Default for Tally {
    fn default() -> Tally {
        Tally::new()
    }
}

impl Tally {
    /// An empty tally.
    pub(crate) fn new() -> Tally {
        Tally {
            latency_ns: Histogram::new_with_bounds(1, LATENCY_NS_MAX, LATENCY_DIGITS)
                .expect("the bounds are constant and in order"),
            errors: BTreeMap::new(),
            answers_by_second: Vec::new(),
        }
    }

    /// Counts an answer to an operation that was due at `due`, in a phase that began at `start`.
    pub(crate) fn answered(&mut self, start: Instant, due: Instant) {
        let now = Instant::now();
        let latency = now.saturating_duration_since(due).as_nanos();
        self.latency_ns
            .saturating_record(u64::try_from(latency).unwrap_or(u64::MAX));
        let second = now.saturating_duration_since(start).as_secs() as usize;
        if self.answers_by_second.len() <= second {
            self.answers_by_second.resize(second + 1, 0);
        }
        self.answers_by_second[second] += 1;
    }

    /// Counts an error.
    pub(crate) fn failed(&mut self, error: &CallError) {
        *self.errors.entry(error.to_string()).or_default() += 1;
    }

    /// Errors of all kinds.
    pub(crate) fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }

    fn merge(&mut self, other: &Tally) {
        self.latency_ns
            .add(&other.latency_ns)
            .expect("all tallies have the same bounds");
        for (text, count) in &other.errors {
            *self.errors.entry(text.clone()).or_default() += count;
        }
        let seconds = self
            .answers_by_second
            .len()
            .max(other.answers_by_second.len());
        self.answers_by_second.resize(seconds, 0);
        for (sum, count) in self
            .answers_by_second
            .iter_mut()
            .zip(&other.answers_by_second)
        {
            *sum += count;
        }
    }
}

/// The measured phase of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    pub(crate) elapsed: Duration,
    pub(crate) client_cpu_us: Option<u64>,
    pub(crate) server: Option<ServerUse>,
    /// What else was found out, by name.
    pub(crate) findings: Vec<(&'static str, f64)>,
}

/// What the server used in the measured phase.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerUse {
    pub(crate) cpu_us: u64,
    pub(crate) memory: Memory,
}

/// Reads the CPU time of both sides around a phase.
pub(crate) struct Meter {
    /// The server and its CPU time at the start.
    server: Option<(Process, u64)>,
    started: Instant,
    client_cpu_us: Option<u64>,
}

impl Meter {
    /// Starts to measure this process and the server, if its id is known.
    pub(crate) fn start(server_id: Option<u32>) -> Result<Meter, BenchError> {
        let server = match server_id {
            None => None,
            Some(id) => {
                let process = Process::with_id(id);
                let cpu_us = process.cpu_us().ok_or(BenchError::NoProcess(id))?;
                Some((process, cpu_us))
            }
        };
        Ok(Meter {
            client_cpu_us: Process::own().cpu_us(),
            started: Instant::now(),
            server,
        })
    }

    /// Ends the measurement.
    pub(crate) fn stop(self, tally: Tally) -> Outcome {
        let elapsed = self.started.elapsed();
        let server = self.server.as_ref().and_then(|(process, cpu_us)| {
            Some(ServerUse {
                cpu_us: process.cpu_us()?.saturating_sub(*cpu_us),
                memory: process.memory()?,
            })
        });
        let own_cpu_us = Process::own().cpu_us();
        Outcome {
            tally,
            elapsed,
            client_cpu_us: own_cpu_us
                .zip(self.client_cpu_us)
                .map(|(now, then)| now.saturating_sub(then)),
            server,
            findings: Vec::new(),
        }
    }
}

/// Runs the load that the options describe.
pub(crate) fn run(load: &Load) -> Result<Outcome, BenchError> {
    let workload = load.workload().map_err(BenchError::Options)?;
    let workers = Workers::start(load, &workload)?;
    if !load.warm_up.is_zero() {
        let progress = Progress::start("warm-up", load.common.quiet);
        workers.phase(load, Extent::Time(load.warm_up), &progress);
    }
    let progress = Progress::start(load.name(), load.common.quiet);
    let meter = Meter::start(load.common.server_pid)?;
    let tally = workers.phase(load, load.extent, &progress);
    Ok(meter.stop(tally))
}

/// The worker threads, connected and waiting for jobs.
struct Workers {
    jobs: Vec<mpsc::Sender<Arc<Pace>>>,
    tallies: mpsc::Receiver<Tally>,
}

impl Workers {
    fn start(load: &Load, workload: &Workload) -> Result<Workers, BenchError> {
        let (tallies_in, tallies) = mpsc::channel();
        let (ready_in, ready) = mpsc::channel();
        let mut jobs = Vec::new();
        for worker in 0..load.threads {
            let (jobs_in, own_jobs) = mpsc::channel();
            jobs.push(jobs_in);
            let worker = Worker {
                endpoints: load.endpoints_of(worker),
                clients: load.clients_of(worker),
                workload: workload.clone(),
            };
            let (ready_in, tallies_in) = (ready_in.clone(), tallies_in.clone());
            thread::Builder::new()
                .name("bench-worker".into())
                .spawn(move || worker.serve(&ready_in, &own_jobs, &tallies_in))
                .map_err(BenchError::Runtime)?;
        }
        for _ in 0..load.threads {
            ready
                .recv()
                .expect("a worker says that it is ready before it ends")?;
        }
        Ok(Workers { jobs, tallies })
    }

    /// Lets all workers run one phase and sums up.
    fn phase(&self, load: &Load, extent: Extent, progress: &Progress) -> Tally {
        let pace = Arc::new(Pace::start(extent, load.rate, load.clients));
        let driver = thread::spawn({
            let pace = Arc::clone(&pace);
            move || pace.drive()
        });
        for jobs in &self.jobs {
            jobs.send(Arc::clone(&pace))
                .expect("a worker waits for jobs until its sender goes");
        }
        let mut sum = Tally::new();
        let mut outstanding = self.jobs.len();
        while outstanding > 0 {
            match self.tallies.recv_timeout(progress.interval()) {
                Ok(tally) => {
                    sum.merge(&tally);
                    outstanding -= 1;
                }
                Err(RecvTimeoutError::Timeout) => progress.show(&pace),
                Err(RecvTimeoutError::Disconnected) => unreachable!("workers outlive their jobs"),
            }
        }
        driver.join().expect("the pace does not panic");
        sum
    }
}

/// What one worker thread is made of.
struct Worker {
    /// One entry for each connection.
    endpoints: Vec<String>,
    clients: usize,
    workload: Workload,
}

impl Worker {
    fn serve(
        self,
        ready: &mpsc::Sender<Result<(), BenchError>>,
        jobs: &mpsc::Receiver<Arc<Pace>>,
        tallies: &mpsc::Sender<Tally>,
    ) {
        let runtime = match tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
        {
            Ok(runtime) => runtime,
            Err(error) => {
                let _ = ready.send(Err(BenchError::Runtime(error)));
                return;
            }
        };
        let connections = match runtime.block_on(self.connect()) {
            Ok(connections) => connections,
            Err(error) => {
                let _ = ready.send(Err(error));
                return;
            }
        };
        let _ = ready.send(Ok(()));
        for pace in jobs {
            let tally = runtime.block_on(self.phase(&connections, &pace));
            if tallies.send(tally).is_err() {
                return;
            }
        }
    }

    async fn connect(&self) -> Result<Vec<Connection>, BenchError> {
        let mut connections = Vec::with_capacity(self.endpoints.len());
        for endpoint in &self.endpoints {
            let connection = Connection::open(endpoint, self.workload.path())
                .await
                .map_err(|source| BenchError::Connect {
                    endpoint: endpoint.clone(),
                    source,
                })?;
            connections.push(connection);
        }
        Ok(connections)
    }

    async fn phase(&self, connections: &[Connection], pace: &Arc<Pace>) -> Tally {
        let tally = Arc::new(Mutex::new(Tally::new()));
        let clients: Vec<_> = (0..self.clients)
            .map(|client| {
                tokio::spawn(client_loop(
                    connections[client % connections.len()].clone(),
                    self.workload.clone(),
                    Arc::clone(pace),
                    Arc::clone(&tally),
                ))
            })
            .collect();
        for client in clients {
            client.await.expect("a client does not panic");
        }
        Arc::into_inner(tally)
            .expect("all clients have ended")
            .into_inner()
            .expect("a client does not panic")
    }
}

/// One client: one operation at a time until the phase is over or the connection is lost.
async fn client_loop(
    mut connection: Connection,
    workload: Workload,
    pace: Arc<Pace>,
    tally: Arc<Mutex<Tally>>,
) {
    while let Some(ticket) = pace.next().await {
        let answer = connection.call(workload.request(ticket.operation)).await;
        let mut tally = tally.lock().expect("a client does not panic");
        match answer {
            Ok(_) => tally.answered(pace.started(), ticket.due),
            Err(error) => {
                tally.failed(&error);
                if !error.leaves_connection_usable() {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::floor::Bound;
    use crate::options::{self, Command, Floor};
    use std::ffi::OsString;

    /// Runs a command line against an empty server in this process.
    fn run_on_the_floor(line: &str) -> Result<Outcome, BenchError> {
        let bound = Bound::new(&Floor {
            listen: "127.0.0.1:0".into(),
            threads: 1,
            value_size: 100,
        })?;
        let line = format!(
            "bench {line} --quiet --warm-up 0s --endpoints {}",
            bound.address
        );
        thread::spawn(|| bound.serve());
        match options::parse(line.split(' ').skip(1).map(OsString::from).collect()) {
            Ok(Command::Load(load)) => run(&load),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_operation_is_answered_and_counted_once() {
        for line in [
            "put --total 300 --conns 3 --clients 20 --threads 2",
            "range --total 300 --clients 2 --consistency s",
            "put --total 300 --clients 5 --rate 3000",
        ] {
            let outcome = run_on_the_floor(line).unwrap();
            assert_eq!(outcome.tally.latency_ns.len(), 300, "{line}");
            assert_eq!(
                outcome.tally.answers_by_second.iter().sum::<u64>(),
                300,
                "{line}"
            );
            assert_eq!(outcome.tally.errors, BTreeMap::new(), "{line}");
        }
    }

    #[test]
    fn a_duration_ends_the_run() {
        let outcome = run_on_the_floor("put --duration 100ms").unwrap();
        assert!(outcome.tally.latency_ns.len() > 10);
        assert!(outcome.elapsed >= Duration::from_millis(100));
    }

    #[test]
    fn a_method_that_the_server_does_not_have_is_an_answer_with_an_error() {
        let bound = Bound::new(&Floor {
            listen: "127.0.0.1:0".into(),
            threads: 1,
            value_size: 0,
        })
        .unwrap();
        let endpoint = bound.address.to_string();
        thread::spawn(|| bound.serve());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .unwrap();
        let error = runtime
            .block_on(async {
                let mut connection = Connection::open(&endpoint, "/etcdserverpb.KV/Txn").await?;
                connection.call(vec![0; 5].into()).await
            })
            .unwrap_err();
        assert!(error.to_string().starts_with("code 12"), "{error}");
        assert!(error.leaves_connection_usable());
    }

    #[test]
    fn no_server_is_told_with_its_address() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let line = format!("bench put --quiet --endpoints {address}");
        let Ok(Command::Load(load)) =
            options::parse(line.split(' ').skip(1).map(OsString::from).collect())
        else {
            panic!("{line}");
        };
        let error = run(&load).unwrap_err().to_string();
        assert!(error.contains(&address), "{error}");
    }

    #[test]
    fn tallies_merge_by_second_and_by_error() {
        let start = Instant::now() - Duration::from_secs(2);
        let mut one = Tally::new();
        one.answered(start, start);
        one.failed(&CallError::Protocol("x".into()));
        let mut two = Tally::new();
        two.failed(&CallError::Protocol("x".into()));
        two.merge(&one);
        assert_eq!(two.answers_by_second, [0, 0, 1]);
        assert_eq!(two.error_count(), 2);
        assert_eq!(two.latency_ns.len(), 1);
        assert!(two.latency_ns.max() >= 1_990_000_000);
    }
}
