//! Applies hostile requests: whatever bytes a log entry holds, the state machine applies it, refuses
//! it, or says why the member must stop; it never panics, and what it has published adds up.

#![no_main]

use libfuzzer_sys::fuzz_target;
use prost::Message as _;
use tenet_base::{Index, MemberId, Term};
use tenet_proto::etcdserverpb::{InternalRaftRequest, RangeRequest, TxnRequest};
use tenet_state::{
    Config, State, check_delete_range, check_put, check_range, check_txn, is_read_only, read_range,
    read_txn,
};

/// Cuts the input into pieces, each behind a byte that says its length.
fn pieces(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (len, rest) = data.split_first()?;
        let (piece, rest) = rest.split_at(usize::from(*len).min(rest.len()));
        data = rest;
        Some(piece)
    })
}

fn read(state: &State, piece: &[u8]) {
    let view = state.views().load();
    if let Ok(range) = RangeRequest::decode(piece) {
        if check_range(&range).is_ok() {
            let _ = read_range(&view.kv, &range);
        }
    }
    if let Ok(txn) = TxnRequest::decode(piece) {
        if check_txn(&txn, 128).is_ok() && is_read_only(&txn) {
            let _ = read_txn(&view.kv, &txn);
        }
    }
}

/// Whether the serving side would have let it through.
fn passes(request: &InternalRaftRequest) -> bool {
    let put = request
        .put
        .as_ref()
        .is_none_or(|put| check_put(put).is_ok());
    let delete = request
        .delete_range
        .as_ref()
        .is_none_or(|del| check_delete_range(del).is_ok());
    let txn = request
        .txn
        .as_ref()
        .is_none_or(|txn| check_txn(txn, 128).is_ok());
    put && delete && txn
}

fuzz_target!(|data: &[u8]| {
    let config = Config {
        member: MemberId(1),
        min_lease_ttl_s: 2,
        quota_bytes: 1 << 20,
        learners_max: 1,
    };
    let mut state = State::new(config);
    let mut index = Index(0);
    for piece in pieces(data) {
        #[cfg(feature = "planted")]
        if piece.len() == 13 {
            // SAFETY: none; this is the planted mistake.
            std::hint::black_box(unsafe { *data.as_ptr().add(data.len() + 64) });
        }
        read(&state, piece);
        let Ok(request) = InternalRaftRequest::decode(piece) else {
            continue;
        };
        if !passes(&request) {
            continue;
        }
        let next = index.next();
        match state.apply(next, Term(1), &request) {
            Ok(_) => index = next,
            Err(fatal) => {
                assert!(!fatal.to_string().is_empty());
                return;
            }
        }
        state.publish();
        assert_eq!(state.applied().0, index);
        let view = state.views().load();
        assert!(view.kv.revision() >= view.kv.compact_revision().unwrap_or_default());
    }
    while state.step_maintenance(100) {}
});
