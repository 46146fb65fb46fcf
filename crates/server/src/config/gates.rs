//! Feature gates: switches of etcd's experiments.
//!
//! A gate may be named with any value; the start is refused if that would switch on (or off) what
//! does not exist here. The names and defaults are etcd's.

use std::collections::BTreeMap;

use tenet_cli::go::number;
use tenet_cli::value::Value;

/// What etcd knows of a gate, and what it means here.
struct Gate {
    name: &'static str,
    default: bool,
    beta: bool,
    /// Whether either value may be given here.
    free: bool,
}

const fn alpha(name: &'static str) -> Gate {
    Gate {
        name,
        default: false,
        beta: false,
        free: false,
    }
}

const ALL_ALPHA: &str = "AllAlpha";
const ALL_BETA: &str = "AllBeta";

static GATES: &[Gate] = &[
    Gate {
        free: true,
        ..alpha(ALL_ALPHA)
    },
    Gate {
        beta: true,
        free: true,
        ..alpha(ALL_BETA)
    },
    alpha("CompactHashCheck"),
    Gate {
        default: true,
        beta: true,
        free: true,
        ..alpha("FastLeaseKeepAlive")
    },
    alpha("InitialCorruptCheck"),
    // On here unless it is switched off: see `lease_checkpoint`.
    Gate {
        free: true,
        ..alpha("LeaseCheckpoint")
    },
    // Every checkpoint is kept, as by etcd in clusters of version 3.6 and later.
    Gate {
        free: true,
        ..alpha("LeaseCheckpointPersist")
    },
    alpha("PriorityRequest"),
    alpha("SetMemberLocalAddr"),
    alpha("StopGRPCServiceOnDefrag"),
    // A choice of buffers inside etcd's transactions.
    Gate {
        default: true,
        beta: true,
        free: true,
        ..alpha("TxnModeWriteWithSharedBuffer")
    },
];

/// The value of `--feature-gates` after a text is given: the gates set so far, sorted. Those that
/// `AllAlpha` and `AllBeta` bring are among them.
pub(crate) fn given(before: &Value, text: &str) -> Result<Value, String> {
    let mut set = match before {
        Value::List(pairs) => parse_set(pairs),
        _ => BTreeMap::new(),
    };
    let mut named = BTreeMap::new();
    for pair in text.split(',').filter(|pair| !pair.is_empty()) {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(format!("missing bool value for {}", pair.trim()));
        };
        let (name, value) = (name.trim(), value.trim());
        let parsed = number::parse_bool(value)
            .map_err(|error| format!("invalid value of {name}={value}, err: {error}"))?;
        named.insert(name, parsed);
    }
    for (&name, &value) in &named {
        let Some(gate) = GATES.iter().find(|gate| gate.name == name) else {
            return Err(format!("unrecognized feature gate: {name}"));
        };
        set.insert(gate.name, value);
    }
    for (all, beta) in [(ALL_ALPHA, false), (ALL_BETA, true)] {
        if let Some(&value) = named.get(all) {
            for gate in GATES.iter().filter(|gate| gate.beta == beta) {
                set.entry(gate.name).or_insert(value);
            }
        }
    }
    Ok(Value::List(
        set.iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect(),
    ))
}

fn parse_set(pairs: &[String]) -> BTreeMap<&'static str, bool> {
    let known = |name: &str| GATES.iter().find(|gate| gate.name == name);
    let pairs = pairs.iter().filter_map(|pair| pair.split_once('='));
    pairs
        .filter_map(|(name, value)| Some((known(name)?.name, value == "true")))
        .collect()
}

/// Whether a gate is on, given the value of `--feature-gates`.
fn is_on(set: &BTreeMap<&str, bool>, gate: &Gate) -> bool {
    set.get(gate.name).copied().unwrap_or(gate.default)
}

/// The value of one gate.
pub(crate) fn enabled(pairs: &[String], name: &str) -> bool {
    let set = parse_set(pairs);
    GATES
        .iter()
        .find(|gate| gate.name == name)
        .is_some_and(|gate| is_on(&set, gate))
}

/// Whether what is left of leases is written down: unless it is switched off by name.
pub(crate) fn lease_checkpoint(pairs: &[String]) -> bool {
    parse_set(pairs).get("LeaseCheckpoint") != Some(&false)
}

/// The first gate whose value differs from its default and would matter.
pub(crate) fn first_refused(pairs: &[String]) -> Option<String> {
    let set = parse_set(pairs);
    let refused = |gate: &&Gate| !gate.free && is_on(&set, gate) != gate.default;
    GATES
        .iter()
        .find(refused)
        .map(|gate| format!("{}={}", gate.name, !gate.default))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn give(texts: &[&str]) -> Result<Vec<String>, String> {
        let mut value = Value::List(Vec::new());
        for text in texts {
            value = given(&value, text)?;
        }
        let Value::List(pairs) = value else {
            panic!("a list")
        };
        Ok(pairs)
    }

    #[test]
    fn gates_add_up_and_the_last_value_counts() {
        let pairs = give(&[
            "PriorityRequest=true, CompactHashCheck=0,,",
            "PriorityRequest=f",
        ]);
        assert_eq!(
            pairs.expect("valid"),
            ["CompactHashCheck=false", "PriorityRequest=false"]
        );
    }

    #[test]
    fn all_of_a_stage_are_set_unless_they_are_set_themselves() {
        let pairs = give(&["AllBeta=false,FastLeaseKeepAlive=true"]).expect("valid");
        assert_eq!(
            pairs,
            [
                "AllBeta=false",
                "FastLeaseKeepAlive=true",
                "TxnModeWriteWithSharedBuffer=false"
            ]
        );
        assert_eq!(first_refused(&pairs), None);
        let pairs = give(&["AllAlpha=true"]).expect("valid");
        assert_eq!(
            first_refused(&pairs).as_deref(),
            Some("CompactHashCheck=true")
        );
        assert!(enabled(&pairs, "LeaseCheckpoint"));
    }

    #[test]
    fn defaults_and_free_gates_are_not_refused() {
        let indifferent =
            "TxnModeWriteWithSharedBuffer=false,FastLeaseKeepAlive=true,InitialCorruptCheck=false";
        assert_eq!(first_refused(&give(&[indifferent]).expect("valid")), None);
        let off = give(&["PriorityRequest=true"]).expect("valid");
        assert_eq!(first_refused(&off).as_deref(), Some("PriorityRequest=true"));
    }

    #[test]
    fn gates_of_leases_are_free_and_checkpoints_are_on_unless_switched_off() {
        let lease = "FastLeaseKeepAlive=false,LeaseCheckpoint=true,LeaseCheckpointPersist=true";
        let pairs = give(&[lease]).expect("valid");
        assert_eq!(first_refused(&pairs), None);
        assert!(!enabled(&pairs, "FastLeaseKeepAlive"));
        assert!(lease_checkpoint(&pairs) && lease_checkpoint(&[]));
        let off = give(&["LeaseCheckpoint=false"]).expect("valid");
        assert_eq!(first_refused(&off), None);
        assert!(!lease_checkpoint(&off));
    }

    #[test]
    fn refusals_are_in_etcds_words() {
        for (text, words) in [
            ("Foo=true", "unrecognized feature gate: Foo"),
            ("AllAlpha", "missing bool value for AllAlpha"),
            (
                "AllAlpha=x",
                "invalid value of AllAlpha=x, err: strconv.ParseBool: parsing \"x\": invalid syntax",
            ),
        ] {
            assert_eq!(give(&[text]), Err(words.to_owned()));
        }
    }
}
