//! Listing the whole key space page by page, as Kubernetes lists its objects.
//!
//! The key space must have been loaded with `put --order sequential`, so that the first key of
//! each page is known and a page that is not full is a wrong answer, not a short one.

use std::time::Instant;

use tenet_proto::etcdserverpb::{RangeRequest, RangeResponse};

use crate::BenchError;
use crate::options::Pages;
use crate::progress::Progress;
use crate::run::{Meter, Outcome, Tally};
use crate::wire::{self, CallError, Connection};

const RANGE: &str = "/etcdserverpb.KV/Range";

/// Reads the pages that the options describe, one after the other.
pub(crate) fn run(options: &Pages) -> Result<Outcome, BenchError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(BenchError::Runtime)?;
    runtime.block_on(read(options))
}

async fn read(options: &Pages) -> Result<Outcome, BenchError> {
    let endpoint = &options.common.endpoints[0];
    let mut connection =
        Connection::open(endpoint, RANGE)
            .await
            .map_err(|source| BenchError::Connect {
                endpoint: endpoint.clone(),
                source,
            })?;
    let keys = options.space.keys().map_err(BenchError::Options)?;
    let limit = u64::from(options.limit);
    let pages = options.space.keys.div_ceil(limit);
    let progress = Progress::start("pages", options.common.quiet);
    let meter = Meter::start(options.common.server_pid)?;
    let start = Instant::now();
    let mut tally = Tally::new();
    let mut revision = 0;
    for page in (0..pages).step_by(options.stride as usize) {
        let first = page * limit;
        let request = wire::frame(&RangeRequest {
            key: keys.key(first),
            range_end: keys.end(),
            limit: i64::from(options.limit),
            revision,
            ..Default::default()
        });
        let due = Instant::now();
        let answer: RangeResponse = connection
            .call_decoded(request)
            .await
            .map_err(|source| BenchError::Page { page, source })?;
        tally.answered(start, due);
        check(&answer, limit.min(options.space.keys - first))
            .map_err(|source| BenchError::Page { page, source })?;
        if options.pinned && revision == 0 {
            revision = answer.header.map_or(0, |header| header.revision);
        }
        progress.set(page as f64 / pages as f64, format!("page {page}"));
    }
    Ok(meter.stop(tally))
}

fn check(answer: &RangeResponse, expected: u64) -> Result<(), CallError> {
    let found = answer.kvs.len() as u64;
    if found == expected {
        return Ok(());
    }
    Err(CallError::Protocol(format!(
        "{found} keys instead of {expected}; load them first with `put --order sequential \
         --total` and the same sizes, and nothing else under the same prefix"
    )))
}
