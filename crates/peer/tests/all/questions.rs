//! What members ask each other beside raft, from both ends.

use crate::world::{CLUSTER, Member, answer, connect, request};
use std::time::Duration;
use tenet_base::{ClusterId, LeaseId, MemberId, Revision};
use tenet_peer::{
    CallError, Client, HashKv, HashKvAnswer, LeaseRefusal, PeerUrl, PromoteRefusal, Versions,
};

fn client() -> Client {
    Client::new(Duration::from_secs(2), Duration::from_secs(5), None)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_question_is_answered() {
    let member = Member::start(1).await;
    let nobody = PeerUrl::parse("http://127.0.0.1:1").unwrap();
    let urls = [nobody, member.url.clone()];
    let client = client();
    let members = client.members(&urls).await.unwrap();
    assert_eq!(members.cluster, CLUSTER);
    assert!(members.members.starts_with(b"[{\"id\":1,") && members.members.ends_with(b"]\n"));
    assert_eq!(
        client.versions(&urls).await.unwrap(),
        Versions {
            server: "3.7.1".into(),
            cluster: None,
            storage: "unknown".into()
        }
    );
    assert!(client.downgrade_enabled(&urls).await.unwrap());
    assert_eq!(client.keep_alive(&urls, LeaseId(1)).await.unwrap(), Ok(60));
    let left = client
        .time_to_live(&urls, LeaseId(-7), true)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((left.id, left.ttl, left.granted_ttl), (-7, 59, 60));
    assert_eq!(left.keys, ["k"]);
    let hash = client.hash_kv(&urls, CLUSTER, Revision(0)).await.unwrap();
    assert_eq!(
        hash,
        HashKvAnswer::Hash(HashKv {
            revision: Revision(8),
            hash: 0xffff_fff0,
            compact_revision: -1,
            hash_revision: Revision(4),
        })
    );
    let promoted = client.promote(&urls, MemberId(1), None).await.unwrap();
    assert!(promoted.unwrap().starts_with(b"[{"));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_arrive_as_what_they_are() {
    let member = Member::start(1).await;
    let urls = [member.url.clone()];
    let client = client();
    for (lease, refusal) in [
        (2, LeaseRefusal::NotFound),
        (3, LeaseRefusal::Timeout),
        (4, LeaseRefusal::NotPrimary),
    ] {
        let lease = LeaseId(lease);
        assert_eq!(
            client.keep_alive(&urls, lease).await.unwrap(),
            Err(refusal.clone())
        );
        let left = client.time_to_live(&urls, lease, false).await.unwrap();
        assert_eq!(left, Err(refusal));
    }
    for (id, refusal) in [
        (2, PromoteRefusal::NotLearner),
        (3, PromoteRefusal::NotReady),
        (5, PromoteRefusal::NotFound),
    ] {
        let answered = client.promote(&urls, MemberId(id), None).await.unwrap();
        assert_eq!(answered, Err(refusal));
    }
    // What else went wrong is for the log of the member that was asked.
    let other = client
        .promote(&urls, MemberId(4), Some("token"))
        .await
        .unwrap();
    assert_eq!(
        other,
        Err(PromoteRefusal::Other(
            r#"member promote: unknown error({"message":"Internal Server Error"})"#.into()
        ))
    );
    for (revision, expected) in [(1, HashKvAnswer::Compacted), (9, HashKvAnswer::Future)] {
        let answered = client
            .hash_kv(&urls, CLUSTER, Revision(revision))
            .await
            .unwrap();
        assert_eq!(answered, expected);
    }
    let other = client
        .hash_kv(&urls, ClusterId(7), Revision(0))
        .await
        .unwrap();
    assert_eq!(other, HashKvAnswer::OtherCluster);
    let nobody = [PeerUrl::parse("http://127.0.0.1:1").unwrap()];
    let error = client.members(&nobody).await.unwrap_err();
    assert!(matches!(error, CallError::Connect(_)), "{error}");
    let secure = [PeerUrl::parse(&format!("https://{}", member.address)).unwrap()];
    let error = client.members(&secure).await.unwrap_err();
    assert!(error.to_string().contains("--peer-cert-file"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn statuses_and_bodies_are_etcds() {
    let member = Member::start(1).await;
    let json = br#"{"revision":4}"#;
    for (method, path, body, status, text) in [
        (
            "GET",
            "/version",
            &b""[..],
            200,
            r#"{"etcdserver":"3.7.1","etcdcluster":"not_decided","storage":"unknown"}"#,
        ),
        ("GET", "/downgrade/enabled", b"", 200, "true"),
        (
            "GET",
            "/members/hashkv",
            json,
            200,
            r#"{"header":{"revision":8},"hash":4294967280,"compact_revision":-1,"hash_revision":4}"#,
        ),
        (
            "GET",
            "/members/hashkv",
            b"x",
            400,
            "error unmarshalling request\n",
        ),
        (
            "GET",
            "/members/hashkv",
            br#"{"revision":1}"#,
            400,
            "mvcc: required revision has been compacted\n",
        ),
        (
            "POST",
            "/members/promote/x",
            b"",
            404,
            "member x not found in cluster\n",
        ),
        (
            "POST",
            "/members/promote/9",
            b"",
            404,
            "membership: ID not found\n",
        ),
        ("POST", "/leases", &[8, 2], 404, "lease not found\n"),
        (
            "POST",
            "/leases",
            &[8, 3],
            408,
            "waiting for node to catch up its applied index has timed out\n",
        ),
        ("POST", "/leases", &[8, 4], 400, "not a primary lessor\n"),
        (
            "POST",
            "/leases",
            &[0xff],
            400,
            "error unmarshalling request\n",
        ),
        (
            "POST",
            "/leases/internal",
            &[0x0a, 2, 8, 4],
            500,
            "not a primary lessor\n",
        ),
        (
            "POST",
            "/leases/internal",
            b"",
            400,
            "error unmarshalling request\n",
        ),
        (
            "POST",
            "/leases",
            &[1; 70_000],
            413,
            "request body too large\n",
        ),
    ] {
        let mut socket = connect(member.address, &request(method, path, &[], body)).await;
        let (got, said) = answer(&mut socket).await;
        assert_eq!((got, said.as_str()), (status, text), "{method} {path}");
    }
}
