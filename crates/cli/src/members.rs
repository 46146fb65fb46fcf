//! The first members of a cluster, as `--initial-cluster` names them, and whether a member fits in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::ToSocketAddrs as _;

use crate::go::{Url, quote};
use crate::value::parse_urls;

/// Peer URLs of members, sorted, by name.
pub type Members = BTreeMap<String, Vec<Url>>;

/// Reads `name=URL,name=URL`. A name may repeat.
///
/// # Errors
/// A name without URL has an empty one, which is refused, as any other that is none.
pub fn parse(text: &str) -> Result<Members, String> {
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
#[must_use]
pub fn text(members: &Members) -> String {
    let pairs = members
        .iter()
        .flat_map(|(name, urls)| urls.iter().map(move |url| format!("{name}={url}")));
    BTreeSet::from_iter(pairs)
        .into_iter()
        .collect::<Vec<_>>()
        .join(",")
}

/// The URLs of the member called `name`.
///
/// # Errors
/// If there is none, with etcd's text.
pub fn find_own<'a>(members: &'a Members, name: &str) -> Result<&'a [Url], String> {
    members.get(name).map(Vec::as_slice).ok_or_else(|| {
        let name = quote(name);
        format!("couldn't find local name {name} in the initial cluster configuration")
    })
}

/// # Errors
/// If a URL is there twice, with etcd's text.
pub fn check_duplicates(members: &Members) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    let mut urls = members.values().flatten();
    if urls.all(|url| seen.insert(url.to_string())) {
        return Ok(());
    }
    Err(format!(
        "initial cluster {} has duplicate url",
        text(members)
    ))
}

/// The URLs that this member advertises must be those that `--initial-cluster` has for it, if
/// not by their text, then by the addresses that they resolve to.
///
/// # Errors
/// With etcd's text.
pub fn check_advertised(name: &str, advertised: &[Url], own: &[Url]) -> Result<(), String> {
    let Err(reason) = same_addresses(advertised, own) else {
        return Ok(());
    };
    let (here, there) = (text_set(advertised), text_set(own));
    let named = BTreeMap::from([(name.to_owned(), advertised.to_vec())]);
    let only_there: Vec<_> = there
        .difference(&here)
        .map(|url| format!("{name}={url}"))
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
            text(&named)
        )
    } else {
        format!(
            "--initial-advertise-peer-urls has {} but missing from --initial-cluster={}",
            only_here.join(","),
            text(&named)
        )
    })
}

fn text_set(urls: &[Url]) -> BTreeSet<String> {
    urls.iter().map(ToString::to_string).collect()
}

/// The texts of URLs, sorted.
#[must_use]
pub fn sorted_texts(urls: &[Url]) -> Vec<String> {
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
