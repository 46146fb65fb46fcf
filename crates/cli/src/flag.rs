//! The declaration of a flag: everything that is known about it, as constant data.
//!
//! A program declares its flags as statics, puts them into [`Group`]s, and reads the outcome with
//! the same statics: `settings.uint(&MAX_TXN_OPS)`. So a name is spelled once.

use crate::value::Value;

/// One flag of a program.
#[derive(Debug)]
pub struct Flag {
    /// Without dashes.
    pub name: &'static str,
    /// The one-letter form of programs in the style of etcdctl.
    pub short: Option<char>,
    /// What its value is.
    pub kind: Kind,
    /// The value when nothing is given, in the form of the command line.
    pub default: &'static str,
    /// What help shows as the default, where the plain text would mislead.
    pub shown_default: Option<&'static str>,
    /// What it does, in a sentence or two.
    pub help: &'static str,
    /// Where the configuration file has it.
    pub file: Option<FileKey>,
    /// What becomes of it.
    pub effect: Effect,
    /// Left out of help and completion.
    pub hidden: bool,
    /// Whether the value names a file or folder, for completion.
    pub is_path: bool,
}

/// Flags that stand together in help and documentation.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// The heading.
    pub title: &'static str,
    /// The flags, in the order of help.
    pub flags: &'static [&'static Flag],
}

/// The place of a flag in the configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileKey {
    /// Keys from the top, joined by dots.
    pub path: &'static str,
    /// Whether the file has a list of texts where the command line has commas.
    pub list: bool,
}

/// What a value is, and which texts are one.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Go's booleans. In Go's flag syntax the value needs an equals sign.
    Bool,
    /// Go's `int`.
    Int,
    /// Go's `int64`.
    Int64,
    /// Go's `uint`.
    Uint,
    /// Go's `uint32`.
    Uint32,
    /// Go's `uint64`.
    Uint64,
    /// Go's durations.
    Duration,
    /// Any text.
    Text,
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// Some of these texts, separated by commas; a further one adds to them.
    Choices(&'static [&'static str]),
    /// Texts separated by commas.
    List,
    /// Texts separated by commas; their order and repetitions mean nothing.
    Set,
    /// URLs separated by commas, with etcd's rules for them. The listed texts are allowed beside.
    Urls {
        /// Texts that are no URLs, but accepted.
        also: &'static [&'static str],
    },
    /// A form of the program's own: from the value so far and a text to the next value.
    Custom(fn(&Value, &str) -> Result<Value, String>),
    /// Accepted with or without a value, which nobody reads.
    Ignored,
}

impl Kind {
    /// Whether the flag may stand without a value.
    #[must_use]
    pub fn is_switch(&self) -> bool {
        matches!(self, Self::Bool | Self::Ignored)
    }

    /// The word that help shows for a value.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Bool | Self::Ignored => "",
            Self::Int | Self::Int64 => "int",
            Self::Uint | Self::Uint32 | Self::Uint64 => "uint",
            Self::Duration => "duration",
            Self::Text | Self::Choice(_) | Self::Custom(_) => "string",
            Self::Choices(_) | Self::List | Self::Set => "strings",
            Self::Urls { .. } => "urls",
        }
    }

    /// The texts that may be given, if they are few.
    #[must_use]
    pub fn choices(&self) -> &'static [&'static str] {
        match self {
            Self::Choice(choices) | Self::Choices(choices) => choices,
            _ => &[],
        }
    }
}

/// What becomes of a flag that is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It does what it says. The text names exceptions, such as values that are refused.
    Effective(&'static str),
    /// It can have no meaning here, for this reason: accepted, with one warning.
    NoEffect(&'static str),
    /// What it asks for does not exist, as this text says: any value but the default is refused.
    Refused(&'static str),
}

impl Flag {
    /// A flag that is effective, without short form and configuration key.
    #[must_use]
    pub const fn new(
        name: &'static str,
        kind: Kind,
        default: &'static str,
        help: &'static str,
    ) -> Self {
        Self {
            name,
            short: None,
            kind,
            default,
            shown_default: None,
            help,
            file: None,
            effect: Effect::Effective(""),
            hidden: false,
            is_path: false,
        }
    }

    /// With a one-letter form.
    #[must_use]
    pub const fn short(mut self, short: char) -> Self {
        self.short = Some(short);
        self
    }

    /// The configuration file has it under its own name.
    #[must_use]
    pub const fn in_file(self) -> Self {
        let name = self.name;
        self.file_key(name)
    }

    /// The configuration file has it under this path of keys, joined by dots.
    #[must_use]
    pub const fn file_key(mut self, path: &'static str) -> Self {
        self.file = Some(FileKey { path, list: false });
        self
    }

    /// The configuration file has it under this path of keys, as a list.
    #[must_use]
    pub const fn file_list(mut self, path: &'static str) -> Self {
        self.file = Some(FileKey { path, list: true });
        self
    }

    /// Help shows this text as the default.
    #[must_use]
    pub const fn shown_default(mut self, text: &'static str) -> Self {
        self.shown_default = Some(text);
        self
    }

    /// Effective, with exceptions that documentation names.
    #[must_use]
    pub const fn except(mut self, exceptions: &'static str) -> Self {
        self.effect = Effect::Effective(exceptions);
        self
    }

    /// Accepted without effect.
    #[must_use]
    pub const fn no_effect(mut self, reason: &'static str) -> Self {
        self.effect = Effect::NoEffect(reason);
        self
    }

    /// Refused unless the value is the default.
    #[must_use]
    pub const fn refused(mut self, reason: &'static str) -> Self {
        self.effect = Effect::Refused(reason);
        self
    }

    /// Left out of help and completion.
    #[must_use]
    pub const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    /// The value names a file or folder.
    #[must_use]
    pub const fn path(mut self) -> Self {
        self.is_path = true;
        self
    }

    /// The environment variable: the prefix, then the name in capitals with underscores.
    #[must_use]
    pub fn env_name(&self, prefix: &str) -> String {
        format!(
            "{prefix}_{}",
            self.name.to_ascii_uppercase().replace('-', "_")
        )
    }
}
