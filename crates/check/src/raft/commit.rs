//! What is committed: once, for good, on a quorum's disks, and applied alike by everybody.
//!
//! Checks state machine safety and that committed entries are durable.

use tenet_base::{Index, MemberId, Term};

use super::log::Log;
use super::{Chain, Property, Verdict, by, require};

/// All that is committed, as far as anybody knows.
#[derive(Debug, Default)]
pub struct Commits {
    /// By position, from the first: the chain there, and the term in which it was committed.
    places: Vec<(Chain, Term)>,
}

impl Commits {
    /// The last committed position.
    #[must_use]
    pub fn last(&self) -> Index {
        Index(self.places.len() as u64)
    }

    /// What was committed in terms before `term`, in the positions after `base`.
    pub(super) fn before(&self, term: Term, base: Index) -> impl Iterator<Item = (Index, Chain)> {
        let positions = (base.get() + 1..).map(Index);
        let places = self.places.iter().skip(base.get() as usize);
        let earlier = move |(_, (_, in_term)): &(Index, &(Chain, Term))| *in_term < term;
        let known = positions.zip(places).filter(earlier);
        known.map(|(index, (chain, _))| (index, *chain))
    }

    /// A member in `term` knows everything up to `commit` to be committed. Returns what is news.
    /// The first to know is the leader that has counted it, so that is the term of the commit.
    ///
    /// # Errors
    /// If something else is committed in that place, or its log does not reach so far.
    pub fn commits(
        &mut self,
        id: MemberId,
        term: Term,
        commit: Index,
        log: &Log,
    ) -> Result<Vec<(Index, Chain)>, super::Violation> {
        let missing = || {
            let last = log.last();
            format!("{} commits {commit} of a log that ends at {last}", by(id))
        };
        require(commit <= log.last(), Property::StateMachineSafety, missing)?;
        if let Some(chain) = log.chain(commit.min(self.last())) {
            self.known(id, "commits", commit.min(self.last()), chain)?;
        }
        let mut news = Vec::new();
        for index in self.last().get() + 1..=commit.get() {
            let Some(chain) = log.chain(Index(index)) else {
                let what = format!("{} commits {index} by a snapshot, before anybody", by(id));
                return Err(super::Violation::new(Property::StateMachineSafety, what));
            };
            self.places.push((chain, term));
            news.push((Index(index), chain));
        }
        Ok(news)
    }

    /// A member has applied everything up to `index` and its state is `chain`.
    ///
    /// # Errors
    /// If that is not what is committed.
    pub fn applied(&self, id: MemberId, index: Index, chain: Chain) -> Verdict {
        self.known(id, "has applied", index, chain)
    }

    fn known(&self, id: MemberId, does: &str, index: Index, chain: Chain) -> Verdict {
        let Some(at) = index.get().checked_sub(1) else {
            return Ok(());
        };
        let committed = self.places.get(at as usize).map(|(chain, _)| *chain);
        require(
            committed == Some(chain),
            Property::StateMachineSafety,
            || {
                format!(
                    "{} {does} {index} as {chain:x?}, committed is {committed:x?} (up to {})",
                    by(id),
                    self.last()
                )
            },
        )
    }
}

/// A leader of `term` has counted that the entry `index` of `entry_term` is committed.
///
/// # Errors
/// If that is an entry of another term: those that hold it may still be outvoted.
pub fn counted(leader: MemberId, term: Term, index: Index, entry_term: Term) -> Verdict {
    require(entry_term == term, Property::CommitInOwnTerm, || {
        format!(
            "{} leads term {term} and commits {entry_term}/{index} by counting",
            by(leader)
        )
    })
}

/// The voters of a configuration, in two halves during a joint change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Voters {
    /// Those from now on.
    pub incoming: Vec<MemberId>,
    /// Those until now, while the change lasts.
    pub outgoing: Vec<MemberId>,
}

/// What the disks hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durable {
    /// Whose disk.
    pub id: MemberId,
    /// The term of the entry there, if there is one, or `None`.
    pub term: Option<Term>,
    /// Whether the entry is covered by the disk's snapshot.
    pub in_snapshot: bool,
}

impl Voters {
    /// A leader has committed the entry `index` of `term`; `disk` tells what each disk holds there.
    ///
    /// # Errors
    /// If it is not on the disks of a quorum.
    pub fn hold(
        &self,
        leader: MemberId,
        index: Index,
        term: Term,
        mut disk: impl FnMut(MemberId) -> Durable,
    ) -> Verdict {
        for half in [&self.incoming, &self.outgoing] {
            let holds = |id: &&MemberId| {
                let found = disk(**id);
                found.in_snapshot || found.term == Some(term)
            };
            let count = half.iter().filter(holds).count();
            let needed = if half.is_empty() {
                0
            } else {
                half.len() / 2 + 1
            };
            require(count >= needed, Property::CommittedIsDurable, || {
                format!(
                    "{} commits {term}/{index}, which is on {count} disks of {half:?}",
                    by(leader)
                )
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tenet_proto::raftpb::Entry;

    use super::*;

    fn log(data: &[&'static str]) -> Log {
        let entries: Vec<_> = (1..)
            .zip(data)
            .map(|(index, data)| Entry {
                term: 1,
                index,
                data: (*data).into(),
                ..Entry::default()
            })
            .collect();
        Log::new(Index::ZERO, Term::ZERO, Chain::default()).with_entries(&entries)
    }

    #[test]
    fn what_is_committed_once_stays() {
        let mut commits = Commits::default();
        let news = commits.commits(MemberId(1), Term(1), Index(2), &log(&["a", "b"]));
        assert_eq!(news.map(|news| news.len()), Ok(2));
        let news = commits.commits(MemberId(2), Term(1), Index(3), &log(&["a", "b", "c"]));
        assert_eq!(news.map(|news| news.len()), Ok(1));
        for other in [log(&["a", "x", "c"]), log(&["a"])] {
            let verdict = commits.commits(MemberId(3), Term(1), Index(2), &other);
            assert_eq!(verdict.unwrap_err().property, Property::StateMachineSafety);
        }
    }

    #[test]
    fn another_state_and_an_uncommitted_one_break_state_machine_safety() {
        let (mut commits, known) = (Commits::default(), log(&["a", "b"]));
        commits
            .commits(MemberId(1), Term(1), Index(1), &known)
            .unwrap();
        let right = known.chain(Index(1)).unwrap();
        assert_eq!(commits.applied(MemberId(2), Index(1), right), Ok(()));
        let early = known.chain(Index(2)).unwrap();
        for (index, chain) in [(1, Chain(7)), (2, early)] {
            let verdict = commits.applied(MemberId(2), Index(index), chain);
            assert_eq!(verdict.unwrap_err().property, Property::StateMachineSafety);
        }
    }

    #[test]
    fn a_leader_counts_only_entries_of_its_term() {
        let count = |entry_term| counted(MemberId(1), Term(4), Index(7), Term(entry_term));
        assert_eq!(count(4), Ok(()));
        let verdict = count(2);
        assert_eq!(verdict.unwrap_err().property, Property::CommitInOwnTerm);
    }

    #[test]
    fn a_commit_needs_a_quorum_of_disks_in_both_halves() {
        let disk = |holders: &'static [u64]| {
            move |id: MemberId| Durable {
                id,
                term: holders.contains(&id.get()).then_some(Term(2)),
                in_snapshot: false,
            }
        };
        let voters = Voters {
            incoming: [1, 2, 3].map(MemberId).to_vec(),
            outgoing: vec![MemberId(4)],
        };
        let commit = |holders, term| voters.hold(MemberId(1), Index(5), Term(term), disk(holders));
        assert_eq!(commit(&[1, 2, 4], 2), Ok(()));
        for (holders, term) in [(&[1, 2][..], 2), (&[1, 4], 2), (&[1, 2, 4], 1)] {
            let verdict = commit(holders, term);
            assert_eq!(verdict.unwrap_err().property, Property::CommittedIsDurable);
        }
    }
}
