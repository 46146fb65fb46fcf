//! One call from its headers to its trailers, whatever the method.
//!
//! A method's code asks for the request ([`Call::receive`]), runs its work under the client's
//! deadline and interest ([`Call::race`]) and answers ([`Call::answer`]). Counting follows
//! grpc-go's interceptors: a unary call counts once its request is decoded, a streaming call once
//! its headers are accepted; a unary call counts one message sent even if it fails.

use super::connection::{Link, Peer};
use super::frames::{Frames, Reply, gzipped};
use super::head::{Encoding, Head};
use super::inbound::{Inbound, Received, unknown_encoding};
use super::leader::{LeaderLosses, Lost};
use super::method::{self, Kind, Method, Rpc};
use super::outbound::{Gone, Outbound, refuse};
use super::slow::Told;
use super::status::Status;
use super::{cluster, coordination, health, kv, lease, maintenance, watch};
use crate::api::Api;
use crate::metrics::grpc::MethodCounters;
use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use prost::Message;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tenet_proto::{ApiError, Code};
use tokio::time::{Instant, sleep_until};

/// Longest message that etcd sends.
const MESSAGE_BYTES_MAX: u64 = i32::MAX as u64;

/// A call whose method is known.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) peer: &'a Peer,
    counters: &'a MethodCounters,
    traffic: &'a crate::metrics::grpc::GrpcMetrics,
    losses: &'a LeaderLosses,
    slow: Duration,
    pub(super) inbound: Inbound,
    pub(super) outbound: Outbound,
    pub(super) deadline: Option<Instant>,
    admission: Admission,
    /// The request's bytes and when they were there, for the log of slow requests.
    request: Option<(Instant, Bytes)>,
    state: State,
}

/// What is asked before a call may begin.
struct Admission {
    client_version: Option<http::HeaderValue>,
    needs_leader: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not counted yet.
    Fresh,
    /// Counted as started.
    Started,
    /// Counted as handled.
    Handled,
}

/// Serves one request.
pub(super) async fn serve<A: Api>(
    link: Arc<Link<A>>,
    request: http::Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let Some(mut call) = open(&link, request, respond) else {
        return;
    };
    dispatch(&link.server.api, &mut call).await;
}

/// The call that a request begins, unless it is refused for its headers.
pub(super) fn open<'a, A: Api>(
    link: &'a Link<A>,
    request: http::Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Option<Call<'a>> {
    let Link { server, peer } = link;
    let (parts, body) = request.into_parts();
    let head = match Head::read(&parts.method, &parts.headers) {
        Ok(head) => head,
        Err(refusal) => {
            refuse(&mut respond, &refusal);
            return None;
        }
    };
    let gzip = head.encoding == Encoding::Gzip;
    let mut outbound = Outbound::new(respond, head.content_type, gzip, &peer.unsent);
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    let Some(method) = Method::find(path) else {
        outbound.finish(&unknown(path));
        return None;
    };
    if let Encoding::Other(name) = &head.encoding {
        outbound.finish(&unknown_encoding(name));
        return None;
    }
    let message_bytes_max = server.settings.message_bytes_max;
    Some(Call {
        method,
        peer,
        counters: server.metrics.method(method),
        traffic: &server.metrics,
        losses: &server.losses,
        slow: server.settings.slow_request,
        inbound: Inbound::new(body, head.encoding, message_bytes_max, &peer.partial),
        outbound,
        deadline: head
            .timeout
            .and_then(|timeout| Instant::now().checked_add(timeout)),
        admission: Admission {
            client_version: head.client_version,
            needs_leader: head.needs_leader,
        },
        request: None,
        state: State::Fresh,
    })
}

async fn dispatch<A: Api>(api: &A, call: &mut Call<'_>) {
    match call.method {
        Method::KvRange => kv::range(api, call).await,
        Method::KvPut => kv::put(api, call).await,
        Method::KvTxn => kv::txn(api, call).await,
        Method::KvDeleteRange => kv::delete_range(api, call).await,
        // Rare or long-lived: boxed, so that the common calls stay small.
        Method::KvRangeStream => Box::pin(kv::range_stream(api, call)).await,
        Method::KvCompact => Box::pin(kv::compact(api, call)).await,
        Method::MaintenanceAlarm => Box::pin(maintenance::alarm(api, call)).await,
        Method::MaintenanceStatus => Box::pin(maintenance::status(api, call)).await,
        Method::MaintenanceDefragment => Box::pin(maintenance::defragment(api, call)).await,
        Method::MaintenanceHash => Box::pin(maintenance::hash(api, call)).await,
        Method::MaintenanceHashKv => Box::pin(maintenance::hash_kv(api, call)).await,
        Method::MaintenanceSnapshot => Box::pin(maintenance::snapshot(api, call)).await,
        Method::LockLock => Box::pin(coordination::lock(api, call)).await,
        Method::LockUnlock => Box::pin(coordination::unlock(api, call)).await,
        Method::ElectionCampaign => Box::pin(coordination::campaign(api, call)).await,
        Method::ElectionProclaim => Box::pin(coordination::proclaim(api, call)).await,
        Method::ElectionLeader => Box::pin(coordination::leader(api, call)).await,
        Method::ElectionObserve => Box::pin(coordination::observe(api, call)).await,
        Method::ElectionResign => Box::pin(coordination::resign(api, call)).await,
        Method::WatchWatch => Box::pin(watch::watch(api, call)).await,
        Method::LeaseLeaseGrant => Box::pin(lease::grant(api, call)).await,
        Method::LeaseLeaseRevoke => Box::pin(lease::revoke(api, call)).await,
        Method::LeaseLeaseTimeToLive => Box::pin(lease::time_to_live(api, call)).await,
        Method::LeaseLeaseLeases => Box::pin(lease::leases(api, call)).await,
        Method::LeaseLeaseKeepAlive => Box::pin(lease::keep_alive(api, call)).await,
        Method::ClusterMemberList => Box::pin(cluster::member_list(api, call)).await,
        Method::ClusterMemberAdd => Box::pin(cluster::member_add(api, call)).await,
        Method::ClusterMemberRemove => Box::pin(cluster::member_remove(api, call)).await,
        Method::ClusterMemberUpdate => Box::pin(cluster::member_update(api, call)).await,
        Method::ClusterMemberPromote => Box::pin(cluster::member_promote(api, call)).await,
        Method::MaintenanceMoveLeader => Box::pin(maintenance::move_leader(api, call)).await,
        Method::HealthCheck => Box::pin(health::check(api, call)).await,
        Method::HealthList => Box::pin(health::list(api, call)).await,
        Method::HealthWatch => Box::pin(health::watch(api, call)).await,
        _ => call.not_served(),
    }
}

/// What grpc-go says about a path that it does not serve.
fn unknown(path: &str) -> Status {
    let text = match path
        .strip_prefix('/')
        .and_then(|rest| rest.rsplit_once('/'))
    {
        None => format!("malformed method name: {path:?}"),
        Some((service, method)) if method::is_service(service) => {
            format!("unknown method {method} for service {service}")
        }
        Some((service, _)) => format!("unknown service {service}"),
    };
    Status::new(Code::Unimplemented, text)
}

impl Call<'_> {
    /// Answers like a server that lacks the method: that is what clients understand.
    fn not_served(&mut self) {
        self.state = State::Handled;
        let status = unknown(self.method.description().path);
        self.outbound.finish(&status);
    }

    fn is_unary(&self) -> bool {
        self.method.description().kind == Kind::Unary
    }

    /// The request of a method that takes one. `None`: the call is over, for whatever reason.
    pub(super) async fn receive<R: Rpc>(&mut self, api: &impl Api) -> Option<R::Request> {
        if !self.is_unary() {
            self.begin();
            if let Err(status) = self.admit(api) {
                self.finish(&status);
                return None;
            }
        }
        let received = race(&mut self.outbound, self.deadline, pin!(self.inbound.next())).await;
        let bytes = match received.and_then(|received| self.one_message(received?)) {
            Ok(bytes) => bytes,
            Err(status) => return self.refuse_request(&status),
        };
        self.traffic.received_bytes.add(bytes.len() as u64);
        self.request = Some((Instant::now(), bytes.clone()));
        let Ok(request) = R::Request::decode(bytes) else {
            let text = if self.is_unary() {
                "grpc: error unmarshalling request: proto: cannot parse invalid wire-format data"
            } else {
                "grpc: failed to unmarshal the received message: proto: cannot parse invalid \
                 wire-format data"
            };
            return self.refuse_request(&Status::new(Code::Internal, text));
        };
        if self.is_unary() {
            self.begin();
            if let Err(status) = self.admit(api) {
                self.answer::<R::Response>(Err(status)).await;
                return None;
            }
        } else if let Err(status) = self.expect_end().await {
            self.finish(&status);
            return None;
        }
        Some(request)
    }

    /// The message, or what grpc-go says when there is none.
    fn one_message(&self, received: Received) -> Result<Bytes, Status> {
        let unary = self.is_unary();
        match received {
            Received::Message(bytes) => Ok(bytes),
            Received::TornMessage if unary => Err(Status::new(Code::Unknown, "unexpected EOF")),
            Received::TornMessage => Err(Status::new(Code::Internal, "unexpected EOF")),
            _ if unary => Err(Status::new(Code::Unknown, "EOF")),
            _ => Err(Status::new(
                Code::Internal,
                "cardinality violation: received no request message from non-client-streaming RPC",
            )),
        }
    }

    /// A call that streams only its answer begins when the client has ended its side.
    async fn expect_end(&mut self) -> Result<(), Status> {
        match race(&mut self.outbound, self.deadline, pin!(self.inbound.next())).await?? {
            Received::Message(_) => Err(Status::new(
                Code::Internal,
                "cardinality violation: received multiple request messages for \
                 non-client-streaming RPC",
            )),
            Received::TornMessage => Err(Status::new(Code::Internal, "unexpected EOF")),
            Received::End | Received::TornPrefix => Ok(()),
        }
    }

    fn begin(&mut self) {
        self.start();
        self.counters.received.add(1);
    }

    fn start(&mut self) {
        debug_assert_eq!(self.state, State::Fresh);
        self.state = State::Started;
        self.counters.started.add(1);
    }

    /// Begins a call whose messages are counted one by one.
    pub(super) fn begin_stream(&mut self, api: &impl Api) -> Result<(), Status> {
        self.start();
        self.request = Some((Instant::now(), Bytes::new()));
        self.admit(api)
    }

    pub(super) fn count_received(&self, bytes: usize) {
        self.counters.received.add(1);
        self.traffic.received_bytes.add(bytes as u64);
    }

    pub(super) fn count_sent(&self, messages: u64, bytes: u64) {
        self.counters.sent.add(messages);
        self.traffic.sent_bytes.add(bytes);
    }

    /// Done when a call that needs a leader must end for the lack of one.
    pub(super) fn leader_lost(&self) -> Option<Lost> {
        self.admission.needs_leader.then(|| self.losses.next())
    }

    /// etcd's own checks, in its order.
    fn admit(&self, api: &impl Api) -> Result<(), Status> {
        if api.is_learner() && !self.served_by_learners() {
            return Err(ApiError::NotSupportedForLearner.into());
        }
        let versions = &self.traffic.client_versions;
        if !self.peer.count_version(
            versions,
            self.admission.client_version.as_ref(),
            self.is_unary(),
        ) {
            return Err(ApiError::InvalidClientApiVersion.into());
        }
        if self.admission.needs_leader && api.leader().is_none() {
            return Err(ApiError::NoLeader.into());
        }
        Ok(())
    }

    /// Range is too if it is serializable, which only its request tells ([`kv::range`]).
    fn served_by_learners(&self) -> bool {
        matches!(
            self.method,
            Method::MaintenanceStatus | Method::MaintenanceSnapshot | Method::KvRange
        )
    }

    /// Runs `work` until it is done, the deadline has passed or the client is gone.
    pub(super) async fn race<F: Future>(&mut self, work: Pin<&mut F>) -> Result<F::Output, Status> {
        race(&mut self.outbound, self.deadline, work).await
    }

    /// Ends a unary call with its message or an error.
    pub(super) async fn answer<M: Reply>(&mut self, result: Result<M, Status>) {
        self.counters.sent.add(1);
        match result {
            Ok(message) => {
                let len = message.encoded_len();
                self.log_if_slow(|| Some((message.key_count().unwrap_or(0), len as i64)));
                if let Err(status) = fits(len as u64, self.method) {
                    return self.finish(&status);
                }
                self.handled(Code::Ok);
                if self.message(message, len).await.is_ok() {
                    self.outbound.finish(&Status::OK);
                }
            }
            Err(status) => {
                self.log_if_slow(|| None);
                self.finish(&status);
            }
        }
    }

    /// Sends one message of a streamed answer.
    pub(super) async fn send<M: Reply>(&mut self, message: M) -> Result<(), Gone> {
        self.counters.sent.add(1);
        let len = message.encoded_len();
        self.message(message, len).await
    }

    async fn message<M: Reply>(&mut self, message: M, len: usize) -> Result<(), Gone> {
        self.traffic.sent_bytes.add(len as u64);
        let frames = if self.outbound.gzip() {
            Frames::Whole(gzipped(&message))
        } else {
            message.frames(len)
        };
        self.outbound.send(frames).await
    }

    /// Counts a message that is about to be sent.
    pub(super) fn count_message(&self, bytes: u64) {
        if !self.is_unary() {
            self.counters.sent.add(1);
        }
        self.traffic.sent_bytes.add(bytes);
    }

    /// Ends a unary call whose message was sent, or was not.
    pub(super) fn finish_unary(&mut self, status: &Status) {
        self.counters.sent.add(1);
        self.finish(status);
    }

    /// Ends the call.
    pub(super) fn finish(&mut self, status: &Status) {
        self.handled(status.code);
        self.outbound.finish(status);
    }

    /// Ends a call whose request could not be read. A unary one was never counted.
    fn refuse_request<T>(&mut self, status: &Status) -> Option<T> {
        if self.state == State::Fresh {
            self.outbound.finish(status);
        } else {
            self.finish(status);
        }
        None
    }

    fn handled(&mut self, code: Code) {
        if self.state == State::Started {
            self.state = State::Handled;
            self.counters.handled[code as usize].add(1);
            if let (Some(histogram), Some((since, _))) = (&self.counters.seconds, &self.request) {
                histogram.record(since.elapsed().as_secs_f64());
            }
        }
    }

    pub(super) fn log_if_slow(&self, answer: impl FnOnce() -> Option<Told>) {
        let Some((since, request)) = &self.request else {
            return;
        };
        let took = since.elapsed();
        if took > self.slow {
            let remote = &self.peer.remote;
            super::slow::log(self.method, remote, took, request, answer());
        }
    }
}

impl Drop for Call<'_> {
    /// A call that is dropped before its end belongs to a client that is gone.
    fn drop(&mut self) {
        if self.state == State::Started {
            if self.is_unary() {
                self.counters.sent.add(1);
            }
            self.handled(Code::Canceled);
        }
    }
}

/// Refuses a message that is longer than etcd sends, as grpc-go does, which has another text for
/// each kind of call.
pub(super) fn fits(len: u64, method: Method) -> Result<(), Status> {
    if len <= MESSAGE_BYTES_MAX {
        return Ok(());
    }
    let library = match method.description().kind {
        Kind::Unary => "grpc: ",
        _ => "",
    };
    let text =
        format!("{library}trying to send message larger than max ({len} vs. {MESSAGE_BYTES_MAX})");
    Err(Status::new(Code::ResourceExhausted, text))
}

/// Runs `work` until it is done, the deadline has passed or the client is gone. The timer is made
/// only for work that is not done at once. The work comes pinned, so that it is not stored twice.
async fn race<F: Future>(
    outbound: &mut Outbound,
    deadline: Option<Instant>,
    mut work: Pin<&mut F>,
) -> Result<F::Output, Status> {
    let mut timer = pin!(None);
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Ok(done));
        }
        if outbound.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(Status::CANCELED));
        }
        if let Some(deadline) = deadline {
            if timer.is_none() {
                timer.set(Some(sleep_until(deadline)));
            }
            if let Some(timer) = timer.as_mut().as_pin_mut()
                && timer.poll(cx).is_ready()
            {
                return Poll::Ready(Err(Status::DEADLINE));
            }
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;

    fn future_bytes<A, B, C, F: Future>(_: fn(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn calls_stay_small() {
        // Each call is moved to the heap once, and a thousand may wait on one connection.
        let bytes = future_bytes(serve::<Fake>);
        assert!(bytes <= 2_048, "a call takes {bytes} bytes");
    }
}
