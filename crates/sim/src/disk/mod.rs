//! A simulated disk: everything that a real one may do to a program, from one seed.
//!
//! Operations wait in a queue and are done when the world says so: the world asks with
//! [`SimDisk::next_due_us`] when the operation at the head is done, and lets time pass with
//! [`SimDisk::advance`]. It can make the disk hang, fail or run full, flip bits, end the process
//! ([`SimDisk::end_process`]), or cut the power ([`SimDisk::crash`]), which keeps any part of what
//! was not synced: torn at sectors, reordered, names apart from contents.
//!
//! Invariant: what happens depends on nothing but the seed, the configuration and the calls, and
//! [`SimDisk::digest`] is equal for equal histories.

mod crash_points;
mod medium;
#[cfg(test)]
mod tests;

pub use crash_points::{CrashPoint, crash_points};
pub use medium::{SECTOR_BYTES, Survival};

use bytes::Bytes;
use medium::{Medium, Refusal};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;
use tenet_base::Rng;
use tenet_base::disk::{
    Completion, Disk, DiskError, DiskOp, DiskView, FilePath, FileReader, Room, Token,
};
use tenet_base::world::SplitMix64;

/// How a simulated disk behaves when nothing is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Bytes that files can take.
    pub capacity_bytes: u64,
    /// Longest time of a sync, in microseconds; each takes at least a quarter of it.
    pub sync_us_max: u64,
    /// Longest time of any other operation, in microseconds.
    pub other_us_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            capacity_bytes: 1 << 40,
            sync_us_max: 4_000,
            other_us_max: 40,
        }
    }
}

/// A failure to be injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The medium fails. A failed write may have been done in part, a failed sync too.
    Io,
    /// There is no space left.
    NoSpace,
}

#[derive(Clone, Debug)]
struct Submission {
    token: Token,
    ops: VecDeque<DiskOp>,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct SimDisk {
    medium: Medium,
    config: Config,
    rng: SplitMix64,
    queue: VecDeque<Submission>,
    /// When the operation at the head of the queue is done.
    due_us: Option<u64>,
    hung: bool,
    performed: u64,
    syncs: u64,
    faults: BTreeMap<u64, Fault>,
    skipped_sync: Option<u64>,
    unreadable: BTreeSet<FilePath>,
    trace: Trace,
}

impl SimDisk {
    /// An empty disk.
    #[must_use]
    pub fn new(seed: u64, config: Config) -> SimDisk {
        SimDisk {
            medium: Medium::new(config.capacity_bytes),
            config,
            rng: SplitMix64::new(seed),
            queue: VecDeque::new(),
            due_us: None,
            hung: false,
            performed: 0,
            syncs: 0,
            faults: BTreeMap::new(),
            skipped_sync: None,
            unreadable: BTreeSet::new(),
            trace: Trace::default(),
        }
    }

    /// When the operation at the head of the queue will be done, if it begins at `now_us` or has
    /// begun before. `None` if there is none or the disk hangs.
    pub fn next_due_us(&mut self, now_us: u64) -> Option<u64> {
        let head = self.queue.front()?;
        if self.due_us.is_none() {
            let latency = match head.ops.front() {
                Some(op) => latency_us(op, &self.config, &mut self.rng),
                None => 0,
            };
            self.due_us = Some(now_us + latency);
        }
        self.due_us.filter(|_| !self.hung)
    }

    /// Does all operations that are due by `now_us` and returns what came to its end.
    pub fn advance(&mut self, now_us: u64) -> Vec<Completion> {
        let mut completions = Vec::new();
        let mut begin = now_us;
        while let Some(due) = self.next_due_us(begin).filter(|due| *due <= now_us) {
            begin = due;
            completions.extend(self.perform_next());
        }
        completions
    }

    /// Does everything that waits, as if time did not matter.
    pub fn run_to_idle(&mut self) -> Vec<Completion> {
        let mut completions = Vec::new();
        while !self.hung && !self.queue.is_empty() {
            completions.extend(self.perform_next());
        }
        completions
    }

    /// Does the operation at the head of the queue; says so if its submission came to its end.
    pub fn perform_next(&mut self) -> Option<Completion> {
        self.due_us = None;
        let head = self.queue.front_mut()?;
        let result = match head.ops.pop_front() {
            Some(op) => self.perform(&op),
            None => Ok(()),
        };
        let head = self.queue.front().expect("it was there");
        if result.is_ok() && !head.ops.is_empty() {
            return None;
        }
        let token = self.queue.pop_front().expect("it was there").token;
        Some(Completion { token, result })
    }

    /// The operation at the head of the queue.
    #[must_use]
    pub fn next_op(&self) -> Option<&DiskOp> {
        self.queue.front()?.ops.front()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// Operations done so far, failed ones included.
    #[must_use]
    pub fn performed(&self) -> u64 {
        self.performed
    }

    /// Syncs of files and directories done so far, skipped ones included.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.syncs
    }

    /// Bytes that files take.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.medium.used_bytes()
    }

    /// From now on nothing comes to its end.
    pub fn hang(&mut self) {
        self.trace.line(format_args!("hang"));
        self.hung = true;
    }

    /// Ends a hang.
    pub fn resume(&mut self) {
        self.trace.line(format_args!("resume"));
        self.hung = false;
    }

    /// Makes the operation fail that is done after `later` others.
    pub fn fail_operation(&mut self, later: u64, fault: Fault) {
        self.faults.insert(self.performed + later, fault);
    }

    /// Makes reads of a file fail, or work again.
    pub fn set_unreadable(&mut self, path: &FilePath, unreadable: bool) {
        if unreadable {
            self.unreadable.insert(path.clone());
        } else {
            self.unreadable.remove(path);
        }
    }

    /// Changes how many bytes files can take.
    pub fn set_capacity_bytes(&mut self, bytes: u64) {
        self.medium.set_capacity(bytes);
    }

    /// Makes the sync with this number, counted from zero, do nothing and say that it is done: to
    /// prove that a test would notice its absence.
    pub fn skip_sync(&mut self, number: u64) {
        self.skipped_sync = Some(number);
    }

    /// Flips a bit of a file, on the medium and for readers.
    ///
    /// # Panics
    /// If the file has no such byte.
    pub fn flip_bit(&mut self, path: &FilePath, offset: u64, bit: u8) {
        self.trace.line(format_args!("flip {path} {offset} {bit}"));
        let flipped = self.medium.flip(path, offset, bit);
        assert!(flipped.is_ok(), "{path} cannot rot: {flipped:?}");
    }

    /// The process ends. The operation that was being done is done or not, those behind it are
    /// not, and locks go; what was written stays readable.
    pub fn end_process(&mut self, rng: &mut dyn Rng) {
        self.trace.line(format_args!("end of process"));
        self.abandon_queue(Survival::Random, rng);
        self.medium.end_process();
    }

    /// The power fails. Of the operation that was being done and of what was not synced,
    /// `survival` decides.
    pub fn crash(&mut self, survival: Survival, rng: &mut dyn Rng) {
        self.trace.line(format_args!("crash {survival:?}"));
        self.abandon_queue(survival, rng);
        self.medium.crash(survival, rng);
    }

    /// A number that is equal for equal histories.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.trace.digest
    }

    /// Keeps what happens from now on as lines of text.
    pub fn keep_trace(&mut self) {
        self.trace.lines.get_or_insert_default();
    }

    /// The lines kept so far.
    #[must_use]
    pub fn trace(&self) -> &[String] {
        self.trace.lines.as_deref().unwrap_or_default()
    }

    fn abandon_queue(&mut self, survival: Survival, rng: &mut dyn Rng) {
        let in_work = self.queue.front_mut().and_then(|head| head.ops.pop_front());
        self.queue.clear();
        (self.due_us, self.hung) = (None, false);
        let syncs = |op: &DiskOp| matches!(op, DiskOp::SyncData { .. } | DiskOp::SyncDir { .. });
        if let Some(op) = in_work.filter(|op| !syncs(op))
            && (survival == Survival::Everything || rng.below(2) == 1)
        {
            // Whether it would have failed no longer interests anybody.
            let _ = self.apply(&op);
        }
    }

    fn perform(&mut self, op: &DiskOp) -> Result<(), DiskError> {
        let number = self.performed;
        self.performed += 1;
        let result = match self.faults.remove(&number) {
            None => self.apply(op),
            Some(Fault::NoSpace) => Err(Refusal::NoSpace),
            Some(Fault::Io) => return Err(self.fail(op)),
        };
        self.trace.operation(op, result.err().map(Refusal::text));
        result.map_err(|refusal| error(op, refusal))
    }

    /// The medium fails in the middle of `op`.
    fn fail(&mut self, op: &DiskOp) -> DiskError {
        let reason = "input/output error";
        self.trace.operation(op, Some(reason));
        match op {
            DiskOp::Write { path, offset, data } => {
                let done = self.rng.below(data.len() as u64 + 1) as usize;
                // It has failed anyway.
                let _ = self.medium.write(path, *offset, &data[..done]);
            }
            DiskOp::SyncData { path } => self.medium.fail_sync(path, &mut self.rng),
            _ => {}
        }
        let (operation, path) = describe(op);
        DiskError {
            operation,
            path: path.clone(),
            reason: reason.to_owned(),
            no_space: false,
        }
    }

    fn apply(&mut self, op: &DiskOp) -> Result<(), Refusal> {
        match op {
            DiskOp::CreateDir { path } => self.medium.create_dir(path),
            DiskOp::Create {
                path,
                reserve_bytes,
            } => self.medium.create(path, *reserve_bytes),
            DiskOp::Write { path, offset, data } => self.medium.write(path, *offset, data),
            DiskOp::SetLen { path, len } => self.medium.set_len(path, *len),
            DiskOp::SyncData { path } => match self.count_sync() {
                true => self.medium.len(path).map(|_| ()),
                false => self.medium.sync_data(path),
            },
            DiskOp::SyncDir { path } => match self.count_sync() {
                true => self.medium.list(path).map(|_| ()),
                false => self.medium.sync_dir(path),
            },
            DiskOp::Rename { from, to } => self.medium.rename(from, to),
            DiskOp::Remove { path } => self.medium.remove(path),
            DiskOp::RemoveDir { path } => self.medium.remove_dir(path),
            DiskOp::Lock { path } => self.medium.lock(path),
            DiskOp::Close { path } => {
                self.medium.unlock(path);
                Ok(())
            }
        }
    }

    /// Counts a sync and says whether it is the one to skip.
    fn count_sync(&mut self) -> bool {
        self.syncs += 1;
        self.skipped_sync == Some(self.syncs - 1)
    }

    fn read_refused(&self, operation: &'static str, path: &FilePath) -> Result<(), DiskError> {
        if !self.unreadable.contains(path) {
            return Ok(());
        }
        let reason = "input/output error".to_owned();
        Err(DiskError {
            operation,
            path: path.clone(),
            reason,
            no_space: false,
        })
    }
}

impl Disk for SimDisk {
    fn submit(&mut self, token: Token, ops: Vec<DiskOp>) {
        self.queue.push_back(Submission {
            token,
            ops: ops.into(),
        });
    }
}

impl DiskView for SimDisk {
    fn list(&self, dir: &FilePath) -> Result<Option<Vec<String>>, DiskError> {
        self.read_refused("list", dir)?;
        self.medium
            .list(dir)
            .map_err(|refusal| read_error("list", dir, refusal))
    }

    fn len(&self, path: &FilePath) -> Result<Option<u64>, DiskError> {
        self.medium
            .len(path)
            .map_err(|refusal| read_error("look at", path, refusal))
    }

    fn read_at(&self, path: &FilePath, offset: u64, len: usize) -> Result<Bytes, DiskError> {
        self.read_refused("read", path)?;
        self.medium
            .read(path, offset, len)
            .map_err(|refusal| read_error("read", path, refusal))
    }

    fn open(&self, path: &FilePath) -> Result<Arc<dyn FileReader>, DiskError> {
        self.read_refused("open", path)?;
        let file = self.medium.opened(path);
        let file = file.map_err(|refusal| read_error("open", path, refusal))?;
        Ok(Arc::new(OpenFile {
            path: path.clone(),
            file,
        }))
    }

    fn room(&self, _: &FilePath) -> Result<Room, DiskError> {
        let used = self.medium.used_bytes();
        let capacity_bytes = self.medium.capacity();
        Ok(Room {
            free_bytes: capacity_bytes.saturating_sub(used),
            capacity_bytes,
        })
    }
}

/// A file as it was when it was opened: what is opened is not written any more.
#[derive(Debug)]
struct OpenFile {
    path: FilePath,
    file: medium::File,
}

impl FileReader for OpenFile {
    fn read(&self, offset: u64, len: usize) -> Result<Bytes, DiskError> {
        let bytes = self.file.read(offset, len);
        if bytes.len() < len {
            return Err(DiskError::short_read(&self.path, offset, len));
        }
        Ok(bytes)
    }

    fn read_cached(&self, offset: u64, len: usize) -> Result<Option<Bytes>, DiskError> {
        self.read(offset, len).map(Some)
    }
}

fn latency_us(op: &DiskOp, config: &Config, rng: &mut dyn Rng) -> u64 {
    match op {
        DiskOp::SyncData { .. } | DiskOp::SyncDir { .. } => {
            let least = config.sync_us_max / 4;
            least + rng.below(config.sync_us_max - least + 1)
        }
        _ => rng.below(config.other_us_max + 1),
    }
}

fn describe(op: &DiskOp) -> (&'static str, &FilePath) {
    match op {
        DiskOp::CreateDir { path } => ("create directory", path),
        DiskOp::Create { path, .. } => ("create", path),
        DiskOp::Write { path, .. } => ("write", path),
        DiskOp::SetLen { path, .. } => ("set length of", path),
        DiskOp::SyncData { path } => ("sync", path),
        DiskOp::SyncDir { path } => ("sync directory", path),
        DiskOp::Rename { from, .. } => ("rename", from),
        DiskOp::Remove { path } => ("remove", path),
        DiskOp::RemoveDir { path } => ("remove directory", path),
        DiskOp::Lock { path } => ("lock", path),
        DiskOp::Close { path } => ("close", path),
    }
}

fn error(op: &DiskOp, refusal: Refusal) -> DiskError {
    let (operation, path) = describe(op);
    read_error(operation, path, refusal)
}

fn read_error(operation: &'static str, path: &FilePath, refusal: Refusal) -> DiskError {
    DiskError {
        operation,
        path: path.clone(),
        reason: refusal.text().to_owned(),
        no_space: refusal == Refusal::NoSpace,
    }
}

/// What happened, as a running number and as lines if they are wanted.
#[derive(Clone, Debug, Default)]
struct Trace {
    digest: u64,
    lines: Option<Vec<String>>,
}

impl Trace {
    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        let mut line = String::new();
        // Writing to a string cannot fail.
        let _ = line.write_fmt(text);
        // FNV-1a, continued over all lines.
        for byte in line.bytes().chain([b'\n']) {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if let Some(lines) = &mut self.lines {
            lines.push(line);
        }
    }

    fn operation(&mut self, op: &DiskOp, failure: Option<&str>) {
        let (operation, path) = describe(op);
        let failure = failure.map_or(String::new(), |reason| format!(": {reason}"));
        match op {
            DiskOp::Create { reserve_bytes, .. } => {
                self.line(format_args!(
                    "{operation} {path} of {reserve_bytes}{failure}"
                ));
            }
            DiskOp::Write { offset, data, .. } => {
                let crc = tenet_base::crc::crc32c(data);
                let len = data.len();
                self.line(format_args!(
                    "{operation} {path} {offset} {len} {crc:08x}{failure}"
                ));
            }
            DiskOp::SetLen { len, .. } => {
                self.line(format_args!("{operation} {path} {len}{failure}"));
            }
            DiskOp::Rename { to, .. } => {
                self.line(format_args!("{operation} {path} to {to}{failure}"));
            }
            _ => self.line(format_args!("{operation} {path}{failure}")),
        }
    }
}
