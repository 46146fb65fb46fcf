//! Whether a change of the cluster's members should be proposed at all.
//!
//! A change that is committed is judged by every member against the same table (`tenet_state`);
//! here a member judges by what it sees at the moment, so that a slip does not cost the cluster its
//! quorum. The rules are etcd's (`--strict-reconfig-check`). A member counts as connected if it has
//! been within reach for a while; this one always is.

use tenet_base::MemberId;
use tenet_proto::ApiError;
use tenet_state::Member;

/// What a member knows of the others.
pub struct Surroundings<'a> {
    /// This member.
    pub local: MemberId,
    /// All members.
    pub members: &'a [Member],
    /// For how long a member has been within reach, in milliseconds; `None` if it is not.
    pub connected_ms: &'a dyn Fn(MemberId) -> Option<u64>,
    /// From when on a member counts as connected, in milliseconds.
    pub healthy_ms: u64,
}

impl Surroundings<'_> {
    fn voters(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| !member.is_learner)
    }

    fn is_connected(&self, id: MemberId) -> bool {
        id == self.local || (self.connected_ms)(id).is_some_and(|ms| ms >= self.healthy_ms)
    }

    fn connected(&self) -> usize {
        self.voters().filter(|m| self.is_connected(m.id)).count()
    }

    /// Whether a member may be added, as a learner or as a voter.
    ///
    /// # Errors
    /// Why not.
    pub fn check_add(&self, as_learner: bool) -> Result<(), ApiError> {
        let voters = self.voters().count();
        let started = self.voters().filter(|member| member.is_started()).count();
        // Of the voters that there will be.
        let quorum = voters.div_ceil(2) + 1;
        let alone = voters == 1 && started == 1;
        if !(as_learner || alone) && started < quorum {
            return Err(ApiError::MemberNotEnoughStarted);
        }
        if voters > 1 && self.connected() < quorum {
            return Err(ApiError::Unhealthy);
        }
        Ok(())
    }

    /// Whether a member may be removed.
    ///
    /// # Errors
    /// Why not.
    pub fn check_remove(&self, id: MemberId) -> Result<(), ApiError> {
        let is_learner = |member: &Member| member.id == id && member.is_learner;
        if self.members.iter().any(is_learner) {
            return Ok(());
        }
        let rest = self.voters().filter(|member| member.id != id);
        let (count, started) = rest.fold((0, 0), |(count, started), member| {
            (count + 1, started + usize::from(member.is_started()))
        });
        if started < count / 2 + 1 {
            return Err(ApiError::MemberNotEnoughStarted);
        }
        // One that is out of reach is not part of the quorum that there is.
        if id != self.local && (self.connected_ms)(id).is_none() {
            return Ok(());
        }
        let voters = self.voters().count();
        if self.connected().saturating_sub(1) < 1 + voters.saturating_sub(1) / 2 {
            return Err(ApiError::Unhealthy);
        }
        Ok(())
    }

    /// Whether a learner whose log matches the leader's up to `matched` of `leader` may vote.
    ///
    /// # Errors
    /// Why not.
    pub fn check_promote(&self, id: MemberId, matched: u64, leader: u64) -> Result<(), ApiError> {
        let member = self.members.iter().find(|member| member.id == id);
        let member = member.ok_or(ApiError::MemberNotFound)?;
        if !member.is_learner {
            return Err(ApiError::MemberNotLearner);
        }
        // etcd: nine tenths.
        if matched.saturating_mul(10) < leader.saturating_mul(9) {
            return Err(ApiError::LearnerNotReady);
        }
        let voters = self.voters().count() + 1;
        let started = 1 + self.voters().filter(|member| member.is_started()).count();
        if started < voters / 2 + 1 {
            return Err(ApiError::MemberNotEnoughStarted);
        }
        Ok(())
    }
}

impl std::fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings")
            .field("local", &self.local)
            .field("members", &self.members)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64, started: bool, learner: bool) -> Member {
        Member {
            id: MemberId(id),
            name: if started {
                format!("m{id}")
            } else {
                String::new()
            },
            is_learner: learner,
            ..Member::default()
        }
    }

    /// Asks about members 1 to `count`, all started, of which those from `connected` on are not
    /// within reach.
    fn around<T>(count: u64, connected: u64, ask: impl Fn(&Surroundings<'_>) -> T) -> T {
        let members: Vec<Member> = (1..=count).map(|id| member(id, true, false)).collect();
        let reach = |id: MemberId| (id.get() <= connected).then_some(9_000);
        ask(&Surroundings {
            local: MemberId(1),
            members: &members,
            connected_ms: &reach,
            healthy_ms: 5_000,
        })
    }

    #[test]
    fn a_member_is_added_only_to_a_cluster_that_can_bear_one_that_never_starts() {
        let add = |around: &Surroundings<'_>| around.check_add(false);
        assert_eq!(around(1, 1, add), Ok(()));
        assert_eq!(around(2, 2, add), Ok(()));
        assert_eq!(around(3, 3, add), Ok(()));
        assert_eq!(around(3, 2, add), Err(ApiError::Unhealthy));
        assert_eq!(around(2, 1, add), Err(ApiError::Unhealthy));
        let members = [member(1, true, false), member(2, false, false)];
        let unstarted = Surroundings {
            local: MemberId(1),
            members: &members,
            connected_ms: &|_| Some(9_000),
            healthy_ms: 5_000,
        };
        assert_eq!(
            unstarted.check_add(false),
            Err(ApiError::MemberNotEnoughStarted)
        );
        assert_eq!(unstarted.check_add(true), Ok(()));
    }

    #[test]
    fn a_member_is_removed_only_if_the_rest_is_a_quorum() {
        let remove = |id: u64| move |around: &Surroundings<'_>| around.check_remove(MemberId(id));
        assert_eq!(
            around(1, 1, remove(1)),
            Err(ApiError::MemberNotEnoughStarted)
        );
        assert_eq!(around(2, 2, remove(2)), Ok(()));
        assert_eq!(around(3, 3, remove(2)), Ok(()));
        // The one that is gone may go; one that is there may not, as two would be left of which one
        // is gone.
        assert_eq!(around(3, 2, remove(3)), Ok(()));
        assert_eq!(around(3, 2, remove(2)), Err(ApiError::Unhealthy));
    }

    #[test]
    fn a_learner_votes_once_it_has_nine_tenths() {
        let members = [member(1, true, false), member(2, true, true)];
        let around = Surroundings {
            local: MemberId(1),
            members: &members,
            connected_ms: &|_| Some(9_000),
            healthy_ms: 5_000,
        };
        let promote = |id, matched| around.check_promote(MemberId(id), matched, 100);
        assert_eq!(promote(2, 90), Ok(()));
        assert_eq!(promote(2, 89), Err(ApiError::LearnerNotReady));
        assert_eq!(promote(1, 100), Err(ApiError::MemberNotLearner));
        assert_eq!(promote(3, 100), Err(ApiError::MemberNotFound));
    }
}
