//! One member on a simulated disk, driven on one thread.
//!
//! Each actor has an inbox. A step lets one actor, chosen by the seed, handle what is in its
//! inbox, or does one operation of the disk; so actors and disk interleave in every way that the
//! threads of a server could. What was answered is kept for whoever checks the run.

use crate::disk::SimDisk;
use bytes::{Bytes, BytesMut};
use std::sync::{Arc, Mutex};
use tenet_base::disk::{
    Completion, Disk, DiskError, DiskOp, DiskView, FilePath, FileReader, Room, Token,
};
use tenet_base::{LeaseId, MemberId, Rng, Term};
use tenet_member::{
    Applier, ApplyInput, ApplyOutputs, BootError, Booted, Change, Consensus, Frontend, Input,
    KeepError, Keeper, Kept, Lessor, LogInput, LogOutputs, LogWriter, Notice, Options, Outcome,
    Outputs, Proposal, Receiver, Remaining, Renewal, SnapshotFile, StoreJob, TakeInError, Waiter,
    WatchHub, Write, boot,
};
use tenet_proto::ApiError;
use tenet_proto::raftpb::{ConfChange, Message, Snapshot, SnapshotMetadata};
use tenet_state::{Export, Response, State};
use tenet_store::Damage;

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

/// States that are to be sent as snapshots, with the messages that they belong to.
type Exports = Arc<Mutex<Vec<(Message, Box<Export>)>>>;

/// A client that waits, or the sending of a snapshot.
#[derive(Debug)]
pub struct Client {
    request: u64,
    answers: Answers,
    sends: Option<(Message, Exports)>,
}

impl Waiter for Client {
    fn complete(self, result: Result<Outcome, ApiError>) {
        if let Some((message, exports)) = self.sends {
            if let Ok(Outcome::Export(export)) = result {
                let mut exports = exports.lock().expect("no holder panics");
                exports.push((message, export));
            }
            return;
        }
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

    fn room(&self, path: &FilePath) -> Result<Room, DiskError> {
        self.disk.room(path)
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
    /// Those that were given up.
    given_up: u64,
    /// Bytes that the scrub read back, and what it found.
    scrubbed: (u64, Vec<Damage>),
    maintenance_left: bool,
    /// Messages for other members that nobody has taken yet.
    outbox: Vec<Message>,
    exports: Exports,
    receiver: Receiver,
    /// Snapshots that became the state.
    installed: u64,
    /// Terms in which this member has become leader, not taken yet.
    led: Vec<Term>,
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
            receiver,
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
            given_up: 0,
            scrubbed: (0, Vec::new()),
            maintenance_left: false,
            outbox: Vec::new(),
            exports: Exports::default(),
            receiver,
            installed: 0,
            led: Vec::new(),
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
        let waiter = self.client(request);
        self.to_consensus
            .push(Input::Propose(Proposal { prepared, waiter }));
        Ok(())
    }

    /// Asks whether a linearizable read may run, as request number `request`; if so, it is to be
    /// run on the newest published view.
    pub fn ask_read(&mut self, request: u64) {
        let waiter = self.client(request);
        if self.frontend.progress().reads_alone() {
            waiter.complete(Ok(Outcome::ReadReady));
        } else {
            self.to_consensus.push(Input::Read(waiter));
        }
    }

    /// Asks for a change of the configuration, as request number `request`.
    pub fn change(&mut self, request: u64, change: ConfChange) {
        let waiter = self.client(request);
        let change = Box::new(Change { change, waiter });
        self.to_consensus.push(Input::ProposeChange(change));
    }

    /// Asks that another member lead, as request number `request`.
    pub fn transfer(&mut self, request: u64, to: Option<MemberId>) {
        let waiter = self.client(request);
        self.to_consensus.push(Input::TransferLeader { to, waiter });
    }

    fn client(&self, request: u64) -> Client {
        Client {
            request,
            answers: Arc::clone(&self.answers),
            sends: None,
        }
    }

    /// A message of another member has come.
    pub fn deliver(&mut self, message: Message) {
        self.to_consensus.push(Input::Peer(Box::new(message)));
    }

    /// A message to another member could not be delivered.
    pub fn unreachable(&mut self, member: MemberId) {
        self.to_consensus.push(Input::Unreachable(member));
    }

    /// The messages for other members since the last call.
    pub fn take_messages(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.outbox)
    }

    /// A snapshot of another member has come, with the file of its state.
    ///
    /// # Errors
    /// If the file is refused.
    pub fn deliver_snapshot(&mut self, message: Message, file: Bytes) -> Result<(), TakeInError> {
        let snapshot = message.snapshot.as_deref().cloned().unwrap_or_default();
        let state = self.receiver.state(file, &snapshot)?;
        let message = Box::new(message);
        self.to_consensus.push(Input::Snapshot { message, state });
        Ok(())
    }

    /// What became of a snapshot that was sent.
    pub fn snapshot_sent(&mut self, to: MemberId, ok: bool) {
        self.to_consensus.push(Input::SnapshotSent { to, ok });
    }

    /// The snapshots for other members since the last call, each with its file.
    ///
    /// # Panics
    /// If one cannot be made.
    pub fn take_snapshots(&mut self) -> Vec<(Message, Bytes)> {
        let exports = std::mem::take(&mut *self.exports.lock().expect("no holder panics"));
        let files = exports.into_iter().map(|(mut message, export)| {
            message.snapshot = Some(Box::new(Snapshot {
                metadata: Some(SnapshotMetadata {
                    conf_state: Some(export.conf_state.clone()),
                    index: export.applied.0.get(),
                    term: export.applied.1.get(),
                }),
                ..Snapshot::default()
            }));
            let file = SnapshotFile::plan(*export).expect("it fits into the format");
            let mut bytes = BytesMut::new();
            for piece in file {
                bytes.extend_from_slice(&piece.expect("all values can be read"));
            }
            (message, bytes.freeze())
        });
        files.collect()
    }

    /// How many snapshots became the state.
    pub fn installed(&self) -> u64 {
        self.installed
    }

    /// The terms in which this member has become leader since the last call.
    pub fn take_led(&mut self) -> Vec<Term> {
        std::mem::take(&mut self.led)
    }

    /// Lets a heartbeat interval pass.
    pub fn tick(&mut self) {
        self.now_ms += self.tick_ms;
        self.to_consensus.push(Input::Tick);
        self.to_applier.push(ApplyInput::Time(self.now_ms));
        let (batch, expired) = self.lessor.advance(self.now_ms);
        self.to_consensus.extend(batch);
        for (waiter, error) in expired {
            waiter.complete(Err(error));
        }
    }

    /// Renews a lease as a client would. What it is told to wait for comes with later steps.
    pub fn renew(&mut self, request: u64, id: LeaseId) -> Renewal {
        let client = self.client(request);
        let waiter = || client;
        let renewal = self.lessor.renew(id, self.now_ms, false, false, waiter);
        if renewal == (Renewal::Waits { urgent: true }) {
            self.to_consensus.extend(self.lessor.batch());
        }
        renewal
    }

    /// What is left of a lease, in seconds.
    pub fn remaining_s(&self, id: LeaseId) -> Option<i64> {
        let waiter = || Client {
            request: 0,
            answers: Answers::default(),
            sends: None,
        };
        match self.lessor.remaining(id, self.now_ms, true, waiter) {
            Remaining::Found { remaining_s, .. } => Some(remaining_s),
            _ => None,
        }
    }

    /// The keeper looks how much room there is, and who has to know is told.
    pub fn look(&mut self, disk: &mut SimDisk) {
        let mut share = Share { disk, owner: STORE };
        match self.keeper.look(&mut share) {
            Ok(news) => {
                self.to_applier.push(ApplyInput::Space(news));
                self.to_log.push(LogInput::Room { low: news.low });
            }
            Err(error) => self.end(&error),
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
            Ok(Some(Kept::Scrubbed(found))) => {
                self.scrubbed.0 += found.bytes;
                self.scrubbed.1.extend(found.damage.clone());
                self.to_applier.push(ApplyInput::Scrubbed(found));
            }
            Ok(Some(Kept::GivenUp(why))) => {
                self.given_up += 1;
                self.to_applier.push(ApplyInput::GivenUp(why));
            }
            Ok(Some(Kept::Done {
                position,
                received,
                done,
            })) => {
                match position.as_ref().or(received.as_ref()) {
                    Some(_) => self.kept.0 += 1,
                    None => self.kept.1 += 1,
                }
                self.to_consensus.extend(received.map(Input::Stored));
                if let Some(position) = position {
                    let release_through = position.index;
                    self.to_log.push(LogInput::Truncate {
                        position,
                        release_through,
                    });
                }
                self.to_applier.push(ApplyInput::Kept(*done));
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
        for (waiter, result) in out.answers.drain(..) {
            waiter.complete(result);
        }
        let applies = out.take_applies();
        self.to_log
            .extend(out.appends.into_iter().map(LogInput::Append));
        self.to_applier.extend(applies);
        self.outbox.extend(out.messages);
        for message in out.snapshots {
            let sender = Client {
                request: 0,
                answers: Arc::clone(&self.answers),
                sends: Some((message, Arc::clone(&self.exports))),
            };
            self.to_applier.push(ApplyInput::Export(sender));
        }
        let led = out.notices.iter().filter_map(|notice| match notice {
            Notice::BecameLeader(term) => Some(*term),
            _ => None,
        });
        self.led.extend(led);
    }

    fn run_log_writer(&mut self, disk: &mut SimDisk) {
        let mut out = LogOutputs::default();
        let mut share = Share { disk, owner: LOG };
        self.log_writer
            .handle(&mut self.to_log, &mut share, &mut out);
        if out.no_space {
            let mut share = Share { disk, owner: STORE };
            self.keeper.ran_out(&mut share);
        }
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
        let installed = |input: &&Input<Client>| matches!(input, Input::Installed(_));
        self.installed += out.inputs.iter().filter(installed).count() as u64;
        self.to_consensus.extend(out.inputs);
        self.to_keeper.extend(out.job);
        self.maintenance_left = out.work_left;
    }

    fn run_keeper(&mut self, disk: &mut SimDisk) {
        let mut share = Share { disk, owner: STORE };
        for job in std::mem::take(&mut self.to_keeper) {
            let kept = self.keeper.start(job, &mut share);
            self.kept(kept);
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

    /// Bytes that the scrub has read back, and what it found.
    pub fn scrubbed(&self) -> (u64, &[Damage]) {
        (self.scrubbed.0, &self.scrubbed.1)
    }

    /// Tells the applier that time has come to `now_ms`.
    pub fn pass_time(&mut self, now_ms: u64) {
        self.to_applier.push(ApplyInput::Time(now_ms));
    }

    /// How many were given up.
    pub fn jobs_given_up(&self) -> u64 {
        self.given_up
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
