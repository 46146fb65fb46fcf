//! Leases.

use tenet_client::proto::{
    LeaseGrantRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest, PutRequest, RangeRequest,
};
use tenet_client::{Error, KeyRange, LeaseEnd};
use tenet_proto::ApiError;

use super::start;
use crate::scripted::soon;

#[tokio::test]
async fn a_lease_lives_and_ends_with_its_keys() {
    let server = start!();
    let client = server.client();
    let grant = LeaseGrantRequest { ttl: 100, id: 7 };
    assert_eq!(client.lease_grant(grant).await.unwrap().ttl, 100);
    let taken = client.lease_grant(grant).await;
    assert_eq!(taken, Err(Error::Api(ApiError::LeaseExist)));
    let mine = client.namespace("mine/");
    for (client, key) in [(&client, "theirs"), (&mine, "k")] {
        let put = PutRequest {
            key: key.into(),
            lease: 7,
            ..PutRequest::default()
        };
        client.put(put).await.unwrap();
    }
    let asked = LeaseTimeToLiveRequest { id: 7, keys: true };
    let left = mine.lease_time_to_live(asked).await.unwrap();
    assert_eq!((left.granted_ttl, &left.keys[..]), (100, &["k".into()][..]));
    let ids: Vec<i64> = client
        .leases()
        .await
        .unwrap()
        .leases
        .iter()
        .map(|l| l.id)
        .collect();
    assert_eq!(ids, [7]);
    assert_eq!(client.lease_keep_alive_once(7).await.unwrap().ttl, 100);
    let revoke = LeaseRevokeRequest { id: 7 };
    client.lease_revoke(revoke).await.unwrap();
    let all = RangeRequest::from(KeyRange::all());
    assert_eq!(client.range(all).await.unwrap().count, 0);
    let gone = Err(Error::Api(ApiError::LeaseNotFound));
    assert_eq!(client.lease_revoke(revoke).await.map(|_| ()), gone);
    assert_eq!(client.lease_keep_alive_once(7).await.map(|_| ()), gone);
    assert_eq!(client.lease_time_to_live(asked).await.unwrap().ttl, -1);
}

#[tokio::test]
async fn a_lease_outlives_its_time_while_it_is_kept_alive_and_the_server_is_killed() {
    let mut server = start!();
    let client = server.client();
    let lease = client
        .lease_grant(LeaseGrantRequest { ttl: 2, id: 0 })
        .await
        .unwrap()
        .id;
    let mut keep_alive = client.keep_alive(lease);
    for _ in 0..4 {
        assert_eq!(soon(keep_alive.next()).await.unwrap().ttl, 2);
    }
    server.restart().await;
    for _ in 0..4 {
        assert_eq!(soon(keep_alive.next()).await.unwrap().ttl, 2);
    }
    client
        .lease_revoke(LeaseRevokeRequest { id: lease })
        .await
        .unwrap();
    assert_eq!(soon(keep_alive.ended()).await, LeaseEnd::Gone);
    assert!(!keep_alive.is_alive());
}

#[tokio::test]
async fn a_lease_that_is_not_kept_alive_any_more_runs_out() {
    let server = start!();
    let client = server.client();
    let lease = client
        .lease_grant(LeaseGrantRequest { ttl: 2, id: 0 })
        .await
        .unwrap()
        .id;
    let mut keep_alive = client.keep_alive(lease);
    assert!(soon(keep_alive.next()).await.is_some());
    drop(keep_alive);
    let gone = async {
        while !client.leases().await.unwrap().leases.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    soon(gone).await;
}
