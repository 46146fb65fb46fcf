//! What leases cost: granting, renewing, a storm of them that ends within one second, and one that
//! takes very many keys with it.
//!
//! The storm and the large revoke are measured by what others feel: puts at a fixed rate, each
//! timed from the moment it was due. Leases are given ids, so that parts of a measurement can be
//! run one after the other on one server.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tenet_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseRevokeRequest,
    PutRequest, RangeRequest, RangeResponse,
};
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until};

use crate::BenchError;
use crate::options::{LeasePart, Leases};
use crate::run::{Meter, Outcome, Tally};
use crate::wire::{self, CallError, Connection};

const GRANT: &str = "/etcdserverpb.Lease/LeaseGrant";
const KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";
const REVOKE: &str = "/etcdserverpb.Lease/LeaseRevoke";
const PUT: &str = "/etcdserverpb.KV/Put";
const RANGE: &str = "/etcdserverpb.KV/Range";

/// What keys on leases begin with, and where they end.
const LEASED: &str = "leased/";
const LEASED_END: &[u8] = b"leased0";
/// Connections of the puts that feel what happens.
const PUT_CONNECTIONS: usize = 4;
/// Puts begin so long before what they are to feel, and go on so long after it.
const MARGIN: Duration = Duration::from_secs(2);
/// How often the leased keys are counted while they go.
const COUNT_INTERVAL: Duration = Duration::from_millis(50);
/// The longest that a storm is watched.
const STORM_MAX: Duration = Duration::from_secs(600);

/// Runs the part that the options name.
pub(crate) fn run(options: &Leases) -> Result<Outcome, BenchError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(BenchError::Runtime)?;
    let local = LocalSet::new();
    runtime.block_on(local.run_until(async {
        match options.part {
            LeasePart::Grant => grant(options).await,
            LeasePart::Renew => renew(options).await,
            LeasePart::Storm => storm(options).await,
            LeasePart::Revoke => revoke(options).await,
        }
    }))
}

async fn grant(options: &Leases) -> Result<Outcome, BenchError> {
    let ttl = options.ttl_s;
    let request = move |n: u64| lease_grant(n, ttl);
    let calls = Calls::connect(options, GRANT).await?;
    let meter = Meter::start(options.common.server_pid)?;
    let tally = calls.all(options.leases, request).await;
    Ok(meter.stop(tally))
}

fn lease_grant(n: u64, ttl: i64) -> Bytes {
    wire::frame(&LeaseGrantRequest {
        id: n as i64 + 1,
        ttl,
    })
}

fn leased_put(n: u64, lease: i64) -> Bytes {
    wire::frame(&PutRequest {
        key: format!("{LEASED}{n:09}").into(),
        value: Bytes::from_static(b"value"),
        lease,
        ..Default::default()
    })
}

/// Renews the leases that `grant` made, one after the other on each of many streams.
async fn renew(options: &Leases) -> Result<Outcome, BenchError> {
    let connections = connect_all(options, KEEP_ALIVE, options.connections).await?;
    let meter = Meter::start(options.common.server_pid)?;
    let start = Instant::now();
    let next = Rc::new(Cell::new(0));
    let tally = Rc::new(RefCell::new(Tally::new()));
    let total = options.leases;
    let mut tasks = Vec::new();
    for stream in 0..options.clients {
        let connection = connections[stream % connections.len()].clone();
        let (next, tally) = (Rc::clone(&next), Rc::clone(&tally));
        tasks.push(tokio::task::spawn_local(async move {
            let renewed = renew_on(connection, &next, total, start, &tally).await;
            if let Err(error) = renewed {
                tally.borrow_mut().failed(&error);
            }
        }));
    }
    join(tasks).await;
    Ok(meter.stop(tally.take()))
}

async fn renew_on(
    connection: Connection,
    next: &Cell<u64>,
    total: u64,
    start: Instant,
    tally: &RefCell<Tally>,
) -> Result<(), CallError> {
    let mut stream = connection.open_stream().await?;
    while next.get() < total {
        let id = next.get() as i64 + 1;
        next.set(next.get() + 1);
        let due = Instant::now();
        stream.send(wire::frame(&LeaseKeepAliveRequest { id }))?;
        let answer: Option<LeaseKeepAliveResponse> = stream.next().await?;
        let answer = answer.unwrap_or_default();
        if answer.id != id || answer.ttl == 0 {
            let text = format!("lease {id} was not renewed; run `lease --part grant` first");
            return Err(CallError::Protocol(text));
        }
        tally.borrow_mut().answered(start, due);
    }
    Ok(())
}

/// Grants leases whose times are over within one second, one key each, and watches them go.
async fn storm(options: &Leases) -> Result<Outcome, BenchError> {
    let grants = Calls::connect(options, GRANT).await?;
    let puts = Calls::connect(options, PUT).await?;
    let first_due = Instant::now() + Duration::from_secs(options.ttl_s as u64);
    let ttl = move || {
        let left = first_due.saturating_duration_since(Instant::now());
        left.as_secs() as i64 + 1
    };
    let granted = grants
        .all(options.leases, move |n| lease_grant(n, ttl()))
        .await;
    let put = puts
        .all(options.leases, |n| leased_put(n, n as i64 + 1))
        .await;
    let begin = first_due - MARGIN;
    if granted.error_count() + put.error_count() > 0 || Instant::now() > begin {
        return Err(BenchError::Options(format!(
            "the leases could not be made in time ({:?}, {:?}); --ttl {} may be too short",
            granted.errors, put.errors, options.ttl_s
        )));
    }
    sleep_until(begin.into()).await;
    let mut counter = connect(options, RANGE).await?;
    let meter = Meter::start(options.common.server_pid)?;
    let background = Background::start(options).await?;
    sleep_until(first_due.into()).await;
    let mut gone = None;
    while gone.is_none() && first_due.elapsed() < STORM_MAX {
        sleep(COUNT_INTERVAL).await;
        if count(&mut counter).await? == 0 {
            gone = Some(first_due.elapsed());
        }
    }
    sleep(MARGIN).await;
    let mut outcome = meter.stop(background.stop().await);
    match gone {
        Some(gone) => outcome
            .findings
            .push(("gone_after_first_due_s", gone.as_secs_f64())),
        None => outcome
            .tally
            .failed(&CallError::Protocol(format!("not gone in {STORM_MAX:?}"))),
    }
    Ok(outcome)
}

async fn count(connection: &mut Connection) -> Result<i64, BenchError> {
    let request = RangeRequest {
        key: Bytes::from_static(LEASED.as_bytes()),
        range_end: Bytes::from_static(LEASED_END),
        count_only: true,
        serializable: true,
        ..Default::default()
    };
    let answer: Result<RangeResponse, _> = connection.call_decoded(wire::frame(&request)).await;
    let answer = answer.map_err(|source| BenchError::Page { page: 0, source })?;
    Ok(answer.count)
}

/// Puts many keys on one lease and revokes it.
async fn revoke(options: &Leases) -> Result<Outcome, BenchError> {
    const LEASE: i64 = 1_000_000_007;
    let grants = Calls::connect(options, GRANT).await?;
    let ttl = options.ttl_s;
    let granted = grants
        .all(1, move |_| lease_grant(LEASE as u64 - 1, ttl))
        .await;
    let puts = Calls::connect(options, PUT).await?;
    let put = puts.all(options.leases, |n| leased_put(n, LEASE)).await;
    if granted.error_count() + put.error_count() > 0 {
        let text = format!("{:?}, {:?}", granted.errors, put.errors);
        return Err(BenchError::Options(text));
    }
    let mut revoker = connect(options, REVOKE).await?;
    let meter = Meter::start(options.common.server_pid)?;
    let background = Background::start(options).await?;
    sleep(MARGIN).await;
    let begin = Instant::now();
    let revoked = revoker
        .call(wire::frame(&LeaseRevokeRequest { id: LEASE }))
        .await;
    let took = begin.elapsed();
    sleep(MARGIN).await;
    let mut outcome = meter.stop(background.stop().await);
    if let Err(error) = revoked {
        outcome.tally.failed(&error);
    }
    outcome.findings.push(("revoke_s", took.as_secs_f64()));
    Ok(outcome)
}

async fn connect(options: &Leases, path: &'static str) -> Result<Connection, BenchError> {
    let endpoint = &options.common.endpoints[0];
    Connection::open(endpoint, path)
        .await
        .map_err(|source| BenchError::Connect {
            endpoint: endpoint.clone(),
            source,
        })
}

async fn connect_all(
    options: &Leases,
    path: &'static str,
    count: usize,
) -> Result<Vec<Connection>, BenchError> {
    let mut connections = Vec::new();
    for _ in 0..count {
        connections.push(connect(options, path).await?);
    }
    Ok(connections)
}

async fn join(tasks: Vec<JoinHandle<()>>) {
    for task in tasks {
        task.await.expect("a client does not panic");
    }
}

/// Clients with one call of a method at a time.
struct Calls {
    connections: Vec<Connection>,
    clients: usize,
}

impl Calls {
    async fn connect(options: &Leases, path: &'static str) -> Result<Calls, BenchError> {
        Ok(Calls {
            connections: connect_all(options, path, options.connections).await?,
            clients: options.clients,
        })
    }

    /// Calls with the requests of all numbers below `total`.
    async fn all(&self, total: u64, request: impl Fn(u64) -> Bytes + Clone + 'static) -> Tally {
        let start = Instant::now();
        let next = Rc::new(Cell::new(0));
        let tally = Rc::new(RefCell::new(Tally::new()));
        let mut tasks = Vec::new();
        for client in 0..self.clients {
            let mut connection = self.connections[client % self.connections.len()].clone();
            let (next, tally, request) = (Rc::clone(&next), Rc::clone(&tally), request.clone());
            tasks.push(tokio::task::spawn_local(async move {
                while next.get() < total {
                    let n = next.replace(next.get() + 1);
                    let due = Instant::now();
                    match connection.call(request(n)).await {
                        Ok(_) => tally.borrow_mut().answered(start, due),
                        Err(error) => {
                            tally.borrow_mut().failed(&error);
                            if !error.leaves_connection_usable() {
                                return;
                            }
                        }
                    }
                }
            }));
        }
        join(tasks).await;
        tally.take()
    }
}

/// Puts at a fixed rate, each timed from when it was due.
struct Background {
    ends: Rc<Cell<bool>>,
    sender: JoinHandle<()>,
    tally: Rc<RefCell<Tally>>,
}

impl Background {
    async fn start(options: &Leases) -> Result<Background, BenchError> {
        let connections = connect_all(options, PUT, PUT_CONNECTIONS).await?;
        let ends = Rc::new(Cell::new(false));
        let tally = Rc::new(RefCell::new(Tally::new()));
        let period = Duration::from_secs_f64(1.0 / options.put_rate);
        let (stop, results) = (Rc::clone(&ends), Rc::clone(&tally));
        let sender = tokio::task::spawn_local(async move {
            let start = Instant::now();
            let mut ticks = interval(period);
            // Late ticks follow at once, and know when they were due.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let mut calls = Vec::new();
            let mut n = 0;
            while !stop.get() {
                let due = ticks.tick().await.into_std();
                let mut connection = connections[n % connections.len()].clone();
                let results = Rc::clone(&results);
                let put = wire::frame(&PutRequest {
                    key: format!("put/{:06}", n % 1_000).into(),
                    value: Bytes::from_static(b"value"),
                    ..Default::default()
                });
                calls.push(tokio::task::spawn_local(async move {
                    match connection.call(put).await {
                        Ok(_) => results.borrow_mut().answered(start, due),
                        Err(error) => results.borrow_mut().failed(&error),
                    }
                }));
                n += 1;
                if calls.len() > 10_000 {
                    calls.retain(|call| !call.is_finished());
                }
            }
            join(calls).await;
        });
        Ok(Background {
            ends,
            sender,
            tally,
        })
    }

    async fn stop(self) -> Tally {
        self.ends.set(true);
        self.sender.await.expect("the sender does not panic");
        self.tally.take()
    }
}
