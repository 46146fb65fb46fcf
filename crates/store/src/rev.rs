//! The place of a record.

use std::fmt;

/// A revision with the number of the change within it. Orders as changes happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rev {
    /// The main revision, that of the transaction.
    pub main: i64,
    /// The number of the change within the transaction, from zero.
    pub sub: u32,
}

impl Rev {
    /// Before every record.
    pub const MIN: Rev = Rev { main: 0, sub: 0 };
    /// After every record.
    pub const MAX: Rev = Rev {
        main: i64::MAX,
        sub: u32::MAX,
    };

    /// The revision (`main`, `sub`).
    #[must_use]
    pub const fn new(main: i64, sub: u32) -> Rev {
        Rev { main, sub }
    }
}

impl fmt::Display for Rev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.main, self.sub)
    }
}
