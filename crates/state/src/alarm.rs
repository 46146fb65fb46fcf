//! The alarms of the cluster: a replicated set of (kind, member).
//!
//! While one of kind NOSPACE or CORRUPT is in the set, every member refuses the same requests, so
//! the set and not a member's own disk decides what an entry does.

use std::collections::BTreeSet;
use tenet_base::MemberId;
use tenet_proto::etcdserverpb::alarm_request::AlarmAction;
use tenet_proto::etcdserverpb::{AlarmMember, AlarmRequest, AlarmType};

/// The set. Kinds are kept as numbers, since etcd stores a kind that it does not know.
#[derive(Clone, Debug, Default)]
pub(crate) struct Alarms(BTreeSet<(i32, u64)>);

impl Alarms {
    /// Does what `request` says and returns the alarms that it concerns.
    pub(crate) fn apply(&mut self, request: &AlarmRequest) -> Vec<AlarmMember> {
        let entry = (request.alarm, request.member_id);
        match AlarmAction::try_from(request.action) {
            Ok(AlarmAction::Get) => self.of_kind(request.alarm),
            Ok(AlarmAction::Activate) if request.alarm != AlarmType::None as i32 => {
                self.0.insert(entry);
                vec![alarm(entry)]
            }
            Ok(AlarmAction::Deactivate) if self.0.remove(&entry) => vec![alarm(entry)],
            Ok(AlarmAction::Activate | AlarmAction::Deactivate) | Err(_) => Vec::new(),
        }
    }

    /// Whether any member has an alarm of this kind.
    pub(crate) fn has(&self, kind: AlarmType) -> bool {
        let kind = kind as i32;
        self.0.range((kind, 0)..=(kind, u64::MAX)).next().is_some()
    }

    /// Whether this member has an alarm of this kind.
    pub(crate) fn of_member(&self, member: MemberId, kind: AlarmType) -> bool {
        self.0.contains(&(kind as i32, member.get()))
    }

    /// All alarms, by kind and member.
    pub(crate) fn all(&self) -> Vec<AlarmMember> {
        self.of_kind(AlarmType::None as i32)
    }

    /// Puts an alarm back at a start.
    pub(crate) fn restore(&mut self, member: MemberId, kind: i32) {
        self.0.insert((kind, member.get()));
    }

    /// The alarms of one kind; of every kind for "none".
    fn of_kind(&self, kind: i32) -> Vec<AlarmMember> {
        let wanted = |entry: &&(i32, u64)| kind == AlarmType::None as i32 || entry.0 == kind;
        self.0
            .iter()
            .filter(wanted)
            .map(|entry| alarm(*entry))
            .collect()
    }
}

fn alarm((kind, member): (i32, u64)) -> AlarmMember {
    AlarmMember {
        member_id: member,
        alarm: kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(action: AlarmAction, member: u64, kind: i32) -> AlarmRequest {
        AlarmRequest {
            action: action as i32,
            member_id: member,
            alarm: kind,
        }
    }

    const NOSPACE: i32 = AlarmType::Nospace as i32;
    const CORRUPT: i32 = AlarmType::Corrupt as i32;

    #[test]
    fn raising_twice_is_one_alarm_and_lowering_names_it_exactly() {
        let mut alarms = Alarms::default();
        for _ in 0..2 {
            let raised = alarms.apply(&request(AlarmAction::Activate, 7, NOSPACE));
            assert_eq!(raised, [alarm((NOSPACE, 7))]);
        }
        assert!(alarms.has(AlarmType::Nospace) && !alarms.has(AlarmType::Corrupt));
        for other in [(8, NOSPACE), (7, CORRUPT), (7, 0)] {
            assert!(
                alarms
                    .apply(&request(AlarmAction::Deactivate, other.0, other.1))
                    .is_empty()
            );
        }
        assert_eq!(
            alarms.apply(&request(AlarmAction::Deactivate, 7, NOSPACE)),
            [alarm((NOSPACE, 7))]
        );
        assert!(!alarms.has(AlarmType::Nospace));
    }

    #[test]
    fn get_ignores_the_member_and_none_means_every_kind() {
        let mut alarms = Alarms::default();
        for (member, kind) in [(1, NOSPACE), (2, NOSPACE), (1, CORRUPT), (0, 9)] {
            alarms.apply(&request(AlarmAction::Activate, member, kind));
        }
        assert_eq!(alarms.apply(&request(AlarmAction::Get, 5, 0)).len(), 4);
        assert_eq!(
            alarms.apply(&request(AlarmAction::Get, 5, NOSPACE)).len(),
            2
        );
    }

    #[test]
    fn raising_no_kind_and_unknown_actions_do_nothing() {
        let mut alarms = Alarms::default();
        assert!(
            alarms
                .apply(&request(AlarmAction::Activate, 7, 0))
                .is_empty()
        );
        let unknown = AlarmRequest {
            action: 9,
            member_id: 7,
            alarm: NOSPACE,
        };
        assert!(alarms.apply(&unknown).is_empty());
        assert!(alarms.all().is_empty());
    }
}
