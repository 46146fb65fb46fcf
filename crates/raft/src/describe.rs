//! Messages, entries and outputs as text, in the form in which etcd prints them.
//!
//! Transcripts of runs consist of these texts, so they are compared byte for byte; they must not
//! change on a whim. Nothing here is needed to run a member.

use std::fmt::Write as _;

use prost::Message as _;
use tenet_base::MemberId;
use tenet_proto::raftpb::{
    ConfChange, ConfChangeSingle, ConfChangeType, ConfChangeV2, ConfState, Entry, EntryType,
    HardState, Message, Snapshot,
};

use crate::adapter::Ready;
use crate::output::SoftState;
use crate::store::conf_state_of;
use crate::{APPEND_THREAD, APPLY_THREAD, confchange};

/// A whole [`Ready`], over several lines.
#[must_use]
pub fn ready(ready: &Ready) -> String {
    let mut text = String::new();
    if let Some(state) = &ready.soft_state {
        line(&mut text, soft_state(state));
    }
    if let Some(state) = &ready.hard_state {
        line(&mut text, format!("HardState {}", hard_state(state)));
    }
    if !ready.read_states.is_empty() {
        let states = ready.read_states.iter().map(|read| {
            let bytes = read.context.iter().map(u8::to_string);
            format!("{{{} [{}]}}", read.index, joined(bytes))
        });
        line(&mut text, format!("ReadStates [{}]", joined(states)));
    }
    if !ready.entries.is_empty() {
        line(&mut text, "Entries:".into());
        text += &entries(&ready.entries);
    }
    if let Some(taken) = &ready.snapshot {
        line(&mut text, format!("Snapshot {}", snapshot(taken)));
    }
    if !ready.committed.is_empty() {
        line(&mut text, "CommittedEntries:".into());
        text += &entries(&ready.committed);
    }
    if !ready.messages.is_empty() {
        line(&mut text, "Messages:".into());
        for sent in &ready.messages {
            line(&mut text, message(sent));
        }
    }
    if text.is_empty() {
        return "<empty Ready>".into();
    }
    format!("Ready MustSync={}:\n{text}", ready.must_sync)
}

/// `Lead:1 State:StateFollower`
#[must_use]
pub fn soft_state(state: &SoftState) -> String {
    format!("Lead:{} State:{}", state.leader.get(), state.role.name())
}

/// `Term:2 Vote:1 Commit:7`
#[must_use]
pub fn hard_state(state: &HardState) -> String {
    let vote = match state.vote {
        0 => String::new(),
        vote => format!(" Vote:{vote}"),
    };
    format!("Term:{}{vote} Commit:{}", state.term, state.commit)
}

/// `Voters:[1 2 3] VotersOutgoing:[] Learners:[4] LearnersNext:[] AutoLeave:false`
#[must_use]
pub fn conf_state(state: &ConfState) -> String {
    let ids = |ids: &[u64]| joined(ids.iter().map(u64::to_string));
    format!(
        "Voters:[{}] VotersOutgoing:[{}] Learners:[{}] LearnersNext:[{}] AutoLeave:{}",
        ids(&state.voters),
        ids(&state.voters_outgoing),
        ids(&state.learners),
        ids(&state.learners_next),
        state.auto_leave
    )
}

/// Its place in the log and its configuration.
#[must_use]
pub fn snapshot(snapshot: &Snapshot) -> String {
    let state = conf_state(&conf_state_of(snapshot));
    format!(
        "Index:{} Term:{} ConfState:{state}",
        snapshot.index(),
        snapshot.term()
    )
}

/// A message on one line, or over several if it carries several entries, a snapshot or responses.
#[must_use]
pub fn message(message: &Message) -> String {
    let mut text = String::new();
    write_message(&mut text, "", message);
    text
}

fn write_message(text: &mut String, indent: &str, m: &Message) {
    let kind = match m.kind() {
        Some(kind) => format!("Msg{kind:?}"),
        None => m.msg_type.to_string(),
    };
    *text += &format!(
        "{indent}{}->{} {kind} Term:{} Log:{}/{}",
        member(m.from),
        member(m.to),
        m.term,
        m.log_term,
        m.index
    );
    if m.reject {
        *text += &format!(" Rejected (Hint: {})", m.reject_hint);
    }
    if m.commit != 0 {
        *text += &format!(" Commit:{}", m.commit);
    }
    if m.vote != 0 {
        *text += &format!(" Vote:{}", m.vote);
    }
    match m.entries.as_slice() {
        [] => {}
        [one] => *text += &format!(" Entries:[{}]", entry(one)),
        several => {
            *text += " Entries:[";
            for one in several {
                *text += &format!("\n{indent}  {}", entry(one));
            }
            *text += &format!("\n{indent}]");
        }
    }
    if let Some(carried) = m
        .snapshot
        .as_deref()
        .filter(|snapshot| !snapshot.is_empty())
    {
        *text += &format!("\n{indent}  Snapshot: {}", snapshot(carried));
    }
    if !m.responses.is_empty() {
        *text += " Responses:[";
        for response in &m.responses {
            *text += "\n";
            write_message(text, &format!("{indent}  "), response);
        }
        *text += &format!("\n{indent}]");
    }
}

fn member(id: u64) -> String {
    match MemberId(id) {
        MemberId::ZERO => "None".into(),
        APPEND_THREAD => "AppendThread".into(),
        APPLY_THREAD => "ApplyThread".into(),
        id => id.to_string(),
    }
}

/// Entries, each on a line of its own.
#[must_use]
pub fn entries(entries: &[Entry]) -> String {
    let mut text = String::new();
    for one in entries {
        line(&mut text, entry(one));
    }
    text
}

/// `1/12 EntryNormal "data"`
#[must_use]
pub fn entry(entry: &Entry) -> String {
    let (name, content) = match EntryType::try_from(entry.entry_type) {
        Ok(EntryType::Normal) => ("EntryNormal".into(), quoted(&entry.data)),
        Ok(EntryType::ConfChange) => {
            let change = ConfChange::decode(entry.data.clone());
            (
                "EntryConfChange".into(),
                decoded(change.map(|c| confchange::as_v2(&c))),
            )
        }
        Ok(EntryType::ConfChangeV2) => (
            "EntryConfChangeV2".into(),
            decoded(ConfChangeV2::decode(entry.data.clone())),
        ),
        Err(_) => (entry.entry_type.to_string(), String::new()),
    };
    let space = if content.is_empty() { "" } else { " " };
    format!("{}/{} {name}{space}{content}", entry.term, entry.index)
}

fn decoded(change: Result<ConfChangeV2, prost::DecodeError>) -> String {
    match change {
        Ok(change) => conf_changes(&change.changes),
        Err(error) => error.to_string(),
    }
}

/// `v1 l2 r3 u4`: make 1 a voter, 2 a learner, remove 3, update 4.
#[must_use]
pub fn conf_changes(changes: &[ConfChangeSingle]) -> String {
    joined(changes.iter().map(|change| {
        let letter = match ConfChangeType::try_from(change.change_type) {
            Ok(ConfChangeType::AddNode) => "v",
            Ok(ConfChangeType::AddLearnerNode) => "l",
            Ok(ConfChangeType::RemoveNode) => "r",
            Ok(ConfChangeType::UpdateNode) => "u",
            Err(_) => "unknown",
        };
        format!("{letter}{}", change.node_id)
    }))
}

/// Data in quotation marks, with what cannot be printed escaped.
fn quoted(data: &[u8]) -> String {
    let mut text = String::from("\"");
    for chunk in data.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => text += "\\\"",
                c if c.is_control() || c == '\\' => text.extend(c.escape_default()),
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text + "\""
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(" ")
}

fn line(text: &mut String, content: String) {
    *text += &content;
    text.push('\n');
}
