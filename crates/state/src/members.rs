//! Who belongs to the cluster, and what a configuration change does to that.
//!
//! Every member judges a committed change by the same rules against the same table, so all reach
//! the same verdict. Ids of removed members are kept for ever: they may not come back.

use crate::answer::Fatal;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use tenet_base::{Index, MemberId};
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb;
use tenet_proto::membershippb::Attributes;
use tenet_proto::raftpb::{ConfChange, ConfChangeType};

/// One member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: MemberId,
    /// Where other members reach it.
    pub peer_urls: Vec<String>,
    /// Whether it only receives the log.
    pub is_learner: bool,
    /// Its name; empty until it has published itself.
    pub name: String,
    /// Where clients reach it; empty until it has published itself.
    pub client_urls: Vec<String>,
}

impl Member {
    /// Whether it has ever run.
    #[must_use]
    pub fn is_started(&self) -> bool {
        !self.name.is_empty()
    }

    /// The JSON that etcd stores for a member and puts into configuration changes that add or
    /// update one, byte for byte.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        json(&MemberJson {
            id: self.id.get(),
            peer_urls: Some(self.peer_urls.clone()).filter(|urls| !urls.is_empty()),
            is_learner: self.is_learner,
            name: self.name.clone(),
            client_urls: Some(self.client_urls.clone()).filter(|urls| !urls.is_empty()),
            is_promote: false,
        })
    }

    /// Reads [`Member::to_json`].
    pub(crate) fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        MemberJson::read(json).map(MemberJson::into_member)
    }
}

impl From<&Member> for etcdserverpb::Member {
    fn from(member: &Member) -> Self {
        etcdserverpb::Member {
            id: member.id.get(),
            name: member.name.clone(),
            peer_urls: member.peer_urls.clone(),
            client_urls: member.client_urls.clone(),
            is_learner: member.is_learner,
        }
    }
}

/// What etcd puts into the configuration change that makes a learner a voter.
#[must_use]
pub fn promotion_json(id: MemberId) -> Vec<u8> {
    json(&MemberJson {
        id: id.get(),
        is_promote: true,
        ..MemberJson::default()
    })
}

/// The JSON of a member, in etcd's order of fields, and of the context of a configuration change,
/// which is a member and a flag.
#[derive(Serialize, Deserialize)]
#[serde(default)]
#[derive(Default)]
struct MemberJson {
    id: u64,
    #[serde(rename = "peerURLs")]
    peer_urls: Option<Vec<String>>,
    #[serde(rename = "isLearner", skip_serializing_if = "is_false")]
    is_learner: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(rename = "clientURLs", skip_serializing_if = "Option::is_none")]
    client_urls: Option<Vec<String>>,
    #[serde(rename = "isPromote", skip_serializing_if = "is_false")]
    is_promote: bool,
}

impl MemberJson {
    /// Reads the JSON of an object; a list, which serde would also take, is not a member.
    fn read(json: &[u8]) -> Result<Self, serde_json::Error> {
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(json)?;
        serde_json::from_value(object.into())
    }

    fn into_member(self) -> Member {
        Member {
            id: MemberId(self.id),
            peer_urls: self.peer_urls.unwrap_or_default(),
            is_learner: self.is_learner,
            name: self.name,
            client_urls: self.client_urls.unwrap_or_default(),
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(value: &bool) -> bool {
    !*value
}

/// JSON as Go's encoder writes it: these characters are spelled out inside strings.
pub(crate) fn json(value: &impl Serialize) -> Vec<u8> {
    let text = serde_json::to_string(value).expect("plain numbers and texts always encode");
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                out.push_str(&format!("\\u{:04x}", c as u32));
            }
            other => out.push(other),
        }
    }
    out.into_bytes()
}

/// The members and the ids that may not come back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Members {
    current: BTreeMap<MemberId, Member>,
    removed: BTreeSet<MemberId>,
}

/// What a valid configuration change does to the table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Add(Member),
    Promote(MemberId),
    Remove(MemberId),
    SetPeerUrls(MemberId, Vec<String>),
}

impl Step {
    /// Whom it removes.
    pub(crate) fn removes(&self) -> Option<MemberId> {
        match self {
            Step::Remove(id) => Some(*id),
            Step::Add(_) | Step::Promote(_) | Step::SetPeerUrls(..) => None,
        }
    }
}

impl Members {
    /// Judges a committed change: what it does, or why it is refused.
    pub(crate) fn judge(
        &self,
        index: Index,
        change: &ConfChange,
        learners_max: usize,
    ) -> Result<Result<Step, ApiError>, Fatal> {
        let id = MemberId(change.node_id);
        if self.removed.contains(&id) {
            return Ok(Err(ApiError::MemberNotFound));
        }
        match ConfChangeType::try_from(change.change_type) {
            Ok(kind @ (ConfChangeType::AddNode | ConfChangeType::AddLearnerNode)) => {
                let context = context(index, change)?;
                let learner = kind == ConfChangeType::AddLearnerNode;
                same_id(
                    index,
                    id,
                    &context,
                    self.judge_add(id, &context, learner, learners_max),
                )
            }
            Ok(ConfChangeType::RemoveNode) => Ok(self.known(id).map(|_| Step::Remove(id))),
            Ok(ConfChangeType::UpdateNode) => {
                if let Err(error) = self.known(id) {
                    return Ok(Err(error));
                }
                let context = context(index, change)?;
                same_id(index, id, &context, self.judge_update(id, &context))
            }
            Err(_) => Err(Fatal::BadConfChange {
                index,
                reason: format!("its type {} is not known", change.change_type),
            }),
        }
    }

    fn judge_add(
        &self,
        id: MemberId,
        context: &MemberJson,
        learner: bool,
        learners_max: usize,
    ) -> Result<Step, ApiError> {
        if context.is_promote {
            let is_learner = self.known(id)?.is_learner;
            return is_learner
                .then_some(Step::Promote(id))
                .ok_or(ApiError::MemberNotLearner);
        }
        if self.current.contains_key(&id) {
            return Err(ApiError::MemberExist);
        }
        self.urls_are_free(id, context)?;
        let learners = self.current.values().filter(|m| m.is_learner).count();
        if learner && context.is_learner && learners + 1 > learners_max {
            return Err(ApiError::TooManyLearners);
        }
        Ok(Step::Add(Member {
            id,
            peer_urls: context.peer_urls.clone().unwrap_or_default(),
            is_learner: context.is_learner,
            name: context.name.clone(),
            client_urls: context.client_urls.clone().unwrap_or_default(),
        }))
    }

    fn judge_update(&self, id: MemberId, context: &MemberJson) -> Result<Step, ApiError> {
        self.urls_are_free(id, context)?;
        let urls = context.peer_urls.clone().unwrap_or_default();
        Ok(Step::SetPeerUrls(id, urls))
    }

    fn known(&self, id: MemberId) -> Result<&Member, ApiError> {
        self.current.get(&id).ok_or(ApiError::MemberNotFound)
    }

    /// No member but `id` itself uses one of the peer URLs.
    fn urls_are_free(&self, id: MemberId, context: &MemberJson) -> Result<(), ApiError> {
        let wanted = context.peer_urls.as_deref().unwrap_or_default();
        let mut others = self.current.values().filter(|member| member.id != id);
        let taken = others.any(|member| member.peer_urls.iter().any(|url| wanted.contains(url)));
        if taken {
            Err(ApiError::PeerUrlExist)
        } else {
            Ok(())
        }
    }

    /// Does a step that was judged valid.
    pub(crate) fn take(&mut self, step: Step) {
        match step {
            Step::Add(member) => {
                self.current.insert(member.id, member);
            }
            Step::Promote(id) => {
                if let Some(member) = self.current.get_mut(&id) {
                    member.is_learner = false;
                }
            }
            Step::Remove(id) => {
                self.current.remove(&id);
                self.removed.insert(id);
            }
            Step::SetPeerUrls(id, urls) => {
                if let Some(member) = self.current.get_mut(&id) {
                    member.peer_urls = urls;
                }
            }
        }
    }

    /// Takes over what a member published about itself. A removed member's is passed over.
    pub(crate) fn set_attributes(
        &mut self,
        index: Index,
        id: MemberId,
        attributes: Attributes,
    ) -> Result<(), Fatal> {
        if let Some(member) = self.current.get_mut(&id) {
            member.name = attributes.name;
            member.client_urls = attributes.client_urls;
        } else if !self.removed.contains(&id) {
            return Err(Fatal::UnknownMember { index, member: id });
        }
        Ok(())
    }

    /// The members, by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.current.values()
    }

    /// The ids that may not come back, ascending.
    pub(crate) fn removed(&self) -> impl Iterator<Item = MemberId> {
        self.removed.iter().copied()
    }

    pub(crate) fn restore(&mut self, member: Member) {
        self.current.insert(member.id, member);
    }

    pub(crate) fn restore_removed(&mut self, id: MemberId) {
        self.removed.insert(id);
    }
}

fn context(index: Index, change: &ConfChange) -> Result<MemberJson, Fatal> {
    MemberJson::read(&change.context).map_err(|error| Fatal::BadConfChange {
        index,
        reason: format!("its context is not the JSON of a member ({error})"),
    })
}

/// A change that would be done must be about the member that its context names.
fn same_id(
    index: Index,
    id: MemberId,
    context: &MemberJson,
    verdict: Result<Step, ApiError>,
) -> Result<Result<Step, ApiError>, Fatal> {
    if verdict.is_ok() && context.id != id.get() {
        return Err(Fatal::BadConfChange {
            index,
            reason: format!(
                "it is about member {id}, its context about {}",
                MemberId(context.id)
            ),
        });
    }
    Ok(verdict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ConfChangeType::{AddLearnerNode, AddNode, RemoveNode, UpdateNode};

    const AT: Index = Index(9);

    fn change(kind: ConfChangeType, node_id: u64, context: &str) -> ConfChange {
        ConfChange {
            id: 1,
            change_type: kind as i32,
            node_id,
            context: context.to_owned().into(),
        }
    }

    fn judge(members: &Members, change: &ConfChange) -> Result<Step, ApiError> {
        members.judge(AT, change, 1).unwrap()
    }

    /// Members 1 (voter, published), 2 (voter) and 3 (learner); 4 was removed.
    fn three() -> Members {
        let mut members = Members::default();
        for (kind, id, context) in [
            (
                AddNode,
                1,
                r#"{"id":1,"peerURLs":["http://a"],"name":"n1"}"#,
            ),
            (
                AddNode,
                2,
                r#"{"id":2,"peerURLs":["http://b","http://b2"]}"#,
            ),
            (
                AddLearnerNode,
                3,
                r#"{"id":3,"peerURLs":["http://c"],"isLearner":true}"#,
            ),
            (AddNode, 4, r#"{"id":4,"peerURLs":["http://d"]}"#),
            (RemoveNode, 4, ""),
        ] {
            let step = judge(&members, &change(kind, id, context)).unwrap();
            members.take(step);
        }
        members
    }

    #[test]
    fn valid_changes_are_taken() {
        let mut members = three();
        let promote = change(AddNode, 3, r#"{"id":3,"peerURLs":null,"isPromote":true}"#);
        let update = change(
            UpdateNode,
            2,
            r#"{"id":2,"peerURLs":["http://b3","http://b2"]}"#,
        );
        for change in [promote, update] {
            let step = judge(&members, &change).unwrap();
            members.take(step);
        }
        let all: Vec<_> = members.iter().collect();
        assert_eq!(all.len(), 3);
        assert!(all[0].is_started() && !all[1].is_started());
        assert_eq!(all[1].peer_urls, ["http://b3", "http://b2"]);
        assert!(!all[2].is_learner);
        assert_eq!(members.removed().collect::<Vec<_>>(), [MemberId(4)]);
    }

    #[test]
    fn refusals_are_etcds() {
        let members = three();
        let refused = [
            // The id may not come back, whatever the change is, and its context is not read.
            (AddNode, 4, "", ApiError::MemberNotFound),
            (RemoveNode, 4, "", ApiError::MemberNotFound),
            (RemoveNode, 9, "", ApiError::MemberNotFound),
            (UpdateNode, 9, "", ApiError::MemberNotFound),
            (
                AddNode,
                1,
                r#"{"id":1,"peerURLs":["http://x"]}"#,
                ApiError::MemberExist,
            ),
            (
                AddNode,
                5,
                r#"{"id":5,"peerURLs":["http://x","http://b2"]}"#,
                ApiError::PeerUrlExist,
            ),
            (
                UpdateNode,
                1,
                r#"{"id":1,"peerURLs":["http://b"]}"#,
                ApiError::PeerUrlExist,
            ),
            (
                AddLearnerNode,
                5,
                r#"{"id":5,"peerURLs":["http://x"],"isLearner":true}"#,
                ApiError::TooManyLearners,
            ),
            (
                AddNode,
                9,
                r#"{"id":9,"isPromote":true}"#,
                ApiError::MemberNotFound,
            ),
            (
                AddNode,
                1,
                r#"{"id":1,"isPromote":true}"#,
                ApiError::MemberNotLearner,
            ),
            // Refused before the ids are compared.
            (
                AddNode,
                1,
                r#"{"id":7,"peerURLs":["http://x"]}"#,
                ApiError::MemberExist,
            ),
        ];
        for (kind, id, context, error) in refused {
            assert_eq!(
                judge(&members, &change(kind, id, context)),
                Err(error),
                "{context}"
            );
        }
    }

    #[test]
    fn only_a_learner_added_as_a_learner_counts_against_the_limit() {
        let members = three();
        let learner_as_voter = r#"{"id":5,"peerURLs":["http://x"],"isLearner":true}"#;
        let voter_as_learner = r#"{"id":5,"peerURLs":["http://x"]}"#;
        assert!(judge(&members, &change(AddNode, 5, learner_as_voter)).is_ok());
        assert!(judge(&members, &change(AddLearnerNode, 5, voter_as_learner)).is_ok());
        let second = change(AddLearnerNode, 5, learner_as_voter);
        assert!(members.judge(AT, &second, 2).unwrap().is_ok());
    }

    #[test]
    fn changes_that_cannot_be_read_are_fatal() {
        let members = three();
        let unknown_kind = ConfChange {
            change_type: 9,
            ..change(AddNode, 5, "{}")
        };
        for (change, part) in [
            (change(AddNode, 5, ""), "not the JSON of a member"),
            (change(UpdateNode, 1, "[1]"), "not the JSON of a member"),
            (
                change(AddNode, 5, r#"{"id":6}"#),
                "about member 5, its context about 6",
            ),
            (
                change(UpdateNode, 1, r#"{"id":2}"#),
                "about member 1, its context about 2",
            ),
            (unknown_kind, "its type 9 is not known"),
        ] {
            let text = members.judge(AT, &change, 1).unwrap_err().to_string();
            assert!(text.contains("entry 9") && text.contains(part), "{text}");
        }
    }

    #[test]
    fn attributes_of_a_removed_member_are_passed_over_and_of_a_stranger_fatal() {
        let mut members = three();
        let attributes = Attributes {
            name: "n2".to_owned(),
            client_urls: vec!["http://client".to_owned()],
        };
        members
            .set_attributes(AT, MemberId(2), attributes.clone())
            .unwrap();
        assert!(
            members
                .iter()
                .any(|m| m.name == "n2" && m.client_urls.len() == 1)
        );
        members
            .set_attributes(AT, MemberId(4), attributes.clone())
            .unwrap();
        assert_eq!(
            members.set_attributes(AT, MemberId(9), attributes),
            Err(Fatal::UnknownMember {
                index: AT,
                member: MemberId(9)
            })
        );
    }

    #[test]
    fn json_is_etcds_byte_for_byte() {
        let promotion = String::from_utf8(promotion_json(MemberId(7))).unwrap();
        assert_eq!(promotion, r#"{"id":7,"peerURLs":null,"isPromote":true}"#);
        let mut member = Member {
            id: MemberId(14_138_984_027_333_314_880),
            peer_urls: vec!["http://127.0.0.1:32380".to_owned()],
            name: "n1".to_owned(),
            ..Member::default()
        };
        let text =
            r#"{"id":14138984027333314880,"peerURLs":["http://127.0.0.1:32380"],"name":"n1"}"#;
        assert_eq!(member.to_json(), text.as_bytes());
        assert_eq!(Member::from_json(text.as_bytes()).unwrap(), member);
        member.peer_urls.clear();
        member.is_learner = true;
        member.name = "<a&b>".to_owned();
        member.client_urls.push("unix://c".to_owned());
        let text = r#"{"id":14138984027333314880,"peerURLs":null,"isLearner":true,"name":"\u003ca\u0026b\u003e","clientURLs":["unix://c"]}"#;
        assert_eq!(String::from_utf8(member.to_json()).unwrap(), text);
        assert_eq!(Member::from_json(text.as_bytes()).unwrap(), member);
    }
}
