//! The lessor driven by hand: time, entries and renewals in every order that matters.

use super::*;

const TERM: Term = Term(3);
const MEMBER: MemberId = MemberId(7);
const OPTIONS: LeaseOptions = LeaseOptions {
    tick_ms: 100,
    extension_ms: 1_000,
    request_ms: 7_000,
    checkpoints: true,
    fast_keep_alive: true,
};

type TestLessor = Lessor<&'static str>;

fn idle(leases: &[(i64, i64, i64)], options: LeaseOptions) -> (TestLessor, Arc<Progress>) {
    let progress = Arc::new(Progress::default());
    let ids = Arc::new(RequestIds::new(MEMBER, 0));
    let leases = leases
        .iter()
        .map(|&(id, ttl, left)| (LeaseId(id), ttl, left));
    let lessor = Lessor::new(MEMBER, options, Arc::clone(&progress), ids, leases);
    (lessor, progress)
}

/// A lessor that leads, at time zero.
fn leading(leases: &[(i64, i64, i64)]) -> (TestLessor, Arc<Progress>) {
    let (lessor, progress) = idle(leases, OPTIONS);
    progress.set_leadership(TERM, MEMBER);
    lessor.term_began(TERM, &mut Vec::new());
    assert_eq!(proposals(&lessor, 0), []);
    (lessor, progress)
}

#[derive(Debug, PartialEq)]
enum Proposal {
    Revoke(i64),
    Checkpoint(Vec<(i64, i64)>),
}

fn decode(input: Option<Input<&'static str>>) -> Vec<Proposal> {
    let Some(input) = input else {
        return Vec::new();
    };
    let Input::ProposeInTerm { term, data } = input else {
        panic!("not a proposal: {input:?}")
    };
    assert_eq!(term, TERM);
    let proposal = |data: Bytes| {
        let request = InternalRaftRequest::decode(data).expect("our own");
        assert!(request.header.is_some_and(|header| header.id != 0));
        match (request.lease_revoke, request.lease_checkpoint) {
            (Some(revoke), None) => Proposal::Revoke(revoke.id),
            (None, Some(checkpoint)) => {
                let pair = |c: &LeaseCheckpoint| (c.id, c.remaining_ttl);
                Proposal::Checkpoint(checkpoint.checkpoints.iter().map(pair).collect())
            }
            _ => panic!("another request"),
        }
    };
    data.into_iter().map(proposal).collect()
}

fn proposals(lessor: &TestLessor, now_ms: u64) -> Vec<Proposal> {
    decode(lessor.advance(now_ms).0)
}

fn renew(lessor: &TestLessor, id: i64, now_ms: u64) -> Renewal {
    lessor.renew(LeaseId(id), now_ms, false, true, || "client")
}

fn left_s(lessor: &TestLessor, id: i64, now_ms: u64) -> i64 {
    match lessor.remaining(LeaseId(id), now_ms, true, || "client") {
        Remaining::Found { remaining_s, .. } => remaining_s,
        other => panic!("{other:?}"),
    }
}

/// Applies a checkpoint of one lease; gives who is told.
fn checkpoint(lessor: &TestLessor, id: i64, remaining_ttl: i64) -> Vec<&'static str> {
    let mut news = Vec::new();
    let checkpoints = vec![LeaseCheckpoint { id, remaining_ttl }];
    lessor.checkpointed(&LeaseCheckpointRequest { checkpoints }, &mut news);
    news
}

const WAITS: Renewal = Renewal::Waits { urgent: false };

#[test]
fn a_lease_ends_after_its_time_counted_from_when_time_was_next_told() {
    let (lessor, _) = leading(&[]);
    // Granted some time after the last tick: nobody here knows how long after.
    lessor.granted(LeaseId(1), 5);
    assert_eq!(proposals(&lessor, 100), []);
    assert_eq!(left_s(&lessor, 1, 100), 4);
    assert_eq!(left_s(&lessor, 1, 3_200), 1);
    let mut ended_ms = None;
    for now_ms in (200..=5_300).step_by(100) {
        let revokes = proposals(&lessor, now_ms);
        if revokes.contains(&Proposal::Revoke(1)) {
            ended_ms = Some(now_ms);
            break;
        }
    }
    assert_eq!(
        ended_ms,
        Some(5_200),
        "one tick for granting, one slot of the wheel"
    );
    assert_eq!(lessor.counts().expired.get(), 1);
}

#[test]
fn a_renewed_lease_has_its_whole_time_again() {
    let (lessor, _) = leading(&[(1, 3, 0)]);
    for now_ms in (100..10_000).step_by(100) {
        assert_eq!(renew(&lessor, 1, now_ms), Renewal::Renewed(3));
        assert_eq!(proposals(&lessor, now_ms), []);
    }
    assert_eq!(left_s(&lessor, 1, 9_900), 2);
    assert_eq!(renew(&lessor, 2, 9_900), Renewal::NotFound);
    assert_eq!(lessor.counts().renewed.get(), 99);
}

#[test]
fn a_lease_whose_time_is_over_cannot_be_renewed_and_its_client_waits_for_the_end() {
    let (lessor, _) = leading(&[(1, 2, 0)]);
    // Past the deadline (with the extension), before anybody noticed.
    assert_eq!(renew(&lessor, 1, 3_000), WAITS);
    assert_eq!(proposals(&lessor, 3_100), [Proposal::Revoke(1)]);
    assert_eq!(renew(&lessor, 1, 3_100), WAITS);
    let mut news = Vec::new();
    lessor.revoked(LeaseId(1), &mut news);
    assert_eq!(news, ["client", "client"]);
    assert_eq!(renew(&lessor, 1, 3_100), Renewal::NotFound);
    assert!(lessor.is_empty());
}

#[test]
fn revokes_come_in_bounded_batches_and_the_next_as_soon_as_half_is_applied() {
    let max = limits::LEASE_REVOKES_IN_FLIGHT_MAX;
    let leases: Vec<_> = (1..=2 * max as i64).map(|id| (id, 2, 0)).collect();
    let (lessor, _) = leading(&leases);
    let first = proposals(&lessor, 4_000);
    assert_eq!(first.len(), max);
    assert_eq!(
        proposals(&lessor, 4_100),
        [],
        "as many as may be are on their way"
    );
    let revoke = |proposal: &Proposal| {
        let Proposal::Revoke(id) = proposal else {
            panic!("{proposal:?}")
        };
        lessor.revoked(LeaseId(*id), &mut Vec::new());
    };
    first[..max / 2 - 1].iter().for_each(revoke);
    assert_eq!(decode(lessor.batch()), []);
    revoke(&first[max / 2 - 1]);
    assert_eq!(decode(lessor.batch()).len(), max / 2);
}

#[test]
fn a_revoke_that_is_not_applied_is_proposed_again() {
    let (lessor, _) = leading(&[(1, 2, 0)]);
    assert_eq!(proposals(&lessor, 3_100), [Proposal::Revoke(1)]);
    assert_eq!(proposals(&lessor, 6_000), []);
    assert_eq!(proposals(&lessor, 6_100), [Proposal::Revoke(1)]);
    lessor.revoked(LeaseId(1), &mut Vec::new());
    assert_eq!(proposals(&lessor, 60_000), []);
}

#[test]
fn a_lease_that_was_revoked_and_granted_again_is_not_revoked_by_what_was_due() {
    let (lessor, _) = leading(&[]);
    // More are due than fit, so that the last waits.
    for id in 0..=limits::LEASE_REVOKES_IN_FLIGHT_MAX as i64 {
        lessor.granted(LeaseId(100 + id), 2);
    }
    lessor.advance(100);
    let first = proposals(&lessor, 4_000);
    let waiting = (100..).find(|id| !first.contains(&Proposal::Revoke(*id)));
    let waiting = waiting.expect("one is left");
    lessor.revoked(LeaseId(waiting), &mut Vec::new());
    lessor.granted(LeaseId(waiting), 60);
    for proposal in first {
        let Proposal::Revoke(id) = proposal else {
            continue;
        };
        lessor.revoked(LeaseId(id), &mut Vec::new());
    }
    assert_eq!(decode(lessor.batch()), []);
    assert_eq!(proposals(&lessor, 4_100), []);
}

#[test]
fn what_is_left_is_written_down_at_half_time_and_then_by_eighths() {
    let (lessor, _) = leading(&[]);
    lessor.granted(LeaseId(1), 80);
    lessor.granted(LeaseId(2), 80);
    let mut seen = Vec::new();
    for now_ms in (100..=60_000).step_by(100) {
        // The second is kept alive.
        if now_ms % 25_000 == 0 {
            assert_eq!(renew(&lessor, 2, now_ms), Renewal::Renewed(80));
        }
        for proposal in proposals(&lessor, now_ms) {
            seen.push((now_ms / 1_000, proposal));
        }
    }
    let expected = [(40, 40), (50, 30)];
    let expected = expected.map(|(at_s, left)| (at_s, Proposal::Checkpoint(vec![(1, left)])));
    assert_eq!(seen, expected);
}

#[test]
fn after_an_election_what_is_left_is_written_down_after_an_eighth() {
    let (lessor, _) = leading(&[(1, 80, 0)]);
    assert_eq!(proposals(&lessor, 10_900), []);
    let written = Proposal::Checkpoint(vec![(1, 70)]);
    assert_eq!(proposals(&lessor, 11_100), [written]);
}

#[test]
fn a_renewal_takes_a_checkpoint_back_before_it_is_answered() {
    let (lessor, _) = leading(&[(1, 80, 0)]);
    assert_eq!(
        proposals(&lessor, 45_000),
        [Proposal::Checkpoint(vec![(1, 36)])]
    );
    // It is on its way and may be applied: a restart would give 36 seconds.
    let waits = Renewal::Waits { urgent: true };
    assert_eq!(renew(&lessor, 1, 45_000), waits);
    assert_eq!(checkpoint(&lessor, 1, 36), [""; 0]);
    assert_eq!(decode(lessor.batch()), [Proposal::Checkpoint(vec![(1, 0)])]);
    assert_eq!(renew(&lessor, 1, 45_100), WAITS, "it is on its way already");
    assert_eq!(checkpoint(&lessor, 1, 0), ["client", "client"]);
    assert_eq!(renew(&lessor, 1, 45_200), Renewal::Renewed(80));
    assert_eq!(left_s(&lessor, 1, 45_200), 79);
}

#[test]
fn a_term_begins_with_what_the_checkpoint_says_and_a_little_more() {
    let (lessor, progress) = idle(&[(1, 60, 10), (2, 60, 0)], OPTIONS);
    assert_eq!(renew(&lessor, 1, 0), WAITS, "nobody leads");
    progress.set_leadership(TERM, MEMBER);
    assert_eq!(
        renew(&lessor, 1, 0),
        WAITS,
        "the first entry is not applied"
    );
    let mut news = Vec::new();
    lessor.term_began(TERM, &mut news);
    assert_eq!(news, ["client", "client"]);
    assert_eq!(proposals(&lessor, 5_000), []);
    assert_eq!(left_s(&lessor, 1, 5_000), 10);
    assert_eq!(left_s(&lessor, 2, 5_000), 60);
    assert_eq!(lessor.by_deadline(), [LeaseId(1), LeaseId(2)]);
    // A restart would give the ten seconds again, so a renewal takes them back.
    assert_eq!(renew(&lessor, 1, 5_000), Renewal::Waits { urgent: true });
    assert_eq!(checkpoint(&lessor, 1, 0), ["client"]);
    assert_eq!(renew(&lessor, 1, 5_000), Renewal::Renewed(60));
}

#[test]
fn a_lease_that_is_renewed_before_any_clock_runs_ends_all_the_same() {
    for left_s in [0, 3] {
        let (lessor, progress) = idle(&[(1, 5, left_s)], OPTIONS);
        progress.set_leadership(TERM, MEMBER);
        lessor.term_began(TERM, &mut Vec::new());
        if renew(&lessor, 1, 50) != Renewal::Renewed(5) {
            assert_eq!(decode(lessor.batch()), [Proposal::Checkpoint(vec![(1, 0)])]);
            assert_eq!(checkpoint(&lessor, 1, 0), ["client"]);
            assert_eq!(renew(&lessor, 1, 50), Renewal::Renewed(5));
        }
        let mut ended = false;
        for now_ms in (100..=5_300).step_by(100) {
            let ends = proposals(&lessor, now_ms).contains(&Proposal::Revoke(1));
            assert!(!ends || now_ms >= 5_050, "early, at {now_ms} ms");
            ended |= ends;
        }
        assert!(ended, "of a lease with {left_s} s left");
    }
}

#[test]
fn nothing_ends_where_nobody_leads_and_a_later_term_counts_anew() {
    let (lessor, progress) = leading(&[(1, 2, 0)]);
    progress.set_leadership(Term(4), MemberId(8));
    assert_eq!(proposals(&lessor, 10_000), []);
    assert_eq!(renew(&lessor, 1, 10_000), WAITS);
    let (batch, expired) = lessor.advance(17_000);
    assert!(batch.is_none());
    assert_eq!(expired, [("client", ApiError::Timeout)]);
    // This member leads again: the lease has its two seconds and the extension.
    progress.set_leadership(TERM, MEMBER);
    lessor.term_began(TERM, &mut Vec::new());
    assert_eq!(proposals(&lessor, 20_000), []);
    assert!(!proposals(&lessor, 22_900).contains(&Proposal::Revoke(1)));
    assert_eq!(proposals(&lessor, 23_100), [Proposal::Revoke(1)]);
}

#[test]
fn an_unknown_lease_is_looked_for_among_what_is_committed() {
    let (lessor, progress) = leading(&[(1, 60, 0)]);
    progress.set_committed(Index(9));
    progress.set_applied(Index(8));
    assert_eq!(
        renew(&lessor, 1, 100),
        Renewal::Renewed(60),
        "known: need not wait"
    );
    assert_eq!(renew(&lessor, 2, 100), WAITS);
    let mut news = Vec::new();
    lessor.published(Index(8), &mut news);
    assert_eq!(news, [""; 0]);
    lessor.published(Index(9), &mut news);
    assert_eq!(news, ["client"]);
    assert_eq!(renew(&lessor, 2, 200), WAITS);
    let (_, expired) = lessor.advance(1_200);
    assert_eq!(expired, [("client", ApiError::TimeoutWaitAppliedIndex)]);

    let careful = LeaseOptions {
        fast_keep_alive: false,
        ..OPTIONS
    };
    let (lessor, progress) = idle(&[(1, 60, 0)], careful);
    progress.set_leadership(TERM, MEMBER);
    lessor.term_began(TERM, &mut Vec::new());
    progress.set_committed(Index(9));
    assert_eq!(renew(&lessor, 1, 0), WAITS);
    let caught_up = lessor.renew(LeaseId(1), 0, true, true, || "client");
    assert_eq!(caught_up, Renewal::Renewed(60));
}

#[test]
fn leadership_is_confirmed_where_time_stood_still() {
    let (lessor, _) = leading(&[(1, 60, 0)]);
    let ask = |now_ms, confirmed| lessor.renew(LeaseId(1), now_ms, false, confirmed, || "client");
    assert_eq!(ask(300, false), Renewal::Renewed(60));
    assert_eq!(ask(301, false), Renewal::Unsure);
    assert_eq!(ask(301, true), Renewal::Renewed(60));
}

#[test]
fn who_waits_is_bounded_and_told_at_the_end() {
    let (lessor, _) = idle(&[], OPTIONS);
    for _ in 0..limits::LEASE_WAITS_MAX {
        assert_eq!(renew(&lessor, 1, 0), WAITS);
    }
    let refused = Renewal::Refused(ApiError::RequestTooManyRequests);
    assert_eq!(renew(&lessor, 1, 0), refused);
    assert_eq!(lessor.stop().len(), limits::LEASE_WAITS_MAX);
    assert_eq!(renew(&lessor, 1, 0), WAITS);
}
