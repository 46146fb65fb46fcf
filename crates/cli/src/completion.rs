//! Completion scripts for shells, from declarations: names of commands and flags, and the values of
//! flags that have few or that name files.

use std::fmt::Write as _;

use crate::flag::{Flag, Group};
use crate::go::quote;

/// A shell that scripts can be written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    /// GNU Bash.
    Bash,
    /// The Z shell.
    Zsh,
    /// The friendly interactive shell.
    Fish,
}

/// A command whose flags are completed.
#[derive(Clone, Copy, Debug)]
pub struct Command<'a> {
    /// Its name; empty for the program itself.
    pub name: &'a str,
    /// What it does, in a line.
    pub about: &'a str,
    /// Its flags.
    pub groups: &'a [Group],
}

impl Command<'_> {
    fn flags(&self) -> impl Iterator<Item = &'static Flag> {
        let flags = self.groups.iter().flat_map(|group| group.flags).copied();
        flags.filter(|flag| !flag.hidden)
    }
}

/// The script for a program. Flags of the program itself are those of the command without name;
/// the others follow their command.
#[must_use]
pub fn script(shell: Shell, program: &str, commands: &[Command<'_>]) -> String {
    match shell {
        Shell::Bash => bash(program, commands),
        Shell::Zsh => zsh(program, commands),
        Shell::Fish => fish(program, commands),
    }
}

/// A name as part of a shell function's.
fn function_name(program: &str) -> String {
    program
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect()
}

/// What follows a flag.
enum Values {
    Nothing,
    Files,
    Words(String),
    Anything,
}

fn values(flag: &Flag) -> Values {
    let choices = flag.kind.choices();
    if flag.kind.is_switch() {
        Values::Nothing
    } else if !choices.is_empty() {
        Values::Words(choices.join(" "))
    } else if flag.is_path {
        Values::Files
    } else {
        Values::Anything
    }
}

fn bash(program: &str, commands: &[Command<'_>]) -> String {
    let function = function_name(program);
    let names: Vec<&str> = commands
        .iter()
        .map(|c| c.name)
        .filter(|name| !name.is_empty())
        .collect();
    let mut text = format!(
        "_{function}() {{\n    local word=\"${{COMP_WORDS[COMP_CWORD]}}\" before=\"${{COMP_WORDS[COMP_CWORD-1]}}\"\n    \
         local command='' each\n    for each in \"${{COMP_WORDS[@]:1:COMP_CWORD-1}}\"; do\n        \
         case \"$each\" in {}) command=\"$each\"; break ;; esac\n    done\n    case \"$command $before\" in\n",
        if names.is_empty() {
            "''".to_owned()
        } else {
            names.join("|")
        }
    );
    for command in commands {
        for flag in command.flags() {
            let reply = match values(flag) {
                Values::Nothing => continue,
                Values::Files => "compgen -f -- \"$word\"".to_owned(),
                Values::Words(words) => format!("compgen -W '{words}' -- \"$word\""),
                Values::Anything => "true".to_owned(),
            };
            let name = flag.name;
            let _ = writeln!(
                text,
                "        '{0} --{name}'|'{0} -{name}') COMPREPLY=($({reply})); return ;;",
                command.name
            );
        }
    }
    text.push_str("    esac\n    case \"$command\" in\n");
    for command in commands {
        let mut words: Vec<String> = command
            .flags()
            .map(|flag| format!("--{}", flag.name))
            .collect();
        if command.name.is_empty() {
            words.extend(names.iter().map(|name| (*name).to_owned()));
        }
        let words = words.join(" ");
        let _ = writeln!(
            text,
            "        '{}') COMPREPLY=($(compgen -W '{words}' -- \"$word\")) ;;",
            command.name
        );
    }
    let _ = write!(text, "    esac\n}}\ncomplete -F _{function} {program}\n");
    text
}

fn zsh(program: &str, commands: &[Command<'_>]) -> String {
    let function = function_name(program);
    let mut text = format!("#compdef {program}\n\n");
    for command in commands {
        let _ = write!(
            text,
            "_{function}_{}() {{\n    _arguments \\\n",
            function_name(command.name)
        );
        for flag in command.flags() {
            // Colons and brackets delimit the parts of a specification.
            let help = flag
                .help
                .replace('\'', "'\\''")
                .replace('[', "(")
                .replace(']', ")")
                .replace(':', "\\:");
            let equals = if flag.kind.is_switch() { "" } else { "=" };
            let values = match values(flag) {
                Values::Nothing => String::new(),
                Values::Files => ":file:_files".to_owned(),
                Values::Words(words) => format!(":value:({words})"),
                Values::Anything => format!(":{}:", flag.kind.word()),
            };
            let _ = writeln!(text, "        '--{}{equals}[{help}]{values}' \\", flag.name);
        }
        if command.name.is_empty() && commands.len() > 1 {
            let others = commands.iter().filter(|other| !other.name.is_empty());
            let names: Vec<&str> = others.map(|other| other.name).collect();
            let _ = writeln!(text, "        '1:command:({})' \\", names.join(" "));
        }
        text.push_str("        '*: :'\n}\n\n");
    }
    let _ = writeln!(text, "_{function}() {{\n    case \"${{words[2]}}\" in");
    for command in commands.iter().filter(|command| !command.name.is_empty()) {
        let _ = writeln!(
            text,
            "        {0}) shift words; (( CURRENT-- )); _{function}_{1} ;;",
            command.name,
            function_name(command.name)
        );
    }
    let _ = write!(
        text,
        "        *) _{function}_ ;;\n    esac\n}}\n\ncompdef _{function} {program}\n"
    );
    text
}

fn fish(program: &str, commands: &[Command<'_>]) -> String {
    let mut text = String::new();
    let names: Vec<&str> = commands
        .iter()
        .map(|c| c.name)
        .filter(|name| !name.is_empty())
        .collect();
    for command in commands {
        let condition = match command.name {
            "" if names.is_empty() => String::new(),
            "" => " -n __fish_use_subcommand".to_owned(),
            name => format!(" -n '__fish_seen_subcommand_from {name}'"),
        };
        if !command.name.is_empty() {
            let about = quote(command.about).replace('$', "\\$");
            let _ = writeln!(
                text,
                "complete -c {program} -n __fish_use_subcommand -f -a {} -d {about}",
                command.name
            );
        }
        for flag in command.flags() {
            let help = quote(flag.help).replace('$', "\\$");
            let values = match values(flag) {
                Values::Nothing => " -f".to_owned(),
                Values::Files => " -r -F".to_owned(),
                Values::Words(words) => format!(" -x -a '{words}'"),
                Values::Anything => " -x".to_owned(),
            };
            let short = flag
                .short
                .map(|short| format!(" -s {short}"))
                .unwrap_or_default();
            let _ = writeln!(
                text,
                "complete -c {program}{condition}{short} -l {}{values} -d {help}",
                flag.name
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::process::Command as Process;

    use super::*;
    use crate::flag::Kind;

    static NAME: Flag = Flag::new("name", Kind::Text, "", "A [name]: it's one.");
    static DIR: Flag = Flag::new("dir", Kind::Text, "", "A place.").path();
    static STATE: Flag = Flag::new("state", Kind::Choice(&["new", "old"]), "new", "A state.");
    static FAST: Flag = Flag::new("fast", Kind::Bool, "false", "Fast.").short('f');
    static OLD: Flag = Flag::new("gone", Kind::Ignored, "", "Gone.").hidden();
    static MAIN: &[Group] = &[Group {
        title: "Main",
        flags: &[&NAME, &DIR, &STATE, &OLD],
    }];
    static PUT: &[Group] = &[Group {
        title: "Put",
        flags: &[&FAST],
    }];

    fn commands() -> [Command<'static>; 2] {
        [
            Command {
                name: "",
                about: "",
                groups: MAIN,
            },
            Command {
                name: "put",
                about: "write keys",
                groups: PUT,
            },
        ]
    }

    /// What Bash offers at the end of these words.
    fn offered(words: &[&str]) -> String {
        let script = script(Shell::Bash, "a-b", &commands());
        let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        let run = format!(
            "{script}\nCOMP_WORDS=({}); COMP_CWORD={}; _a_b; echo \"${{COMPREPLY[*]}}\"",
            quoted.join(" "),
            words.len() - 1
        );
        let output = Process::new("bash")
            .args(["-c", &run])
            .output()
            .expect("bash");
        assert!(
            output.stderr.is_empty(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout)
            .expect("text")
            .trim()
            .to_owned()
    }

    #[test]
    fn bash_offers_flags_commands_and_values() {
        assert_eq!(offered(&["a-b", ""]), "--name --dir --state put");
        assert_eq!(offered(&["a-b", "--s"]), "--state");
        assert_eq!(offered(&["a-b", "--state", "o"]), "old");
        assert_eq!(offered(&["a-b", "-state", ""]), "new old");
        assert_eq!(offered(&["a-b", "--name", ""]), "");
        assert_eq!(offered(&["a-b", "--dir", "/de"]), "/dev");
        assert_eq!(offered(&["a-b", "put", ""]), "--fast");
        assert_eq!(offered(&["a-b", "put", "--fast", "--"]), "--fast");
    }

    #[test]
    fn zsh_gets_one_specification_a_flag() {
        let text = script(Shell::Zsh, "a-b", &commands());
        assert!(text.starts_with("#compdef a-b\n"));
        assert!(
            text.contains("'--name=[A (name)\\: it'\\''s one.]:string:' \\\n"),
            "{text}"
        );
        assert!(
            text.contains("'--dir=[A place.]:file:_files' \\\n"),
            "{text}"
        );
        assert!(
            text.contains("'--state=[A state.]:value:(new old)' \\\n"),
            "{text}"
        );
        assert!(text.contains("'--fast[Fast.]' \\\n"), "{text}");
        assert!(
            text.contains("put) shift words; (( CURRENT-- )); _a_b_put ;;\n"),
            "{text}"
        );
        assert!(!text.contains("gone"), "{text}");
    }

    #[test]
    fn fish_gets_one_line_a_flag() {
        let text = script(Shell::Fish, "a-b", &commands());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "complete -c a-b -n __fish_use_subcommand -l name -x -d \"A [name]: it's one.\"",
                "complete -c a-b -n __fish_use_subcommand -l dir -r -F -d \"A place.\"",
                "complete -c a-b -n __fish_use_subcommand -l state -x -a 'new old' -d \"A state.\"",
                "complete -c a-b -n __fish_use_subcommand -f -a put -d \"write keys\"",
                "complete -c a-b -n '__fish_seen_subcommand_from put' -s f -l fast -f -d \"Fast.\"",
            ]
        );
    }
}
