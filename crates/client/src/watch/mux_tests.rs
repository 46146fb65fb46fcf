//! The state machine against what a server may say, in every order that matters.

use super::*;
use crate::KeyRange;
use crate::watch::buffer::Taken;
use tenet_proto::mvccpb::KeyValue;

fn options() -> WatchOptions {
    WatchOptions::new(KeyRange::prefix("a"))
}

fn watch(mux: &mut Mux, options: WatchOptions) -> (WatchKey, Arc<Buffer>) {
    let buffer = Arc::new(Buffer::default());
    (mux.add(options, buffer.clone()), buffer)
}

fn created_request(mux: &mut Mux) -> WatchCreateRequest {
    match mux.next_request().and_then(|request| request.request_union) {
        Some(RequestUnion::CreateRequest(request)) => request,
        other => panic!("no creation but {other:?}"),
    }
}

fn canceled_id(mux: &mut Mux) -> i64 {
    match mux.next_request().and_then(|request| request.request_union) {
        Some(RequestUnion::CancelRequest(request)) => request.watch_id,
        other => panic!("no cancellation but {other:?}"),
    }
}

fn response(watch_id: i64, revision: i64) -> WatchResponse {
    WatchResponse {
        header: Some(ResponseHeader {
            revision,
            ..ResponseHeader::default()
        }),
        watch_id,
        ..WatchResponse::default()
    }
}

fn created(watch_id: i64, revision: i64) -> WatchResponse {
    WatchResponse {
        created: true,
        ..response(watch_id, revision)
    }
}

fn event(revision: i64, len_bytes: usize) -> Event {
    Event {
        kv: Some(KeyValue {
            mod_revision: revision,
            value: vec![0; len_bytes].into(),
            ..KeyValue::default()
        }),
        ..Event::default()
    }
}

fn events(watch_id: i64, revisions: &[i64]) -> WatchResponse {
    let events: Vec<Event> = revisions
        .iter()
        .map(|revision| event(*revision, 1))
        .collect();
    WatchResponse {
        events,
        ..response(watch_id, revisions.last().copied().unwrap_or(0))
    }
}

fn fragment(watch_id: i64, revisions: &[i64]) -> WatchResponse {
    WatchResponse {
        fragment: true,
        ..events(watch_id, revisions)
    }
}

/// The revisions in the next update.
fn revisions(buffer: &Buffer) -> Option<Vec<i64>> {
    match buffer.take().update? {
        Ok(Update::Events { events, .. }) => Some(events.iter().map(revision_of).collect()),
        other => panic!("no events but {other:?}"),
    }
}

/// A watch that the server has, with id 1, from revision 10 on.
fn active(options: WatchOptions) -> (Mux, WatchKey, Arc<Buffer>) {
    let mut mux = Mux::default();
    let (key, buffer) = watch(&mut mux, options);
    assert_eq!(created_request(&mut mux).watch_id, 1);
    mux.receive(created(1, 10));
    (mux, key, buffer)
}

#[test]
fn a_watch_resumes_after_the_last_change_that_was_handed_out() {
    let (mut mux, _, buffer) = active(options());
    mux.receive(events(1, &[11, 11, 12]));
    mux.disconnect();
    assert_eq!(created_request(&mut mux).start_revision, 13);
    assert_eq!(revisions(&buffer), Some(vec![11, 11, 12]));
}

#[test]
fn a_watch_from_now_resumes_where_it_began() {
    let (mut mux, _, _) = active(options());
    mux.disconnect();
    assert_eq!(created_request(&mut mux).start_revision, 10);
}

#[test]
fn a_watch_that_was_never_created_still_begins_now() {
    let mut mux = Mux::default();
    let _watch = watch(&mut mux, options());
    assert_eq!(created_request(&mut mux).start_revision, 0);
    mux.disconnect();
    assert_eq!(created_request(&mut mux).start_revision, 0);
}

#[test]
fn progress_moves_the_place_to_resume_from() {
    let (mut mux, _, buffer) = active(options());
    mux.receive(response(1, 20));
    mux.receive(response(-1, 25));
    mux.disconnect();
    assert_eq!(created_request(&mut mux).start_revision, 26);
    let Some(Ok(Update::Progress { header })) = buffer.take().update else {
        panic!("no progress")
    };
    assert_eq!(header.revision, 25);
}

#[test]
fn progress_does_not_move_back_a_watch_of_the_future() {
    let (mut mux, _, _) = active(options().from_revision(100));
    mux.receive(response(-1, 25));
    mux.disconnect();
    assert_eq!(created_request(&mut mux).start_revision, 100);
}

#[test]
fn a_revision_in_fragments_is_handed_out_whole() {
    let (mut mux, _, buffer) = active(options());
    mux.receive(fragment(1, &[11, 12]));
    assert_eq!(revisions(&buffer), Some(vec![11]), "12 may go on");
    mux.receive(fragment(1, &[12]));
    assert_eq!(revisions(&buffer), None);
    mux.receive(events(1, &[12, 13]));
    assert_eq!(revisions(&buffer), Some(vec![12, 12, 12, 13]));
}

#[test]
fn a_revision_whose_fragments_break_off_comes_again_from_its_beginning() {
    let (mut mux, _, buffer) = active(options());
    mux.receive(fragment(1, &[11, 12]));
    mux.disconnect();
    assert_eq!(created_request(&mut mux).start_revision, 12);
    mux.receive(created(1, 12));
    mux.receive(events(1, &[12, 12]));
    assert_eq!(revisions(&buffer), Some(vec![11]));
    assert_eq!(revisions(&buffer), Some(vec![12, 12]));
}

#[test]
fn compaction_is_told_and_the_watch_goes_on_after_it() {
    let (mut mux, _, buffer) = active(options().from_revision(3));
    let compacted = WatchResponse {
        canceled: true,
        compact_revision: 8,
        ..response(1, 10)
    };
    mux.receive(compacted);
    let Some(Ok(Update::Compacted {
        compact_revision, ..
    })) = buffer.take().update
    else {
        panic!("not told")
    };
    assert_eq!(compact_revision, 8);
    let again = created_request(&mut mux);
    assert_eq!((again.start_revision, again.watch_id), (8, 2));
    assert!(
        mux.next_request().is_none(),
        "the server has ended it itself"
    );
}

#[test]
fn compaction_ends_a_watch_that_wants_that() {
    let (mut mux, _, buffer) = active(options().end_when_compacted());
    mux.receive(WatchResponse {
        canceled: true,
        compact_revision: 8,
        ..response(1, 10)
    });
    let taken = buffer.take().update;
    assert!(matches!(
        taken,
        Some(Err(WatchError::Compacted {
            compact_revision: 8,
            ..
        }))
    ));
    assert!(mux.is_empty() && mux.next_request().is_none());
}

#[test]
fn a_refusal_meets_the_watch_that_asked() {
    let mut mux = Mux::default();
    let (_, one) = watch(&mut mux, options());
    let (_, two) = watch(&mut mux, options());
    created_request(&mut mux);
    created_request(&mut mux);
    mux.receive(WatchResponse {
        canceled: true,
        cancel_reason: "mvcc: watcher range is empty".to_owned(),
        ..created(-1, 10)
    });
    mux.receive(created(2, 10));
    let reason = "mvcc: watcher range is empty".to_owned();
    assert_eq!(one.take().update, Some(Err(WatchError::Refused { reason })));
    mux.receive(events(2, &[11]));
    assert_eq!(revisions(&two), Some(vec![11]));
}

#[test]
fn a_token_that_is_no_good_is_renewed_once() {
    let mut mux = Mux::default();
    let (_, buffer) = watch(&mut mux, options());
    let refusal = || WatchResponse {
        canceled: true,
        cancel_reason: "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token"
            .to_owned(),
        ..created(-1, 10)
    };
    created_request(&mut mux);
    assert_eq!(mux.receive(refusal()), Reaction::RenewToken);
    mux.disconnect();
    created_request(&mut mux);
    assert_eq!(mux.receive(refusal()), Reaction::Nothing);
    assert!(matches!(
        buffer.take().update,
        Some(Err(WatchError::Refused { .. }))
    ));
}

#[test]
fn a_slow_reader_parks_its_watch_and_resumes_it_without_a_gap() {
    let (mut mux, key, buffer) = active(options());
    let piece = limits::CLIENT_WATCH_BUFFER_BYTES_MAX / 4;
    let mut revision = 10;
    while mux.to_cancel.is_empty() {
        revision += 1;
        mux.receive(WatchResponse {
            events: vec![event(revision, piece)],
            ..response(1, revision)
        });
    }
    assert_eq!(canceled_id(&mut mux), 1);
    // On its way while the cancellation was: not taken, since it will come again.
    mux.receive(events(1, &[revision + 1]));
    mux.disconnect();
    assert!(mux.next_request().is_none(), "a parked watch stays away");
    let mut read = 0;
    loop {
        let Taken {
            update,
            has_room_again,
        } = buffer.take();
        read += 1;
        assert!(update.is_some());
        if has_room_again {
            break;
        }
    }
    mux.resume(key);
    mux.resume(key);
    assert_eq!(created_request(&mut mux).start_revision, revision + 1);
    assert!(
        mux.next_request().is_none(),
        "resuming twice is resuming once"
    );
    assert!(read < revision - 10, "some were left in the buffer");
}

#[test]
fn dropped_watches_leave_nothing_behind() {
    let (mut mux, key, _) = active(options());
    let (creating, _) = watch(&mut mux, options());
    created_request(&mut mux);
    let (waiting, _) = watch(&mut mux, options());
    for key in [key, creating, waiting] {
        mux.remove(key);
    }
    assert_eq!(canceled_id(&mut mux), 1);
    assert!(mux.next_request().is_none() && mux.is_empty());
    mux.receive(created(2, 10));
    assert_eq!(canceled_id(&mut mux), 2, "it was created all the same");
    assert!(mux.next_request().is_none() && mux.active.is_empty());
}

#[test]
fn creations_under_way_are_limited() {
    let mut mux = Mux::default();
    let max = limits::CLIENT_WATCH_CREATES_MAX;
    for _ in 0..=max {
        watch(&mut mux, options());
    }
    for _ in 0..max {
        created_request(&mut mux);
    }
    assert!(!mux.has_request() && mux.next_request().is_none());
    mux.receive(created(1, 1));
    assert!(mux.has_request());
    created_request(&mut mux);
}

#[test]
fn progress_is_asked_for_once_all_watches_are_sent() {
    let mut mux = Mux::default();
    let _watch = watch(&mut mux, options());
    mux.request_progress();
    mux.request_progress();
    created_request(&mut mux);
    let request = mux.next_request().and_then(|request| request.request_union);
    assert!(matches!(request, Some(RequestUnion::ProgressRequest(_))));
    assert!(mux.next_request().is_none());
}

#[test]
fn a_lost_leader_ends_only_who_wants_that() {
    let mut mux = Mux::default();
    let (_, ends) = watch(&mut mux, options().end_without_leader());
    let (_, stays) = watch(&mut mux, options());
    mux.lose_leader();
    let error = WatchError::Call(Error::Api(ApiError::NoLeader));
    assert_eq!(ends.take().update, Some(Err(error)));
    assert_eq!(stays.take().update, None);
    assert!(!mux.is_empty());
}

#[test]
fn options_travel() {
    let mut mux = Mux::default();
    let all = options()
        .from_revision(5)
        .prev_kv()
        .progress_notify()
        .no_puts()
        .no_deletes()
        .unfragmented();
    watch(&mut mux, all);
    let request = created_request(&mut mux);
    let expected = WatchCreateRequest {
        key: "a".into(),
        range_end: "b".into(),
        start_revision: 5,
        progress_notify: true,
        filters: vec![FilterType::Noput.into(), FilterType::Nodelete.into()],
        prev_kv: true,
        watch_id: 1,
        fragment: false,
    };
    assert_eq!(request, expected);
}
