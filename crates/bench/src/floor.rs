//! An empty server: the same transport, the same messages, and nothing behind them.
//!
//! What it uses per call is the floor under any server built on tonic, so the rest of a server's
//! cost is its own.

use std::convert::Infallible;
use std::future::{self, Future};
use std::io::Write;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tenet_proto::etcdserverpb::{
    PutRequest, PutResponse, RangeRequest, RangeResponse, ResponseHeader,
};
use tenet_proto::mvccpb::KeyValue;
use tokio::runtime::Runtime;
use tonic::body::Body;
use tonic::server::{Grpc, UnaryService};
use tonic::transport::server::TcpIncoming;
use tonic_prost::ProstCodec;

use crate::BenchError;
use crate::options::Floor;

/// Serves until the process is ended.
pub(crate) fn serve(options: &Floor) -> Result<(), BenchError> {
    let bound = Bound::new(options)?;
    // Whoever asked for port 0 wants to know.
    let _ = writeln!(std::io::stderr(), "the floor serves on {}", bound.address);
    bound.serve()
}

/// The server with its address, before it answers.
pub(crate) struct Bound {
    pub(crate) address: SocketAddr,
    runtime: Runtime,
    incoming: TcpIncoming,
    service: Service,
}

impl Bound {
    /// Binds the address.
    pub(crate) fn new(options: &Floor) -> Result<Bound, BenchError> {
        let listen_error = |source| BenchError::Listen {
            address: options.listen.clone(),
            source,
        };
        let address: SocketAddr = options
            .listen
            .parse()
            .map_err(|error| listen_error(std::io::Error::other(format!("{error}"))))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(options.threads.max(1))
            .enable_all()
            .build()
            .map_err(BenchError::Runtime)?;
        let incoming = {
            let _entered = runtime.enter();
            TcpIncoming::bind(address)
                .map_err(listen_error)?
                .with_nodelay(Some(true))
        };
        Ok(Bound {
            address: incoming.local_addr().map_err(listen_error)?,
            runtime,
            incoming,
            service: Service {
                put: PutNothing,
                range: RangeNothing {
                    value: vec![b'v'; options.value_size].into(),
                },
            },
        })
    }

    /// Serves until the process is ended.
    pub(crate) fn serve(self) -> Result<(), BenchError> {
        // As etcd, it lets a connection have as many calls at a time as it likes.
        let server = tonic::transport::Server::builder().max_concurrent_streams(u32::MAX);
        self.runtime
            .block_on(server.serve_with_incoming(self.service, self.incoming))
            .map_err(|error| BenchError::Serve(error.to_string()))
    }
}

/// Tells the two methods apart.
#[derive(Clone)]
struct Service {
    put: PutNothing,
    range: RangeNothing,
}

impl tower::Service<http::Request<Body>> for Service {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match request.uri().path() {
            "/etcdserverpb.KV/Put" => {
                let put = self.put.clone();
                let codec = ProstCodec::<PutResponse, PutRequest>::default();
                Box::pin(async move { Ok(Grpc::new(codec).unary(put, request).await) })
            }
            "/etcdserverpb.KV/Range" => {
                let range = self.range.clone();
                let codec = ProstCodec::<RangeResponse, RangeRequest>::default();
                Box::pin(async move { Ok(Grpc::new(codec).unary(range, request).await) })
            }
            path => {
                let status = tonic::Status::unimplemented(format!(
                    "the floor serves Put and Range only, not {path}"
                ));
                Box::pin(future::ready(Ok(status.into_http())))
            }
        }
    }
}

/// A header of the length that a real one has.
fn header() -> Option<ResponseHeader> {
    Some(ResponseHeader {
        cluster_id: u64::MAX / 3,
        member_id: u64::MAX / 5,
        revision: 1_000_000,
        raft_term: 2,
    })
}

#[derive(Clone)]
struct PutNothing;

impl UnaryService<PutRequest> for PutNothing {
    type Response = PutResponse;
    type Future = future::Ready<Result<tonic::Response<PutResponse>, tonic::Status>>;

    fn call(&mut self, _: tonic::Request<PutRequest>) -> Self::Future {
        future::ready(Ok(tonic::Response::new(PutResponse {
            header: header(),
            prev_kv: None,
        })))
    }
}

#[derive(Clone)]
struct RangeNothing {
    value: Bytes,
}

impl UnaryService<RangeRequest> for RangeNothing {
    type Response = RangeResponse;
    type Future = future::Ready<Result<tonic::Response<RangeResponse>, tonic::Status>>;

    fn call(&mut self, request: tonic::Request<RangeRequest>) -> Self::Future {
        let pair = KeyValue {
            key: request.into_inner().key,
            value: self.value.clone(),
            create_revision: 1_000_000,
            mod_revision: 1_000_000,
            version: 1,
            lease: 0,
        };
        future::ready(Ok(tonic::Response::new(RangeResponse {
            header: header(),
            kvs: vec![pair],
            more: false,
            count: 1,
        })))
    }
}
