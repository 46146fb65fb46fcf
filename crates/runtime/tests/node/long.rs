//! Answers that are read while they are sent, from a real disk.

use super::{damage, options, put};
use bytes::Bytes;
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::{CompactionRequest, RangeRequest, RangeResponse};
use tenet_proto::prost::Message as _;
use tenet_runtime::{LongAnswer, Node, Options, RangeAnswer, start};

const KEYS: usize = 400;

fn all() -> RangeRequest {
    RangeRequest {
        key: Bytes::from_static(&[0]),
        range_end: Bytes::from_static(&[0]),
        ..RangeRequest::default()
    }
}

async fn put_all(node: &Node, what: &str) {
    for n in 0..KEYS {
        let value = format!("{what} value of key {n:03} {}", "x".repeat(1_000));
        node.put(put(&format!("key{n:03}"), &value)).await.unwrap();
    }
}

async fn open(node: &Node, request: RangeRequest) -> Box<LongAnswer> {
    match node.open_range(request).await.unwrap() {
        RangeAnswer::Long(answer) => answer,
        RangeAnswer::Whole(answer) => panic!("{} keys at once", answer.kvs.len()),
    }
}

/// All of an answer, put together.
async fn whole(answer: &mut LongAnswer) -> Result<RangeResponse, (usize, ApiError)> {
    let mut kvs = Vec::new();
    loop {
        match answer.next(10_000).await {
            Ok(piece) if piece.is_empty() => break,
            Ok(piece) => kvs.extend_from_slice(&piece),
            Err(error) => return Err((kvs.len(), error)),
        }
    }
    assert_eq!(kvs.len() as u64, answer.kvs_bytes());
    Ok(RangeResponse {
        kvs: RangeResponse::decode(&kvs[..]).unwrap().kvs,
        ..answer.around().clone()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn long_answers_and_streams_give_what_is_held_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let few = Options {
        snapshot_count: 50,
        ..options(dir.path())
    };
    let mut node = start(&few).unwrap();
    put_all(&node, "the first").await;
    // From memory for the most part, then from files.
    for restarted in [false, true] {
        for (sort_order, sort_target, keys_only, limit) in [
            (0, 0, false, 0),
            (0, 0, false, 300),
            (2, 0, false, 0),
            (1, 4, false, 350),
            (0, 4, false, 350),
            (2, 3, true, 0),
        ] {
            let request = RangeRequest {
                sort_order,
                sort_target,
                keys_only,
                limit,
                ..all()
            };
            let expected = node.range(request.clone()).await.unwrap();
            let found = match node.open_range(request).await.unwrap() {
                RangeAnswer::Long(mut answer) => whole(&mut answer).await.unwrap(),
                RangeAnswer::Whole(answer) => {
                    assert!(keys_only, "an answer of 300 kB at once");
                    answer
                }
            };
            assert_eq!(found, expected);
        }
        let mut stream = node.range_stream(all()).await.unwrap();
        let mut merged = RangeResponse::default();
        while let Some(chunk) = stream.next().await {
            let chunk = whole(&mut chunk.unwrap()).await.unwrap();
            assert!(merged.header.is_none(), "a chunk behind the last");
            merged.kvs.extend(chunk.kvs);
            (merged.header, merged.more, merged.count) = (chunk.header, chunk.more, chunk.count);
        }
        assert_eq!(merged, node.range(all()).await.unwrap());
        drop(stream);
        node.stop().await;
        if restarted {
            break;
        }
        drop(node);
        node = start(&few).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_begun_is_finished_whatever_is_written_and_compacted_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let few = Options {
        snapshot_count: 50,
        ..options(dir.path())
    };
    let node = start(&few).unwrap();
    put_all(&node, "the first").await;
    let expected = node.range(all()).await.unwrap();
    let mut answer = open(&node, all()).await;
    let mut stream = node.range_stream(all()).await.unwrap();
    whole(&mut stream.next().await.unwrap().unwrap())
        .await
        .unwrap();
    let mut begun = stream.next().await.unwrap().unwrap();
    let first = answer.next(10_000).await.unwrap();

    put_all(&node, "the second").await;
    let revision = node.header().revision;
    let compaction = CompactionRequest {
        revision,
        physical: true,
    };
    node.compact(compaction).await.unwrap();
    put_all(&node, "the third").await;
    node.defragment().await.unwrap();

    let rest = whole_behind(&mut answer, first).await;
    assert_eq!(rest.kvs, expected.kvs);
    // The chunk that was begun is whole; there is no further one.
    let chunk = whole(&mut begun).await.unwrap();
    assert_eq!(chunk.kvs[..], expected.kvs[10..10 + chunk.kvs.len()]);
    let next = stream.next().await.unwrap();
    assert_eq!(next.err(), Some(ApiError::Compacted));
    assert!(stream.next().await.is_none());
    node.stop().await;
}

/// What is left of an answer behind its first piece, together with it.
async fn whole_behind(answer: &mut LongAnswer, first: Bytes) -> RangeResponse {
    let mut kvs = first.to_vec();
    drop(first);
    loop {
        let piece = answer.next(10_000).await.unwrap();
        if piece.is_empty() {
            break;
        }
        kvs.extend_from_slice(&piece);
    }
    assert_eq!(kvs.len() as u64, answer.kvs_bytes());
    RangeResponse::decode(&kvs[..]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_value_ends_the_answer_in_which_it_stands() {
    let dir = tempfile::tempdir().unwrap();
    // Few files, so that nothing but the answer reads the damage.
    let few = Options {
        snapshot_count: 200,
        ..options(dir.path())
    };
    let node = start(&few).unwrap();
    // Among the first that are flushed, so that the index has it: a start does not read it.
    let last = put("last", "the value to be damaged");
    let revision = node.put(last).await.unwrap().header.unwrap().revision;
    put_all(&node, "the first").await;
    node.put(put("last", "another")).await.unwrap();
    node.stop().await;
    drop(node);
    damage(&few, b"the value to be damaged");

    let node = start(&few).unwrap();
    let old = RangeRequest {
        revision: revision + KEYS as i64,
        ..all()
    };
    let mut answer = open(&node, old.clone()).await;
    let (bytes, error) = whole(&mut answer).await.unwrap_err();
    assert_eq!(error, ApiError::Corrupt);
    assert!(
        bytes > 100_000 && (bytes as u64) < answer.kvs_bytes(),
        "{bytes}"
    );
    assert!(answer.next(10_000).await.is_err(), "nothing follows");
    let mut stream = node.range_stream(old).await.unwrap();
    let mut failed = None;
    while let Some(Ok(mut chunk)) = stream.next().await {
        if let Err((_, error)) = whole(&mut chunk).await {
            failed = Some(error);
            break;
        }
    }
    assert_eq!(failed, Some(ApiError::Corrupt));
    whole(&mut *open(&node, all()).await).await.unwrap();
    node.stop().await;
}
