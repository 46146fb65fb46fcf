//! `version`, `help`, `options` and `completion`.

use std::io::Write as _;

use super::print_line;
use crate::failure::Failure;
use crate::invocation::Invocation;
use crate::tree::{self, Command, Path, Run, Section};
use crate::{completion, help};

pub(super) static VERSION: Command = Command {
    run: Run::Now(version),
    ..Command::new("version", "", "Shows the version", Some(Section::Utility))
};

/// The version of etcd whose client this is a drop-in for, and of its API.
const ETCD_VERSION: &str = "3.7.1";
const API_VERSION: &str = "3.7";

fn version(_: &mut Invocation) -> Result<(), Failure> {
    print_line(&format!(
        "etcdctl version: {ETCD_VERSION}\nAPI version: {API_VERSION}"
    ))
}

pub(super) static HELP: Command = Command {
    run: Run::Now(help),
    ..Command::new(
        "help",
        "[command]",
        "Shows what a command does",
        Some(Section::Utility),
    )
};

pub(crate) fn help(invocation: &mut Invocation) -> Result<(), Failure> {
    let words = invocation.text_args();
    let root = invocation.path.program();
    match tree::find(root, &words) {
        Ok((path, _)) => write(&help::help(&path, invocation.program)),
        Err(_) => {
            let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
            let usage = help::usage(&Path::root(root), invocation.program);
            let topics = words.join(" ");
            let _ = write!(std::io::stderr(), "Unknown help topic [{topics}]\n{usage}");
            Ok(())
        }
    }
}

pub(super) static OPTIONS: Command = Command {
    run: Run::Now(options),
    ..Command::new(
        "options",
        "",
        "Shows the flags of all commands",
        Some(Section::Utility),
    )
};

fn options(_: &mut Invocation) -> Result<(), Failure> {
    write(&help::options())
}

pub(super) static COMPLETION: Command = Command {
    long: "For bash, in this shell and in all later ones:\n\n  \
           source <(etcdctl completion bash)\n  \
           etcdctl completion bash > /etc/bash_completion.d/etcdctl\n\n\
           For zsh:\n\n  \
           etcdctl completion zsh > \"${fpath[1]}/_etcdctl\"\n\n\
           For fish:\n\n  \
           etcdctl completion fish > ~/.config/fish/completions/etcdctl.fish\n\n\
           For PowerShell:\n\n  \
           etcdctl completion powershell | Out-String | Invoke-Expression",
    run: Run::Now(complete),
    ..Command::new(
        "completion",
        "[bash|zsh|fish|powershell]",
        "Writes a completion script for a shell",
        Some(Section::Utility),
    )
};

fn complete(invocation: &mut Invocation) -> Result<(), Failure> {
    write(&completion::script(
        &invocation.text_args(),
        invocation.program,
    )?)
}

fn write(text: &str) -> Result<(), Failure> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(Failure::of_output)
}
