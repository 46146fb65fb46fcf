//! One member on a simulated disk, driven on one thread.
//!
//! Each actor has an inbox. A step lets one actor, chosen by the seed, handle what is in its
//! inbox, or does one operation of the disk; so actors and disk interleave in every way that the
//! threads of a server could. What was answered is kept for whoever checks the run.

use crate::disk::SimDisk;
use bytes::Bytes;
use std::sync::{Arc, Mutex};
use tenet_base::disk::{
    Completion, Disk, DiskError, DiskOp, DiskView, FilePath, FileReader, Token,
};
use tenet_base::{LeaseId, Rng};
use tenet_member::{
    Applier, ApplyInput, ApplyOutputs, BootError, Booted, Consensus, Frontend, Input, KeepError,
    Keeper, Kept, Lessor, LogInput, LogOutputs, LogWriter, Options, Outcome, Outputs, Proposal,
    Remaining, Renewal, StoreJob, Waiter, WatchHub, Write, boot,
};
use tenet_proto::ApiError;
use tenet_state::{Response, State};

/// An answer that a client got.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Which request, by the number that the client gave it.
    pub request: u64,
    /// What it said.
    pub result: Result<Option<Response>, ApiError>,
}

/// All answers so far, oldest first.
pub type Answers = Arc<Mutex<Vec<Answer>>>;

/// A client that waits.
#[derive(Debug)]
pub struct Client {
    request: u64,
    answers: Answers,
}

impl Waiter for Client {
    fn complete(self, result: Result<Outcome, ApiError>) {
        let result = result.map(|outcome| match outcome {
            Outcome::Applied(response) => Some(response),
            _ => None,
        });
        let answer = Answer {
            request: self.request,
            result,
        };
        self.answers.lock().expect("no holder panics").push(answer);
    }
}

/// Which actor a submission belongs to: tokens of both share the disk, told apart by a bit.
const LOG: u64 = 0;
const STORE: u64 = 1;

/// The disk as one of the two writing actors sees it.
struct Share<'a> {
    disk: &'a mut SimDisk,
    owner: u64,
}

impl Disk for Share<'_> {
    fn submit(&mut self, token: Token, ops: Vec<DiskOp>) {
        self.disk.submit(Token(token.0 << 1 | self.owner), ops);
    }
}

impl DiskView for Share<'_> {
    fn list(&self, dir: &FilePath) -> Result<Option<Vec<String>>, DiskError> {
        self.disk.list(dir)
    }

    fn len(&self, path: &FilePath) -> Result<Option<u64>, DiskError> {
        self.disk.len(path)
    }

    fn read_at(&self, path: &FilePath, offset: u64, len: usize) -> Result<Bytes, DiskError> {
        self.disk.read_at(path, offset, len)
    }

    fn open(&self, path: &FilePath) -> Result<Arc<dyn FileReader>, DiskError> {
        self.disk.open(path)
    }
}

/// See the module.
#[derive(Debug)]
pub struct SimMember {
    consensus: Consensus<Client>,
    log_writer: LogWriter,
    applier: Applier<Client>,
    keeper: Keeper,
    frontend: Frontend,
    watches: WatchHub,
    to_consensus: Vec<Input<Client>>,
    to_log: Vec<LogInput>,
    to_applier: Vec<ApplyInput<Client>>,
    to_keeper: Vec<StoreJob>,
    /// Flushes and rewrites that came to their end.
    kept: (u64, u64),
    maintenance_left: bool,
    lessor: Arc<Lessor<Client>>,
    tick_ms: u64,
    /// Time since the start of this member, by which leases are counted.
    now_ms: u64,
    answers: Answers,
    /// Why the member ended itself, if it did.
    ended: Option<String>,
}

impl SimMember {
    /// Starts what is in `disk`, or a new member.
    ///
    /// # Errors
    /// If the member refuses to start.
    pub fn start(
        disk: &mut SimDisk,
        options: &Options,
        answers: Answers,
    ) -> Result<Self, StartError> {
        let member = Self::begin(disk, options, answers)?;
        for completion in disk.run_to_idle() {
            completion.result?;
        }
        Ok(member)
    }

    /// As [`SimMember::start`], but what has to be done first is left in the disk's queue: the
    /// caller must let the disk do it before the first step.
    ///
    /// # Errors
    /// If the member refuses to start.
    pub fn begin(
        disk: &mut SimDisk,
        options: &Options,
        answers: Answers,
    ) -> Result<Self, StartError> {
        let mut booted: Booted<Client> = boot(disk, options)?;
        disk.submit(Token(u64::MAX), std::mem::take(&mut booted.prepare));
        Ok(Self::assemble(booted, options.tick_ms, answers))
    }

    fn assemble(booted: Booted<Client>, tick_ms: u64, answers: Answers) -> Self {
        let Booted {
            consensus,
            log_writer,
            applier,
            keeper,
            frontend,
            watches,
            lessor,
            ..
        } = booted;
        SimMember {
            consensus,
            log_writer,
            applier,
            keeper,
            frontend,
            watches,
            // What was committed before is applied without waiting for anything to come in.
            to_consensus: vec![Input::Tick],
            to_log: Vec::new(),
            to_applier: Vec::new(),
            to_keeper: Vec::new(),
            kept: (0, 0),
            maintenance_left: false,
            lessor,
            tick_ms,
            now_ms: 0,
            answers,
            ended: None,
        }
    }

    /// Sends a write as request number `request`.
    ///
    /// # Errors
    /// If it is refused at once.
    pub fn write(&mut self, request: u64, write: Write) -> Result<(), ApiError> {
        let prepared = self.frontend.prepare(write)?;
        let waiter = Client {
            request,
            answers: Arc::clone(&self.answers),
        };
        self.to_consensus
            .push(Input::Propose(Proposal { prepared, waiter }));
        Ok(())
    }

    /// Lets a heartbeat interval pass.
    pub fn tick(&mut self) {
        self.now_ms += self.tick_ms;
        self.to_consensus.push(Input::Tick);
        let (batch, expired) = self.lessor.advance(self.now_ms);
        self.to_consensus.extend(batch);
        for (waiter, error) in expired {
            waiter.complete(Err(error));
        }
    }

    /// Renews a lease as a client would. What it is told to wait for comes with later steps.
    pub fn renew(&mut self, request: u64, id: LeaseId) -> Renewal {
        let answers = Arc::clone(&self.answers);
        let waiter = || Client { request, answers };
        let renewal = self.lessor.renew(id, self.now_ms, false, false, waiter);
        if renewal == (Renewal::Waits { urgent: true }) {
            self.to_consensus.extend(self.lessor.batch());
        }
        renewal
    }

    /// What is left of a lease, in seconds.
    pub fn remaining_s(&self, id: LeaseId) -> Option<i64> {
        let answers = Answers::default();
        let waiter = || Client {
            request: 0,
            answers,
        };
        match self.lessor.remaining(id, self.now_ms, true, waiter) {
            Remaining::Found { remaining_s, .. } => Some(remaining_s),
            _ => None,
        }
    }

    /// One actor, or the disk, does something. Says whether there was anything to do.
    pub fn step(&mut self, disk: &mut SimDisk, rng: &mut dyn Rng) -> bool {
        let ready = [
            !self.to_consensus.is_empty(),
            !self.to_log.is_empty(),
            !self.to_applier.is_empty() || self.maintenance_left,
            !self.to_keeper.is_empty(),
            !disk.is_idle(),
        ];
        let count = ready.iter().filter(|ready| **ready).count() as u64;
        if count == 0 || self.ended.is_some() {
            return false;
        }
        let chosen = rng.below(count) as usize;
        let mut able = ready.iter().enumerate().filter(|(_, ready)| **ready);
        match able.nth(chosen).expect("one of those counted").0 {
            0 => self.run_consensus(),
            1 => self.run_log_writer(disk),
            2 => self.run_applier(),
            3 => self.run_keeper(disk),
            _ => {
                if let Some(completion) = disk.perform_next() {
                    self.complete(completion, disk);
                }
            }
        }
        true
    }

    /// Steps until nothing is left to do.
    pub fn settle(&mut self, disk: &mut SimDisk, rng: &mut dyn Rng) {
        while self.step(disk, rng) {}
    }

    /// Steps everything but the disk until only the disk could go on.
    pub fn settle_but_disk(&mut self, disk: &mut SimDisk) {
        while self.ended.is_none() {
            if !self.to_consensus.is_empty() {
                self.run_consensus();
            } else if !self.to_log.is_empty() {
                self.run_log_writer(disk);
            } else if !self.to_applier.is_empty() || self.maintenance_left {
                self.run_applier();
            } else if !self.to_keeper.is_empty() {
                self.run_keeper(disk);
            } else {
                return;
            }
        }
    }

    /// The disk has come to the end of a submission.
    pub fn complete(&mut self, completion: Completion, disk: &mut SimDisk) {
        let Completion { token, result } = completion;
        let owner = token.0 & 1;
        let completion = Completion {
            token: Token(token.0 >> 1),
            result,
        };
        if owner == LOG {
            self.to_log.push(LogInput::Completed(completion));
            return;
        }
        let mut share = Share { disk, owner: STORE };
        let kept = self.keeper.completed(completion, &mut share);
        self.kept(kept);
    }

    fn kept(&mut self, kept: Result<Option<Kept>, KeepError>) {
        match kept {
            Ok(None) => {}
            Ok(Some(Kept { position, done })) => {
                match position {
                    Some(_) => self.kept.0 += 1,
                    None => self.kept.1 += 1,
                }
                if let Some(position) = position {
                    let release_through = position.index;
                    self.to_log.push(LogInput::Truncate {
                        position,
                        release_through,
                    });
                }
                self.to_applier.push(ApplyInput::Kept(done));
            }
            Err(error) => self.end(&error),
        }
    }

    fn run_consensus(&mut self) {
        let mut out = Outputs::default();
        self.consensus.handle(&mut self.to_consensus, &mut out);
        if let Some(why) = out.fatal {
            self.ended = Some(why);
            return;
        }
        for (waiter, result) in out.answers {
            waiter.complete(result);
        }
        self.to_log
            .extend(out.appends.into_iter().map(LogInput::Append));
        self.to_applier
            .extend(out.conf_states.into_iter().map(ApplyInput::Configured));
        self.to_applier
            .extend(out.committed.into_iter().map(ApplyInput::Committed));
        let reads = out
            .reads
            .into_iter()
            .map(|(index, who)| ApplyInput::Reads(index, who));
        self.to_applier.extend(reads);
    }

    fn run_log_writer(&mut self, disk: &mut SimDisk) {
        let mut out = LogOutputs::default();
        let mut share = Share { disk, owner: LOG };
        self.log_writer
            .handle(&mut self.to_log, &mut share, &mut out);
        if let Some(error) = &out.fatal {
            self.end(error);
        } else if out.done > 0 {
            self.to_consensus.push(Input::Appended(out.done));
        }
    }

    fn run_applier(&mut self) {
        let mut out = ApplyOutputs::default();
        if self.to_applier.is_empty() {
            self.to_applier.push(ApplyInput::Idle);
        }
        self.applier.handle(&mut self.to_applier, &mut out);
        if let Some(why) = &out.fatal {
            self.end(why);
        }
        self.to_consensus.extend(out.inputs);
        self.to_keeper.extend(out.job);
        self.maintenance_left = out.work_left;
    }

    fn run_keeper(&mut self, disk: &mut SimDisk) {
        let mut share = Share { disk, owner: STORE };
        for job in std::mem::take(&mut self.to_keeper) {
            if let Err(error) = self.keeper.start(job, &mut share) {
                self.end(&error);
                return;
            }
        }
    }

    fn end(&mut self, why: &dyn std::fmt::Display) {
        self.ended = Some(why.to_string());
    }

    /// Where watch sessions are opened.
    pub fn watches(&self) -> &WatchHub {
        &self.watches
    }

    /// Why the member ended itself, if it did.
    pub fn ended(&self) -> Option<&str> {
        self.ended.as_deref()
    }

    /// How many flushes and rewrites came to their end.
    pub fn store_jobs(&self) -> (u64, u64) {
        self.kept
    }

    /// The state machine.
    pub fn state(&self) -> &State {
        self.applier.state()
    }

    /// What runs on the callers' threads.
    pub fn frontend(&self) -> &Frontend {
        &self.frontend
    }
}

/// Why a simulated member did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It refused.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}
