//! What is counted about calls: go-grpc-middleware's families and etcd's own beside them.
//!
//! Counters of a method lie together and apart from those of others, and are only added to.

use super::Page;
use crate::grpc::{Description, Method, code_name};
use parking_lot::RwLock;
use std::sync::Arc;
use tenet_base::counters::{Counter, Histogram};
use tenet_base::limits;

/// The bounds of `grpc_server_handling_seconds`, in seconds.
const HANDLING_SECONDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// gRPC has so many codes.
const CODES: usize = 17;

/// See the module.
#[derive(Debug)]
pub(crate) struct GrpcMetrics {
    methods: Vec<MethodCounters>,
    /// Bytes of decoded requests.
    pub received_bytes: Counter,
    /// Bytes of encoded answers.
    pub sent_bytes: Counter,
    /// Calls by `client-api-version`.
    pub client_versions: ClientVersions,
}

/// The counters of one method.
#[derive(Debug)]
#[repr(align(128))] // Two methods never share a cache line.
pub(crate) struct MethodCounters {
    pub started: Counter,
    pub received: Counter,
    pub sent: Counter,
    pub handled: [Counter; CODES],
    /// Only with `--metrics extensive`.
    pub seconds: Option<Histogram>,
}

impl GrpcMetrics {
    /// Everything at zero; `extensive` also times calls.
    pub(crate) fn new(extensive: bool) -> GrpcMetrics {
        let counters = |_: &Description| MethodCounters {
            started: Counter::new(),
            received: Counter::new(),
            sent: Counter::new(),
            handled: [const { Counter::new() }; CODES],
            seconds: extensive.then(|| Histogram::new(HANDLING_SECONDS)),
        };
        GrpcMetrics {
            methods: Method::all().iter().map(counters).collect(),
            received_bytes: Counter::new(),
            sent_bytes: Counter::new(),
            client_versions: ClientVersions::default(),
        }
    }

    /// The counters of a method.
    pub(crate) fn method(&self, method: Method) -> &MethodCounters {
        &self.methods[method as usize]
    }

    /// Writes everything to the page.
    pub(crate) fn collect(&self, page: &mut Page) {
        page.counter(
            "etcd_network_client_grpc_received_bytes_total",
            "Bytes of requests from clients, decoded.",
            self.received_bytes.get(),
        );
        page.counter(
            "etcd_network_client_grpc_sent_bytes_total",
            "Bytes of answers to clients, before compression.",
            self.sent_bytes.get(),
        );
        self.client_versions.collect(page);
        let mut rows: Vec<_> = Method::all()
            .iter()
            .zip(&self.methods)
            .filter(|(row, counters)| is_shown_at_zero(row) || counters.started.get() > 0)
            .collect();
        rows.sort_by_key(|(row, _)| (row.name, row.service));
        type Pick = fn(&MethodCounters) -> &Counter;
        let plain: [(&str, &str, Pick); 3] = [
            ("grpc_server_started_total", "Calls begun.", |counters| {
                &counters.started
            }),
            (
                "grpc_server_msg_received_total",
                "Messages received in calls.",
                |c| &c.received,
            ),
            (
                "grpc_server_msg_sent_total",
                "Messages sent in calls.",
                |counters| &counters.sent,
            ),
        ];
        for (name, help, pick) in plain {
            let mut out = page.counters(name, help);
            for (row, counters) in &rows {
                out.row(&labels(row), pick(counters).get() as f64);
            }
        }
        let mut codes: Vec<usize> = (0..CODES).collect();
        codes.sort_by_key(|code| code_name(*code));
        let mut out = page.counters("grpc_server_handled_total", "Calls ended, by code.");
        for code in codes {
            for (row, counters) in &rows {
                let [method, service, kind] = labels(row);
                let labels = [("grpc_code", code_name(code)), method, service, kind];
                out.row(&labels, counters.handled[code].get() as f64);
            }
        }
        for (row, counters) in &rows {
            if let Some(seconds) = counters
                .seconds
                .as_ref()
                .filter(|_| counters.started.get() > 0)
            {
                let name = "grpc_server_handling_seconds";
                page.histogram(name, "Time of calls.", &labels(row), seconds);
            }
        }
    }
}

fn labels(row: &Description) -> [(&'static str, &'static str); 3] {
    [
        ("grpc_method", row.name),
        ("grpc_service", row.service),
        ("grpc_type", row.kind.name()),
    ]
}

/// etcd adds these two services after it has set the others to zero.
fn is_shown_at_zero(row: &Description) -> bool {
    !matches!(row.service, "v3lockpb.Lock" | "v3electionpb.Election")
}

/// Calls by the version that the client names. Clients choose the text, so only so many different
/// ones are kept.
#[derive(Debug, Default)]
pub(crate) struct ClientVersions {
    versions: RwLock<Vec<(String, Arc<VersionCounters>)>>,
}

/// The calls of one version.
#[derive(Debug, Default)]
pub(crate) struct VersionCounters {
    pub unary: Counter,
    pub stream: Counter,
}

impl ClientVersions {
    /// The counters of a version; connections keep them.
    pub(crate) fn get(&self, version: &str) -> Arc<VersionCounters> {
        let find = |versions: &[(String, Arc<VersionCounters>)], version: &str| {
            versions
                .iter()
                .find(|(name, _)| name == version)
                .map(|(_, found)| found.clone())
        };
        if let Some(found) = find(&self.versions.read(), version) {
            return found;
        }
        let mut versions = self.versions.write();
        let name = if versions.len() < limits::CLIENT_VERSIONS_MAX {
            version
        } else {
            "other"
        };
        find(&versions, name).unwrap_or_else(|| {
            let counters = Arc::new(VersionCounters::default());
            versions.push((name.to_owned(), counters.clone()));
            counters
        })
    }

    fn collect(&self, page: &mut Page) {
        let mut versions = self.versions.read().clone();
        versions.sort_by(|a, b| a.0.cmp(&b.0));
        if versions.is_empty() {
            return;
        }
        let name = "etcd_server_client_requests_total";
        let mut rows = page.counters(name, "Calls by the client's version of the API.");
        for (version, counters) in versions {
            for (kind, counter) in [("stream", &counters.stream), ("unary", &counters.unary)] {
                if counter.get() > 0 {
                    let labels = [("client_api_version", version.as_str()), ("type", kind)];
                    rows.row(&labels, counter.get() as f64);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_methods_but_lock_and_election_start_at_zero() {
        let metrics = GrpcMetrics::new(false);
        let mut page = Page::new();
        metrics.collect(&mut page);
        let text = page.print();
        let count = |start: &str| text.lines().filter(|line| line.starts_with(start)).count();
        assert_eq!(count("grpc_server_started_total{"), 45);
        assert_eq!(count("grpc_server_handled_total{"), 45 * 17);
        assert!(text.contains(
            "grpc_server_handled_total{grpc_code=\"Canceled\",grpc_method=\"Watch\",\
             grpc_service=\"etcdserverpb.Watch\",grpc_type=\"bidi_stream\"} 0\n"
        ));
        assert!(!text.contains("grpc_server_handling_seconds"));
        assert!(!text.contains("Campaign"));
    }

    #[test]
    fn client_versions_are_counted_apart_up_to_a_limit() {
        let versions = ClientVersions::default();
        for n in 0..limits::CLIENT_VERSIONS_MAX + 10 {
            versions.get(&n.to_string()).unary.add(1);
        }
        versions.get("0").stream.add(1);
        let mut page = Page::new();
        versions.collect(&mut page);
        let text = page.print();
        let shown = text.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(shown, limits::CLIENT_VERSIONS_MAX + 2);
        assert!(text.contains("{client_api_version=\"other\",type=\"unary\"} 10\n"));
    }
}
