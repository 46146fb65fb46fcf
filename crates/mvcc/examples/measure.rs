//! Measures the store in memory: what a put costs, what the index takes, how long reads take
//! beside a writer, what a compaction gives back, and how long a flush and a recovery take.
//!
//! `cargo run --release -p tenet-mvcc --example measure [keys]`
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "measuring needs clocks, threads and an output"
)]

use bytes::Bytes;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tenet_base::disk::FilePath;
use tenet_base::memory_disk::MemoryDisk;
use tenet_base::world::SplitMix64;
use tenet_base::{LeaseId, Rng, Term};
use tenet_mvcc::{Mvcc, View, Views};
use tenet_proto::etcdserverpb::RangeRequest;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: u64 = 100;
const KEY_BYTES: usize = 24;
const VALUE_BYTES: usize = 300;
const PAGE: i64 = 500;

fn main() {
    let count: usize = std::env::args()
        .nth(1)
        .map_or(1_000_000, |count| count.parse().expect("a number of keys"));
    let mut rng = SplitMix64::new(1);
    let keys: Vec<Bytes> = (0..count)
        .map(|number| Bytes::from(format!("/registry/pods/{number:09}")))
        .collect();
    assert_eq!(keys[0].len(), KEY_BYTES);
    let mut order: Vec<usize> = (0..count).collect();
    for at in (1..count).rev() {
        order.swap(at, rng.below(at as u64 + 1) as usize);
    }
    let base = resident_bytes();
    // On a virtual machine the host gives memory out page by page, slowly, when it is touched
    // first; that is not what is measured here.
    drop(std::hint::black_box(vec![1u8; count * 1_500]));
    println!("{count} keys of {KEY_BYTES} B, values of {VALUE_BYTES} B, batches of {BATCH}");

    let mut mvcc = Mvcc::default();
    puts(
        &mut mvcc,
        BATCH,
        "load, scrambled",
        order.iter().map(|&at| &keys[at]),
    );
    report_memory(&mvcc, base);
    let loaded = mvcc.revision().0;
    let chosen: Vec<usize> = (0..count)
        .map(|_| rng.below(count as u64) as usize)
        .collect();
    puts(
        &mut mvcc,
        BATCH,
        "overwrite, random",
        chosen.iter().map(|&at| &keys[at]),
    );
    report_memory(&mvcc, base);
    let few = chosen.iter().take(count / 10);
    puts(
        &mut mvcc,
        1,
        "overwrite, random, batches of one",
        few.map(|&at| &keys[at]),
    );

    let view = mvcc.views().load();
    reads(&view, "newest, idle", 0, &keys);
    reads(&view, "pinned behind the load, idle", loaded, &keys);
    counts(&view, loaded);
    drop(view);
    beside_writer(&mut mvcc, &keys);
    hash(&mvcc.views().load());

    compaction(&mut mvcc);
    report_memory(&mvcc, base);
    recover(&mut mvcc);
    drop(mvcc);

    let mut mvcc = Mvcc::default();
    puts(&mut mvcc, BATCH, "load, in order", keys.iter());
    report_memory(&mvcc, base);
}

/// Nanoseconds that this thread has run.
fn thread_cpu_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let first = stat.split(' ').next().expect("three numbers");
    first.parse().expect("a number")
}

/// Microseconds that the kernel ran for this thread, mostly for memory touched first; exact to
/// a clock tick.
fn thread_kernel_us() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("Linux");
    let (_, numbers) = stat.rsplit_once(')').expect("a name in parentheses");
    let ticks = numbers.split(' ').nth(13).expect("the system time");
    ticks.parse::<u64>().expect("a number") * 10_000
}

fn resident_bytes() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = stat.split(' ').nth(1).expect("seven numbers");
    pages.parse::<u64>().expect("a number") * 4096
}

fn publish(mvcc: &mut Mvcc) {
    let index = mvcc.views().load().applied().next();
    mvcc.publish(index, Term(1));
}

fn put(mvcc: &mut Mvcc, key: &Bytes, value: &Bytes) {
    let mut txn = mvcc.begin();
    txn.put(key, value, LeaseId(0));
    txn.end();
}

fn puts<'a>(mvcc: &mut Mvcc, batch: u64, what: &str, keys: impl Iterator<Item = &'a Bytes>) {
    let value = Bytes::from(vec![b'v'; VALUE_BYTES]);
    let (start, begun, kernel) = (thread_cpu_ns(), Instant::now(), thread_kernel_us());
    let mut puts = 0u64;
    for key in keys {
        put(mvcc, key, &value);
        puts += 1;
        if puts.is_multiple_of(batch) {
            publish(mvcc);
        }
    }
    publish(mvcc);
    let cpu = (thread_cpu_ns() - start) as f64 / 1_000.0 / puts as f64;
    let wall = begun.elapsed().as_secs_f64() * 1e6 / puts as f64;
    let kernel = (thread_kernel_us() - kernel) as f64 / puts as f64;
    println!("{what}: {cpu:.2} us CPU a put, {kernel:.2} of it the kernel's ({wall:.2} us wall)");
}

fn report_memory(mvcc: &Mvcc, base: u64) {
    let stats = mvcc.index_stats();
    let size = mvcc.size();
    let per_key = stats.bytes as f64 / stats.live_keys as f64;
    println!(
        "  index: {} entries, {} leaves, {} inner nodes, depth {}, {:.1} MB: {per_key:.1} B a key, \
         {:.1} beyond the key itself; store {:.1} MB, {:.1} in use; resident {:.1} MB",
        stats.entries,
        stats.leaves,
        stats.inner_nodes,
        stats.depth,
        stats.bytes as f64 / 1e6,
        per_key - KEY_BYTES as f64,
        size.db_bytes as f64 / 1e6,
        size.db_in_use_bytes as f64 / 1e6,
        (resident_bytes() - base) as f64 / 1e6,
    );
}

fn get(view: &View, key: &Bytes, revision: i64) {
    let req = RangeRequest {
        key: key.clone(),
        revision,
        ..RangeRequest::default()
    };
    let found = view.range(&req).expect("readable");
    assert_eq!(found.kvs[0].value.len(), VALUE_BYTES);
}

fn page(view: &View, from: &Bytes, revision: i64) -> usize {
    let req = RangeRequest {
        key: from.clone(),
        range_end: Bytes::from_static(&[0]),
        limit: PAGE,
        revision,
        ..RangeRequest::default()
    };
    let found = view.range(&req).expect("readable");
    assert!(found.count >= found.kvs.len() as i64);
    found.kvs.len()
}

fn reads(view: &View, what: &str, revision: i64, keys: &[Bytes]) {
    let mut rng = SplitMix64::new(2);
    let gets = 200_000;
    let start = thread_cpu_ns();
    for _ in 0..gets {
        get(view, &keys[rng.below(keys.len() as u64) as usize], revision);
    }
    let per_get = (thread_cpu_ns() - start) as f64 / 1_000.0 / f64::from(gets);
    let start = thread_cpu_ns();
    let pages = keys.len() / PAGE as usize;
    for at in 0..pages {
        page(view, &keys[at * PAGE as usize], revision);
    }
    let per_page = (thread_cpu_ns() - start) as f64 / 1_000.0 / pages as f64;
    println!("{what}: {per_get:.2} us CPU a get, {per_page:.0} us CPU a page of {PAGE}");
}

fn counts(view: &View, loaded: i64) {
    for (what, revision) in [("newest", 0), ("pinned behind the load", loaded)] {
        let req = RangeRequest {
            key: Bytes::from_static(&[0]),
            range_end: Bytes::from_static(&[0]),
            count_only: true,
            revision,
            ..RangeRequest::default()
        };
        let start = Instant::now();
        for _ in 0..100 {
            std::hint::black_box(view.range(&req).expect("readable").count);
        }
        let each = start.elapsed().as_secs_f64() * 1e6 / 100.0;
        println!("count of everything, {what}: {each:.2} us");
    }
}

/// Pages and gets on this thread while another writes about 5,000 puts a second, one in ten a
/// delete or a new key.
fn beside_writer(mvcc: &mut Mvcc, keys: &[Bytes]) {
    let done = AtomicBool::new(false);
    let views = mvcc.views();
    let value = Bytes::from(vec![b'w'; VALUE_BYTES]);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut rng = SplitMix64::new(3);
            while !done.load(Ordering::Acquire) {
                for _ in 0..BATCH {
                    let key = &keys[rng.below(keys.len() as u64) as usize];
                    if rng.below(10) == 0 {
                        let key = [&key[..], b"/new"].concat();
                        let mut txn = mvcc.begin();
                        if !txn.delete(&key) {
                            txn.put(&Bytes::from(key), &value, LeaseId(0));
                        }
                        txn.end();
                    } else {
                        put(mvcc, key, &value);
                    }
                }
                publish(mvcc);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        time_pages(&views, keys, "newest beside the writer", false);
        time_pages(&views, keys, "pinned beside the writer", true);
        time_gets(&views, keys);
        done.store(true, Ordering::Release);
    });
}

fn time_pages(views: &Views, keys: &[Bytes], what: &str, pinned: bool) {
    let revision = if pinned { views.load().revision().0 } else { 0 };
    let mut times = Vec::new();
    for at in 0..keys.len() / PAGE as usize {
        let start = Instant::now();
        let view = views.load();
        page(&view, &keys[at * PAGE as usize], revision);
        drop(view);
        times.push(start.elapsed().as_secs_f64() * 1e6);
        // Spread over the writer's batches.
        std::thread::sleep(Duration::from_millis(1));
    }
    println!("page of {PAGE}, {what}: {}", spread(times));
}

fn time_gets(views: &Views, keys: &[Bytes]) {
    let mut rng = SplitMix64::new(4);
    let mut times = Vec::new();
    for _ in 0..100_000 {
        let key = &keys[rng.below(keys.len() as u64) as usize];
        let start = Instant::now();
        get(&views.load(), key, 0);
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    println!("get beside the writer: {}", spread(times));
}

fn spread(mut times: Vec<f64>) -> String {
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    format!(
        "p50 {:.1} us, p99 {:.1} us, p99.9 {:.1} us, slowest {:.1} us",
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    )
}

fn hash(view: &View) {
    let start = thread_cpu_ns();
    let hash = view.hash_kv(0).expect("readable");
    let took = (thread_cpu_ns() - start) as f64 / 1e6;
    println!("HashKV of everything: {took:.0} ms CPU ({:08x})", hash.hash);
}

fn compaction(mvcc: &mut Mvcc) {
    mvcc.compact(mvcc.revision().0)
        .expect("not compacted before");
    publish(mvcc);
    let start = thread_cpu_ns();
    let mut steps = Vec::new();
    loop {
        let begun = Instant::now();
        let left = mvcc.step_maintenance(1_000);
        steps.push(begun.elapsed().as_secs_f64() * 1e6);
        if !left {
            break;
        }
    }
    let took = (thread_cpu_ns() - start) as f64 / 1e6;
    println!(
        "compaction at the newest revision: {took:.0} ms CPU in {} steps of 1000: {}",
        steps.len(),
        spread(steps)
    );
    let view = mvcc.views().load();
    let start = thread_cpu_ns();
    view.hash_kv(0).expect("readable");
    let took = (thread_cpu_ns() - start) as f64 / 1e6;
    println!("HashKV once compacted: {took:.0} ms CPU");
}

/// What a flush with the index costs, and a recovery from it.
fn recover(mvcc: &mut Mvcc) {
    let mut disk = MemoryDisk::default();
    let (start, kernel) = (thread_cpu_ns(), thread_kernel_us());
    let tables = Box::new(std::iter::once(Bytes::from_static(b"tables")));
    let mut job = mvcc.flush(tables, true);
    while let Some(ops) = job.step().expect("readable") {
        disk.run(ops).expect("possible");
    }
    mvcc.finished(job.finish(&disk).expect("there"));
    let wrote = (thread_cpu_ns() - start) as f64 / 1e6;
    let wrote_kernel = (thread_kernel_us() - kernel) / 1_000;
    let megabytes = disk.written_bytes() as f64 / 1e6;
    let (start, kernel) = (thread_cpu_ns(), thread_kernel_us());
    let found = tenet_store::open(&disk, &FilePath::new("store")).expect("intact");
    let recovered = Mvcc::recover(&disk, found.store.expect("a store")).expect("intact");
    let read = (thread_cpu_ns() - start) as f64 / 1e6;
    let read_kernel = (thread_kernel_us() - kernel) / 1_000;
    assert_eq!(recovered.revision(), mvcc.revision());
    println!(
        "flush of {megabytes:.1} MB: {wrote:.0} ms CPU to write, {wrote_kernel} of it the \
         kernel's; {read:.0} ms to recover, {read_kernel} of it the kernel's"
    );
}
