//! What a member that is to join a running cluster asks the others before: who it is.

use super::parse;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tenet_base::MemberId;
use tenet_peer::Client;
use tenet_runtime::Identity;
use tenet_state::Member;

/// What the others have said.
#[derive(Clone, Debug)]
pub(crate) struct Joined {
    /// Who this member is.
    pub identity: Identity,
    /// Everybody, as they are reached.
    pub members: Vec<(MemberId, Vec<String>)>,
}

#[derive(Deserialize)]
struct MemberJson {
    id: u64,
    #[serde(rename = "peerURLs", default)]
    peer_urls: Option<Vec<String>>,
    #[serde(default)]
    name: String,
    #[serde(rename = "clientURLs", default)]
    client_urls: Option<Vec<String>>,
    #[serde(rename = "isLearner", default)]
    is_learner: bool,
}

/// Reads the list that members give each other.
pub(super) fn members_of(json: &[u8]) -> Result<Vec<Member>, String> {
    let read: Vec<MemberJson> = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    let members = read.into_iter().map(|member| Member {
        id: MemberId(member.id),
        peer_urls: member.peer_urls.unwrap_or_default(),
        is_learner: member.is_learner,
        name: member.name,
        client_urls: member.client_urls.unwrap_or_default(),
    });
    Ok(members.collect())
}

/// Asks the members in `initial`, apart from the one called `name`, who they are; compares that
/// with `initial`.
///
/// # Errors
/// In etcd's words, if nobody answers or their cluster is another than the flags say.
pub(crate) async fn join(
    initial: &BTreeMap<String, Vec<String>>,
    name: &str,
    patience: Duration,
) -> Result<Joined, String> {
    let client = Client::new(patience, patience, None);
    let others: BTreeSet<&String> = initial
        .iter()
        .filter(|(other, _)| other.as_str() != name)
        .flat_map(|(_, urls)| urls)
        .collect();
    for url in others {
        let answer = client.members(&parse(std::slice::from_ref(url))?).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                tracing::warn!(address = %url, %error, "failed to get cluster response");
                continue;
            }
        };
        let members = match members_of(&answer.members) {
            Ok(members) => members,
            Err(error) => {
                tracing::warn!(address = %url, error, "failed to unmarshal cluster response");
                continue;
            }
        };
        let own = compare(initial, name, &members)?;
        return Ok(Joined {
            identity: Identity {
                cluster: answer.cluster,
                member: own,
            },
            members: members.into_iter().map(|m| (m.id, m.peer_urls)).collect(),
        });
    }
    Err("cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs".to_owned())
}

/// Finds the member called `name` among those of the cluster, by its addresses.
fn compare(
    initial: &BTreeMap<String, Vec<String>>,
    name: &str,
    members: &[Member],
) -> Result<MemberId, String> {
    let failed = |why: &str| format!("error validating peerURLs: {why}");
    if initial.len() != members.len() {
        return Err(failed("member count is unequal"));
    }
    let sorted = |urls: &[String]| {
        let mut urls = urls.to_vec();
        urls.sort();
        urls
    };
    let mut own = None;
    for (at, urls) in initial {
        let urls = sorted(urls);
        let same = members.iter().find(|m| sorted(&m.peer_urls) == urls);
        let member = same.ok_or_else(|| failed("unmatched member while checking PeerURLs"))?;
        if at == name {
            own = Some(member.id);
        }
    }
    own.ok_or_else(|| format!("couldn't find local name {name:?} in the initial cluster"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members() -> Vec<Member> {
        let json = br#"[{"id":1,"peerURLs":["http://a","http://b"],"name":"m1"},{"id":2,"peerURLs":["http://c"],"isLearner":true}]"#;
        members_of(json).unwrap()
    }

    fn initial(pairs: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
        let own = |urls: &[&str]| urls.iter().map(|url| (*url).to_owned()).collect();
        pairs
            .iter()
            .map(|(name, urls)| ((*name).to_owned(), own(urls)))
            .collect()
    }

    #[test]
    fn a_newcomer_finds_itself_by_its_addresses() {
        let flags = initial(&[("m1", &["http://b", "http://a"]), ("new", &["http://c"])]);
        assert_eq!(compare(&flags, "new", &members()), Ok(MemberId(2)));
        let few = initial(&[("new", &["http://c"])]);
        let error = compare(&few, "new", &members()).unwrap_err();
        assert!(error.contains("member count is unequal"), "{error}");
        let other = initial(&[("m1", &["http://a"]), ("new", &["http://c"])]);
        let error = compare(&other, "new", &members()).unwrap_err();
        assert!(error.contains("unmatched member"), "{error}");
    }
}
