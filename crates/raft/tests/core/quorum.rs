//! The `quorum` transcripts: commit indexes and votes of majorities and joint majorities.
//!
//! Every case is also computed in other ways whose results must be the same; a difference becomes
//! part of the output, so that no transcript can pass with it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use tenet_base::MemberId;
use tenet_raft::quorum::{Joint, MemberSet, VoteResult};

use crate::datafile::Directive;

pub(crate) fn run(directive: &Directive) -> String {
    let ids = |key: &str| -> Vec<MemberId> {
        let values = directive
            .values(key)
            .iter()
            .filter(|value| *value != "zero");
        values
            .filter(|v| !v.is_empty())
            .map(|id| MemberId(id.parse().expect("an id")))
            .collect()
    };
    let (incoming, outgoing) = (ids("cfg"), ids("cfgj"));
    let joint = Joint {
        incoming: incoming.iter().copied().collect(),
        outgoing: outgoing.iter().copied().collect(),
    };
    let is_joint = !directive.values("cfgj").is_empty();
    // Values belong to the members in the order in which they are first named.
    let mut order: Vec<MemberId> = Vec::new();
    for id in incoming.iter().chain(&outgoing) {
        if !order.contains(id) {
            order.push(*id);
        }
    }
    let given = |key: &str| -> BTreeMap<MemberId, String> {
        let values = directive.values(key);
        if values.len() != order.len() {
            return BTreeMap::new();
        }
        let pairs = order.iter().copied().zip(values.iter().cloned());
        pairs.filter(|(_, value)| value != "_").collect()
    };
    let key = if directive.command == "vote" {
        "votes"
    } else {
        "idx"
    };
    if directive.values(key).len() != order.len() {
        let names: Vec<_> = order
            .iter()
            .map(|id| format!("{}:{{}}", id.get()))
            .collect();
        return format!(
            "error: mismatched input (explicit or _) for voters map[{}]: [{}]",
            names.join(" "),
            directive.values(key).join(" ")
        );
    }
    match directive.command.as_str() {
        "committed" => {
            let acked = given("idx")
                .into_iter()
                .map(|(id, idx)| (id, idx.parse().expect("idx")));
            committed(&joint, is_joint, &acked.collect())
        }
        "vote" => {
            let votes = given("votes")
                .into_iter()
                .map(|(id, vote)| (id, vote == "y"))
                .collect();
            vote(&joint, is_joint, &votes)
        }
        other => panic!("unknown command {other}"),
    }
}

fn committed(joint: &Joint, is_joint: bool, acked: &BTreeMap<MemberId, u64>) -> String {
    let of = |voters: &Joint| voters.committed(|id| acked.get(&id).copied().unwrap_or(0));
    let mut out = describe(&joint.ids(), acked);
    let index = of(joint);
    let mut same = |other: u64, how: &str| {
        if other != index {
            let _ = writeln!(out, "{} <-- via {how}", shown(other));
        }
    };
    if is_joint {
        let swapped = Joint {
            incoming: joint.outgoing.clone(),
            outgoing: joint.incoming.clone(),
        };
        same(of(&swapped), "symmetry");
    } else {
        let twice = Joint {
            incoming: joint.incoming.clone(),
            outgoing: joint.incoming.clone(),
        };
        same(of(&twice), "self-joint quorum");
        same(
            obvious_committed(&joint.incoming, acked),
            "alternative computation",
        );
        for id in joint.incoming.ids() {
            let own = acked.get(id).copied().unwrap_or(0);
            for lower in [own.saturating_sub(1), 0] {
                // Whoever is below the commit index does not hold it up by falling further back.
                if index > own && own > 0 {
                    let mut fewer = acked.clone();
                    fewer.insert(*id, lower);
                    let lowered = joint.committed(|id| fewer.get(&id).copied().unwrap_or(0));
                    same(lowered, "overlaying");
                }
            }
        }
    }
    out + &shown(index) + "\n"
}

/// The largest position that a majority has reached, counted out.
pub(crate) fn obvious_committed(voters: &MemberSet, acked: &BTreeMap<MemberId, u64>) -> u64 {
    if voters.is_empty() {
        return u64::MAX;
    }
    let reached = |id: &MemberId| acked.get(id).copied().unwrap_or(0);
    let candidates = voters.ids().iter().map(reached);
    let held_by = |index: u64| {
        voters
            .ids()
            .iter()
            .filter(|id| reached(id) >= index)
            .count()
    };
    candidates
        .filter(|index| held_by(*index) * 2 > voters.ids().len())
        .max()
        .unwrap_or(0)
}

fn vote(joint: &Joint, is_joint: bool, votes: &BTreeMap<MemberId, bool>) -> String {
    let of = |voters: &Joint| voters.vote_result(|id| votes.get(&id).copied());
    let result = of(joint);
    let mut out = String::new();
    if is_joint {
        let swapped = Joint {
            incoming: joint.outgoing.clone(),
            outgoing: joint.incoming.clone(),
        };
        if of(&swapped) != result {
            let _ = writeln!(out, "{} <-- via symmetry", name(of(&swapped)));
        }
    }
    out + name(result) + "\n"
}

fn name(result: VoteResult) -> &'static str {
    match result {
        VoteResult::Pending => "VotePending",
        VoteResult::Lost => "VoteLost",
        VoteResult::Won => "VoteWon",
    }
}

fn shown(index: u64) -> String {
    match index {
        u64::MAX => "∞".into(),
        index => index.to_string(),
    }
}

/// A bar for each voter: the further it is, the longer.
fn describe(voters: &MemberSet, acked: &BTreeMap<MemberId, u64>) -> String {
    let count = voters.ids().len();
    if count == 0 {
        return "<empty majority quorum>".into();
    }
    let reached = |id: &MemberId| acked.get(id).copied().unwrap_or(0);
    let mut out = " ".repeat(count) + "    idx\n";
    for id in voters.ids() {
        let behind = voters
            .ids()
            .iter()
            .filter(|other| reached(other) < reached(id))
            .count();
        let bar = match acked.contains_key(id) {
            true => "x".repeat(behind) + ">" + &" ".repeat(count - behind),
            false => "?".to_owned() + &" ".repeat(count),
        };
        let _ = writeln!(out, "{bar} {:>5}    (id={id})", reached(id));
    }
    out
}
