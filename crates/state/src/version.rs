//! Versions, as the replicated state holds and compares them.
//!
//! A cluster version is always `X.Y.0`. What an entry of the log names must be of that form with
//! plain numbers, else the member cannot know what it agreed to.

use std::fmt;

/// A version `major.minor.patch`. Ordered as versions are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
    /// Third number.
    pub patch: u32,
}

impl Version {
    /// The etcd version whose surface this server implements.
    pub const SERVER: Version = Version::new(3, 7, 1);
    /// The highest cluster version that this server may take part in.
    pub const CLUSTER_MAX: Version = Version::new(3, 7, 0);

    /// The lowest cluster version that any member could be in.
    pub const LOWEST: Version = Version::new(3, 0, 0);

    /// A version from its numbers.
    #[must_use]
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Version {
            major,
            minor,
            patch,
        }
    }

    /// The version that `text` spells as three decimal numbers with dots.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(number);
        let version = Version::new(parts.next()??, parts.next()??, parts.next()??);
        parts.next().is_none().then_some(version)
    }

    /// The cluster version of a member whose own version is `text`: without the last number, and
    /// whatever follows it.
    #[must_use]
    pub fn of_cluster(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '.');
        let (major, minor) = (number(parts.next()?)?, number(parts.next()?)?);
        parts.next().map(|_| Version::new(major, minor, 0))
    }
}

/// A decimal number without sign.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_version_of_a_member_leaves_out_what_is_about_its_build() {
        assert_eq!(Version::of_cluster("3.6.14"), Some(Version::new(3, 6, 0)));
        assert_eq!(
            Version::of_cluster("3.7.0-rc.1+git"),
            Some(Version::new(3, 7, 0))
        );
        assert_eq!(Version::of_cluster("3.7"), None);
        assert_eq!(Version::of_cluster("not_decided"), None);
    }

    #[test]
    fn three_numbers_are_a_version_and_nothing_else_is() {
        assert_eq!(Version::parse("3.7.0"), Some(Version::CLUSTER_MAX));
        assert_eq!(Version::parse("3.10.2").unwrap().to_string(), "3.10.2");
        for bad in [
            "",
            "3.7",
            "3.7.0.1",
            "3.7.0-rc.1",
            "+3.7.0",
            "3..0",
            "v3.7.0",
            "3.7.99999999999",
        ] {
            assert_eq!(Version::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn order_is_by_number_not_by_text() {
        assert!(Version::new(3, 10, 0) > Version::new(3, 9, 9));
        assert!(Version::SERVER > Version::CLUSTER_MAX);
    }
}
