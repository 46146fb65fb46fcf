//! Watches beside puts: how late events come, and what each costs the server.
//!
//! A value begins with the time at which its put was due, so every delivered event tells its own
//! lag. Every event that is due must come: what is missing a while after the last put is an error.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use tenet_proto::etcdserverpb::watch_request::RequestUnion;
use tenet_proto::etcdserverpb::{PutRequest, WatchCreateRequest, WatchRequest, WatchResponse};
use tokio::sync::Semaphore;
use tokio::task::LocalSet;
use tokio::time::sleep;

use crate::BenchError;
use crate::key::{Keys, Values};
use crate::options::{Target, Watching};
use crate::pace::Pace;
use crate::progress::Progress;
use crate::run::{Meter, Outcome, Tally};
use crate::wire::{self, CallError, Connection, Duplex};

const WATCH: &str = "/etcdserverpb.Watch/Watch";
const PUT: &str = "/etcdserverpb.KV/Put";
/// How long no event may come before what is missing counts as lost.
const PATIENCE: Duration = Duration::from_secs(20);
/// Connections that the clients who put share.
const PUT_CONNECTIONS_MAX: usize = 8;
/// Streams that are opened at a time.
const OPENING_MAX: usize = 200;

/// What the streams have seen.
struct Seen {
    tally: Tally,
    events: u64,
    last: Instant,
}

/// What all tasks of a run share; they run on one thread.
struct Run {
    options: Watching,
    keys: Keys,
    /// The zero of the times in values.
    start: Instant,
    seen: RefCell<Seen>,
}

/// Runs the watches and puts that the options describe.
pub(crate) fn run(options: &Watching) -> Result<Outcome, BenchError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(BenchError::Runtime)?;
    LocalSet::new().block_on(&runtime, measure(options))
}

async fn measure(options: &Watching) -> Result<Outcome, BenchError> {
    let start = Instant::now();
    let run = Rc::new(Run {
        options: options.clone(),
        keys: options.space.keys().map_err(BenchError::Options)?,
        start,
        seen: RefCell::new(Seen {
            tally: Tally::new(),
            events: 0,
            last: start,
        }),
    });
    let connections = connect(&run, options.connections, WATCH).await?;
    let meter = options
        .history
        .then(|| Meter::start(options.common.server_pid));
    let deaf = open_deaf(&run).await?;
    open(&run, &connections).await?;
    let progress = Progress::start("watch", options.common.quiet);
    let meter = match meter {
        Some(meter) => meter?,
        None => Meter::start(options.common.server_pid)?,
    };
    let (due, puts) = if options.history {
        (options.operations * options.watchers as u64, 0)
    } else {
        put(&run, &progress).await?
    };
    run.seen.borrow_mut().last = Instant::now();
    while run.seen.borrow().events < due && run.seen.borrow().last.elapsed() < PATIENCE {
        sleep(Duration::from_millis(1)).await;
        let seen = run.seen.borrow().events;
        progress.set(seen as f64 / due.max(1) as f64, format!("{seen} events"));
    }
    let ended = Seen {
        tally: Tally::new(),
        events: 0,
        last: Instant::now(),
    };
    let mut seen = run.seen.replace(ended);
    if seen.events != due {
        let text = format!("{} events instead of {due}", seen.events);
        seen.tally.failed(&CallError::Protocol(text));
    }
    let mut outcome = meter.stop(seen.tally);
    drop(deaf);
    if let Some(server) = outcome.server.filter(|_| puts > 0) {
        let per_put = server.cpu_us as f64 / puts as f64;
        outcome.findings.push(("server_cpu_us_per_put", per_put));
    }
    Ok(outcome)
}

async fn connect(
    run: &Run,
    count: usize,
    path: &'static str,
) -> Result<Vec<Connection>, BenchError> {
    let endpoints = &run.options.common.endpoints;
    let mut connections = Vec::new();
    for number in 0..count {
        let endpoint = &endpoints[number % endpoints.len()];
        let connection = Connection::open(endpoint, path).await;
        connections.push(connection.map_err(|source| BenchError::Connect {
            endpoint: endpoint.clone(),
            source,
        })?);
    }
    Ok(connections)
}

/// Opens the watches, on one stream a connection or each on its own, and follows them.
async fn open(run: &Rc<Run>, connections: &[Connection]) -> Result<(), BenchError> {
    let opening = Arc::new(Semaphore::new(OPENING_MAX));
    let mut tasks = Vec::new();
    for (number, connection) in connections.iter().enumerate() {
        let watchers: Vec<u64> = (0..run.options.watchers as u64)
            .skip(number)
            .step_by(connections.len())
            .collect();
        let streams: Vec<Vec<u64>> = match run.options.stream_each {
            true => watchers.iter().map(|watcher| vec![*watcher]).collect(),
            false => vec![watchers],
        };
        for watchers in streams {
            let (run, connection) = (Rc::clone(run), connection.clone());
            let opening = Arc::clone(&opening);
            tasks.push(tokio::task::spawn_local(async move {
                let _turn = opening.acquire().await;
                let mut stream = run.create(connection, &watchers).await?;
                tokio::task::spawn_local(async move {
                    if let Err(error) = run.follow(&mut stream).await {
                        run.seen.borrow_mut().tally.failed(&error);
                    }
                });
                Ok::<(), CallError>(())
            }));
        }
    }
    for task in tasks {
        let opened = task.await.expect("a task does not panic");
        opened.map_err(BenchError::Watch)?;
    }
    Ok(())
}

/// Opens watches of everything whose events nobody reads. They end with the returned streams.
async fn open_deaf(run: &Rc<Run>) -> Result<Vec<Duplex>, BenchError> {
    let mut streams = Vec::new();
    for connection in connect(run, run.options.deaf, WATCH).await? {
        let opened = async {
            let mut stream = connection.open_stream().await?;
            let everything = create(run.keys.key(0), run.keys.end(), 0);
            stream.send(wire::frame(&everything))?;
            stream.next::<WatchResponse>().await?;
            Ok(stream)
        };
        let opened: Result<Duplex, CallError> = opened.await;
        streams.push(opened.map_err(BenchError::Watch)?);
    }
    Ok(streams)
}

fn create(key: Bytes, range_end: Bytes, start_revision: i64) -> WatchRequest {
    WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(WatchCreateRequest {
            key,
            range_end,
            start_revision,
            ..WatchCreateRequest::default()
        })),
    }
}

impl Run {
    /// The request of a watcher.
    fn request(&self, watcher: u64) -> WatchRequest {
        let (key, end) = match self.options.target {
            Target::One => (self.keys.key(0), Bytes::new()),
            Target::Each => (self.keys.key(watcher), Bytes::new()),
            Target::Range => {
                let span = self.span();
                let first = watcher * span;
                let end = match watcher + 1 == self.options.watchers as u64 {
                    true => self.keys.end(),
                    false => self.keys.key(first + span),
                };
                (self.keys.key(first), end)
            }
            Target::All => (self.keys.key(0), self.keys.end()),
        };
        create(key, end, i64::from(self.options.history))
    }

    /// Keys of each range.
    fn span(&self) -> u64 {
        (self.options.space.keys / self.options.watchers.max(1) as u64).max(1)
    }

    /// How many watchers a put of this key reaches.
    fn reached(&self, key: u64) -> u64 {
        let watchers = self.options.watchers as u64;
        match self.options.target {
            Target::One => u64::from(key == 0) * watchers,
            Target::Each => u64::from(key < watchers),
            Target::Range => u64::from(watchers > 0),
            Target::All => watchers,
        }
    }

    async fn create(&self, connection: Connection, watchers: &[u64]) -> Result<Duplex, CallError> {
        let mut stream = connection.open_stream().await?;
        for some in watchers.chunks(OPENING_MAX) {
            let mut requests = BytesMut::new();
            for watcher in some {
                requests.put(wire::frame(&self.request(*watcher)));
            }
            stream.send(requests.freeze())?;
            let mut created = 0;
            while created < some.len() {
                match stream.next::<WatchResponse>().await? {
                    Some(response) if response.canceled => {
                        return Err(CallError::Protocol(response.cancel_reason));
                    }
                    Some(response) if response.created => created += 1,
                    Some(response) => self.count(&response),
                    None => return Err(CallError::Protocol("the stream has ended".into())),
                }
            }
        }
        Ok(stream)
    }

    async fn follow(&self, stream: &mut Duplex) -> Result<(), CallError> {
        while let Some(response) = stream.next::<WatchResponse>().await? {
            if response.canceled {
                return Err(CallError::Protocol(format!(
                    "a watch was ended {}",
                    response.cancel_reason
                )));
            }
            self.count(&response);
        }
        Err(CallError::Protocol("a stream has ended".into()))
    }

    fn count(&self, response: &WatchResponse) {
        let mut seen = self.seen.borrow_mut();
        for event in &response.events {
            let value = event.kv.as_ref().map_or(&[][..], |kv| &kv.value);
            let due = match value.first_chunk() {
                Some(time) if !self.options.history => {
                    self.start + Duration::from_nanos(u64::from_le_bytes(*time))
                }
                _ => self.start,
            };
            seen.tally.answered(self.start, due);
        }
        seen.events += response.events.len() as u64;
        seen.last = Instant::now();
    }
}

/// Puts keys as the options say; how many events are due for them, and how many puts there were.
async fn put(run: &Rc<Run>, progress: &Progress) -> Result<(u64, u64), BenchError> {
    let options = &run.options;
    let clients = options.clients;
    let pace = Arc::new(Pace::start(options.extent, options.rate, clients));
    let due = Rc::new(RefCell::new((0, 0)));
    let mut tasks = Vec::new();
    let connections = connect(run, clients.min(PUT_CONNECTIONS_MAX), PUT).await?;
    // As many as the pace was told of: at a fixed rate each is told of the end once.
    for connection in connections.iter().cycle().take(clients) {
        let (run, pace, due) = (Rc::clone(run), Arc::clone(&pace), Rc::clone(&due));
        let connection = connection.clone();
        tasks.push(tokio::task::spawn_local(async move {
            put_some(&run, connection, &pace, &due).await;
        }));
    }
    let driver = options.rate.map(|_| {
        let pace = Arc::clone(&pace);
        std::thread::spawn(move || pace.drive())
    });
    for task in tasks {
        task.await.expect("a task does not panic");
        progress.show(&pace);
    }
    if let Some(driver) = driver {
        driver.join().expect("the pace does not panic");
    }
    Ok(*due.borrow())
}

async fn put_some(run: &Run, mut connection: Connection, pace: &Pace, due: &RefCell<(u64, u64)>) {
    let values = Values::new(run.options.value_size, run.options.space.seed);
    while let Some(ticket) = pace.next().await {
        let key = run.keys.number(ticket.operation);
        let mut value = BytesMut::from(&values.value(ticket.operation)[..]);
        let time = ticket.due.saturating_duration_since(run.start).as_nanos() as u64;
        value[..8].copy_from_slice(&time.to_le_bytes());
        let request = PutRequest {
            key: run.keys.key(key),
            value: value.freeze(),
            ..PutRequest::default()
        };
        match connection.call(wire::frame(&request)).await {
            Ok(_) => {
                let (events, puts) = &mut *due.borrow_mut();
                *events += run.reached(key);
                *puts += 1;
            }
            Err(error) => {
                run.seen.borrow_mut().tally.failed(&error);
                if !error.leaves_connection_usable() {
                    return;
                }
            }
        }
    }
}
