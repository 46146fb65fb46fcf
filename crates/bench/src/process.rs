//! What a process has used of the machine, as the kernel counts it.
//!
//! Only Linux tells; elsewhere the figures are left out of the report.

use std::fs;
use std::path::PathBuf;

/// Clock ticks per second in `/proc`: part of the kernel's interface, 100 on every architecture.
const TICKS_PER_SECOND: u64 = 100;

/// A process to look at.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    folder: PathBuf,
}

/// Resident memory of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) resident_kib: u64,
    pub(crate) resident_peak_kib: u64,
}

impl Process {
    /// The process with this id.
    pub(crate) fn with_id(id: u32) -> Process {
        Process {
            folder: PathBuf::from("/proc").join(id.to_string()),
        }
    }

    /// This process.
    pub(crate) fn own() -> Process {
        Process {
            folder: PathBuf::from("/proc/self"),
        }
    }

    /// User and system time of all threads so far, in microseconds.
    pub(crate) fn cpu_us(&self) -> Option<u64> {
        parse_stat(&fs::read_to_string(self.folder.join("stat")).ok()?)
    }

    /// Resident memory now and at its highest.
    pub(crate) fn memory(&self) -> Option<Memory> {
        parse_status(&fs::read_to_string(self.folder.join("status")).ok()?)
    }
}

fn parse_stat(stat: &str) -> Option<u64> {
    // The second field is the program's name in brackets and may hold blanks and brackets.
    let after_name = &stat[stat.rfind(')')? + 1..];
    let mut fields = after_name.split_ascii_whitespace();
    let user: u64 = fields.nth(11)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) * (1_000_000 / TICKS_PER_SECOND))
}

fn parse_status(status: &str) -> Option<Memory> {
    let field = |name: &str| -> Option<u64> {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_ascii_whitespace().nth(1)?.parse().ok()
    };
    Some(Memory {
        resident_kib: field("VmRSS:")?,
        resident_peak_kib: field("VmHWM:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_is_read_behind_a_name_with_blanks_and_brackets() {
        let stat = "42 (a ) b) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0 20 0 7 0";
        assert_eq!(parse_stat(stat), Some(1_750_000));
        assert_eq!(parse_stat("nonsense"), None);
    }

    #[test]
    fn memory_is_read_by_field_name() {
        let status = "Name:\tx\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\n";
        let memory = parse_status(status).unwrap();
        assert_eq!(
            (memory.resident_kib, memory.resident_peak_kib),
            (1024, 2048)
        );
        assert_eq!(parse_status("Name: x"), None);
    }
}
