//! Asks another member now and then for its time, to know how long an answer takes and whether the
//! clocks agree. Nothing depends on it: it is for people.

use crate::body::RequestBody;
use crate::call::CallError;
use crate::peer::Contact;
use http::{Request, StatusCode, Uri};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tenet_base::limits::{PEER_PROBE_INTERVAL_MS, PEER_QUESTION_BYTES_MAX, PEER_SILENCE_MS};
use tokio::time::{Instant as Due, sleep_until};

/// How often a member within reach is reported on.
const REPORT_INTERVAL: Duration = Duration::from_secs(30);
/// How often one that is not.
const TROUBLE_INTERVAL: Duration = Duration::from_secs(5);
/// What clocks may differ by.
const CLOCK_DIFFERENCE_MAX: Duration = Duration::from_secs(1);
/// What a new round trip counts against those before.
const WEIGHT: f64 = 0.125;

/// What is known of a member.
#[derive(Debug, Default)]
struct Probed {
    /// A mean of the round trips, newer ones counting more.
    round_trip: Option<Duration>,
    clock_difference: Duration,
    error: Option<String>,
}

impl Probed {
    fn took(&mut self, round_trip: Duration) {
        self.round_trip = Some(match self.round_trip {
            None => round_trip,
            Some(before) => before.mul_f64(1.0 - WEIGHT) + round_trip.mul_f64(WEIGHT),
        });
        self.error = None;
    }
}

/// Probes until it is stopped from outside.
pub(crate) async fn run(contact: Arc<Contact>) {
    let mut probed = Probed::default();
    let mut probe_at = Due::now();
    let mut report_at = Due::now() + TROUBLE_INTERVAL;
    loop {
        sleep_until(probe_at.min(report_at)).await;
        if Due::now() >= probe_at {
            probe(&contact, &mut probed).await;
            probe_at = Due::now() + Duration::from_millis(PEER_PROBE_INTERVAL_MS);
        }
        if Due::now() >= report_at {
            report_at = Due::now() + report(&contact, &probed);
        }
    }
}

/// Says how a member is, and when to do so again.
fn report(contact: &Contact, probed: &Probed) -> Duration {
    if let Some(round_trip) = probed.round_trip {
        contact.counts.round_trips.record(round_trip.as_secs_f64());
    }
    if probed.clock_difference > CLOCK_DIFFERENCE_MAX {
        tracing::warn!(
            "round-tripper-name" = "ROUND_TRIPPER_RAFT_MESSAGE",
            "remote-peer-id" = %contact.id,
            "clock-drift" = ?probed.clock_difference,
            rtt = ?probed.round_trip.unwrap_or_default(),
            "prober found high clock drift"
        );
    }
    match &probed.error {
        None => REPORT_INTERVAL,
        Some(error) => {
            tracing::warn!(
                "round-tripper-name" = "ROUND_TRIPPER_RAFT_MESSAGE",
                "remote-peer-id" = %contact.id,
                rtt = ?probed.round_trip.unwrap_or_default(),
                error,
                "prober detected unhealthy status"
            );
            TROUBLE_INTERVAL
        }
    }
}

async fn probe(contact: &Contact, probed: &mut Probed) {
    let began = Instant::now();
    match ask(contact).await {
        Ok(their_time) => {
            probed.took(began.elapsed());
            // Half of the way back is the best guess of how old their time is.
            let expected = their_time + began.elapsed() / 2;
            let difference = Timestamp::now().duration_since(expected).unsigned_abs();
            probed.clock_difference = difference;
        }
        Err(error) => probed.error = Some(error.to_string()),
    }
}

async fn ask(contact: &Contact) -> Result<Timestamp, CallError> {
    let mut request = Request::new(RequestBody::empty());
    *request.uri_mut() = Uri::from_static("/raft/probing");
    let patience = Duration::from_millis(PEER_SILENCE_MS);
    let url = contact.picker.pick();
    let pool = &contact.shared.pool;
    let answered = pool
        .call(&url, request, PEER_QUESTION_BYTES_MAX, patience)
        .await?;
    if answered.status != StatusCode::OK {
        return Err(CallError::Status {
            status: answered.status,
            text: answered.text(),
        });
    }
    let unclear = || CallError::Answer(answered.text());
    let health: serde_json::Value =
        serde_json::from_slice(&answered.body).map_err(|_| unclear())?;
    if health["OK"] != true {
        return Err(unclear());
    }
    let now = health["Now"].as_str().ok_or_else(unclear)?;
    now.parse().map_err(|_| unclear())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_are_smoothed_from_the_first_on() {
        let mut probed = Probed {
            error: Some("away".into()),
            ..Probed::default()
        };
        probed.took(Duration::from_millis(80));
        assert_eq!(probed.round_trip, Some(Duration::from_millis(80)));
        assert_eq!(probed.error, None);
        probed.took(Duration::from_millis(160));
        assert_eq!(probed.round_trip, Some(Duration::from_millis(90)));
    }
}
