//! The other side of the comparison: Go's raft in a process of its own.
//!
//! Scripts go in and outputs come out, each text preceded by its length.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::scripts::Script;

pub(crate) struct Reference {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Reference {
    pub(crate) fn start(program: &Path) -> Reference {
        let mut process = Command::new(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                eprintln!("cannot start {}: {error}", program.display());
                std::process::exit(2)
            });
        let output = BufReader::new(process.stdout.take().expect("it is piped"));
        Reference {
            input: process.stdin.take(),
            output,
            process,
        }
    }

    pub(crate) fn run(&mut self, script: &Script) -> Vec<String> {
        let text = script.text();
        let input = self.input.as_mut().expect("open until it is dropped");
        let sent = write!(input, "{}\n{text}", text.len()).and_then(|()| input.flush());
        sent.expect("the reference takes scripts");
        let count = self.read_number();
        (0..count).map(|_| self.read_text()).collect()
    }

    pub(crate) fn run_commands(&mut self, commands: &[String]) -> Vec<String> {
        let script = Script {
            commands: commands.to_vec(),
            outputs: Vec::new(),
        };
        self.run(&script)
    }

    fn read_number(&mut self) -> usize {
        let mut line = String::new();
        self.output
            .read_line(&mut line)
            .expect("the reference answers");
        line.trim()
            .parse()
            .unwrap_or_else(|_| panic!("the reference has ended, or said {line:?}"))
    }

    fn read_text(&mut self) -> String {
        let mut text = vec![0; self.read_number()];
        self.output
            .read_exact(&mut text)
            .expect("as many bytes as announced");
        String::from_utf8(text).expect("outputs are text")
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.input.take());
        let _ = self.process.wait();
    }
}
