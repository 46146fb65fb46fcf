//! `txn`: a transaction, read from standard input: comparisons, operations if all of them hold,
//! operations if one does not, each list ended by an empty line.
//!
//! No time limit applies to it.

mod grammar;

pub(super) use grammar::words;

use std::io::{BufRead, BufReader, Read, Write as _};

use tenet_cli::flag::{Flag, Kind};
use tenet_proto::etcdserverpb::{Compare, RequestOp, TxnRequest};

use crate::display::Answer;
use crate::failure::{Exit, Failure};
use crate::invocation::Invocation;
use crate::tree::{Command, Run, Section};

pub(super) static INTERACTIVE: Flag = Flag::new(
    "interactive",
    Kind::Bool,
    "false",
    "Say what is expected next.",
)
.short('i');

pub(super) static COMMAND: Command = Command {
    long: "Three lists are read from standard input, each ended by an empty line:\n\n  \
           1. comparisons\n  \
           2. requests (get, put, del) for the case that all of them are true\n  \
           3. requests for the case that one of them is false\n\n\
           For example:\n\n  \
           mod(\"key1\") > \"0\"\n\n  \
           put key1 \"it was there\"\n\n  \
           put key1 \"it is new\"\n  \
           put key2 \"and so is this\"\n\n\
           What can be compared: version (ver), create (c), mod (m) and value (val) of a key, with\n\
           =, !=, < and >.",
    flags: &[&INTERACTIVE],
    run: Run::Now(run),
    ..Command::new(
        "txn",
        "[options]",
        "Runs requests as one transaction",
        Some(Section::KeyValue),
    )
};

fn run(invocation: &mut Invocation) -> Result<(), Failure> {
    if !invocation.args.is_empty() {
        return Err(Failure::new(
            Exit::BadArgs,
            "txn command does not accept argument",
        ));
    }
    let session = invocation.session()?;
    let client = session.client()?;
    let interactive = invocation.settings.bool(&INTERACTIVE);
    let prompt = |text: &str| {
        if interactive {
            writeln!(std::io::stdout(), "{text}").map_err(Failure::of_output)
        } else {
            Ok(())
        }
    };
    let mut input = Input::new(std::io::stdin().lock());
    prompt("compares:")?;
    let compare = input.comparisons()?;
    prompt("success requests (get, put, del):")?;
    let success = input.operations()?;
    prompt("failure requests (get, put, del):")?;
    let failure = input.operations()?;
    let answer = session.wait(client.txn(TxnRequest {
        compare,
        success,
        failure,
    }))?;
    session.show(&Answer::Txn(&answer))
}

/// Standard input, line by line. A put without a value takes what has not been read yet, which is
/// why the buffer's size matters: it is that of etcdctl's.
struct Input<R> {
    reader: BufReader<R>,
}

impl<R: Read> Input<R> {
    fn new(reader: R) -> Input<R> {
        Input {
            reader: BufReader::with_capacity(4096, reader),
        }
    }

    /// The next line without blanks around it; nothing for the empty line that ends a list. Input
    /// that ends earlier, in the middle of a line too, is refused.
    fn line(&mut self) -> Result<Option<String>, Failure> {
        let mut line = Vec::new();
        let failure = |text: String| Failure::new(Exit::InvalidInput, text);
        self.reader
            .read_until(b'\n', &mut line)
            .map_err(|error| failure(tenet_cli::go::error_words(&error)))?;
        if !line.ends_with(b"\n") {
            return Err(failure("EOF".to_owned()));
        }
        let line = String::from_utf8_lossy(&line);
        let line = line.trim();
        Ok(if line.is_empty() {
            None
        } else {
            Some(line.to_owned())
        })
    }

    fn comparisons(&mut self) -> Result<Vec<Compare>, Failure> {
        let mut comparisons = Vec::new();
        while let Some(line) = self.line()? {
            comparisons.push(grammar::comparison(&line)?);
        }
        Ok(comparisons)
    }

    fn operations(&mut self) -> Result<Vec<RequestOp>, Failure> {
        let mut operations = Vec::new();
        while let Some(line) = self.line()? {
            operations.push(grammar::operation(&line, self.reader.get_mut())?);
        }
        Ok(operations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_lists_end_with_an_empty_line_each() {
        let mut input = Input::new(&b"mod(\"k\") > \"0\"\n \t\nput k v\nget k\n\n\n"[..]);
        assert_eq!(input.comparisons().unwrap().len(), 1);
        assert_eq!(input.operations().unwrap().len(), 2);
        assert_eq!(input.operations().unwrap().len(), 0);
    }

    #[test]
    fn input_that_ends_early_is_refused() {
        for text in ["", "\n", "mod(\"k\") > \"0\"", "\n\nput k v"] {
            let mut input = Input::new(text.as_bytes());
            let mut read = || {
                input.comparisons()?;
                input.operations()?;
                input.operations()
            };
            assert_eq!(
                read(),
                Err(Failure::new(Exit::InvalidInput, "EOF")),
                "{text:?}"
            );
        }
    }
}
