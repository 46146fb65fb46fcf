//! Which HTTP requests a plain listener serves: by the name in the Host header, against pages that
//! make a browser call a local server under a name of theirs, and by the origin of a page.

use std::collections::BTreeSet;

/// The rules of `--host-whitelist` and `--cors`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRules {
    hosts: BTreeSet<String>,
    origins: BTreeSet<String>,
}

impl AccessRules {
    /// Rules from the values of the flags.
    #[must_use]
    pub fn new(
        hosts: impl IntoIterator<Item = String>,
        origins: impl IntoIterator<Item = String>,
    ) -> Self {
        Self {
            hosts: hosts.into_iter().collect(),
            origins: origins.into_iter().collect(),
        }
    }

    /// Whether a request with this Host header is served. No names and `*` allow all.
    #[must_use]
    pub fn allows_host(&self, header: &str) -> bool {
        let host = host_name(header);
        self.hosts.is_empty() || self.hosts.contains("*") || self.hosts.contains(host)
    }

    /// The value of `Access-Control-Allow-Origin` for a request with this Origin header (empty if
    /// it has none), if a page of that origin may read the answer. No origins and `*` allow all.
    #[must_use]
    pub fn allowed_origin<'a>(&self, origin: &'a str) -> Option<&'a str> {
        if self.origins.contains("*") || self.origins.is_empty() {
            return Some("*");
        }
        self.origins.contains(origin).then_some(origin)
    }

    /// The names, sorted.
    #[must_use]
    pub fn hosts(&self) -> Vec<String> {
        self.hosts.iter().cloned().collect()
    }

    /// The origins, sorted.
    #[must_use]
    pub fn origins(&self) -> Vec<String> {
        self.origins.iter().cloned().collect()
    }
}

/// The name in a Host header without its port.
fn host_name(header: &str) -> &str {
    tenet_cli::go::url::split_host_port(header).map_or(header, |(host, _)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(hosts: &[&str], origins: &[&str]) -> AccessRules {
        let own = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| (*text).to_owned())
                .collect::<Vec<_>>()
        };
        AccessRules::new(own(hosts), own(origins))
    }

    #[test]
    fn hosts_are_compared_without_port() {
        let rules = rules(&["a.example", "::1"], &[]);
        for (header, allowed) in [
            ("a.example", true),
            ("a.example:2379", true),
            ("[::1]:2379", true),
            ("b.example:2379", false),
            ("localhost", false),
            ("a.example:1:2", false),
            ("", false),
        ] {
            assert_eq!(rules.allows_host(header), allowed, "{header}");
        }
    }

    #[test]
    fn no_names_and_a_star_allow_all() {
        assert!(rules(&[], &[]).allows_host("evil.example"));
        assert!(rules(&["a", "*"], &[]).allows_host("evil.example"));
        assert_eq!(rules(&[], &[]).allowed_origin("http://x:1"), Some("*"));
        assert_eq!(
            rules(&[], &["*", "http://a:1"]).allowed_origin(""),
            Some("*")
        );
    }

    #[test]
    fn only_listed_origins_are_echoed() {
        let rules = rules(&[], &["http://a:1"]);
        assert_eq!(rules.allowed_origin("http://a:1"), Some("http://a:1"));
        assert_eq!(rules.allowed_origin("http://b:1"), None);
        assert_eq!(rules.allowed_origin(""), None);
    }
}
