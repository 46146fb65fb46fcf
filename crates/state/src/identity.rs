//! How members and clusters get their ids: etcd's formulas, so that a member started with the same
//! flags is the same member.

use sha1::{Digest as _, Sha1};
use tenet_base::{ClusterId, MemberId};

/// The id of a member that a new cluster starts with, from its peer URLs and the cluster's token.
#[must_use]
pub fn bootstrap_member_id<S: AsRef<str>>(peer_urls: &[S], token: &str) -> MemberId {
    MemberId(hashed(peer_urls, token))
}

/// The id of a member added to a running cluster, from its peer URLs and the time of adding.
#[must_use]
pub fn added_member_id<S: AsRef<str>>(peer_urls: &[S], unix_seconds: u64) -> MemberId {
    MemberId(hashed(peer_urls, &unix_seconds.to_string()))
}

/// The id of a cluster, from the members that it starts with. It never changes afterwards.
#[must_use]
pub fn cluster_id(members: &[MemberId]) -> ClusterId {
    let mut sorted = members.to_vec();
    sorted.sort_unstable();
    let mut hash = Sha1::new();
    for id in sorted {
        hash.update(id.get().to_be_bytes());
    }
    ClusterId(first_eight_bytes(hash))
}

fn hashed<S: AsRef<str>>(peer_urls: &[S], suffix: &str) -> u64 {
    let mut sorted: Vec<&str> = peer_urls.iter().map(AsRef::as_ref).collect();
    sorted.sort_unstable();
    let mut hash = Sha1::new();
    for url in sorted {
        hash.update(url);
    }
    hash.update(suffix);
    first_eight_bytes(hash)
}

fn first_eight_bytes(hash: Sha1) -> u64 {
    let digest = hash.finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    // All expected ids were read from etcd 3.7.1 started with these flags.

    #[test]
    fn ids_of_a_new_cluster_are_etcds() {
        let id = bootstrap_member_id(&["http://localhost:2380"], "etcd-cluster");
        assert_eq!(id.to_string(), "8e9e05c52164694d");
        assert_eq!(cluster_id(&[id]).to_string(), "cdf818194e3a8c32");

        let id = bootstrap_member_id(&["http://127.0.0.1:12380"], "etcd-cluster");
        assert_eq!(id.to_string(), "ddd67b312462fd7b");
        assert_eq!(cluster_id(&[id]).to_string(), "a7ef944b95711739");

        let id = bootstrap_member_id(&["http://127.0.0.1:36380"], "golden-token");
        assert_eq!(id.get(), 9_756_032_511_891_521_708);
        assert_eq!(cluster_id(&[id]).get(), 15_849_253_893_091_447_362);
    }

    #[test]
    fn order_of_urls_and_members_does_not_matter() {
        let (a, b) = ("http://10.0.0.1:2380", "http://10.0.0.2:2380");
        assert_eq!(
            bootstrap_member_id(&[a, b], "t"),
            bootstrap_member_id(&[b, a], "t")
        );
        assert_eq!(
            cluster_id(&[MemberId(1), MemberId(2)]),
            cluster_id(&[MemberId(2), MemberId(1)])
        );
    }

    #[test]
    fn time_of_adding_takes_the_place_of_the_token() {
        let url = ["http://10.0.0.1:2380"];
        assert_eq!(added_member_id(&url, 17), bootstrap_member_id(&url, "17"));
        assert_ne!(added_member_id(&url, 17), added_member_id(&url, 18));
    }
}
