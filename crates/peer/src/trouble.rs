//! Says the same trouble once, and again only after a while: a member that is away is asked for ten
//! times a second.

use std::time::{Duration, Instant};
use tenet_base::limits::PEER_LOG_AGAIN_MS;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    last: Option<(String, Instant)>,
}

impl Trouble {
    /// Whether this is to be said now.
    pub(crate) fn is_news(&mut self, text: &str) -> bool {
        self.is_news_at(text, Instant::now())
    }

    fn is_news_at(&mut self, text: &str, now: Instant) -> bool {
        let known = self.last.as_ref().is_some_and(|(last, said)| {
            last == text && now.duration_since(*said) < Duration::from_millis(PEER_LOG_AGAIN_MS)
        });
        if !known {
            self.last = Some((text.to_owned(), now));
        }
        !known
    }

    /// All is well again: the next trouble is news.
    pub(crate) fn over(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_said_again_only_after_a_while_or_when_it_was_over() {
        let mut trouble = Trouble::default();
        let start = Instant::now();
        assert!(trouble.is_news_at("a", start));
        assert!(!trouble.is_news_at("a", start + Duration::from_secs(29)));
        assert!(trouble.is_news_at("a", start + Duration::from_secs(31)));
        assert!(trouble.is_news_at("b", start + Duration::from_secs(31)));
        trouble.over();
        assert!(trouble.is_news_at("b", start + Duration::from_secs(31)));
    }
}
