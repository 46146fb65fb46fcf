//! Values of flags: how a text becomes one, and how one is printed.
//!
//! Invariant: a text is accepted by a kind exactly if the Go program accepts it, and refused with
//! its reason.

use std::collections::BTreeSet;
use std::fmt;

use thiserror::Error;

use crate::flag::Kind;
use crate::go::duration::DurationError;
use crate::go::number::{self, NumberError};
use crate::go::{GoDuration, Url, quote};

/// The value of a flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Of [`Kind::Bool`].
    Bool(bool),
    /// Of the signed kinds.
    Int(i64),
    /// Of the unsigned kinds.
    Uint(u64),
    /// Of [`Kind::Duration`].
    Duration(GoDuration),
    /// Of [`Kind::Text`] and [`Kind::Choice`].
    Text(String),
    /// Of the kinds with commas.
    List(Vec<String>),
    /// Of [`Kind::Urls`].
    Urls(Urls),
}

/// A set of URLs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Urls {
    /// The URLs, sorted by their text.
    pub urls: Vec<Url>,
    /// Their texts, and the texts beside URLs that the flag allows.
    pub texts: BTreeSet<String>,
}

impl From<Vec<Url>> for Urls {
    fn from(urls: Vec<Url>) -> Self {
        let texts = urls.iter().map(ToString::to_string).collect();
        Self { urls, texts }
    }
}

/// Why a text is not a value of its kind. Displayed in `strconv`'s words.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ValueError {
    /// Not a number, or not a boolean.
    #[error("{0}")]
    Number(NumberError),
    /// Not a duration.
    #[error("{0}")]
    Duration(DurationError),
    /// Against a rule of its kind.
    #[error("{0}")]
    Rule(String),
}

impl ValueError {
    /// The words of Go's `flag` package, which says less about numbers and durations.
    #[must_use]
    pub fn in_flag_words(&self) -> String {
        match self {
            Self::Number(error) if error.out_of_range => "value out of range".to_owned(),
            Self::Number(_) | Self::Duration(_) => "parse error".to_owned(),
            Self::Rule(text) => text.clone(),
        }
    }
}

impl Value {
    /// The value of a flag that is given no value at all.
    #[must_use]
    pub fn empty(kind: &Kind) -> Self {
        match kind {
            Kind::Bool | Kind::Ignored => Self::Bool(false),
            Kind::Int | Kind::Int64 => Self::Int(0),
            Kind::Uint | Kind::Uint32 | Kind::Uint64 => Self::Uint(0),
            Kind::Duration => Self::Duration(GoDuration(0)),
            Kind::Text | Kind::Choice(_) => Self::Text(String::new()),
            Kind::Choices(_) | Kind::List | Kind::Set | Kind::Custom(_) => Self::List(Vec::new()),
            Kind::Urls { .. } => Self::Urls(Urls::default()),
        }
    }

    /// The value after a text is given. Most kinds forget the value before.
    ///
    /// # Errors
    /// If the text is no value of the kind.
    pub fn given(&self, kind: &Kind, text: &str) -> Result<Self, ValueError> {
        Ok(match kind {
            Kind::Bool => Self::Bool(number::parse_bool(text).map_err(ValueError::Number)?),
            Kind::Int | Kind::Int64 => {
                Self::Int(number::parse_int(text).map_err(ValueError::Number)?)
            }
            Kind::Uint | Kind::Uint64 => {
                Self::Uint(number::parse_uint(text, 64).map_err(ValueError::Number)?)
            }
            // Not a kind of Go's flag package, so that its full reason is shown.
            Kind::Uint32 => Self::Uint(
                number::parse_uint(text, 32)
                    .map_err(|error| ValueError::Rule(error.to_string()))?,
            ),
            Kind::Duration => Self::Duration(text.parse().map_err(ValueError::Duration)?),
            Kind::Text => Self::Text(text.to_owned()),
            Kind::Choice(choices) if choices.contains(&text) => Self::Text(text.to_owned()),
            Kind::Choice(_) => return Err(ValueError::Rule("invalid value".to_owned())),
            Kind::Choices(choices) => self.with_choices(choices, text)?,
            Kind::List => Self::List(split(text)),
            Kind::Set => Self::List(BTreeSet::from_iter(split(text)).into_iter().collect()),
            Kind::Urls { also } => self.with_urls(also, text)?,
            Kind::Custom(given) => given(self, text).map_err(ValueError::Rule)?,
            Kind::Ignored => self.clone(),
        })
    }

    fn with_choices(&self, choices: &[&str], text: &str) -> Result<Self, ValueError> {
        let mut chosen = match self {
            Self::List(chosen) => chosen.clone(),
            _ => Vec::new(),
        };
        for choice in split(text) {
            if !choices.contains(&choice.as_str()) {
                return Err(ValueError::Rule(format!(
                    "invalid value {}",
                    quote(&choice)
                )));
            }
            chosen.push(choice);
        }
        chosen.sort();
        Ok(Self::List(chosen))
    }

    /// URLs replace what was there; a text beside them, or one that is there already, adds nothing
    /// to the URLs.
    fn with_urls(&self, also: &[&str], text: &str) -> Result<Self, ValueError> {
        let mut urls = match self {
            Self::Urls(urls) => urls.clone(),
            _ => Urls::default(),
        };
        if urls.texts.contains(text) {
            return Ok(Self::Urls(urls));
        }
        if also.contains(&text) {
            urls.texts.insert(text.to_owned());
            return Ok(Self::Urls(urls));
        }
        let mut parsed = parse_urls(text).map_err(ValueError::Rule)?;
        parsed.dedup_by_key(|url| url.to_string());
        Ok(Self::Urls(parsed.into()))
    }
}

/// Reads URLs separated by commas and sorts them by their text. `http` and `https` need host and
/// port and no path; `unix` and `unixs` take anything.
///
/// # Errors
/// If one is no URL or against these rules, in etcd's words.
pub fn parse_urls(text: &str) -> Result<Vec<Url>, String> {
    let mut urls = Vec::new();
    for text in text.split(',') {
        let text = text.trim();
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        match url.scheme.as_str() {
            "http" | "https" => {
                if url.host_port().is_err() {
                    return Err(format!(
                        "URL address does not have the form \"host:port\": {text}"
                    ));
                }
                if url.has_path() {
                    return Err(format!("URL must not contain a path: {text}"));
                }
            }
            "unix" | "unixs" => {}
            _ => {
                return Err(format!(
                    "URL scheme must be http, https, unix, or unixs: {text}"
                ));
            }
        }
        urls.push(url);
    }
    urls.sort_by_cached_key(ToString::to_string);
    Ok(urls)
}

fn split(text: &str) -> Vec<String> {
    text.split(',').map(str::to_owned).collect()
}

impl fmt::Display for Value {
    /// As Go's flags print themselves.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Uint(value) => value.fmt(f),
            Self::Duration(value) => value.fmt(f),
            Self::Text(value) => f.write_str(value),
            Self::List(values) => f.write_str(&values.join(",")),
            Self::Urls(urls) => {
                f.write_str(&Vec::from_iter(urls.texts.iter().map(String::as_str)).join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn give(kind: Kind, texts: &[&str]) -> Result<String, String> {
        let mut value = Value::empty(&kind);
        for text in texts {
            value = value
                .given(&kind, text)
                .map_err(|error| error.in_flag_words())?;
        }
        Ok(value.to_string())
    }

    #[test]
    fn urls_are_sorted_and_unique() {
        let kind = Kind::Urls { also: &[""] };
        let given = give(kind, &["http://b:1, http://a:2,http://a:2"]);
        assert_eq!(given, Ok("http://a:2,http://b:1".to_owned()));
        let Ok(Value::Urls(urls)) = Value::empty(&kind).given(&kind, "http://b:1,http://b:1")
        else {
            panic!()
        };
        assert_eq!(urls.urls.len(), 1);
    }

    #[test]
    fn an_empty_url_list_leaves_the_urls_alone() {
        let kind = Kind::Urls { also: &[""] };
        let value = Value::empty(&kind)
            .given(&kind, "http://b:1")
            .expect("a URL");
        let Ok(Value::Urls(urls)) = value.given(&kind, "") else {
            panic!()
        };
        assert_eq!(urls.urls.len(), 1);
        assert!(urls.texts.contains(""));
    }

    #[test]
    fn a_star_joins_the_origins_that_are_there() {
        let kind = Kind::Urls { also: &["*"] };
        assert_eq!(
            give(kind, &["*", "http://a:1", "*"]),
            Ok("*,http://a:1".to_owned())
        );
        assert_eq!(
            give(kind, &["*", "http://a:1"]),
            Ok("http://a:1".to_owned())
        );
    }

    #[test]
    fn choices_add_up_and_choice_is_replaced() {
        assert_eq!(
            give(Kind::Choices(&["a", "b"]), &["b", "a,b"]),
            Ok("a,b,b".to_owned())
        );
        assert_eq!(
            give(Kind::Choices(&["a"]), &["a,x"]),
            Err("invalid value \"x\"".to_owned())
        );
        assert_eq!(
            give(Kind::Choice(&["a", "b"]), &["b", "a"]),
            Ok("a".to_owned())
        );
        assert_eq!(
            give(Kind::Choice(&["a"]), &[""]),
            Err("invalid value".to_owned())
        );
    }

    #[test]
    fn sets_are_sorted_and_lists_are_not() {
        assert_eq!(give(Kind::Set, &["b,a,b"]), Ok("a,b".to_owned()));
        assert_eq!(give(Kind::List, &["b,a,b"]), Ok("b,a,b".to_owned()));
    }

    #[test]
    fn numbers_are_refused_in_the_words_of_the_flag_package() {
        assert_eq!(give(Kind::Uint, &["-1"]), Err("parse error".to_owned()));
        assert_eq!(
            give(Kind::Int, &["9223372036854775808"]),
            Err("value out of range".to_owned())
        );
        assert_eq!(give(Kind::Duration, &["5"]), Err("parse error".to_owned()));
        let full = "strconv.ParseUint: parsing \"x\": invalid syntax".to_owned();
        assert_eq!(give(Kind::Uint32, &["x"]), Err(full));
    }
}
