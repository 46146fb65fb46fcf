//! The first members of a cluster, from `--initial-cluster`, and the checks before one is
//! bootstrapped.

use std::collections::BTreeMap;

use tenet_cli::go::Url;
use tenet_cli::log::{Entry, Level};
use tenet_cli::members::{self, sorted_texts};

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

impl ServerConfig {
    /// The members of a new cluster. To be called only when there is no data yet: on a restart the
    /// flags about the cluster are not looked at.
    ///
    /// # Errors
    /// If this member cannot be part of them, or what is asked for does not exist yet. The entries
    /// are to be logged; then the process ends with exit code 1.
    pub fn bootstrap(&self) -> Result<Bootstrap, Vec<Entry>> {
        let members = members::parse(&self.initial_cluster).map_err(|error| {
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
        members::parse(&self.initial_cluster)
            .map(|members| members::text(&members))
            .unwrap_or_default()
    }

    fn check_members(&self, members: &BTreeMap<String, Vec<Url>>) -> Result<(), String> {
        let own = members::find_own(members, &self.name)?;
        // Who joins is told by the others who it is.
        if self.initial_cluster_state == ClusterState::Existing {
            return Ok(());
        }
        members::check_advertised(&self.name, &self.initial_advertise_peer_urls, own)?;
        members::check_duplicates(members)
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
