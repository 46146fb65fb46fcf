//! `/health`, `/livez` and `/readyz`.
//!
//! `/health` is the old form: alarms, then leader, then a read, as JSON with strings. The others
//! are lists of named checks that can be asked for one by one.

use super::{Answer, Http, error, plain, with_type};
use crate::api::Api;
use crate::metrics::Page;
use http::{Request, StatusCode};
use std::fmt::Write;
use tenet_base::counters::{Counter, Gauge};
use tenet_proto::etcdserverpb::{AlarmType, RangeRequest};

/// A named check of `/livez` or `/readyz`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    DataCorruption,
    SerializableRead,
    LinearizableRead,
    NonLearner,
}

impl Check {
    fn name(self) -> &'static str {
        match self {
            Check::DataCorruption => "data_corruption",
            Check::SerializableRead => "serializable_read",
            Check::LinearizableRead => "linearizable_read",
            Check::NonLearner => "non_learner",
        }
    }
}

/// The two lists; their order is that of the rows in [`HealthMetrics`].
const CHECKS: [(&str, &[Check]); 2] = [
    ("livez", &[Check::SerializableRead]),
    (
        "readyz",
        &[
            Check::DataCorruption,
            Check::SerializableRead,
            Check::LinearizableRead,
            Check::NonLearner,
        ],
    ),
];

/// The checks that a path stands for.
#[derive(Debug)]
pub(super) struct Checks {
    /// Which list.
    list: usize,
    checks: Vec<Check>,
    /// Whether single ones may be left out.
    whole: bool,
}

/// What is counted about health.
#[derive(Debug, Default)]
pub(super) struct HealthMetrics {
    healthy: Counter,
    unhealthy: Counter,
    checks: [[CheckCounters; 4]; 2],
}

#[derive(Debug, Default)]
struct CheckCounters {
    passed: Counter,
    failed: Counter,
    last: Gauge,
}

impl<A: Api> Http<A> {
    /// `/health`.
    pub(super) async fn health(&self, request: &Request<()>) -> Answer {
        let query = Query::of(request);
        let reason = self.unhealthy(&query).await;
        let (healthy, reason) = reason.map_or((true, String::new()), |reason| (false, reason));
        let body = serde_json::json!({ "health": healthy.to_string(), "reason": reason });
        if healthy {
            self.health.healthy.add(1);
            return plain(StatusCode::OK, body.to_string());
        }
        self.health.unhealthy.add(1);
        let output = body.to_string();
        tracing::warn!(output, "status-code" = 503, "/health error");
        error(StatusCode::SERVICE_UNAVAILABLE, &format!("{output}\n"))
    }

    async fn unhealthy(&self, query: &Query) -> Option<String> {
        for raised in self.api.alarms() {
            let name = raised.alarm().as_str_name();
            if query.excluded.iter().any(|excluded| excluded == name) {
                continue;
            }
            tracing::warn!(alarm = name, "serving /health false due to an alarm");
            return Some(match raised.alarm() {
                AlarmType::Nospace => "ALARM NOSPACE".into(),
                AlarmType::Corrupt => "ALARM CORRUPT".into(),
                AlarmType::None => "ALARM UNKNOWN".into(),
            });
        }
        if !query.serializable && self.api.leader().is_none() {
            tracing::warn!("serving /health false; no leader");
            return Some("RAFT NO LEADER".into());
        }
        let error = self.read(query.serializable).await.err()?;
        tracing::warn!(error, "serving /health false; Range fails");
        Some(format!("RANGE ERROR:{error}"))
    }

    /// One read of a key that nobody has.
    async fn read(&self, serializable: bool) -> Result<(), &'static str> {
        let request = RangeRequest {
            key: bytes::Bytes::from_static(b"\0"),
            limit: 1,
            keys_only: true,
            serializable,
            ..RangeRequest::default()
        };
        self.api
            .range(request)
            .await
            .map(drop)
            .map_err(|error| error.text())
    }

    /// The checks behind a path, if it is one of ours.
    pub(super) fn checks_of(&self, path: &str) -> Option<Checks> {
        let mut parts = path.strip_prefix('/')?.splitn(2, '/');
        let (name, sub) = (parts.next()?, parts.next());
        let list = CHECKS.iter().position(|(list, _)| *list == name)?;
        let all = CHECKS[list].1;
        match sub {
            None => Some(Checks {
                list,
                checks: all.to_vec(),
                whole: true,
            }),
            Some(sub) => {
                let one = all.iter().find(|check| check.name() == sub)?;
                Some(Checks {
                    list,
                    checks: vec![*one],
                    whole: false,
                })
            }
        }
    }

    /// `/livez`, `/readyz` and what is below them.
    pub(super) async fn run_checks(&self, request: &Request<()>, asked: &Checks) -> Answer {
        let query = Query::of(request);
        let excluded = if asked.whole {
            query.excluded
        } else {
            Vec::new()
        };
        let is = |name: &String| asked.checks.iter().any(|check| check.name() == name);
        let missing: Vec<_> = excluded.iter().filter(|name| !is(name)).collect();
        if !missing.is_empty() {
            let missing = format!("{missing:?}");
            tracing::warn!(
                "missing-health-checks" = missing[1..missing.len() - 1].replace(", ", ","),
                "some health checks cannot be excluded"
            );
        }
        let mut lines = String::new();
        let mut healthy = true;
        for check in &asked.checks {
            if excluded.iter().any(|name| name == check.name()) {
                continue;
            }
            let result = self.check(*check).await;
            self.health.count(asked.list, *check, result.is_ok());
            let _ = match result {
                Ok(()) => writeln!(lines, "[+]{} ok", check.name()),
                Err(error) => {
                    healthy = false;
                    writeln!(lines, "[-]{} failed: {error}", check.name())
                }
            };
        }
        if !healthy {
            let path = request.uri().path();
            tracing::error!(
                path,
                reason = lines,
                "status-code" = 503,
                "Health check error"
            );
            return error(StatusCode::SERVICE_UNAVAILABLE, &format!("{lines}\n"));
        }
        if query.verbose {
            error(StatusCode::OK, &format!("{lines}ok\n"))
        } else {
            ok()
        }
    }

    async fn check(&self, check: Check) -> Result<(), &'static str> {
        match check {
            Check::SerializableRead => self.read(true).await,
            Check::LinearizableRead => self.read(false).await,
            Check::NonLearner if self.api.is_learner() => Err("not supported for learner"),
            Check::DataCorruption
                if self
                    .api
                    .alarms()
                    .iter()
                    .any(|raised| raised.alarm() == AlarmType::Corrupt) =>
            {
                Err("alarm activated: CORRUPT")
            }
            Check::NonLearner | Check::DataCorruption => Ok(()),
        }
    }
}

fn ok() -> Answer {
    let mut answer = with_type(StatusCode::OK, "text/plain; charset=utf-8", "ok\n");
    answer.headers_mut().insert(
        http::header::X_CONTENT_TYPE_OPTIONS,
        http::HeaderValue::from_static("nosniff"),
    );
    answer
}

impl HealthMetrics {
    fn count(&self, list: usize, check: Check, passed: bool) {
        let counters = &self.checks[list][check as usize];
        if passed {
            counters.passed.add(1)
        } else {
            counters.failed.add(1)
        }
        counters.last.set(passed.into());
    }

    /// Writes the families of health to the page.
    pub(super) fn collect(&self, page: &mut Page) {
        let (good, bad) = (self.healthy.get(), self.unhealthy.get());
        page.counter(
            "etcd_server_health_success",
            "Requests to /health answered well.",
            good,
        );
        page.counter(
            "etcd_server_health_failures",
            "Requests to /health answered badly.",
            bad,
        );
        for (list, (list_name, checks)) in CHECKS.iter().enumerate() {
            let mut sorted = checks.to_vec();
            sorted.sort_by_key(|check| check.name());
            for check in sorted {
                let counters = &self.checks[list][check as usize];
                let results = [("error", &counters.failed), ("success", &counters.passed)];
                if results.iter().all(|(_, counter)| counter.get() == 0) {
                    continue;
                }
                page.gauges("etcd_server_healthcheck", "The last result of each check.")
                    .row(
                        &[("name", check.name()), ("type", list_name)],
                        counters.last.get() as f64,
                    );
                let mut rows = page.counters("etcd_server_healthchecks_total", "Checks run.");
                for (status, counter) in results.into_iter().filter(|(_, n)| n.get() > 0) {
                    let labels = [
                        ("name", check.name()),
                        ("status", status),
                        ("type", list_name),
                    ];
                    rows.row(&labels, counter.get() as f64);
                }
            }
        }
    }
}

/// What the queries of these paths can say.
#[derive(Debug, Default)]
struct Query {
    excluded: Vec<String>,
    serializable: bool,
    verbose: bool,
}

impl Query {
    fn of(request: &Request<()>) -> Query {
        let mut query = Query::default();
        let mut serializable = None;
        for pair in request.uri().query().unwrap_or_default().split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "exclude" if !value.is_empty() => query.excluded.push(value.to_owned()),
                "serializable" => _ = serializable.get_or_insert(value == "true"),
                "verbose" => query.verbose = true,
                _ => {}
            }
        }
        query.serializable = serializable.unwrap_or(false);
        query
    }
}
