//! The configuration file: reading it, its errors in etcd's words, and what etcd does to its values
//! before they are checked.

use tenet_base::limits;
use tenet_cli::file::{self, Mismatch};
use tenet_cli::flag::Kind;
use tenet_cli::go::error_words;
use tenet_cli::settings::{Settings, Source};
use tenet_cli::value::{Value, parse_urls};
use tenet_cli::yaml;

use super::flags::{self, clustering, member, security};
use super::{ClusterState, Stop};

/// What a file gives.
pub(super) struct Read {
    /// All flags, those that the file does not name at their defaults.
    pub settings: Settings,
    /// Paths of keys that no flag has.
    pub unknown: Vec<String>,
}

/// Why a file gives nothing.
pub(super) enum Failure {
    /// The reason follows `failed to verify flags`.
    Invalid(String),
    /// etcd ends here and now.
    Stop(Box<Stop>),
}

/// Reads a configuration file.
pub(super) fn read(path: &str) -> Result<Read, Failure> {
    let mut settings = Settings::new(flags::GROUPS);
    let document = read_document(path).map_err(Failure::Invalid)?;
    let decoded = file::apply(&mut settings, &document)
        .map_err(|mismatch| Failure::Invalid(mismatch_text(&mismatch)))?;
    // The gates first: etcd reads them before the URLs.
    let (gates, others): (Vec<_>, Vec<_>) = decoded
        .texts
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
        .partition(|(name, _)| *name == member::FEATURE_GATES.name);
    for (_, text) in gates {
        let given = settings.give(&member::FEATURE_GATES, &text, Source::File);
        given.map_err(|error| Failure::Invalid(error.to_string()))?;
    }
    for (name, text) in others {
        take_text(&mut settings, name, &text).map_err(Failure::Stop)?;
    }
    adjust(&mut settings);
    Ok(Read {
        settings,
        unknown: decoded.unknown,
    })
}

fn read_document(path: &str) -> Result<yaml::Node, String> {
    use std::io::Read as _;
    let words =
        |verb: &str, error: &std::io::Error| format!("{verb} {path}: {}", error_words(error));
    let file = std::fs::File::open(path).map_err(|error| words("open", &error))?;
    let mut bytes = Vec::new();
    let limit = limits::CONFIG_FILE_BYTES_MAX as u64;
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| words("read", &error))?;
    if bytes.len() as u64 > limit {
        return Err(format!(
            "read {path}: the file is larger than {limit} bytes; is it the configuration?"
        ));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| "error converting YAML to JSON: yaml: the file is not UTF-8".to_owned())?;
    yaml::parse(&text).map_err(|error| format!("error converting YAML to JSON: yaml: {error}"))
}

/// A mismatch in the words of Go's JSON decoder, with etcd's names for its structures.
fn mismatch_text(mismatch: &Mismatch) -> String {
    let Mismatch {
        found,
        path,
        expected,
    } = mismatch;
    let place = match path.as_str() {
        "" => "Go value of type embed.configYAML".to_owned(),
        path => {
            let (owner, section) = go_names(path);
            let expected = if expected.is_empty() {
                section
            } else {
                expected
            };
            format!("Go struct field {owner}.{path} of type {expected}")
        }
    };
    format!(
        "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {found} into {place}"
    )
}

/// The Go structure that holds a key, and the one that the key holds if it is a section.
fn go_names(path: &str) -> (&'static str, &'static str) {
    let section = match path {
        "socket-options" => "transport.SocketOpts",
        "discovery-config" => "v3discovery.DiscoveryConfig",
        "discovery-config.client" => "clientv3.ConfigSpec",
        "discovery-config.client.secure" => "clientv3.SecureConfig",
        "discovery-config.client.auth" => "clientv3.AuthConfig",
        _ => "embed.securityConfig",
    };
    let owner = match path.rsplit_once('.') {
        Some(("socket-options", _)) => "SocketOpts.Config",
        Some(("discovery-config", _)) => "DiscoveryConfig.Config",
        Some(("discovery-config.client", _)) => "ConfigSpec.Config",
        Some(("discovery-config.client.secure", _)) => "SecureConfig.Config",
        Some(("discovery-config.client.auth", _)) => "AuthConfig.Config",
        Some(_) => "securityConfig.configJSON",
        None if is_of_config_json(path) => "configYAML.configJSON",
        None => "configYAML.Config",
    };
    (owner, section)
}

/// Keys that etcd reads into a structure of their own, because the file's form is not the flag's.
fn is_of_config_json(key: &str) -> bool {
    matches!(
        key,
        "listen-peer-urls"
            | "listen-client-urls"
            | "listen-client-http-urls"
            | "initial-advertise-peer-urls"
            | "advertise-client-urls"
            | "cors"
            | "host-whitelist"
            | "client-transport-security"
            | "peer-transport-security"
            | "feature-gates"
    )
}

/// A text of the file for a flag that has more structure than a text.
fn take_text(settings: &mut Settings, name: &'static str, text: &str) -> Result<(), Box<Stop>> {
    let Some(flag) = settings.find(name) else {
        return Ok(());
    };
    // The stage of the v2 store is not even checked.
    if matches!(flag.kind, Kind::Choices(_)) {
        settings.put(flag, Value::List(vec![text.to_owned()]), Source::File);
        return Ok(());
    }
    if name == security::CORS.name {
        // etcd panics here.
        let given = Value::empty(&flag.kind).given(&flag.kind, text);
        let value = given.map_err(|error| {
            Stop::with_stderr(2, format!("new UniqueURLs should never fail: {error}\n"))
        })?;
        settings.put(flag, value, Source::File);
        return Ok(());
    }
    if !matches!(flag.kind, Kind::Urls { .. }) {
        // Sets take every text.
        let _ = settings.give(flag, text, Source::File);
        return Ok(());
    }
    let urls = parse_urls(text).map_err(|error| {
        // The wrong name is etcd's.
        let name = if name == "advertise-client-urls" {
            "advertise-peer-urls"
        } else {
            name
        };
        Stop::with_stderr(1, format!("unexpected error setting up {name}: {error}\n"))
    })?;
    settings.put(flag, Value::Urls(urls.into()), Source::File);
    Ok(())
}

/// What etcd sets right after it has read a file.
fn adjust(settings: &mut Settings) {
    let discovers = !settings.text(&clustering::DISCOVERY_SRV).is_empty()
        || !settings.list(&clustering::DISCOVERY_ENDPOINTS).is_empty();
    let cluster = settings.text(&clustering::INITIAL_CLUSTER);
    if discovers && cluster == clustering::INITIAL_CLUSTER.default {
        settings.put(
            &clustering::INITIAL_CLUSTER,
            Value::Text(String::new()),
            Source::File,
        );
    }
    if settings.text(&clustering::INITIAL_CLUSTER_STATE).is_empty() {
        let new = Value::Text(ClusterState::New.text().to_owned());
        settings.put(&clustering::INITIAL_CLUSTER_STATE, new, Source::File);
    }
}
