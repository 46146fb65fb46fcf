//! Namespaces: a client whose keys all begin with a prefix that the caller does not see.
//!
//! Invariant: no request of such a client reads, writes or watches a key outside its prefix, and
//! no key in an answer shows the prefix. "All keys" means all keys below the prefix.

use bytes::{BufMut as _, Bytes, BytesMut};
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::request_op::Request;
use tenet_proto::etcdserverpb::response_op::Response;
use tenet_proto::etcdserverpb::{
    DeleteRangeRequest, DeleteRangeResponse, LeaseTimeToLiveResponse, PutRequest, PutResponse,
    RangeRequest, RangeResponse, TxnRequest, TxnResponse,
};
use tenet_proto::mvccpb::KeyValue;

use crate::watch::{Update, WatchOptions};
use crate::{Client, Error, KeyRange};

/// The end of a range that has none.
const OPEN: &[u8] = &[0];

impl Client {
    /// A client of the keys that begin with `prefix`, which it neither shows nor wants to see: for
    /// its callers they are the whole key space. Namespaces nest. Leases and members are those of
    /// the whole cluster.
    ///
    /// ```no_run
    /// # async fn example(client: tenet_client::Client) -> Result<(), tenet_client::Error> {
    /// use tenet_client::proto::PutRequest;
    /// let mine = client.namespace("team-a/");
    /// // Puts the key `team-a/greeting`.
    /// mine.put(PutRequest { key: "greeting".into(), ..Default::default() }).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn namespace(&self, prefix: impl AsRef<[u8]>) -> Client {
        Client {
            prefix: [&self.prefix[..], prefix.as_ref()].concat().into(),
            ..self.clone()
        }
    }

    /// A key as the server knows it.
    pub(crate) fn key_inward(&self, key: &Bytes) -> Result<Bytes, Error> {
        if self.prefix.is_empty() {
            return Ok(key.clone());
        }
        // Without this the prefix itself would become a key.
        if key.is_empty() {
            return Err(Error::Api(ApiError::EmptyKey));
        }
        Ok(self.prefixed(key))
    }

    fn prefixed(&self, key: &[u8]) -> Bytes {
        let mut whole = BytesMut::with_capacity(self.prefix.len() + key.len());
        whole.put_slice(&self.prefix);
        whole.put_slice(key);
        whole.freeze()
    }

    /// A range as the server knows it, both ends in place.
    fn range_inward(&self, key: &mut Bytes, end: &mut Bytes) -> Result<(), Error> {
        if self.prefix.is_empty() {
            return Ok(());
        }
        // The smallest key of the API stands for the beginning of everything.
        *key = if &key[..] == OPEN && &end[..] == OPEN {
            self.prefix.clone()
        } else {
            self.key_inward(key)?
        };
        if &end[..] == OPEN {
            *end = KeyRange::prefix(self.prefix.clone()).end;
        } else if !end.is_empty() {
            *end = self.prefixed(end);
        }
        Ok(())
    }

    pub(crate) fn range_request_inward(
        &self,
        mut request: RangeRequest,
    ) -> Result<RangeRequest, Error> {
        self.range_inward(&mut request.key, &mut request.range_end)?;
        Ok(request)
    }

    pub(crate) fn put_inward(&self, mut request: PutRequest) -> Result<PutRequest, Error> {
        request.key = self.key_inward(&request.key)?;
        Ok(request)
    }

    pub(crate) fn delete_inward(
        &self,
        mut request: DeleteRangeRequest,
    ) -> Result<DeleteRangeRequest, Error> {
        self.range_inward(&mut request.key, &mut request.range_end)?;
        Ok(request)
    }

    pub(crate) fn txn_inward(&self, mut request: TxnRequest) -> Result<TxnRequest, Error> {
        if self.prefix.is_empty() {
            return Ok(request);
        }
        for compare in &mut request.compare {
            self.range_inward(&mut compare.key, &mut compare.range_end)?;
        }
        for operation in request.success.iter_mut().chain(&mut request.failure) {
            operation.request = match operation.request.take() {
                Some(Request::RequestRange(request)) => {
                    Some(Request::RequestRange(self.range_request_inward(request)?))
                }
                Some(Request::RequestPut(request)) => {
                    Some(Request::RequestPut(self.put_inward(request)?))
                }
                Some(Request::RequestDeleteRange(request)) => {
                    Some(Request::RequestDeleteRange(self.delete_inward(request)?))
                }
                Some(Request::RequestTxn(request)) => {
                    Some(Request::RequestTxn(self.txn_inward(request)?))
                }
                None => None,
            };
        }
        Ok(request)
    }

    pub(crate) fn watch_inward(&self, mut options: WatchOptions) -> Result<WatchOptions, Error> {
        self.range_inward(&mut options.range.key, &mut options.range.end)?;
        Ok(options)
    }

    /// A key as the caller knows it.
    pub(crate) fn key_outward(&self, key: &mut Bytes) {
        if key.starts_with(&self.prefix) {
            *key = key.slice(self.prefix.len()..);
        }
    }

    fn key_values_outward<'a>(&self, kvs: impl IntoIterator<Item = &'a mut KeyValue>) {
        if !self.prefix.is_empty() {
            kvs.into_iter().for_each(|kv| self.key_outward(&mut kv.key));
        }
    }

    pub(crate) fn range_outward(&self, mut answer: RangeResponse) -> RangeResponse {
        self.key_values_outward(&mut answer.kvs);
        answer
    }

    pub(crate) fn put_outward(&self, mut answer: PutResponse) -> PutResponse {
        self.key_values_outward(&mut answer.prev_kv);
        answer
    }

    pub(crate) fn delete_outward(&self, mut answer: DeleteRangeResponse) -> DeleteRangeResponse {
        self.key_values_outward(&mut answer.prev_kvs);
        answer
    }

    pub(crate) fn txn_outward(&self, mut answer: TxnResponse) -> TxnResponse {
        if self.prefix.is_empty() {
            return answer;
        }
        for operation in &mut answer.responses {
            match &mut operation.response {
                Some(Response::ResponseRange(answer)) => self.key_values_outward(&mut answer.kvs),
                Some(Response::ResponsePut(answer)) => {
                    self.key_values_outward(&mut answer.prev_kv);
                }
                Some(Response::ResponseDeleteRange(answer)) => {
                    self.key_values_outward(&mut answer.prev_kvs);
                }
                Some(Response::ResponseTxn(inner)) => {
                    *inner = self.txn_outward(std::mem::take(inner));
                }
                None => {}
            }
        }
        answer
    }

    pub(crate) fn update_outward(&self, mut update: Update) -> Update {
        if let Update::Events { events, .. } = &mut update {
            for event in events {
                self.key_values_outward(event.kv.iter_mut().chain(&mut event.prev_kv));
            }
        }
        update
    }

    /// Keys of other namespaces are left out.
    pub(crate) fn time_to_live_outward(
        &self,
        mut answer: LeaseTimeToLiveResponse,
    ) -> LeaseTimeToLiveResponse {
        answer.keys.retain(|key| key.starts_with(&self.prefix));
        answer.keys.iter_mut().for_each(|key| self.key_outward(key));
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    fn client(prefix: &[u8]) -> Client {
        Client::new(Config::new(["h:1"])).unwrap().namespace(prefix)
    }

    #[test]
    fn ranges_stay_within_the_prefix() {
        for (prefix, key, end, expected) in [
            (
                &b"p/"[..],
                &b"a"[..],
                &b""[..],
                Some((&b"p/a"[..], &b""[..])),
            ),
            (b"p/", b"a", b"c", Some((b"p/a", b"p/c"))),
            (b"p/", b"a", b"\0", Some((b"p/a", b"p0"))),
            (b"p/", b"\0", b"\0", Some((b"p/", b"p0"))),
            (b"\xff\xff", b"a", b"\0", Some((b"\xff\xffa", b"\0"))),
            (b"p/", b"", b"", None),
            (b"", b"", b"", Some((b"", b""))),
        ] {
            let mut range = KeyRange::between(key.to_vec(), end.to_vec());
            let found = client(prefix).range_inward(&mut range.key, &mut range.end);
            match expected {
                Some((key, end)) => {
                    assert_eq!(found, Ok(()));
                    assert_eq!((&range.key[..], &range.end[..]), (key, end));
                }
                None => assert_eq!(found, Err(Error::Api(ApiError::EmptyKey))),
            }
        }
    }

    #[test]
    fn namespaces_nest() {
        let inner = client(b"a/").namespace("b/");
        assert_eq!(inner.key_inward(&"k".into()), Ok("a/b/k".into()));
        let mut key = Bytes::from("a/b/k");
        inner.key_outward(&mut key);
        assert_eq!(key, "k");
    }
}
