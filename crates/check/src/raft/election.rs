//! Who leads, and whether whoever leads has everything that is committed.
//!
//! Checks election safety and leader completeness; the latter both when a leader is elected and
//! when something is committed although a later term has a leader already.

use std::collections::BTreeMap;
use std::ops::Bound;

use tenet_base::{Index, MemberId, Term};

use super::commit::Commits;
use super::log::Log;
use super::{Chain, Property, Verdict, by, require};

/// The leaders of all terms.
#[derive(Debug, Default)]
pub struct Elections {
    leaders: BTreeMap<Term, Elected>,
}

#[derive(Debug)]
struct Elected {
    id: MemberId,
    /// Its log when it was elected.
    log: Log,
}

impl Elections {
    /// A member leads a term.
    ///
    /// # Errors
    /// If somebody else does, or it lacks what is committed.
    pub fn leads(&mut self, id: MemberId, term: Term, log: &Log, commits: &Commits) -> Verdict {
        if let Some(known) = self.leaders.get(&term) {
            return require(known.id == id, Property::ElectionSafety, || {
                format!("{} and {} lead term {term}", by(known.id), by(id))
            });
        }
        for (index, chain) in commits.before(term, log.base()) {
            complete(id, term, log, index, chain)?;
        }
        let log = log.clone();
        self.leaders.insert(term, Elected { id, log });
        Ok(())
    }

    /// How many elections were won.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.leaders.len() as u64
    }

    /// The latest term that has, or had, a leader.
    #[must_use]
    pub fn latest_term(&self) -> Term {
        self.leaders
            .last_key_value()
            .map_or(Term::ZERO, |(term, _)| *term)
    }

    /// An entry is committed in `term`: leaders of later terms must have had it.
    ///
    /// # Errors
    /// If one has not.
    pub fn committed(&self, term: Term, index: Index, chain: Chain) -> Verdict {
        let later = (Bound::Excluded(term), Bound::Unbounded);
        for (term, elected) in self.leaders.range(later) {
            if index > elected.log.base() {
                complete(elected.id, *term, &elected.log, index, chain)?;
            }
        }
        Ok(())
    }
}

fn complete(id: MemberId, term: Term, log: &Log, index: Index, committed: Chain) -> Verdict {
    let own = log.chain(index);
    require(own == Some(committed), Property::LeaderCompleteness, || {
        format!(
            "{} leads term {term} with a log that ends at {} and lacks the entry {index} that \
                 is committed ({own:x?} instead of {committed:x?})",
            by(id),
            log.last()
        )
    })
}

#[cfg(test)]
mod tests {
    use tenet_proto::raftpb::Entry;

    use super::*;

    fn log(count: u64) -> Log {
        let entries: Vec<_> = (1..=count)
            .map(|index| Entry {
                term: 1,
                index,
                ..Entry::default()
            })
            .collect();
        Log::new(Index::ZERO, Term::ZERO, Chain::default()).with_entries(&entries)
    }

    #[test]
    fn two_leaders_of_a_term_break_election_safety() {
        let (mut elections, commits) = (Elections::default(), Commits::default());
        assert_eq!(
            elections.leads(MemberId(1), Term(2), &log(0), &commits),
            Ok(())
        );
        assert_eq!(
            elections.leads(MemberId(1), Term(2), &log(0), &commits),
            Ok(())
        );
        let verdict = elections.leads(MemberId(2), Term(2), &log(0), &commits);
        assert_eq!(verdict.unwrap_err().property, Property::ElectionSafety);
        assert_eq!(
            elections.leads(MemberId(2), Term(3), &log(0), &commits),
            Ok(())
        );
    }

    #[test]
    fn a_leader_without_a_committed_entry_is_noticed_at_its_election() {
        let (mut elections, mut commits) = (Elections::default(), Commits::default());
        let news = commits.commits(MemberId(1), Term(3), Index(2), &log(2));
        assert!(news.is_ok());
        let verdict = elections.leads(MemberId(2), Term(4), &log(1), &commits);
        assert_eq!(verdict.unwrap_err().property, Property::LeaderCompleteness);
        // A leader of the past may be elected late: it will never commit anything.
        assert_eq!(
            elections.leads(MemberId(2), Term(2), &log(1), &commits),
            Ok(())
        );
    }

    #[test]
    fn a_commit_behind_the_back_of_a_later_leader_is_noticed() {
        let (mut elections, commits) = (Elections::default(), Commits::default());
        elections
            .leads(MemberId(2), Term(3), &log(1), &commits)
            .unwrap();
        let chain = log(2).chain(Index(2)).unwrap();
        assert_eq!(elections.committed(Term(3), Index(2), chain), Ok(()));
        let verdict = elections.committed(Term(2), Index(2), chain);
        assert_eq!(verdict.unwrap_err().property, Property::LeaderCompleteness);
    }
}
