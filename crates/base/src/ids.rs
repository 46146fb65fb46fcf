//! Newtypes for the numbers of the protocol.
//!
//! A term is not an index and an index is not a revision: each has a type of its own, so that the
//! compiler refuses to mix them. Widths and signs are those of etcd's wire format (terms, indexes
//! and member ids are unsigned, revisions and lease ids signed), and the text forms are etcd's.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The zero value, which the wire format uses for "none".
            pub const ZERO: $name = $name(0);

            /// The plain number.
            #[inline]
            pub const fn get(self) -> $inner {
                self.0
            }

            /// Whether this is the zero value ("none" on the wire).
            #[inline]
            pub const fn is_zero(self) -> bool {
                self.0 == 0
            }
        }

        impl From<$inner> for $name {
            #[inline]
            fn from(value: $inner) -> Self {
                $name(value)
            }
        }
    };
}

macro_rules! decimal {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

macro_rules! hexadecimal {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::LowerHex::fmt(&self.0, f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::LowerHex::fmt(&self.0, f)
            }
        }
    };
}

macro_rules! stepping {
    ($name:ident, $inner:ty) => {
        impl $name {
            /// The number after this one.
            ///
            /// # Panics
            /// At the end of the number range, which no run reaches.
            #[inline]
            #[must_use]
            pub const fn next(self) -> Self {
                assert!(self.0 < <$inner>::MAX, "number range exhausted");
                $name(self.0 + 1)
            }
        }
    };
}

number!(
    /// A raft term. Zero is before the first election.
    Term,
    u64
);
decimal!(Term);
stepping!(Term, u64);

number!(
    /// A position in the raft log. The first entry has index 1; zero is the empty log.
    Index,
    u64
);
decimal!(Index);
stepping!(Index, u64);

number!(
    /// A main revision of the key-value store. An empty store is at 1; the first write makes 2.
    Revision,
    i64
);
decimal!(Revision);
stepping!(Revision, i64);

number!(
    /// A lease. Zero is "no lease"; negative ids are legal when a client chooses them.
    LeaseId,
    i64
);
hexadecimal!(LeaseId);

number!(
    /// A member of the cluster, by etcd's formula. Printed as lower-case hexadecimal, unpadded.
    MemberId,
    u64
);
hexadecimal!(MemberId);

number!(
    /// A cluster, by etcd's formula. Printed as lower-case hexadecimal, unpadded.
    ClusterId,
    u64
);
hexadecimal!(ClusterId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms_are_etcds() {
        assert_eq!(
            MemberId(0xc437_c30f_b21f_c940).to_string(),
            "c437c30fb21fc940"
        );
        assert_eq!(MemberId(0x0a).to_string(), "a");
        assert_eq!(LeaseId(-1).to_string(), "ffffffffffffffff");
        assert_eq!(Revision(7).to_string(), "7");
        assert_eq!(format!("{:>4}", Index(12)), "  12");
    }

    #[test]
    fn next_steps_by_one() {
        assert_eq!(Index(4).next(), Index(5));
        assert_eq!(Revision::ZERO.next(), Revision(1));
    }
}
