//! The lines of a recorded history, as `docs/histories.md` describes them.
//!
//! A line is one JSON object. Times are nanoseconds of one clock; revision 0 stands for "none was
//! told". Nothing here judges: what is absurd but well formed is for the checkers.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// A request of a client, with its answer.
    Op(Operation),
    /// A client has asked for a watch.
    Watch(Watch),
    /// A client was told something on a stream of watches.
    Told(Told),
    /// Something was done to the server. For people; no checker relies on it.
    Fault(Fault),
}

/// A request and what is known of its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// Names the operation, once in a history.
    pub id: u64,
    /// Who asked.
    pub client: u64,
    /// When it was sent.
    pub call: i64,
    /// When its answer came, or hope was given up.
    #[serde(rename = "return")]
    pub returned: i64,
    /// What was asked.
    pub request: Request,
    /// The revision in the header of the answer.
    #[serde(default, skip_serializing_if = "is_default")]
    pub revision: i64,
    /// What was answered. Without it the answer was lost: the request may have been carried out, or
    /// may be later, or never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
}

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Read.
    Range(Range),
    /// Write one key.
    Put(Put),
    /// Delete keys.
    Delete(Delete),
    /// Compare, then do the one or the other.
    Txn(Txn),
    /// Forget what was before a revision.
    Compact(Compact),
    /// Make a lease.
    Grant(Grant),
    /// End a lease.
    Revoke(LeaseName),
    /// Renew a lease.
    KeepAlive(LeaseName),
    /// Ask what is left of a lease, and for its keys.
    TimeToLive(LeaseName),
}

/// The keys from `key` on and before `end`: one key without `end`, all from `key` on if it is a
/// zero byte.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Keys {
    /// The first.
    pub key: String,
    /// The end.
    #[serde(skip_serializing_if = "is_default")]
    pub end: String,
}

impl Keys {
    /// Whether `key` is among them.
    #[must_use]
    pub fn contain(&self, key: &str) -> bool {
        match self.end.as_str() {
            "" => key == self.key,
            "\0" => key >= self.key.as_str(),
            end => key >= self.key.as_str() && key < end,
        }
    }
}

/// See [`Request::Range`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Range {
    /// Which keys.
    #[serde(flatten)]
    pub keys: Keys,
    /// As they were then; 0 is now.
    #[serde(skip_serializing_if = "is_default")]
    pub revision: i64,
    /// At most so many; 0 is all.
    #[serde(skip_serializing_if = "is_default")]
    pub limit: i64,
    /// Only how many there are.
    #[serde(skip_serializing_if = "is_default")]
    pub count_only: bool,
    /// What is old is good enough.
    #[serde(skip_serializing_if = "is_default")]
    pub serializable: bool,
}

/// See [`Request::Put`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Put {
    /// Where.
    pub key: String,
    /// What.
    pub value: String,
    /// The lease that the key is attached to, or 0.
    #[serde(skip_serializing_if = "is_default")]
    pub lease: i64,
    /// Answer with what was there before.
    #[serde(skip_serializing_if = "is_default")]
    pub prev_kv: bool,
}

/// See [`Request::Delete`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Delete {
    /// Which keys.
    #[serde(flatten)]
    pub keys: Keys,
    /// Answer with what was there before.
    #[serde(skip_serializing_if = "is_default")]
    pub prev_kv: bool,
}

/// See [`Request::Txn`]. Its requests are ranges (of now), puts, deletes and transactions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Txn {
    /// All must hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub compare: Vec<Compare>,
    /// Done if they do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub success: Vec<Request>,
    /// Done if they do not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failure: Vec<Request>,
}

/// What must hold of a key, or of every key of a range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compare {
    /// Which keys.
    #[serde(flatten)]
    pub keys: Keys,
    /// How what is there compares with what is given.
    pub result: Comparison,
    /// What is given.
    pub with: Operand,
}

/// How two things compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// The same.
    Equal,
    /// Not the same.
    NotEqual,
    /// What is there is greater.
    Greater,
    /// What is there is less.
    Less,
}

/// What a key is compared with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operand {
    /// How often it was written since it was made.
    Version(i64),
    /// When it was made.
    Create(i64),
    /// When it was last written.
    Mod(i64),
    /// What it holds.
    Value(String),
    /// Its lease.
    Lease(i64),
}

/// See [`Request::Compact`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compact {
    /// What is kept.
    pub revision: i64,
}

/// See [`Request::Grant`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The id that was chosen, or 0 for the server to choose.
    #[serde(default, skip_serializing_if = "is_default")]
    pub lease: i64,
    /// In seconds.
    pub ttl: i64,
}

/// Which lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseName {
    /// Its id.
    pub lease: i64,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It was refused, and so not done.
    Refused(Refusal),
    /// To [`Request::Range`].
    Range(RangeAnswer),
    /// To [`Request::Put`].
    Put(PutAnswer),
    /// To [`Request::Delete`].
    Delete(DeleteAnswer),
    /// To [`Request::Txn`].
    Txn(TxnAnswer),
    /// To [`Request::Compact`] and [`Request::Revoke`].
    Done,
    /// To [`Request::Grant`].
    Grant(Grant),
    /// To [`Request::KeepAlive`] and [`Request::TimeToLive`].
    Lease(LeaseAnswer),
}

/// Why something was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// There is no such lease.
    LeaseNotFound,
    /// There is a lease with this id.
    LeaseExists,
    /// What is asked for was before the last compaction.
    Compacted,
    /// What is asked for has not happened.
    Future,
}

/// See [`Answer::Range`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RangeAnswer {
    /// The keys that were found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kvs: Vec<Kv>,
    /// How many there are.
    pub count: i64,
    /// Whether there are more than were asked for.
    #[serde(skip_serializing_if = "is_default")]
    pub more: bool,
}

/// See [`Answer::Put`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PutAnswer {
    /// What was there before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prev: Option<Kv>,
}

/// See [`Answer::Delete`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeleteAnswer {
    /// How many keys were deleted.
    pub deleted: i64,
    /// What was there before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prevs: Vec<Kv>,
}

/// See [`Answer::Txn`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TxnAnswer {
    /// Whether all compares held.
    pub succeeded: bool,
    /// The answers to what was done.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub results: Vec<Answer>,
}

/// What is said of a lease.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeaseAnswer {
    /// In seconds. There is no such lease if it is 0 after a renewal, or -1 when asked for.
    pub ttl: i64,
    /// The time it was granted for.
    #[serde(skip_serializing_if = "is_default")]
    pub granted: i64,
    /// The keys attached to it, in any order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
}

/// A key and what it holds. Of one that was deleted only key and `mod` are told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Kv {
    /// The key.
    pub key: String,
    /// What it holds.
    #[serde(skip_serializing_if = "is_default")]
    pub value: String,
    /// When it was made.
    #[serde(rename = "create", skip_serializing_if = "is_default")]
    pub created: i64,
    /// When it was last written.
    #[serde(rename = "mod")]
    pub modified: i64,
    /// How often it was written since it was made.
    #[serde(skip_serializing_if = "is_default")]
    pub version: i64,
    /// The lease that it is attached to.
    #[serde(skip_serializing_if = "is_default")]
    pub lease: i64,
}

/// A watch that a client has asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Watch {
    /// Names the watch, once in a history.
    pub id: u64,
    /// Names the stream that it is on, once in a history.
    pub stream: u64,
    /// Who asked.
    pub client: u64,
    /// When.
    pub call: i64,
    /// Which keys.
    #[serde(flatten)]
    pub keys: Keys,
    /// The first revision that is wanted; 0 is what comes next.
    #[serde(skip_serializing_if = "is_default")]
    pub start: i64,
    /// The watch that this one goes on with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumes: Option<u64>,
    /// Say what was there before each event.
    #[serde(skip_serializing_if = "is_default")]
    pub prev_kv: bool,
    /// No events of puts.
    #[serde(skip_serializing_if = "is_default")]
    pub no_put: bool,
    /// No events of deletes.
    #[serde(skip_serializing_if = "is_default")]
    pub no_delete: bool,
    /// Large responses may be cut.
    #[serde(skip_serializing_if = "is_default")]
    pub fragment: bool,
}

/// A response on a stream of watches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Told {
    /// The stream that it came on.
    pub stream: u64,
    /// The watch that it is for; none if it is for all of the stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watch: Option<u64>,
    /// When.
    pub at: i64,
    /// The revision in its header.
    pub revision: i64,
    /// The watch has begun.
    #[serde(skip_serializing_if = "is_default")]
    pub created: bool,
    /// The watch is over.
    #[serde(skip_serializing_if = "is_default")]
    pub canceled: bool,
    /// What the watch needed was compacted, up to here.
    #[serde(skip_serializing_if = "is_default")]
    pub compacted: i64,
    /// The rest of this response follows.
    #[serde(skip_serializing_if = "is_default")]
    pub fragment: bool,
    /// What has happened. Without events, `created` and `canceled` it says how far the watch is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
}

impl Told {
    /// Whether it only says how far the watch is.
    #[must_use]
    pub fn is_progress(&self) -> bool {
        self.events.is_empty() && !self.created && !self.canceled
    }
}

/// One change of a key, as a watch tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Whether the key was deleted.
    #[serde(default, skip_serializing_if = "is_default")]
    pub deleted: bool,
    /// The key after it.
    pub kv: Kv,
    /// The key before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev: Option<Kv>,
}

/// Something that was done to the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What.
    pub what: String,
    /// When.
    pub at: i64,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A whole history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// In the order of the file, which matters only within a stream of watches.
    pub lines: Vec<Line>,
}

/// Why a text is not a history.
#[derive(Debug, thiserror::Error)]
#[error("line {number}: {why}")]
pub struct NoHistory {
    /// Counted from one.
    pub number: usize,
    /// What is wrong there.
    pub why: String,
}

impl History {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// If a line is not one of those described in `docs/histories.md`.
    pub fn parse(text: &str) -> Result<History, NoHistory> {
        let mut history = History::default();
        for (at, line) in text.lines().enumerate() {
            let parsed = serde_json::from_str(line).map_err(|error| NoHistory {
                number: at + 1,
                why: error.to_string(),
            })?;
            history.lines.push(parsed);
        }
        Ok(history)
    }

    /// The text of the file.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for line in &self.lines {
            text += &json(line);
            text.push('\n');
        }
        text
    }

    /// The operations in it.
    pub fn operations(&self) -> impl Iterator<Item = &Operation> {
        self.lines.iter().filter_map(|line| match line {
            Line::Op(op) => Some(op),
            _ => None,
        })
    }

    /// The watches in it.
    pub fn watches(&self) -> impl Iterator<Item = &Watch> {
        self.lines.iter().filter_map(|line| match line {
            Line::Watch(watch) => Some(watch),
            _ => None,
        })
    }

    /// What watches were told.
    pub fn told(&self) -> impl Iterator<Item = &Told> {
        self.lines.iter().filter_map(|line| match line {
            Line::Told(told) => Some(told),
            _ => None,
        })
    }
}

/// An operation in one line, as a person wants to read it.
impl fmt::Display for Operation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "operation {} of client {}, from {} to {}: {}",
            self.id,
            self.client,
            millis(self.call),
            millis(self.returned),
            json(&self.request)
        )?;
        match &self.answer {
            None => write!(out, " -> no answer"),
            Some(answer) => write!(out, " -> {} at revision {}", json(answer), self.revision),
        }
    }
}

/// A time in milliseconds.
pub(super) fn millis(time_ns: i64) -> String {
    format!("{:.3} ms", time_ns as f64 / 1e6)
}

/// Anything of a history as it stands in the file.
pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("names and numbers can be written")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_document_is_read_and_written_as_it_stands() {
        let document = include_str!("../../../../docs/histories.md");
        let lines: Vec<_> = document
            .lines()
            .filter(|line| line.starts_with("{\""))
            .collect();
        assert!(lines.len() >= 12, "{} examples", lines.len());
        for line in lines {
            let history = History::parse(line).unwrap();
            assert_eq!(history.text().trim_end(), line);
        }
    }

    #[test]
    fn what_is_no_line_is_refused_with_its_number() {
        let good = r#"{"fault":{"what":"kill","at":1}}"#;
        for bad in ["", "{}", r#"{"op":{"id":1}}"#, r#"{"other":{}}"#] {
            let error = History::parse(&format!("{good}\n{bad}\n{good}")).unwrap_err();
            assert_eq!(error.number, 2, "{bad}");
        }
    }

    #[test]
    fn keys_end_before_their_end() {
        let keys = |key: &str, end: &str| Keys {
            key: key.into(),
            end: end.into(),
        };
        assert!(keys("b", "").contain("b") && !keys("b", "").contain("ba"));
        assert!(keys("b", "c").contain("ba") && !keys("b", "c").contain("c"));
        assert!(keys("b", "\0").contain("z") && !keys("b", "\0").contain("a"));
    }
}
