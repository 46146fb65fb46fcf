//! The first members of a cluster, from `--initial-cluster`, and the checks before one is
//! bootstrapped.

use std::collections::{BTreeMap, BTreeSet};
use std::net::ToSocketAddrs as _;

use tenet_cli::go::{Url, quote};
use tenet_cli::log::{Entry, Level};
use tenet_cli::value::parse_urls;

use super::{ClusterState, ServerConfig};

/// What a new cluster is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    /// Peer URLs of the first members, sorted, by name.
    pub members: BTreeMap<String, Vec<Url>>,
    /// Enters the ids of cluster and members.
    pub token: String,
}

/// The value of `--initial-cluster` for one member: its name with each of its URLs.
pub(super) fn of_one(name: &str, urls: &[Url]) -> String {
    let name = if name.is_empty() {
        super::flags::member::NAME.default
    } else {
        name
    };
    urls.iter()
        .map(|url| format!("{name}={url}"))
        .collect::<Vec<_>>()
        .join(",")
}

/// Reads `name=URL,name=URL`. A name may repeat; one without URL has an empty one, which is refused.
fn parse_members(text: &str) -> Result<BTreeMap<String, Vec<Url>>, String> {
    let mut texts: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for pair in text.split(',').filter(|pair| !pair.is_empty()) {
        let (name, url) = pair.split_once('=').unwrap_or((pair, ""));
        texts.entry(name).or_default().push(url);
    }
    let members = texts.into_iter();
    members
        .map(|(name, urls)| Ok((name.to_owned(), parse_urls(&urls.join(","))?)))
        .collect()
}

/// `name=URL,name=URL`, sorted.
fn members_text(members: &BTreeMap<String, Vec<Url>>) -> String {
    let pairs = members
        .iter()
        .flat_map(|(name, urls)| urls.iter().map(move |url| format!("{name}={url}")));
    BTreeSet::from_iter(pairs)
        .into_iter()
        .collect::<Vec<_>>()
        .join(",")
}

impl ServerConfig {
    /// The members of a new cluster. To be called only when there is no data yet: on a restart the
    /// flags about the cluster are not looked at.
    ///
    /// # Errors
    /// If this member cannot be part of them, or what is asked for does not exist yet. The entries
    /// are to be logged; then the process ends with exit code 1.
    pub fn bootstrap(&self) -> Result<Bootstrap, Vec<Entry>> {
        let members = parse_members(&self.initial_cluster).map_err(|error| {
            self.start_failure(&format!("error setting up initial cluster: {error}"))
        })?;
        if let Err(error) = self.check_members(&members) {
            let mut entries =
                vec![Entry::new(Level::Error, "bootstrap failed").with("error", error.as_str())];
            entries.extend(self.start_failure(&error));
            return Err(entries);
        }
        Ok(Bootstrap {
            members,
            token: self.initial_cluster_token.clone(),
        })
    }

    /// The first members as a log line shows them.
    pub(super) fn members_text(&self) -> String {
        parse_members(&self.initial_cluster)
            .map(|members| members_text(&members))
            .unwrap_or_default()
    }

    fn check_members(&self, members: &BTreeMap<String, Vec<Url>>) -> Result<(), String> {
        let Some(own) = members.get(&self.name) else {
            return Err(format!(
                "couldn't find local name {} in the initial cluster configuration",
                quote(&self.name)
            ));
        };
        if self.initial_cluster_state == ClusterState::Existing {
            return Err(
                "--initial-cluster-state=existing is refused: a member cannot join a cluster \
                        yet; start a new one, or restore a snapshot"
                    .to_owned(),
            );
        }
        self.check_advertised(own)?;
        let mut seen = BTreeSet::new();
        if !members
            .values()
            .flatten()
            .all(|url| seen.insert(url.to_string()))
        {
            return Err(format!(
                "initial cluster {} has duplicate url",
                members_text(members)
            ));
        }
        if members.len() > 1 {
            return Err(format!(
                "--initial-cluster with {} members is refused: a cluster has one member yet; name {} alone",
                members.len(),
                quote(&self.name)
            ));
        }
        Ok(())
    }

    /// The URLs that this member advertises must be those that `--initial-cluster` has for it, if
    /// not by their text, then by the addresses that they resolve to.
    fn check_advertised(&self, own: &[Url]) -> Result<(), String> {
        let advertised = &self.initial_advertise_peer_urls;
        let Err(reason) = same_addresses(advertised, own) else {
            return Ok(());
        };
        let (here, there) = (text_set(advertised), text_set(own));
        let named = BTreeMap::from([(self.name.clone(), advertised.clone())]);
        let only_there: Vec<_> = there
            .difference(&here)
            .map(|url| format!("{}={url}", self.name))
            .collect();
        if !only_there.is_empty() {
            return Err(format!(
                "--initial-cluster has {} but missing from --initial-advertise-peer-urls={} ({reason})",
                only_there.join(","),
                sorted_texts(advertised).join(",")
            ));
        }
        let only_here: Vec<_> = here.difference(&there).map(String::as_str).collect();
        Err(if only_here.is_empty() {
            format!(
                "failed to resolve {} to match --initial-cluster={} ({reason})",
                sorted_texts(advertised).join(","),
                members_text(&named)
            )
        } else {
            format!(
                "--initial-advertise-peer-urls has {} but missing from --initial-cluster={}",
                only_here.join(","),
                members_text(&named)
            )
        })
    }

    /// What etcd logs when a start fails with this error, whatever its cause: usually a fatal line
    /// that reads `discovery failed`, which scripts know.
    #[must_use]
    pub fn start_failure(&self, error: &str) -> Vec<Entry> {
        if !(error.contains("include") && error.contains("--initial-cluster")) {
            return vec![Entry::new(Level::Fatal, "discovery failed").with("error", error)];
        }
        let mut entries = vec![Entry::new(Level::Warn, "failed to start").with("error", error)];
        let is_alone =
            self.initial_cluster == of_one(&self.name, &self.initial_advertise_peer_urls);
        if is_alone {
            entries.push(Entry::new(Level::Warn, "forgot to set --initial-cluster?"));
        }
        let default = super::flags::clustering::INITIAL_ADVERTISE_PEER_URLS.default;
        if sorted_texts(&self.initial_advertise_peer_urls).join(",") == default {
            entries.push(Entry::new(
                Level::Warn,
                "forgot to set --initial-advertise-peer-urls?",
            ));
        }
        if is_alone {
            let text = "V3 discovery settings (i.e., --discovery-token, --discovery-endpoints) are not set";
            entries.push(Entry::new(Level::Warn, text));
        }
        entries
    }
}

fn text_set(urls: &[Url]) -> BTreeSet<String> {
    urls.iter().map(ToString::to_string).collect()
}

fn sorted_texts(urls: &[Url]) -> Vec<String> {
    let mut texts: Vec<_> = urls.iter().map(ToString::to_string).collect();
    texts.sort();
    texts
}

fn same_addresses(a: &[Url], b: &[Url]) -> Result<(), String> {
    let (a_texts, b_texts) = (sorted_texts(a), sorted_texts(b));
    if a_texts.len() != b_texts.len() {
        let list = |texts: &[String]| {
            texts
                .iter()
                .map(|text| quote(text))
                .collect::<Vec<_>>()
                .join(" ")
        };
        return Err(format!(
            "len([{}]) != len([{}])",
            list(&a_texts),
            list(&b_texts)
        ));
    }
    if a_texts == b_texts {
        return Ok(());
    }
    let resolve = |urls: &[Url]| {
        let mut resolved = urls
            .iter()
            .map(resolved_text)
            .collect::<Result<Vec<_>, _>>()?;
        resolved.sort();
        Ok::<_, String>(resolved)
    };
    let (a, b) = (resolve(a)?, resolve(b)?);
    match a.iter().zip(&b).find(|(a, b)| a != b) {
        Some((a, b)) => Err(format!("resolved urls: {} != {}", quote(a), quote(b))),
        None => Ok(()),
    }
}

/// The URL with its host replaced by the first address that it resolves to. `localhost` stays.
fn resolved_text(url: &Url) -> Result<String, String> {
    let text = url.to_string();
    let Ok((host, _)) = url.host_port() else {
        return Ok(text);
    };
    if url.is_unix() || host == "localhost" {
        return Ok(text);
    }
    let failed = |reason: String| format!("failed to resolve {} ({reason})", quote(&text));
    let mut addresses = url
        .host
        .to_socket_addrs()
        .map_err(|error| failed(error.to_string()))?;
    let address = addresses
        .next()
        .ok_or_else(|| failed("no address".to_owned()))?;
    Ok(text.replacen(&url.host, &address.to_string(), 1))
}
