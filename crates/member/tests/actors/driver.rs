//! A member on one thread: messages are delivered when a test says so, and the disk holds what it
//! was given until it is told to finish it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tenet_base::disk::{
    Completion, Disk, DiskError, DiskOp, DiskView, FilePath, FileReader, Token,
};
use tenet_member::{
    Applier, ApplyOutputs, Booted, Consensus, Founder, Frontend, Input, LogInput, LogOutputs,
    LogWriter, Options, Outcome, Outputs, Proposal, Waiter, Write, boot,
};
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::PutRequest;

/// What was answered so far, by the name of who asked.
pub(crate) type Answers = Arc<Mutex<Vec<(&'static str, Result<(), ApiError>)>>>;

/// Somebody who waits.
#[derive(Debug)]
pub(crate) struct Named(&'static str, Answers);

impl Waiter for Named {
    fn complete(self, result: Result<Outcome, ApiError>) {
        self.1.lock().unwrap().push((self.0, result.map(|_| ())));
    }
}

/// An empty data directory.
struct Nothing;

impl DiskView for Nothing {
    fn list(&self, _: &FilePath) -> Result<Option<Vec<String>>, DiskError> {
        Ok(None)
    }
    fn len(&self, _: &FilePath) -> Result<Option<u64>, DiskError> {
        Ok(None)
    }
    fn read_at(&self, _: &FilePath, _: u64, _: usize) -> Result<bytes::Bytes, DiskError> {
        unreachable!("there is nothing to read")
    }
    fn open(&self, _: &FilePath) -> Result<Arc<dyn FileReader>, DiskError> {
        unreachable!("there is nothing to read")
    }
}

/// A disk that keeps submissions until told to finish them.
#[derive(Default)]
pub(crate) struct HeldDisk {
    pub(crate) submitted: VecDeque<(Token, Vec<DiskOp>)>,
}

impl Disk for HeldDisk {
    fn submit(&mut self, token: Token, ops: Vec<DiskOp>) {
        self.submitted.push_back((token, ops));
    }
}

pub(crate) struct Driver {
    consensus: Consensus<Named>,
    log_writer: LogWriter,
    applier: Applier<Named>,
    pub(crate) frontend: Frontend,
    pub(crate) disk: HeldDisk,
    pub(crate) answers: Answers,
    pub(crate) fatal: Option<String>,
    inputs: Vec<Input<Named>>,
}

impl Driver {
    /// A new member of a new cluster of one.
    pub(crate) fn new() -> Self {
        let options = Options {
            name: "default".to_owned(),
            client_urls: Vec::new(),
            initial_cluster: vec![Founder {
                name: "default".to_owned(),
                peer_urls: vec!["http://localhost:2380".to_owned()],
            }],
            initial_cluster_token: "etcd-cluster".to_owned(),
            joins: None,
            election_ticks: 10,
            tick_ms: 100,
            initial_tick_advance: true,
            pre_vote: true,
            snapshot_count: 10_000,
            auto_compaction: None,
            snapshot_catchup_entries: 5_000,
            keep_segments: 5,
            lease_checkpoints: true,
            fast_lease_keep_alive: true,
            wal: tenet_wal::Options::default(),
            limits: tenet_member::Limits::default(),
            watch: tenet_member::WatchOptions::default(),
            learners_max: 1,
            cluster_version: "3.7.0".to_owned(),
            unix_ms: 0,
            seed: 1,
        };
        let booted: Booted<Named> = boot(&Nothing, &options).unwrap();
        Driver {
            consensus: booted.consensus,
            log_writer: booted.log_writer,
            applier: booted.applier,
            frontend: booted.frontend,
            disk: HeldDisk::default(),
            answers: Answers::default(),
            fatal: None,
            inputs: Vec::new(),
        }
    }

    /// Runs the actors until nothing moves but for the disk.
    pub(crate) fn run(&mut self) {
        loop {
            let mut out = Outputs::default();
            self.consensus.handle(&mut self.inputs, &mut out);
            for (waiter, result) in out.answers.drain(..) {
                waiter.complete(result);
            }
            let mut appends = out.appends.drain(..).map(LogInput::Append).collect();
            let mut log_out = LogOutputs::default();
            self.log_writer
                .handle(&mut appends, &mut self.disk, &mut log_out);

            let mut applies = out.take_applies();
            if applies.is_empty() {
                return;
            }
            let mut apply_out = ApplyOutputs::default();
            self.applier.handle(&mut applies, &mut apply_out);
            self.inputs.extend(apply_out.inputs);
        }
    }

    /// Finishes the oldest submission.
    pub(crate) fn finish(&mut self, result: Result<(), DiskError>) {
        let (token, _) = self
            .disk
            .submitted
            .pop_front()
            .expect("the disk has nothing to do");
        let mut inputs = vec![LogInput::Completed(Completion { token, result })];
        let mut out = LogOutputs::default();
        self.log_writer
            .handle(&mut inputs, &mut self.disk, &mut out);
        if out.done > 0 {
            self.inputs.push(Input::Appended(out.done));
        }
        self.fatal = self
            .fatal
            .take()
            .or(out.fatal.map(|error| error.to_string()));
        self.run();
    }

    /// Finishes submissions until none is left.
    pub(crate) fn settle(&mut self) {
        self.run();
        while !self.disk.submitted.is_empty() {
            self.finish(Ok(()));
        }
    }

    pub(crate) fn tick(&mut self, count: u64) {
        for _ in 0..count {
            self.inputs.push(Input::Tick);
            self.run();
        }
    }

    pub(crate) fn put(&mut self, who: &'static str, key: &'static str) {
        let put = PutRequest {
            key: key.into(),
            value: "v".into(),
            ..PutRequest::default()
        };
        let prepared = self.frontend.prepare(Write::Put(put)).unwrap();
        let waiter = Named(who, Arc::clone(&self.answers));
        self.inputs
            .push(Input::Propose(Proposal { prepared, waiter }));
    }

    pub(crate) fn read(&mut self, who: &'static str) {
        self.inputs
            .push(Input::Read(Named(who, Arc::clone(&self.answers))));
    }

    /// What was answered since the last call.
    pub(crate) fn take_answers(&mut self) -> Vec<(&'static str, Result<(), ApiError>)> {
        std::mem::take(&mut *self.answers.lock().unwrap())
    }
}
