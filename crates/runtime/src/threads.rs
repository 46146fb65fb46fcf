//! The threads that drive the actors.
//!
//! One thread each for consensus, log writer, applier and keeper. A thread takes everything
//! that waits in its mailbox, lets its actor handle it, and passes on what comes out. Requests
//! gather while the log is being synced: a write that arrives then does not wake the consensus
//! thread, since the completion of the sync will.

use crate::clock::SystemClock;
use crate::disk::RealDisk;
use crate::fatal;
use crate::mailbox::Mailbox;
use crate::metrics::Metrics;
use crate::node::TaskWaiter;
use crate::peers::{self, Connected, Outlet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tenet_base::{Clock as _, MemberId, limits};
use tenet_member::{
    Applier, ApplyInput, ApplyOutputs, Consensus, Input, Lessor, LogInput, LogOutputs, LogWriter,
    Notice, Outputs, StoreJob, Waiter,
};
use tenet_proto::ApiError;
use tenet_proto::raftpb::Message;

/// An actor's messages, or the end.
pub(crate) enum Mail<T> {
    Message(T),
    Stop,
}

/// What the keeper's thread is told.
pub(crate) enum StoreInput {
    Job(Box<StoreJob>),
    /// The log writer has found no space.
    NoSpace,
}

/// The mailboxes of a member.
pub(crate) struct Post {
    pub(crate) consensus: Mailbox<Input<TaskWaiter>>,
    pub(crate) log: Mailbox<Mail<LogInput>>,
    pub(crate) applier: Mailbox<Mail<ApplyInput<TaskWaiter>>>,
    pub(crate) store: Mailbox<Mail<StoreInput>>,
    /// The log writer has work whose completion will wake the consensus thread.
    syncing: AtomicBool,
    outlet: Connected,
    /// Bytes of messages of other members that wait for the consensus thread.
    peer_bytes: AtomicUsize,
    stopping: AtomicBool,
}

impl Post {
    pub(crate) fn new() -> Self {
        Post {
            consensus: Mailbox::new(),
            log: Mailbox::new(),
            applier: Mailbox::new(),
            store: Mailbox::new(),
            syncing: AtomicBool::new(false),
            outlet: Connected::new(),
            peer_bytes: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
        }
    }

    /// Sends a request to the consensus thread, which need not hurry while the log is syncing.
    pub(crate) fn request(&self, input: Input<TaskWaiter>) {
        self.consensus
            .push_quietly(input, || self.syncing.load(Ordering::SeqCst));
    }

    /// Messages go out through `outlet` from now on, unless they do through another already.
    pub(crate) fn connect(&self, outlet: Arc<dyn Outlet>) -> bool {
        self.outlet.set(outlet).is_ok()
    }

    /// Does something with the outlet, if there is one.
    pub(crate) fn outlet<T>(&self, with: impl FnOnce(&dyn Outlet) -> T) -> Option<T> {
        self.outlet.get().map(|outlet| with(&**outlet))
    }

    /// Leaves a message of another member for the consensus thread, which must not wait for the disk
    /// with it. Says whether there was room.
    pub(crate) fn receive(&self, message: Message) -> bool {
        let weight = peers::weight(&message);
        if self.peer_bytes.fetch_add(weight, Ordering::Relaxed) > limits::PEER_WAITING_BYTES_MAX {
            self.peer_bytes.fetch_sub(weight, Ordering::Relaxed);
            return false;
        }
        self.consensus.push(Input::Peer(Box::new(message)));
        true
    }

    /// The consensus thread has taken these.
    fn taken(&self, inputs: &[Input<TaskWaiter>]) {
        let peer = inputs.iter().filter_map(|input| match input {
            Input::Peer(message) => Some(peers::weight(message)),
            _ => None,
        });
        let bytes: usize = peer.sum();
        if bytes > 0 {
            self.peer_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Ends all threads, consensus first.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.consensus.push(Input::Stop);
    }

    /// The applier stops the keeper, for which it may have a last job.
    fn stop_others(&self) {
        self.log.push(Mail::Stop);
        self.applier.push(Mail::Stop);
    }
}

/// Moves messages out of their envelopes; says whether the end has come.
pub(crate) fn open<T>(mail: &mut Vec<Mail<T>>, into: &mut Vec<T>) -> bool {
    let mut stop = false;
    for letter in mail.drain(..) {
        match letter {
            Mail::Message(message) => into.push(message),
            Mail::Stop => stop = true,
        }
    }
    stop
}

/// How often the applier hears what time it is.
const TIME_INTERVAL: Duration = Duration::from_millis(100);

/// What tells the lessor the time.
pub(crate) struct LeaseTime {
    pub(crate) lessor: Arc<Lessor<TaskWaiter>>,
    pub(crate) clock: Arc<SystemClock>,
}

impl LeaseTime {
    /// Lets time pass for leases; gives what they want proposed.
    fn pass(&self) -> Option<Input<TaskWaiter>> {
        let (batch, expired) = self.lessor.advance(self.clock.monotonic_ms());
        for (waiter, error) in expired {
            waiter.complete(Err(error));
        }
        batch
    }

    fn stop(&self) {
        for waiter in self.lessor.stop() {
            waiter.complete(Err(ApiError::Stopped));
        }
    }
}

pub(crate) fn run_consensus(
    mut actor: Consensus<TaskWaiter>,
    post: &Post,
    tick: Duration,
    leases: &LeaseTime,
) {
    let mut inputs = Vec::new();
    let start = Instant::now();
    let mut next_tick = start + tick;
    let mut next_time = start;
    // What was committed before is applied, and a sole voter campaigns, without waiting for
    // anything to come in.
    let mut out = Outputs::default();
    actor.handle(&mut inputs, &mut out);
    pass_on(out, post);
    loop {
        let until = next_tick.min(next_time);
        post.consensus.receive(&mut inputs, Some(until));
        post.taken(&inputs);
        let now = Instant::now();
        if now >= next_time {
            let now_ms = (now - start).as_millis() as u64;
            post.applier.push(Mail::Message(ApplyInput::Time(now_ms)));
            next_time = now + TIME_INTERVAL;
        }
        if now >= next_tick {
            inputs.push(Input::Tick);
            inputs.extend(leases.pass());
            // A thread that was stopped for a while must not race through an election timeout.
            next_tick = (next_tick + tick).max(now);
        }
        if inputs
            .iter()
            .any(|input| matches!(input, Input::Appended(_)))
        {
            // Before the inputs are handled and the mailbox is looked at again: see `request`.
            post.syncing.store(false, Ordering::SeqCst);
        }
        let stopping = inputs.iter().any(|input| matches!(input, Input::Stop));
        let mut out = Outputs::default();
        actor.handle(&mut inputs, &mut out);
        pass_on(out, post);
        if stopping {
            // Requests that come in from here on are answered by whoever sends them.
            post.consensus.receive(&mut inputs, Some(Instant::now()));
            let mut out = Outputs::default();
            actor.handle(&mut inputs, &mut out);
            pass_on(out, post);
            leases.stop();
            post.stop_others();
            return;
        }
    }
}

fn pass_on(mut out: Outputs<TaskWaiter>, post: &Post) {
    if let Some(why) = &out.fatal {
        fatal::exit("the configuration of the cluster cannot be followed", why);
    }
    let applies = out.take_applies();
    if !out.appends.is_empty() {
        post.syncing.store(true, Ordering::SeqCst);
        post.log.push_all(
            out.appends
                .into_iter()
                .map(|a| Mail::Message(LogInput::Append(a))),
        );
    }
    if !applies.is_empty() {
        post.applier
            .push_all(applies.into_iter().map(Mail::Message));
    }
    // After the applier was told who has asked: the answer could be there before the question.
    if !out.messages.is_empty() {
        post.outlet(|outlet| outlet.send(out.messages));
    }
    for message in out.snapshots {
        let to = MemberId(message.to);
        if post
            .outlet(|outlet| outlet.send_snapshot(message))
            .is_none()
        {
            post.consensus.push(Input::SnapshotSent { to, ok: false });
        }
    }
    for (waiter, result) in out.answers {
        waiter.complete(result);
    }
    for notice in out.notices {
        log_notice(&notice);
    }
}

fn log_notice(notice: &Notice) {
    match notice {
        Notice::BecameLeader(term) => tracing::info!(%term, "this member became leader"),
        Notice::FollowsLeader(leader, term) => {
            tracing::info!(%leader, %term, "this member follows a leader");
        }
        Notice::LostLeader(term) => tracing::warn!(%term, "no leader is known"),
        Notice::RefusedMessage(why) => tracing::warn!(%why, "a message of a peer was refused"),
        Notice::DiskSlow { ticks } => tracing::warn!(
            ticks,
            "the disk of the log has not answered for an election timeout: leadership is offered to another member"
        ),
        Notice::DiskHangs { ticks } => tracing::error!(
            ticks,
            "the disk of the log hangs: this member does not lead until it answers"
        ),
        Notice::DiskAnswers => tracing::info!("the disk of the log answers again"),
    }
}

pub(crate) fn run_log_writer(mut actor: LogWriter, mut disk: RealDisk, post: &Post) {
    let (mut mail, mut inputs) = (Vec::new(), Vec::new());
    loop {
        post.log.receive(&mut mail, None);
        let stop = open(&mut mail, &mut inputs);
        let mut out = LogOutputs::default();
        actor.handle(&mut inputs, &mut disk, &mut out);
        // The disk has already done what was submitted.
        loop {
            let completions = disk.take_completions();
            if completions.is_empty() {
                break;
            }
            inputs.extend(completions.into_iter().map(LogInput::Completed));
            actor.handle(&mut inputs, &mut disk, &mut out);
            report_durable(&mut out, post);
        }
        report_durable(&mut out, post);
        if stop {
            if let Err(error) = disk.run(actor.close()) {
                fatal::exit("the log could not be closed", &error);
            }
            return;
        }
    }
}

fn report_durable(out: &mut LogOutputs, post: &Post) {
    if let Some(error) = &out.fatal {
        fatal::exit(
            "the log could not be written; nothing is acknowledged any more",
            error,
        );
    }
    if std::mem::take(&mut out.no_space) {
        tracing::warn!(
            "there is no space for the next segment of the log: appends will have to wait"
        );
        post.store.push(Mail::Message(StoreInput::NoSpace));
    }
    if out.done > 0 {
        post.consensus
            .push(Input::Appended(std::mem::take(&mut out.done)));
    }
}

pub(crate) fn run_applier(
    mut actor: Applier<TaskWaiter>,
    post: &Post,
    metrics: &Metrics,
    slow: Duration,
) {
    let (mut mail, mut inputs) = (Vec::new(), Vec::new());
    let mut idle_work = false;
    loop {
        let deadline = idle_work.then(Instant::now);
        post.applier.receive(&mut mail, deadline);
        let stop = open(&mut mail, &mut inputs);
        if inputs.is_empty() {
            inputs.push(ApplyInput::Idle);
        }
        let begin = Instant::now();
        let mut out = ApplyOutputs::default();
        actor.handle(&mut inputs, &mut out);
        if begin.elapsed() > slow {
            metrics.slow_applies.add(1);
        }
        if let Some(fatal) = &out.fatal {
            fatal::exit("a committed entry could not be applied", fatal);
        }
        idle_work = out.work_left;
        if !out.inputs.is_empty() {
            post_inputs(out.inputs, out.urgent, post);
        }
        if out.members_changed {
            post.outlet(|outlet| outlet.members_changed());
        }
        if out.removed {
            post.outlet(|outlet| outlet.removed());
        }
        if let Some(revision) = out.compacts {
            tracing::info!(%revision, "starting auto compaction");
        }
        let job = if stop && out.job.is_none() {
            actor.last_flush()
        } else {
            out.job
        };
        if let Some(job) = job {
            post.store
                .push(Mail::Message(StoreInput::Job(Box::new(job))));
        }
        if stop {
            post.store.push(Mail::Stop);
            return;
        }
    }
}

/// What the consensus actor hears from the applier is news, not work, unless it proposes or
/// changes the configuration: news may wait for the next wake-up.
fn post_inputs(inputs: Vec<Input<TaskWaiter>>, urgent: bool, post: &Post) {
    let news = inputs
        .iter()
        .all(|input| matches!(input, Input::Applied(_)));
    if news && !urgent {
        for input in inputs {
            post.consensus.push_quietly(input, || true);
        }
    } else {
        post.consensus.push_all(inputs);
    }
}
