//! What a program has been told: the value of each of its flags, and where it comes from.
//!
//! Invariant: every declared flag has a value of its kind, from the start. Asking for a flag that
//! is not declared, or as another kind, is a mistake of the program and panics with its name.

use std::collections::BTreeMap;

use crate::flag::{Effect, Flag, Group, Kind};
use crate::go::GoDuration;
use crate::value::{Urls, Value, ValueError};

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The declaration.
    Default,
    /// The command line.
    CommandLine,
    /// An environment variable.
    Environment,
    /// The configuration file.
    File,
}

/// A flag with its value.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Its declaration.
    pub flag: &'static Flag,
    /// Its value.
    pub value: Value,
    /// Where the value comes from.
    pub source: Source,
}

impl Setting {
    /// Whether the value was given, even if it equals the default.
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.source != Source::Default
    }

    /// Whether the value is the one of the declaration.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.value == default_of(self.flag)
    }
}

/// The values of all flags of a program, by name.
#[derive(Clone, Debug)]
pub struct Settings {
    settings: BTreeMap<&'static str, Setting>,
}

fn default_of(flag: &Flag) -> Value {
    let empty = Value::empty(&flag.kind);
    // An empty default means no value for kinds that do not take an empty text.
    if flag.default.is_empty() {
        return empty;
    }
    match empty.given(&flag.kind, flag.default) {
        Ok(value) => value,
        Err(error) => panic!(
            "the default of --{} is no value of its kind: {error}",
            flag.name
        ),
    }
}

impl Settings {
    /// All flags of these groups at their defaults.
    #[must_use]
    pub fn new(groups: &[Group]) -> Self {
        let mut settings = BTreeMap::new();
        for &flag in groups.iter().flat_map(|group| group.flags) {
            let setting = Setting {
                flag,
                value: default_of(flag),
                source: Source::Default,
            };
            let before = settings.insert(flag.name, setting);
            assert!(before.is_none(), "--{} is declared twice", flag.name);
        }
        Self { settings }
    }

    /// All settings, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Setting> {
        self.settings.values()
    }

    /// The declaration of this name, if there is one.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&'static Flag> {
        self.settings.get(name).map(|setting| setting.flag)
    }

    /// The declaration of this one-letter form, if there is one.
    #[must_use]
    pub fn find_short(&self, short: char) -> Option<&'static Flag> {
        self.iter()
            .map(|setting| setting.flag)
            .find(|flag| flag.short == Some(short))
    }

    /// The setting of a flag.
    #[must_use]
    pub fn get(&self, flag: &Flag) -> &Setting {
        self.settings
            .get(flag.name)
            .unwrap_or_else(|| panic!("--{} is not declared", flag.name))
    }

    /// Gives a flag a text.
    ///
    /// # Errors
    /// If the text is no value of its kind.
    pub fn give(&mut self, flag: &Flag, text: &str, source: Source) -> Result<(), ValueError> {
        let value = self.get(flag).value.given(&flag.kind, text)?;
        self.put(flag, value, source);
        Ok(())
    }

    /// Gives a flag a value, which must be of its kind.
    pub fn put(&mut self, flag: &Flag, value: Value, source: Source) {
        let setting = self.settings.get_mut(flag.name);
        let setting = setting.unwrap_or_else(|| panic!("--{} is not declared", flag.name));
        setting.value = value;
        setting.source = source;
    }

    /// Whether a flag was given a value.
    #[must_use]
    pub fn is_given(&self, flag: &Flag) -> bool {
        self.get(flag).is_given()
    }

    /// Given flags that have no effect, by name.
    #[must_use]
    pub fn without_effect(&self) -> Vec<&'static str> {
        let given = self
            .iter()
            .filter(|s| s.is_given() && matches!(s.flag.effect, Effect::NoEffect(_)));
        given.map(|setting| setting.flag.name).collect()
    }

    /// The first flag that is refused with its value, and why.
    #[must_use]
    pub fn first_refused(&self) -> Option<(&'static Flag, &'static str)> {
        self.iter().find_map(|setting| match setting.flag.effect {
            Effect::Refused(reason) if !setting.is_default() => Some((setting.flag, reason)),
            _ => None,
        })
    }

    /// The value of a [`Kind::Bool`] flag.
    #[must_use]
    pub fn bool(&self, flag: &Flag) -> bool {
        match self.get(flag).value {
            Value::Bool(value) => value,
            _ => wrong_kind(flag),
        }
    }

    /// The value of a signed flag.
    #[must_use]
    pub fn int(&self, flag: &Flag) -> i64 {
        match self.get(flag).value {
            Value::Int(value) => value,
            _ => wrong_kind(flag),
        }
    }

    /// The value of an unsigned flag.
    #[must_use]
    pub fn uint(&self, flag: &Flag) -> u64 {
        match self.get(flag).value {
            Value::Uint(value) => value,
            _ => wrong_kind(flag),
        }
    }

    /// The value of a [`Kind::Duration`] flag.
    #[must_use]
    pub fn duration(&self, flag: &Flag) -> GoDuration {
        match self.get(flag).value {
            Value::Duration(value) => value,
            _ => wrong_kind(flag),
        }
    }

    /// The value of a [`Kind::Text`] or [`Kind::Choice`] flag.
    #[must_use]
    pub fn text(&self, flag: &Flag) -> &str {
        match &self.get(flag).value {
            Value::Text(value) => value,
            _ => wrong_kind(flag),
        }
    }

    /// The value of a flag with commas.
    #[must_use]
    pub fn list(&self, flag: &Flag) -> &[String] {
        match &self.get(flag).value {
            Value::List(value) => value,
            _ => wrong_kind(flag),
        }
    }

    /// The value of a [`Kind::Urls`] flag.
    #[must_use]
    pub fn urls(&self, flag: &Flag) -> &Urls {
        match &self.get(flag).value {
            Value::Urls(value) => value,
            _ => wrong_kind(flag),
        }
    }
}

fn wrong_kind(flag: &Flag) -> ! {
    let kind: &Kind = &flag.kind;
    panic!("--{} is asked for as another kind than {kind:?}", flag.name)
}
