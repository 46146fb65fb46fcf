//! Completion: the hidden commands that scripts ask, in the form of the scripts that etcdctl
//! writes, and scripts of our own that ask them.

use std::io::Write as _;

use tenet_cli::flag::Flag;

use crate::commands::ROOT;
use crate::failure::Failure;
use crate::flags;
use crate::tree::{Path, Run, find};

/// Asks for completions with descriptions; the other one without.
pub(crate) const ASK: &str = "__complete";
pub(crate) const ASK_NAMES: &str = "__completeNoDesc";

/// Whether the shell may complete with file names where nothing else fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Files {
    Yes,
    No,
}

/// Answers a script: a line for each completion of the last word, then what else is allowed.
pub(crate) fn answer(words: &[String], descriptions: bool) -> Result<(), Failure> {
    let (completions, files) = completions(words);
    let mut text = String::new();
    for (name, description) in completions {
        text.push_str(name.as_str());
        if descriptions && !description.is_empty() {
            text.push('\t');
            text.push_str(description);
        }
        text.push('\n');
    }
    let (number, name) = match files {
        Files::Yes => (0, "ShellCompDirectiveDefault"),
        Files::No => (4, "ShellCompDirectiveNoFileComp"),
    };
    text.push_str(&format!(":{number}\n"));
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(Failure::of_output)?;
    let _ = writeln!(std::io::stderr(), "Completion ended with directive: {name}");
    Ok(())
}

type Completions = Vec<(String, &'static str)>;

fn completions(words: &[String]) -> (Completions, Files) {
    let Some((last, before)) = words.split_last() else {
        return (Vec::new(), Files::No);
    };
    // A flag that wants a value is no part of finding the command.
    let value_of = before
        .last()
        .filter(|word| word.starts_with('-') && !word.contains('='));
    let Ok((path, left)) = find(&ROOT, before) else {
        return (Vec::new(), Files::No);
    };
    if let Some(flag) = value_of.and_then(|word| flag_of(&path, word))
        && !flag.kind.is_switch()
    {
        return values(flag, "", last);
    }
    if let Some((name, value)) = last.split_once('=').filter(|_| last.starts_with("--")) {
        return match flag_of(&path, name) {
            Some(flag) => values(flag, &format!("{name}="), value),
            None => (Vec::new(), Files::No),
        };
    }
    if last.starts_with('-') {
        return (flag_names(&path, last), Files::No);
    }
    let shells = ["bash", "zsh", "fish", "powershell"];
    let mut found: Completions = match path.command().name {
        "completion" if left.is_empty() => shells
            .iter()
            .map(|shell| ((*shell).to_owned(), ""))
            .collect(),
        "help" => commands(&Path::root(&ROOT)),
        _ if left.is_empty() || path.is_root() => commands(&path),
        _ => Vec::new(),
    };
    found.retain(|(name, _)| name.starts_with(&last[..]));
    (found, Files::No)
}

fn commands(path: &Path) -> Completions {
    let mut commands: Vec<_> = path.command().commands.to_vec();
    commands.sort_by_key(|command| command.name);
    commands
        .iter()
        .filter(|command| !matches!(command.run, Run::Later))
        .map(|command| (command.name.to_owned(), command.short))
        .collect()
}

fn flag_of(path: &Path, word: &str) -> Option<&'static Flag> {
    let groups = path.flags();
    let mut flags = groups.iter().flat_map(|group| group.flags.iter().copied());
    match word.strip_prefix("--") {
        Some(name) => flags.find(|flag| flag.name == name),
        None => {
            let letter = word.chars().last()?;
            flags.find(|flag| flag.short == Some(letter))
        }
    }
}

fn values(flag: &Flag, prefix: &str, value: &str) -> (Completions, Files) {
    let choices = flags::completions(flag);
    let files = if choices.is_empty() {
        Files::Yes
    } else {
        Files::No
    };
    let fitting = choices.iter().filter(|choice| choice.starts_with(value));
    (
        fitting
            .map(|choice| (format!("{prefix}{choice}"), ""))
            .collect(),
        files,
    )
}

/// Flags that begin so. Those of all commands come only once a letter is there.
fn flag_names(path: &Path, beginning: &str) -> Completions {
    let command = path.command();
    let mut found: Vec<&Flag> = command
        .flags
        .iter()
        .chain(command.shared)
        .copied()
        .collect();
    if beginning.trim_start_matches('-').is_empty() {
        found.retain(|flag| !flags::GLOBAL.iter().any(|global| global.name == flag.name));
    } else {
        found.extend(
            path.inherited()
                .iter()
                .flat_map(|group| group.flags.iter().copied()),
        );
    }
    found.sort_by_key(|flag| flag.name);
    found
        .into_iter()
        .map(|flag| (format!("--{}", flag.name), flag.help))
        .filter(|(name, _)| name.starts_with(beginning))
        .collect()
}

/// The script for a shell.
pub(crate) fn script(shells: &[String], program: &str) -> Result<String, Failure> {
    let [shell] = shells else {
        let text = format!("accepts 1 arg(s), received {}", shells.len());
        return Err(Failure::misused(text));
    };
    let template = match &shell[..] {
        "bash" => BASH,
        "zsh" => ZSH,
        "fish" => FISH,
        "powershell" => POWERSHELL,
        _ => {
            let shell = tenet_cli::go::quote(shell);
            let text = format!("invalid argument {shell} for \"{program} completion\"");
            return Err(Failure::misused(text));
        }
    };
    // The word that the shell completes, and the words that lead from there to this program.
    let (command, leading) = program.split_once(' ').unwrap_or((program, ""));
    Ok(template
        .replace("@COMMAND@", command)
        .replace("@LEADING@", leading))
}

const BASH: &str = r#"# bash completion for @COMMAND@ @LEADING@
__@COMMAND@_complete() {
    local line=${COMP_LINE:0:COMP_POINT} words out current
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    words=("${words[@]:1}")
    if [[ -n "@LEADING@" ]]; then
        [[ ${#words[@]} -gt 1 && ${words[0]} == "@LEADING@" ]] || return
        words=("${words[@]:1}")
    fi
    out=$(@COMMAND@ @LEADING@ __completeNoDesc "${words[@]}" 2>/dev/null) || return
    current=${words[${#words[@]}-1]}
    local IFS=$'\n'
    COMPREPLY=($(compgen -W "${out%:*}" -- "$current"))
    # After an equals sign the shell has begun a new word.
    [[ $current == *=* ]] && COMPREPLY=("${COMPREPLY[@]#*=}")
    [[ ${out##*:} == 0 ]] && compopt -o default
    return 0
}
complete -F __@COMMAND@_complete @COMMAND@
"#;

const ZSH: &str = r#"#compdef @COMMAND@
_@COMMAND@() {
    local -a lines found
    local line from=2
    if [[ -n "@LEADING@" ]]; then
        [[ $CURRENT -gt 2 && ${words[2]} == "@LEADING@" ]] || return 1
        from=3
    fi
    lines=("${(@f)$(@COMMAND@ @LEADING@ __complete "${(@)words[from,CURRENT]}" 2>/dev/null)}")
    for line in $lines; do
        [[ $line == :* ]] && continue
        found+=("${${line//:/\\:}/$'\t'/:}")
    done
    _describe '@COMMAND@' found
    [[ ${lines[-1]} == :0 ]] && _files
}
compdef _@COMMAND@ @COMMAND@
"#;

const FISH: &str = r#"# fish completion for @COMMAND@ @LEADING@
function __@COMMAND@_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l words $words[2..-1]
    if test -n "@LEADING@"
        test "$words[1]" = "@LEADING@"; or return
        set words $words[2..-1]
    end
    @COMMAND@ @LEADING@ __complete $words 2>/dev/null | string match -v ':*'
end
complete -c @COMMAND@ -f -a '(__@COMMAND@_complete)'
"#;

const POWERSHELL: &str = r#"# PowerShell completion for @COMMAND@ @LEADING@
Register-ArgumentCompleter -Native -CommandName '@COMMAND@' -ScriptBlock {
    param($word, $ast, $cursor)
    $words = @($ast.CommandElements | Select-Object -Skip 1 | ForEach-Object { "$_" })
    if ('@LEADING@' -ne '') {
        if ($words.Count -lt 1 -or $words[0] -ne '@LEADING@') { return }
        $words = @($words | Select-Object -Skip 1)
    }
    if ($word -eq '') { $words += '""' }
    $leading = @('@LEADING@' | Where-Object { $_ -ne '' })
    & '@COMMAND@' @leading '__completeNoDesc' @words 2>$null |
        Where-Object { -not $_.StartsWith(':') } |
        ForEach-Object { [System.Management.Automation.CompletionResult]::new($_) }
}
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    fn names(line: &[&str]) -> (Vec<String>, Files) {
        let words: Vec<String> = line.iter().map(|word| (*word).to_owned()).collect();
        let (found, files) = completions(&words);
        (found.into_iter().map(|(name, _)| name).collect(), files)
    }

    #[test]
    fn commands_flags_and_values_are_completed() {
        for (line, expected) in [
            (&["ge"][..], &["get"][..]),
            (&["endpoint", ""], &["hashkv", "health", "status"]),
            (&["get", "--pr"], &["--prefix", "--print-value-only"]),
            (&["get", "-w", "j"], &["json"]),
            (&["get", "--order="], &["--order=ASCEND", "--order=DESCEND"]),
            (&["get", "--hex", "--sort-by", "V"], &["VALUE", "VERSION"]),
            (&["completion", "f"], &["fish"]),
            (&["help", "def"], &["defrag"]),
            (&["get", "k"], &[]),
            (&["lease", "t"], &["timetolive"]),
            (&["snapshot", ""], &["save"]),
        ] {
            assert_eq!(names(line).0, expected, "{line:?}");
        }
        assert_eq!(names(&["get", "--cacert", ""]), (Vec::new(), Files::Yes));
    }

    #[test]
    fn a_script_names_the_program_that_it_completes() {
        let script_for = |program: &str| script(&["bash".to_owned()], program).unwrap();
        assert!(script_for("etcdctl").contains("complete -F __etcdctl_complete etcdctl\n"));
        assert!(script_for("tenet ctl").contains("$(tenet ctl __completeNoDesc"));
        assert_eq!(script(&[], "etcdctl").unwrap_err().exit, Exit::Error);
    }
}
