//! Environment variables: each flag has one, named after it.
//!
//! An empty variable counts as absent. One that is set beside its flag is a conflict, which ends
//! the program; one that no flag has is reported.

use crate::flag::Flag;
use crate::go::quote;
use crate::settings::{Settings, Source};

/// A variable of the environment.
pub type Variable = (String, String);

/// What became of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It gave its flag the value.
    Used(Variable),
    /// It has the prefix, but no flag has its name, or it is empty.
    Unknown(Variable),
    /// Its flag was given on the command line too. Nothing after it was looked at.
    Conflict(String),
}

/// What the environment holds for a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What was found, in the order in which etcd reports it.
    pub findings: Vec<Finding>,
    /// Why a variable's value was refused; the last one if there are several.
    pub error: Option<String>,
}

impl Report {
    /// The variable that conflicts with a flag, if there is one.
    #[must_use]
    pub fn conflict(&self) -> Option<&str> {
        match self.findings.last() {
            Some(Finding::Conflict(name)) => Some(name),
            _ => None,
        }
    }
}

/// How a flag takes a text: the two command line styles differ.
pub type Give = fn(&mut Settings, &Flag, &str) -> Result<(), String>;

/// As the server's flags take a text.
///
/// # Errors
/// If it is no value of the flag's kind.
pub fn give_as_server(settings: &mut Settings, flag: &Flag, text: &str) -> Result<(), String> {
    settings
        .give(flag, text, Source::Environment)
        .map_err(|error| error.in_flag_words())
}

/// As etcdctl's flags take a text.
///
/// # Errors
/// If it is no value of the flag's kind.
pub fn give_as_ctl(settings: &mut Settings, flag: &Flag, text: &str) -> Result<(), String> {
    crate::posix_flags::give(settings, flag, text, Source::Environment)
}

/// Takes the variables with this prefix into the settings, which hold the command line already.
pub fn apply(settings: &mut Settings, prefix: &str, variables: &[Variable], give: Give) -> Report {
    let mut report = Report::default();
    let (mut used, mut on_command_line) = (Vec::new(), Vec::new());
    let flags: Vec<&'static Flag> = settings.iter().map(|setting| setting.flag).collect();
    for flag in flags {
        let name = flag.env_name(prefix);
        if settings.get(flag).source == Source::CommandLine {
            on_command_line.push(name);
            continue;
        }
        let Some((_, text)) = variables
            .iter()
            .find(|(key, text)| *key == name && !text.is_empty())
        else {
            continue;
        };
        match give(settings, flag, text) {
            Ok(()) => report
                .findings
                .push(Finding::Used((name.clone(), text.clone()))),
            Err(reason) => {
                report.error = Some(format!(
                    "invalid value {} for {name}: {reason}",
                    quote(text)
                ))
            }
        }
        used.push(name);
    }
    for variable @ (name, _) in variables {
        if used.contains(name) {
            continue;
        }
        if on_command_line.contains(name) {
            report.findings.push(Finding::Conflict(name.clone()));
            return report;
        }
        if name
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.starts_with('_'))
        {
            report.findings.push(Finding::Unknown(variable.clone()));
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flag::{Group, Kind};

    static NAME: Flag = Flag::new("a-name", Kind::Text, "default", "");
    static COUNT: Flag = Flag::new("count", Kind::Uint, "3", "");
    static GROUPS: &[Group] = &[Group {
        title: "All",
        flags: &[&NAME, &COUNT],
    }];

    fn run(line: &[&str], variables: &[(&str, &str)]) -> (Settings, Report) {
        let args: Vec<String> = line.iter().map(|a| (*a).to_owned()).collect();
        let own: Vec<_> = variables
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let mut settings = Settings::new(GROUPS);
        crate::go_flags::parse(&mut settings, &args).expect("a valid command line");
        let report = apply(&mut settings, "ETCD", &own, give_as_server);
        (settings, report)
    }

    fn variable(name: &str, value: &str) -> Variable {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn a_variable_gives_its_flag_the_value() {
        let (settings, report) = run(&[], &[("ETCD_A_NAME", "x"), ("PATH", "/bin")]);
        assert_eq!(settings.text(&NAME), "x");
        assert_eq!(settings.get(&NAME).source, Source::Environment);
        assert_eq!(
            report.findings,
            [Finding::Used(variable("ETCD_A_NAME", "x"))]
        );
    }

    #[test]
    fn an_empty_variable_is_unknown() {
        let (settings, report) = run(&[], &[("ETCD_A_NAME", "")]);
        assert!(!settings.is_given(&NAME));
        assert_eq!(
            report.findings,
            [Finding::Unknown(variable("ETCD_A_NAME", ""))]
        );
    }

    #[test]
    fn a_variable_beside_its_flag_is_a_conflict_even_if_empty() {
        for value in ["x", ""] {
            let (settings, report) = run(
                &["--a-name=y"],
                &[("ETCD_X", "1"), ("ETCD_A_NAME", value), ("ETCD_Y", "1")],
            );
            assert_eq!(settings.text(&NAME), "y");
            assert_eq!(report.conflict(), Some("ETCD_A_NAME"));
            assert_eq!(
                report.findings.len(),
                2,
                "what stands after the conflict is not looked at"
            );
        }
    }

    #[test]
    fn a_bad_value_is_named_and_the_other_variables_count() {
        let (settings, report) = run(&[], &[("ETCD_COUNT", "x"), ("ETCD_A_NAME", "y")]);
        assert_eq!(settings.text(&NAME), "y");
        assert_eq!(
            report.error.as_deref(),
            Some("invalid value \"x\" for ETCD_COUNT: parse error")
        );
        assert_eq!(report.conflict(), None);
    }

    #[test]
    fn the_prefix_ends_at_the_underscore() {
        let (_, report) = run(&[], &[("ETCDCTL_API", "3"), ("ETCD_", "1")]);
        assert_eq!(report.findings, [Finding::Unknown(variable("ETCD_", "1"))]);
    }
}
