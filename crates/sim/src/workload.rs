//! Random writes from a seed, small enough that keys collide and large enough that entries cross
//! sectors.

use tenet_base::Rng;
use tenet_member::Write;
use tenet_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use tenet_proto::etcdserverpb::request_op::Request;
use tenet_proto::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, PutRequest, RequestOp, TxnRequest,
};

const KEYS: u64 = 12;

/// The next write; `revision` is the current one, for compactions.
pub fn next_write(rng: &mut dyn Rng, revision: i64) -> Write {
    match rng.below(20) {
        0..=11 => Write::Put(put(rng)),
        12..=14 => Write::DeleteRange(delete(rng)),
        15..=18 => Write::Txn(txn(rng)),
        _ => Write::Compact(CompactionRequest {
            revision: revision - rng.below(4) as i64,
            physical: false,
        }),
    }
}

/// A put that changes the store and is large enough that a few of them fill a small log segment.
pub fn next_large_put(rng: &mut dyn Rng) -> Write {
    let value: Vec<u8> = (0..700 + rng.below(500))
        .map(|_| rng.next_u64() as u8)
        .collect();
    Write::Put(PutRequest {
        key: key(rng),
        value: value.into(),
        ..PutRequest::default()
    })
}

fn key(rng: &mut dyn Rng) -> bytes::Bytes {
    format!("key{:02}", rng.below(KEYS)).into()
}

fn put(rng: &mut dyn Rng) -> PutRequest {
    let len = match rng.below(4) {
        0 => 0,
        1 => rng.below(40),
        2 => rng.below(600),
        _ => rng.below(3_000),
    };
    let value: Vec<u8> = (0..len).map(|_| rng.next_u64() as u8).collect();
    PutRequest {
        key: key(rng),
        value: value.into(),
        ..PutRequest::default()
    }
}

fn delete(rng: &mut dyn Rng) -> DeleteRangeRequest {
    let range_end = if rng.below(3) == 0 {
        key(rng)
    } else {
        bytes::Bytes::new()
    };
    DeleteRangeRequest {
        key: key(rng),
        range_end,
        prev_kv: false,
    }
}

fn txn(rng: &mut dyn Rng) -> TxnRequest {
    let compare = Compare {
        result: CompareResult::Greater.into(),
        target: CompareTarget::Version.into(),
        key: key(rng),
        target_union: Some(TargetUnion::Version(rng.below(3) as i64)),
        ..Compare::default()
    };
    let op = |request| RequestOp {
        request: Some(request),
    };
    TxnRequest {
        compare: vec![compare],
        success: vec![op(Request::RequestPut(put(rng)))],
        failure: vec![op(Request::RequestDeleteRange(delete(rng)))],
    }
}
