//! What has happened in a world, as a number that two equal runs share, and as text for people.

use std::fmt::Write as _;

use tenet_proto::raftpb::Message;

/// The events of a run. Two runs with equal digests took the same steps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    digest: u64,
    events: u64,
    lines: Option<Vec<String>>,
}

impl Trace {
    /// A hash of all events in order.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// How many events there were.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The events since [recording](super::World::record) began, one a line.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }

    pub(super) fn record(&mut self) {
        self.lines.get_or_insert_default();
    }

    pub(super) fn note(&mut self, what: &str, numbers: &[u64]) {
        self.events += 1;
        for byte in what.bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        for number in numbers {
            self.digest = (self.digest.rotate_left(17) ^ number).wrapping_mul(0x0100_0000_01b3);
        }
        if let Some(lines) = &mut self.lines {
            let mut line = what.to_owned();
            for number in numbers {
                let _ = write!(line, " {number}");
            }
            lines.push(line);
        }
    }

    pub(super) fn message(&mut self, what: &str, message: &Message) {
        let Message {
            msg_type,
            from,
            to,
            term,
            index,
            commit,
            reject,
            ..
        } = message;
        let numbers = [*from, *to, *msg_type as u64, *term, *index, *commit];
        self.note(what, &numbers);
        if *reject {
            self.digest = self.digest.rotate_left(1);
        }
        if let Some(line) = self.lines.as_mut().and_then(|lines| lines.last_mut()) {
            let text = tenet_raft::describe::message(message);
            *line = format!("{what} {text}");
        }
    }
}
