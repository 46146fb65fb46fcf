//! The headers that members show each other, and what is asked of them.

use crate::options::Options;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use tenet_base::{ClusterId, MemberId};

/// Who asks.
pub(crate) const FROM: HeaderName = HeaderName::from_static("x-server-from");
/// Its version.
pub(crate) const SERVER_VERSION: HeaderName = HeaderName::from_static("x-server-version");
/// The lowest version of a cluster that it can be in.
pub(crate) const MIN_CLUSTER_VERSION: HeaderName = HeaderName::from_static("x-min-cluster-version");
/// Its cluster.
pub(crate) const CLUSTER_ID: HeaderName = HeaderName::from_static("x-etcd-cluster-id");
/// Whom it wants to ask.
pub(crate) const TO: HeaderName = HeaderName::from_static("x-raft-to");
/// Where it can be reached.
pub(crate) const PEER_URLS: HeaderName = HeaderName::from_static("x-peerurls");

/// What a member without a version is taken for.
const VERSION_IF_MISSING: &str = "2.0.0";

/// Major and minor version; the rest does not matter between members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(u64, u64);

impl Version {
    /// Reads `major.minor.patch`, whatever stands behind the patch level.
    pub(crate) fn parse(text: &str) -> Option<Version> {
        let mut parts = text.splitn(3, '.');
        let mut number = || parts.next()?.parse().ok();
        let version = Version(number()?, number()?);
        let patch = parts.next()?;
        let digits = patch.split(['-', '+']).next()?;
        digits.parse::<u64>().ok().map(|_| version)
    }

    /// The oldest version whose streams are those that we speak.
    pub(crate) const FIRST_WITH_STREAMS: Version = Version(2, 1);

    /// The version that a header claims.
    pub(crate) fn of(headers: &HeaderMap, name: &HeaderName) -> Option<Version> {
        match headers.get(name) {
            None => Version::parse(VERSION_IF_MISSING),
            Some(value) => Version::parse(value.to_str().ok()?),
        }
    }
}

/// A header as text; empty if it is missing or no text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

/// A member id as it stands in headers and paths.
pub(crate) fn member_id(text: &str) -> Option<MemberId> {
    // Only digits: the parser would also take a sign.
    if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u64::from_str_radix(text, 16).ok().map(MemberId)
}

/// Why a request is refused before anything else is looked at. The texts are etcd's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Incompatible {
    /// The versions do not get on.
    #[error("incompatible version")]
    Version,
    /// It is another cluster's.
    #[error("cluster ID mismatch")]
    Cluster,
}

/// Whether a request comes from a member that we can talk to.
pub(crate) fn check(headers: &HeaderMap, options: &Options) -> Result<(), Incompatible> {
    let ours = |text| Version::parse(text).expect("our own versions are versions");
    let good = Version::of(headers, &SERVER_VERSION)
        .zip(Version::of(headers, &MIN_CLUSTER_VERSION))
        .is_some_and(|(server, cluster_min)| {
            server >= ours(options.cluster_version_min)
                && cluster_min <= ours(options.server_version)
        });
    if !good {
        return Err(Incompatible::Version);
    }
    if text(headers, &CLUSTER_ID) != options.cluster.to_string() {
        return Err(Incompatible::Cluster);
    }
    Ok(())
}

/// What we show of ourselves in each request about raft.
pub(crate) fn own(options: &Options) -> HeaderMap {
    let value = |text: &str| HeaderValue::from_str(text).expect("ids and URLs are fit for headers");
    let mut headers = HeaderMap::new();
    headers.insert(FROM, value(&options.local.to_string()));
    headers.insert(SERVER_VERSION, value(options.server_version));
    headers.insert(MIN_CLUSTER_VERSION, value(options.cluster_version_min));
    headers.insert(CLUSTER_ID, cluster(options.cluster));
    let urls: Vec<String> = options.urls.iter().map(ToString::to_string).collect();
    headers.insert(PEER_URLS, value(&urls.join(",")));
    headers
}

/// The cluster as a header.
pub(crate) fn cluster(id: ClusterId) -> HeaderValue {
    HeaderValue::from_str(&id.to_string()).expect("a number is fit for a header")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::url::PeerUrl;
    use std::time::Duration;

    fn options() -> Options {
        Options {
            local: MemberId(0x5a),
            cluster: ClusterId(0xc1),
            urls: PeerUrl::parse_list("http://a:1,http://b:2").unwrap(),
            server_version: "3.7.1",
            cluster_version_min: "3.0.0",
            dial_timeout: Duration::from_secs(2),
            tls: None,
        }
    }

    fn verdict(change: impl FnOnce(&mut HeaderMap)) -> Result<(), Incompatible> {
        let mut headers = own(&options());
        change(&mut headers);
        check(&headers, &options())
    }

    #[test]
    fn what_we_show_is_what_etcd_shows_and_we_take_it() {
        let headers = own(&options());
        assert_eq!(text(&headers, &FROM), "5a");
        assert_eq!(text(&headers, &CLUSTER_ID), "c1");
        assert_eq!(text(&headers, &SERVER_VERSION), "3.7.1");
        assert_eq!(text(&headers, &PEER_URLS), "http://a:1,http://b:2");
        assert_eq!(verdict(|_| {}), Ok(()));
    }

    #[test]
    fn versions_and_clusters_that_do_not_fit_are_refused() {
        let set = |name: HeaderName, value: &'static str| {
            verdict(|headers| {
                headers.insert(name, HeaderValue::from_static(value));
            })
        };
        assert_eq!(set(SERVER_VERSION, "2.3.8"), Err(Incompatible::Version));
        assert_eq!(set(SERVER_VERSION, "3.0.0"), Ok(()));
        assert_eq!(set(SERVER_VERSION, "4.0.0"), Ok(()));
        assert_eq!(set(MIN_CLUSTER_VERSION, "3.7.9"), Ok(()));
        assert_eq!(
            set(MIN_CLUSTER_VERSION, "3.8.0"),
            Err(Incompatible::Version)
        );
        assert_eq!(set(SERVER_VERSION, "3.7"), Err(Incompatible::Version));
        assert_eq!(set(SERVER_VERSION, "x"), Err(Incompatible::Version));
        assert_eq!(set(CLUSTER_ID, "C1"), Err(Incompatible::Cluster));
        assert_eq!(set(CLUSTER_ID, ""), Err(Incompatible::Cluster));
        let without = verdict(|headers| {
            headers.remove(SERVER_VERSION);
        });
        assert_eq!(without, Err(Incompatible::Version), "taken for 2.0.0");
    }

    #[test]
    fn versions_are_read_with_what_may_stand_behind_them() {
        assert_eq!(Version::parse("3.8.0-alpha.0+git"), Some(Version(3, 8)));
        for bad in ["", "3", "3.7", "3.7.x", "v3.7.1", "3.7.-1", "-3.7.1"] {
            assert_eq!(Version::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn member_ids_are_hexadecimal() {
        assert_eq!(member_id("5a"), Some(MemberId(0x5a)));
        for bad in ["", "+5a", "xyz", "10000000000000000"] {
            assert_eq!(member_id(bad), None, "{bad}");
        }
    }
}
