//! Changes of the configuration come one at a time.

use tenet_base::{Index, MemberId};

use super::log::Log;
use super::{Property, Verdict, by, require};

/// Checks that a log holds at most one change that is not committed.
#[derive(Debug)]
pub struct OneChange;

impl OneChange {
    /// A leader's log, when everything up to `committed` is committed.
    ///
    /// # Errors
    /// If two changes are not.
    pub fn holds(id: MemberId, log: &Log, committed: Index) -> Verdict {
        let pending = log.conf_changes().iter().rev();
        let pending: Vec<_> = pending.take_while(|index| **index > committed).collect();
        require(pending.len() <= 1, Property::OneConfigurationChange, || {
            format!(
                "{} leads with changes of the configuration at {pending:?}, {committed} is \
                     committed",
                by(id)
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use tenet_base::Term;
    use tenet_proto::raftpb::{Entry, EntryType};

    use super::super::Chain;
    use super::*;

    #[test]
    fn a_second_change_is_noticed_until_the_first_is_committed() {
        let change = |index| Entry {
            entry_type: EntryType::ConfChangeV2 as i32,
            term: 1,
            index,
            ..Entry::default()
        };
        let log = Log::new(Index::ZERO, Term::ZERO, Chain::default());
        let log = log.with_entries(&[change(1), change(2)]);
        let verdict = OneChange::holds(MemberId(1), &log, Index(0));
        assert_eq!(
            verdict.unwrap_err().property,
            Property::OneConfigurationChange
        );
        assert_eq!(OneChange::holds(MemberId(1), &log, Index(1)), Ok(()));
    }
}
