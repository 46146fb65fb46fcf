//! The log of slow requests: one `request stats` line for a unary call that took long.
//!
//! The request is described from its bytes, which are kept until the answer; values are not shown,
//! only their sizes, since logs travel further than data should.

use super::method::Method;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use prost::Message;
use std::fmt::Write;
use std::time::Duration;
use tenet_proto::etcdserverpb as pb;
use tenet_proto::etcdserverpb::request_op::Request;

/// What the log tells of an answer: how many keys it brings, and its bytes.
pub(super) type Told = (i64, i64);

pub(super) fn log(
    method: Method,
    remote: &str,
    took: Duration,
    request: &Bytes,
    answer: Option<Told>,
) {
    let described = describe(method, request);
    let started = SignedDuration::try_from(took)
        .ok()
        .and_then(|took| Timestamp::now().checked_sub(took).ok())
        .unwrap_or_default();
    let (request_count, request_size, content) = match &described {
        Some((count, content)) => (*count, request.len() as i64, content.as_str()),
        None => (-1, -1, ""),
    };
    let (answer_count, answer_size) = match (&described, answer) {
        (None, _) => (-1, -1),
        (Some(_), None) => (0, 0),
        (Some(_), Some(told)) => told,
    };
    tracing::warn!(
        "start time" = %started,
        "time spent" = %tenet_cli::go::GoDuration::from_std(took),
        "remote" = remote,
        "response type" = method.description().path,
        "request count" = request_count,
        "request size" = request_size,
        "response count" = answer_count,
        "response size" = answer_size,
        "request content" = content,
        "request stats"
    );
}

/// How many operations the request holds and what it asks, for the methods of KV that etcd tells.
fn describe(method: Method, request: &Bytes) -> Option<(i64, String)> {
    let bytes = request.clone();
    let mut out = String::new();
    let count = match method {
        Method::KvRange => {
            range(&mut out, &pb::RangeRequest::decode(bytes).ok()?);
            0
        }
        Method::KvPut => {
            put(&mut out, &pb::PutRequest::decode(bytes).ok()?);
            1
        }
        Method::KvDeleteRange => {
            delete(&mut out, &pb::DeleteRangeRequest::decode(bytes).ok()?);
            0
        }
        Method::KvTxn => {
            let request = pb::TxnRequest::decode(bytes).ok()?;
            txn(&mut out, &request);
            request.success.len() as i64
        }
        _ => return None,
    };
    out.truncate(out.trim_end().len());
    Some((count, out))
}

fn text(out: &mut String, name: &str, value: &[u8]) {
    if !value.is_empty() {
        let _ = write!(out, "{name}:\"{}\" ", value.escape_ascii());
    }
}

fn number(out: &mut String, name: &str, value: i64) {
    if value != 0 {
        let _ = write!(out, "{name}:{value} ");
    }
}

fn flag(out: &mut String, name: &str, value: bool) {
    if value {
        let _ = write!(out, "{name}:true ");
    }
}

fn range(out: &mut String, request: &pb::RangeRequest) {
    text(out, "key", &request.key);
    text(out, "range_end", &request.range_end);
    number(out, "limit", request.limit);
    number(out, "revision", request.revision);
    number(out, "sort_order", request.sort_order.into());
    number(out, "sort_target", request.sort_target.into());
    flag(out, "serializable", request.serializable);
    flag(out, "keys_only", request.keys_only);
    flag(out, "count_only", request.count_only);
    number(out, "min_mod_revision", request.min_mod_revision);
    number(out, "max_mod_revision", request.max_mod_revision);
    number(out, "min_create_revision", request.min_create_revision);
    number(out, "max_create_revision", request.max_create_revision);
}

fn put(out: &mut String, request: &pb::PutRequest) {
    text(out, "key", &request.key);
    number(out, "value_size", request.value.len() as i64);
    number(out, "lease", request.lease);
    flag(out, "prev_kv", request.prev_kv);
    flag(out, "ignore_value", request.ignore_value);
    flag(out, "ignore_lease", request.ignore_lease);
}

fn delete(out: &mut String, request: &pb::DeleteRangeRequest) {
    text(out, "key", &request.key);
    text(out, "range_end", &request.range_end);
    flag(out, "prev_kv", request.prev_kv);
}

fn txn(out: &mut String, request: &pb::TxnRequest) {
    number(out, "compare_count", request.compare.len() as i64);
    for (name, ops) in [("success", &request.success), ("failure", &request.failure)] {
        for op in ops {
            let _ = write!(out, "{name}:<");
            match &op.request {
                Some(Request::RequestRange(request)) => range(out, request),
                Some(Request::RequestPut(request)) => put(out, request),
                Some(Request::RequestDeleteRange(request)) => delete(out, request),
                Some(Request::RequestTxn(request)) => txn(out, request),
                None => {}
            }
            out.truncate(out.trim_end().len());
            out.push_str("> ");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_without_their_values() {
        let put = pb::PutRequest {
            key: Bytes::from_static(b"k\n"),
            value: Bytes::from_static(b"secret"),
            prev_kv: true,
            ..pb::PutRequest::default()
        };
        let bytes = Bytes::from(put.encode_to_vec());
        assert_eq!(
            describe(Method::KvPut, &bytes),
            Some((1, "key:\"k\\n\" value_size:6 prev_kv:true".into()))
        );
        let op = pb::RequestOp {
            request: Some(Request::RequestPut(put)),
        };
        let txn = pb::TxnRequest {
            success: vec![op],
            ..pb::TxnRequest::default()
        };
        let bytes = Bytes::from(txn.encode_to_vec());
        let (_, content) = describe(Method::KvTxn, &bytes).expect("a txn");
        assert_eq!(content, "success:<key:\"k\\n\" value_size:6 prev_kv:true>");
        assert_eq!(describe(Method::HealthCheck, &bytes), None);
    }
}
