//! Errors of the operating system in Go's words.

use std::io;

/// The words without the number that the standard library adds, and in lower case.
#[must_use]
pub fn error_words(error: &io::Error) -> String {
    let text = error.to_string();
    if error.raw_os_error().is_none() {
        return text;
    }
    let words = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = words.chars();
    chars
        .next()
        .map(|first| first.to_ascii_lowercase())
        .into_iter()
        .chain(chars)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_system_have_neither_number_nor_capital() {
        assert_eq!(
            error_words(&io::Error::from_raw_os_error(2)),
            "no such file or directory"
        );
        assert_eq!(
            error_words(&io::Error::from_raw_os_error(13)),
            "permission denied"
        );
        assert_eq!(error_words(&io::Error::other("As it is")), "As it is");
    }
}
