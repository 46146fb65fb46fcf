//! HTTP/1.1 beside gRPC: health, versions and metrics, as etcd's handlers answer.
//!
//! Nothing here reads a request's body.

mod health;

use crate::api::Api;
use crate::config::access::AccessRules;
use crate::grpc::Phase;
use crate::metrics::grpc::GrpcMetrics;
use crate::metrics::{OtherMetrics, Page, collect_process};
use bytes::Bytes;
use health::HealthMetrics;
use http::header::{
    ACCEPT_ENCODING, ALLOW, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderName, ORIGIN,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;
use tenet_base::limits;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

/// An answer.
pub(crate) type Answer = Response<Full<Bytes>>;

/// Which paths a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Surface {
    /// Everything, behind the checks of origin and host.
    Client,
    /// Health and metrics.
    Metrics,
}

/// The handlers.
pub(crate) struct Http<A> {
    api: A,
    access: AccessRules,
    grpc: Arc<GrpcMetrics>,
    health: HealthMetrics,
    others: OtherMetrics,
}

impl<A: Api> Http<A> {
    pub(crate) fn new(
        api: A,
        access: AccessRules,
        grpc: Arc<GrpcMetrics>,
        others: OtherMetrics,
    ) -> Http<A> {
        Http {
            api,
            access,
            grpc,
            others,
            health: HealthMetrics::default(),
        }
    }

    /// Serves the requests of one connection until it ends or the process drains.
    pub(crate) async fn serve_connection(
        self: Arc<Self>,
        socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        surface: Surface,
        mut phase: watch::Receiver<Phase>,
    ) {
        let service = service_fn(|request: Request<hyper::body::Incoming>| {
            let this = self.clone();
            async move { Ok::<_, Infallible>(this.answer(&request.map(drop), surface).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(limits::HTTP_HEADER_SECONDS))
            .title_case_headers(true)
            .serve_connection(TokioIo::new(socket), service);
        let mut connection = std::pin::pin!(connection);
        loop {
            tokio::select! {
                // What went wrong on one client's connection is that client's.
                _ = connection.as_mut() => return,
                changed = phase.changed() => {
                    let now = changed.map_or(Phase::Cut, |()| *phase.borrow_and_update());
                    match now {
                        Phase::Serve => {}
                        Phase::Drain => connection.as_mut().graceful_shutdown(),
                        Phase::Cut => return,
                    }
                }
            }
        }
    }

    /// Answers one request.
    pub(crate) async fn answer(&self, request: &Request<()>, surface: Surface) -> Answer {
        if surface == Surface::Metrics {
            return self.route(request, surface).await;
        }
        if let Some(refusal) = self.refuse_host(request) {
            return refusal;
        }
        let mut answer = if request.method() == Method::OPTIONS {
            plain(StatusCode::OK, "")
        } else {
            self.route(request, surface).await
        };
        self.add_cors(request.headers(), answer.headers_mut());
        answer
    }

    async fn route(&self, request: &Request<()>, surface: Surface) -> Answer {
        match request.uri().path() {
            "/metrics" => self.metrics(request.headers()),
            "/health" => get(request, self.health(request).await),
            "/version" if surface == Surface::Client => get(request, self.version()),
            path => match self.checks_of(path) {
                Some(checks) => get(request, self.run_checks(request, &checks).await),
                None => not_found(),
            },
        }
    }

    fn version(&self) -> Answer {
        let versions = self.api.versions();
        let cluster = versions.cluster.as_deref().unwrap_or("not_decided");
        let body = format!(
            "{{\"etcdserver\":\"{}\",\"etcdcluster\":\"{cluster}\",\"storage\":\"{}\"}}",
            versions.server, versions.storage
        );
        with_type(StatusCode::OK, "application/json", body)
    }

    fn metrics(&self, headers: &HeaderMap) -> Answer {
        let mut page = Page::new();
        self.api.collect(&mut page);
        self.grpc.collect(&mut page);
        self.health.collect(&mut page);
        self.others.collect(&mut page);
        collect_process(&mut page);
        page.gauges("tenet_build_info", "The version of Tenet, always 1.")
            .row(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
        let text = page.print();
        let kind = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";
        let wants_gzip = headers
            .get_all(ACCEPT_ENCODING)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| {
                value
                    .split(',')
                    .any(|part| part.trim().split(';').next() == Some("gzip"))
            });
        match wants_gzip.then(|| gzip(text.as_bytes())).flatten() {
            None => with_type(StatusCode::OK, kind, text),
            Some(packed) => {
                let mut answer = with_type(StatusCode::OK, kind, packed);
                let gzip = HeaderValue::from_static("gzip");
                answer.headers_mut().insert(CONTENT_ENCODING, gzip);
                answer
            }
        }
    }

    /// Refuses a request that calls us by a name which is not ours, as a page on a rebound DNS
    /// name would.
    fn refuse_host(&self, request: &Request<()>) -> Option<Answer> {
        let header = request
            .headers()
            .get(HOST)
            .and_then(|host| host.to_str().ok());
        let authority = request
            .uri()
            .authority()
            .map(|authority| authority.as_str());
        let name = authority.or(header).unwrap_or_default();
        if self.access.allows_host(name) {
            return None;
        }
        tracing::warn!(
            host = name,
            "rejecting HTTP request to prevent DNS rebinding attacks"
        );
        let body = format!(
            "This server is not called {name:?}.\n\n\
             It answers only to the names that it was given, since a web page could otherwise \
             reach it through a\nDNS name of its own (see CVE-2018-5702). To allow this name, add \
             it to --host-whitelist.\n"
        );
        Some(error(StatusCode::MISDIRECTED_REQUEST, &body))
    }

    fn add_cors(&self, asked: &HeaderMap, answer: &mut HeaderMap) {
        let origin = asked.get(ORIGIN).and_then(|origin| origin.to_str().ok());
        let allowed = self.access.allowed_origin(origin.unwrap_or_default());
        let Some(Ok(allow)) = allowed.map(HeaderValue::from_str) else {
            return;
        };
        for (name, value) in [
            (
                "access-control-allow-methods",
                "POST, GET, OPTIONS, PUT, DELETE",
            ),
            (
                "access-control-allow-headers",
                "accept, content-type, authorization",
            ),
        ] {
            answer.insert(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        answer.insert(
            HeaderName::from_static("access-control-allow-origin"),
            allow,
        );
    }
}

/// The answer, unless the request was not a GET.
fn get(request: &Request<()>, answer: Answer) -> Answer {
    if request.method() == Method::GET {
        return answer;
    }
    let path = request.uri().path();
    tracing::warn!(path, "status-code" = 405, "Health request error");
    let mut refusal = error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
    refusal
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static("GET"));
    refusal
}

fn gzip(data: &[u8]) -> Option<Vec<u8>> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(data).ok()?;
    writer.finish().ok()
}

fn not_found() -> Answer {
    error(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// An error, in the form of Go's library.
fn error(status: StatusCode, body: &str) -> Answer {
    let mut answer = plain(status, body.to_owned());
    answer
        .headers_mut()
        .insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

fn plain(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let body = body.into();
    if body.is_empty() {
        let mut answer = Response::new(Full::new(body));
        *answer.status_mut() = status;
        return answer;
    }
    with_type(status, "text/plain; charset=utf-8", body)
}

fn with_type(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
