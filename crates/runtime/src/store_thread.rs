//! The thread of the keeper: jobs on the files of the store, and a look at the room of the file
//! system about every second, between two pieces of a job too.

use crate::disk::RealDisk;
use crate::fatal;
use crate::metrics::Metrics;
use crate::threads::{Mail, Post, StoreInput, open};
use std::time::{Duration, Instant};
use tenet_base::limits::SPACE_LOOK_MS;
use tenet_member::{
    ApplyInput, GivenUp, Input, KeepError, Keeper, Kept, LogInput, Progress, SpaceNews, StoreJob,
};
use tenet_store::{Damage, Done};
use tenet_wal::Position;

/// How often the room is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(SPACE_LOOK_MS);
/// Longest wait between two pieces of a rewrite.
const HOLD_BACK_MAX: Duration = Duration::from_millis(100);

/// Runs the keeper until the member stops.
pub(crate) fn run_keeper(mut thread: StoreThread<'_>) {
    let post = thread.post;
    let (mut mail, mut inputs) = (Vec::new(), Vec::new());
    loop {
        post.store.receive(&mut mail, Some(thread.next_look));
        let stop = open(&mut mail, &mut inputs);
        for input in inputs.drain(..) {
            match input {
                StoreInput::Job(job) => thread.keep(*job),
                StoreInput::NoSpace => thread.no_space(),
            }
        }
        if stop {
            return;
        }
        thread.look();
        thread.settle();
    }
}

/// What the thread has.
pub(crate) struct StoreThread<'a> {
    pub(crate) keeper: Keeper,
    pub(crate) disk: RealDisk,
    pub(crate) post: &'a Post,
    pub(crate) progress: &'a Progress,
    pub(crate) metrics: &'a Metrics,
    /// Entries that the log keeps behind a flush.
    pub(crate) catchup_entries: u64,
    pub(crate) next_look: Instant,
    /// The system could not tell the room.
    pub(crate) blind: bool,
    /// The last job was given up for lack of space.
    pub(crate) short: bool,
}

impl StoreThread<'_> {
    /// Does a job to its end. A rewrite is given up when the member stops.
    fn keep(&mut self, job: StoreJob) {
        let may_be_left = job.is_rewrite();
        let begin = Instant::now();
        let started = self.keeper.start(job, &mut self.disk);
        let mut kept = self.or_exit(started);
        loop {
            kept = kept.or_else(|| self.pump());
            if let Some(kept) = kept {
                return self.announce(kept);
            }
            self.hold_back(begin);
            if may_be_left && self.post.is_stopping() {
                return;
            }
            self.look();
        }
    }

    /// Waits until a rewrite that began at `begin` has come as far as it may.
    fn hold_back(&self, begin: Instant) {
        let rate = self.progress.rewrite_bytes_per_second().max(1);
        let due_ms = self.keeper.rewritten_bytes().saturating_mul(1_000) / rate;
        let ahead = Duration::from_millis(due_ms).saturating_sub(begin.elapsed());
        // The rate may have changed meanwhile, and others wait for this thread.
        std::thread::sleep(ahead.min(HOLD_BACK_MAX));
    }

    fn or_exit(&self, result: Result<Option<Kept>, KeepError>) -> Option<Kept> {
        match result {
            Ok(kept) => kept,
            Err(error) => fatal::exit("the store could not be written", &error),
        }
    }

    /// Tells the keeper what the disk has finished; gives what came of a job.
    fn pump(&mut self) -> Option<Kept> {
        let mut kept = None;
        for completion in self.disk.take_completions() {
            let completed = self.keeper.completed(completion, &mut self.disk);
            kept = kept.or(self.or_exit(completed));
        }
        kept
    }

    /// The same while no job is under way.
    fn settle(&mut self) {
        let kept = self.pump();
        assert!(kept.is_none(), "a job that was not begun came to its end");
    }

    /// Tells the others what came of a job, and people.
    fn announce(&mut self, kept: Kept) {
        let applier = &self.post.applier;
        match kept {
            Kept::Done {
                position,
                received,
                done,
            } => {
                self.short = false;
                match received {
                    Some(position) => self.tell_consensus(position, *done),
                    None => {
                        self.tell_log(position, &done);
                        applier.push(Mail::Message(ApplyInput::Kept(*done)));
                    }
                }
            }
            Kept::GivenUp(why) => {
                // Without space it is tried again and again.
                if !std::mem::replace(&mut self.short, matches!(why, GivenUp::NoSpace(_))) {
                    log_given_up(&why);
                }
                applier.push(Mail::Message(ApplyInput::GivenUp(why)));
            }
            Kept::Scrubbed(found) => {
                self.metrics.scrubbed_bytes.add(found.bytes);
                if let Some(damage) = &found.damage {
                    self.metrics.damages_found.add(1);
                    log_damage(damage);
                }
                applier.push(Mail::Message(ApplyInput::Scrubbed(found)));
            }
        }
    }

    /// The store holds the snapshot of the leader.
    fn tell_consensus(&self, position: Position, done: Done) {
        let (index, bytes) = (position.index, done.written_bytes);
        tracing::info!(%index, bytes, "wrote the snapshot of the leader into the store");
        let applier = &self.post.applier;
        applier.push(Mail::Message(ApplyInput::Kept(done)));
        self.post.consensus.push(Input::Stored(position));
    }

    /// The log may go up to where the store is durable.
    fn tell_log(&self, position: Option<Position>, done: &Done) {
        let bytes = done.written_bytes;
        let Some(position) = position else {
            tracing::info!(bytes, "rewrote files of the store");
            return;
        };
        let index = position.index;
        tracing::info!(%index, bytes, index_written = done.wrote_index, "flushed the store");
        let release_through = index.get().saturating_sub(self.catchup_entries).into();
        self.post.log.push(Mail::Message(LogInput::Truncate {
            position,
            release_through,
        }));
    }

    /// The log found no space: the ballast goes, and the log may try again.
    fn no_space(&mut self) {
        if self.keeper.ran_out(&mut self.disk) {
            self.next_look = Instant::now();
        }
        self.settle();
    }

    /// Looks at the room when it is time, and tells who has to know.
    fn look(&mut self) {
        let now = Instant::now();
        if now < self.next_look {
            return;
        }
        self.next_look = now + LOOK_INTERVAL;
        match self.keeper.look(&mut self.disk) {
            Ok(news) => {
                self.blind = false;
                log_news(&news);
                let (applier, log) = (&self.post.applier, &self.post.log);
                applier.push(Mail::Message(ApplyInput::Space(news)));
                log.push(Mail::Message(LogInput::Room { low: news.low }));
            }
            Err(error) => {
                if !std::mem::replace(&mut self.blind, true) {
                    tracing::error!(%error, "the free space of the disk is unknown");
                }
            }
        }
    }
}

fn log_given_up(why: &GivenUp) {
    match why {
        GivenUp::NoSpace(error) => {
            tracing::warn!(%error, "there is no space to write the store; it is tried again");
        }
        GivenUp::Unreadable(error) => tracing::error!(
            %error,
            "a file of the store cannot be rewritten, since a value in it is damaged. {WHAT_TO_DO}"
        ),
    }
}

/// What is left to do when values are lost.
const WHAT_TO_DO: &str = "Check the disk; then restore this member from a snapshot, or remove it \
                          and add it again. \
                          The damaged values are refused, all others are served";

fn log_damage(damage: &Damage) {
    let error = &damage.error;
    match damage.records.first() {
        Some(revision) => tracing::error!(
            %error,
            %revision,
            records = damage.records.len(),
            "values on the disk are damaged. {WHAT_TO_DO}"
        ),
        None => tracing::error!(
            %error,
            "a file of the store is damaged on the disk; nothing is lost, since what it says is in \
             memory too and is written anew. Check the disk"
        ),
    }
}

fn log_news(news: &SpaceNews) {
    let free_bytes = news.free_bytes;
    if news.gave_up_ballast {
        tracing::warn!(
            free_bytes,
            "there was no space left: the ballast was removed, so that deletes and compactions work"
        );
    }
    match (news.changed, news.low) {
        (true, true) => tracing::error!(
            free_bytes,
            "little space is left on the disk: writes are refused until some is made. Make room, or \
             delete keys and compact; then disarm the alarm"
        ),
        (true, false) => tracing::info!(
            free_bytes,
            "there is enough space on the disk again: once the alarm is disarmed, writes are accepted"
        ),
        (false, _) => {}
    }
}
