//! Locks and elections, those of the client beside those of the server.

use std::time::Duration;

use tenet_client::election_proto::{
    CampaignRequest, LeaderRequest, ProclaimRequest, ResignRequest,
};
use tenet_client::lock_proto::{LockRequest, UnlockRequest};
use tenet_client::proto::{PutRequest, RangeRequest, RequestOp, TxnRequest, request_op::Request};
use tenet_client::{Client, ConcurrencyError, Error, KeyRange, Lock, Session};
use tenet_proto::ApiError;

use super::{put, start};
use crate::scripted::soon;

async fn read(client: &Client, key: &str) -> u64 {
    let range = RangeRequest::from(KeyRange::key(key.to_owned()));
    let answer = client.range(range).await.unwrap();
    let value = answer.kvs.first().map(|kv| kv.value.clone());
    value.map_or(0, |value| String::from_utf8_lossy(&value).parse().unwrap())
}

/// Writes as long as the lock is held.
async fn guarded_put(client: &Client, lock: &Lock, value: &str) -> bool {
    let put = PutRequest {
        key: "guarded".into(),
        value: value.to_owned().into(),
        ..PutRequest::default()
    };
    let txn = TxnRequest {
        compare: vec![lock.guard()],
        success: vec![RequestOp {
            request: Some(Request::RequestPut(put)),
        }],
        failure: vec![],
    };
    client.txn(txn).await.unwrap().succeeded
}

#[tokio::test]
async fn a_lock_has_one_holder_and_its_revision_grows() {
    let server = start!();
    let client = server.client();
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let client = client.clone();
        workers.spawn(async move {
            let session = Session::new(&client, 60).await.unwrap();
            let mut held = Vec::new();
            for _ in 0..5 {
                let lock = session.lock("l").await.unwrap();
                // Not atomic, so two holders at once would lose a count.
                let count = read(&client, "count").await;
                tokio::task::yield_now().await;
                put(&client, "count", (count + 1).to_string()).await;
                held.push((count, lock.revision()));
                lock.unlock().await.unwrap();
            }
            session.close().await.unwrap();
            held
        });
    }
    let mut held: Vec<(u64, i64)> = soon(workers.join_all()).await.concat();
    held.sort_unstable();
    assert_eq!(held.len(), 40);
    assert_eq!(read(&client, "count").await, 40);
    assert!(
        held.windows(2).all(|pair| pair[0].1 < pair[1].1),
        "{held:?}"
    );
}

#[tokio::test]
async fn a_lock_passes_on_when_its_holder_is_gone_and_its_guard_fails() {
    let server = start!();
    let client = server.client();
    let first = Session::new(&client, 60).await.unwrap();
    let second = Session::new(&client, 60).await.unwrap();
    let lock = first.lock("l").await.unwrap();
    let again = first.lock("l").await.unwrap();
    assert_eq!(again.revision(), lock.revision(), "held once");
    std::mem::forget(again);
    assert!(guarded_put(&client, &lock, "one").await);
    let refused = second.try_lock("l").await.unwrap_err();
    assert_eq!(refused, ConcurrencyError::Held);
    let waiting = second.lock("l");
    let (next, closed) = tokio::join!(soon(waiting), first.close());
    closed.unwrap();
    let next = next.unwrap();
    assert!(next.revision() > lock.revision());
    assert!(!guarded_put(&client, &lock, "late").await);
    assert!(guarded_put(&client, &next, "two").await);
}

#[tokio::test]
async fn who_stops_waiting_stands_in_nobodys_way() {
    let server = start!();
    let client = server.client();
    let [one, two, three] = [(); 3].map(|()| Session::new(&client, 60));
    let (one, two, three) = tokio::join!(one, two, three);
    let (one, two, three) = (one.unwrap(), two.unwrap(), three.unwrap());
    let lock = one.lock("l").await.unwrap();
    let gave_up = tokio::time::timeout(Duration::from_millis(300), two.lock("l")).await;
    assert!(gave_up.is_err());
    let (third, unlocked) = tokio::join!(soon(three.lock("l")), lock.unlock());
    unlocked.unwrap();
    drop(third.unwrap());
    // Dropped, it is given back too.
    soon(two.lock("l")).await.unwrap();
}

#[tokio::test]
async fn who_waits_with_a_lost_lease_is_told() {
    let server = start!();
    let client = server.client();
    let holder = Session::new(&client, 60).await.unwrap();
    let _lock = holder.lock("l").await.unwrap();
    // The session hears of it with the next renewal, after two seconds.
    let waiter = Session::new(&client, 6).await.unwrap();
    let revoke = tenet_client::proto::LeaseRevokeRequest { id: waiter.lease() };
    let (lock, revoked) = tokio::join!(soon(waiter.lock("l")), client.lease_revoke(revoke));
    revoked.unwrap();
    let lost = lock.unwrap_err();
    let found = "the key was there before the lease was revoked, or the lease was gone already";
    let gone = ConcurrencyError::Call(Error::Api(ApiError::LeaseNotFound));
    assert!(
        lost == ConcurrencyError::SessionExpired || lost == gone,
        "{found}: {lost}"
    );
}

#[tokio::test]
async fn an_office_is_held_changed_and_passed_on() {
    let server = start!();
    let client = server.client().namespace("ns/");
    let mut observer = client.election_observer("e");
    let sees = async |observer: &mut tenet_client::concurrency::ElectionObserver| {
        let leader = soon(observer.next()).await.unwrap();
        String::from_utf8(leader.kv.value.to_vec()).unwrap()
    };
    let one = Session::new(&client, 60).await.unwrap();
    let two = Session::new(&client, 60).await.unwrap();
    assert_eq!(client.election_leader("e").await.unwrap(), None);
    let (office, seen) = tokio::join!(one.campaign("e", "a"), sees(&mut observer));
    let office = office.unwrap();
    assert_eq!(seen, "a");
    office.proclaim("b").await.unwrap();
    office.proclaim("c").await.unwrap();
    assert_eq!(
        [sees(&mut observer).await, sees(&mut observer).await],
        ["b", "c"]
    );
    let leader = client.election_leader("e").await.unwrap().unwrap();
    assert_eq!(leader.kv.key, office.key());
    assert_eq!(office.key()[..], *format!("e/{:x}", one.lease()).as_bytes());
    let revision = office.revision();
    let (next, resigned) = tokio::join!(soon(two.campaign("e", "d")), office.resign());
    resigned.unwrap();
    let next = next.unwrap();
    assert!(next.revision() > revision);
    assert_eq!(sees(&mut observer).await, "d");
    two.close().await.unwrap();
    let lost = next.proclaim("e").await.unwrap_err();
    assert_eq!(lost, ConcurrencyError::Lost);
}

#[tokio::test]
async fn locks_of_the_server_and_of_the_client_exclude_each_other() {
    let server = start!();
    let client = server.client().namespace("ns/");
    let session = Session::new(&client, 60).await.unwrap();
    let other = Session::new(&client, 60).await.unwrap();
    let service = client.lock_service();
    let request = LockRequest {
        name: "l".into(),
        lease: other.lease(),
    };
    let held = soon(service.lock(request)).await.unwrap();
    assert_eq!(held.key[..], *format!("l/{:x}", other.lease()).as_bytes());
    let refused = session.try_lock("l").await.unwrap_err();
    assert_eq!(refused, ConcurrencyError::Held);
    let unlock = UnlockRequest { key: held.key };
    let (lock, unlocked) = tokio::join!(soon(session.lock("l")), service.unlock(unlock));
    unlocked.unwrap();
    lock.unwrap();
}

#[tokio::test]
async fn elections_of_the_server_and_of_the_client_are_the_same() {
    let server = start!();
    let client = server.client().namespace("ns/");
    let session = Session::new(&client, 60).await.unwrap();
    let service = client.election_service();
    let name = || LeaderRequest { name: "e".into() };
    let mut leaders = {
        // The server answers the observer once there is a leader.
        let campaign = CampaignRequest {
            name: "e".into(),
            lease: session.lease(),
            value: "a".into(),
        };
        let (leaders, elected) =
            tokio::join!(soon(service.observe(name())), service.campaign(campaign));
        let leader = elected.unwrap().leader;
        let proclaim = ProclaimRequest {
            leader: leader.clone(),
            value: "b".into(),
        };
        service.proclaim(proclaim).await.unwrap();
        let seen = client.election_leader("e").await.unwrap().unwrap();
        assert_eq!(
            (&seen.kv.value[..], &seen.kv.key),
            (&b"b"[..], &leader.as_ref().unwrap().key)
        );
        assert_eq!(service.leader(name()).await.unwrap().kv.unwrap().value, "b");
        service.resign(ResignRequest { leader }).await.unwrap();
        leaders.unwrap()
    };
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let leader = soon(leaders.next()).await.unwrap().unwrap();
        seen.push(leader.kv.unwrap().value);
    }
    assert_eq!(seen, ["a", "b"]);
    let nobody = service.leader(name()).await.unwrap_err();
    assert!(
        nobody.to_string().contains("election: no leader"),
        "{nobody}"
    );
}
