//! The power fails at every operation of a workload, and any part of what was not synced is lost.
//!
//! After each loss the member must start, and its store must be what it was after some number of
//! the writes: at least all that were answered, at most all that were sent. Then it must go on.

use crate::scene::{Fingerprint, Script, new_disk, options};
use std::collections::BTreeMap;
use tenet_base::Rng as _;
use tenet_base::disk::{DiskOp, FilePath};
use tenet_base::world::SplitMix64;
use tenet_member::Write;
use tenet_proto::etcdserverpb::{PutRequest, RangeRequest};
use tenet_sim::disk::{SimDisk, Survival};
use tenet_sim::member::{Answers, SimMember};
use tenet_sim::workload::next_large_put;

/// What was checked, and the first thing that was wrong.
#[derive(Default)]
struct Verdict {
    crashes: u64,
    operations: u64,
    wrong: Option<String>,
    /// Flushes and rewrites of files of the store.
    kept: (u64, u64),
}

/// A sync that a run did.
struct Sync {
    /// What it made durable.
    what: String,
    /// Of which file or directory.
    of: FilePath,
}

/// Whether the same is synced again before any further entries are: then nothing rests on the
/// first sync alone.
fn is_repeated(syncs: &BTreeMap<u64, Sync>, number: u64) -> bool {
    for (_, later) in syncs.range(number + 1..) {
        if later.of == syncs[&number].of {
            return true;
        }
        if later.what == "entries" {
            return false;
        }
    }
    false
}

struct Run<'a> {
    script: &'a Script,
    subsets: u64,
    rng: SplitMix64,
    verdict: Verdict,
    /// What each sync was of, by its number.
    syncs: BTreeMap<u64, Sync>,
    /// What was written last.
    written: &'static str,
    /// What was done last to a directory.
    named: &'static str,
}

impl<'a> Run<'a> {
    fn new(script: &'a Script, subsets: u64, seed: u64) -> Self {
        Run {
            script,
            subsets,
            rng: SplitMix64::new(seed),
            verdict: Verdict::default(),
            syncs: BTreeMap::new(),
            written: "nothing",
            named: "added to",
        }
    }

    /// Sends the script, up to `together` writes at a time, and cuts the power at every operation
    /// of the disk. Ends at the first thing that is wrong.
    fn go(mut self, mut disk: SimDisk, together: usize) -> (Verdict, BTreeMap<u64, Sync>) {
        let answers = Answers::default();
        let mut member = SimMember::begin(&mut disk, &options(), answers.clone())
            .expect("an empty disk is taken");
        while self.verdict.wrong.is_none() && !disk.is_idle() {
            self.cut(&disk, 0, 0);
            self.perform(&mut disk);
        }
        if self.verdict.wrong.is_none() {
            self.send(&mut member, &mut disk, &answers, together);
        }
        (self.verdict, self.syncs)
    }

    fn send(
        &mut self,
        member: &mut SimMember,
        disk: &mut SimDisk,
        answers: &Answers,
        together: usize,
    ) {
        let mut sent = 0;
        while sent < self.script.writes.len() {
            let end = self.script.writes.len().min(sent + together);
            for n in sent..end {
                member
                    .write(n as u64, self.script.writes[n].clone())
                    .expect("writes are valid");
            }
            sent = end;
            member.settle_but_disk(disk);
            while !disk.is_idle() {
                let answered = answers.lock().unwrap().len();
                self.cut(disk, answered, sent);
                if self.verdict.wrong.is_some() {
                    return;
                }
                if let Some(completion) = self.perform(disk) {
                    member.complete(completion, disk);
                }
                member.settle_but_disk(disk);
            }
        }
        assert_eq!(
            answers.lock().unwrap().len(),
            sent,
            "all were answered in the end"
        );
        self.cut(disk, sent, sent);
        self.verdict.kept = member.store_jobs();
    }

    fn perform(&mut self, disk: &mut SimDisk) -> Option<tenet_base::disk::Completion> {
        let number = disk.syncs();
        match disk.next_op() {
            Some(DiskOp::Write { path, data, .. }) => {
                self.written = first_record(path.as_str(), data);
            }
            Some(DiskOp::Rename { .. } | DiskOp::CreateDir { .. }) => self.named = "added to",
            Some(DiskOp::Create { path, .. }) if path.name().ends_with(".tmp") => {
                self.named = "prepared in";
            }
            Some(DiskOp::Remove { .. }) => self.named = "removed from",
            _ => {}
        }
        let sync = disk.next_op().and_then(|op| match op {
            DiskOp::SyncData { path } => Some((self.written.to_owned(), path.clone())),
            DiskOp::SyncDir { path } => Some((
                format!("names {} {:?}", self.named, path.as_str()),
                path.clone(),
            )),
            _ => None,
        });
        let completion = disk.perform_next();
        if disk.syncs() > number {
            let (what, of) = sync.expect("only syncs are counted");
            self.syncs.insert(number, Sync { what, of });
        }
        self.verdict.operations += 1;
        completion
    }

    /// Cuts the power on copies of the disk, and looks at what is left.
    fn cut(&mut self, disk: &SimDisk, answered: usize, sent: usize) {
        for subset in 0..self.subsets {
            let survival = match subset {
                0 => Survival::Nothing,
                1 => Survival::Everything,
                _ => Survival::Random,
            };
            let mut copy = disk.clone();
            let seed = self.rng.next_u64();
            copy.crash(survival, &mut SplitMix64::new(seed));
            self.verdict.crashes += 1;
            if let Err(wrong) = self.recover(copy, answered, sent, seed) {
                self.verdict.wrong = Some(format!(
                    "before operation {} ({survival:?}, seed {seed}), {answered} answered of \
                     {sent}: {wrong}",
                    disk.performed()
                ));
                return;
            }
        }
    }

    fn recover(
        &self,
        mut disk: SimDisk,
        answered: usize,
        sent: usize,
        seed: u64,
    ) -> Result<(), String> {
        let mut rng = SplitMix64::new(seed);
        let answers = Answers::default();
        let mut member = SimMember::start(&mut disk, &options(), answers.clone())
            .map_err(|error| format!("the start was refused: {error}"))?;
        // From the first moment that reads are served, they show everything that was answered.
        while !member.frontend().progress().reads_alone() && member.step(&mut disk, &mut rng) {}
        let served = Fingerprint::of(member.state());
        if !self.script.after[answered..=sent].contains(&served) {
            return Err(format!("a read is served too early: {served:?}"));
        }
        member.settle(&mut disk, &mut rng);
        let found = Fingerprint::of(member.state());
        if !self.script.after[answered..=sent].contains(&found) {
            return Err(
                match self.script.after.iter().position(|after| *after == found) {
                    Some(n) => format!("the store is as after {n} writes"),
                    None => format!("the store is as after no number of writes: {found:?}"),
                },
            );
        }
        // Hashes come from the directories of segments; the values must be there too.
        let everything = RangeRequest {
            key: "\0".into(),
            range_end: "\0".into(),
            ..RangeRequest::default()
        };
        let read = member.state().views().load().kv.range(&everything);
        read.map_err(|error| format!("a value cannot be read: {error}"))?;
        let put = PutRequest {
            key: "after".into(),
            ..PutRequest::default()
        };
        member
            .write(0, Write::Put(put))
            .map_err(|error| error.to_string())?;
        member.settle(&mut disk, &mut rng);
        let last = answers.lock().unwrap().pop();
        match (last.map(|answer| answer.result), member.ended()) {
            (Some(Ok(_)), None) => Ok(()),
            (result, ended) => Err(format!("it does not go on: {result:?}, {ended:?}")),
        }
    }
}

#[test]
fn no_answered_write_is_lost_wherever_the_power_fails() {
    let (mut crashes, mut operations, mut rewrites) = (0, 0, 0);
    for (seed, together) in [(1, 1), (2, 5)] {
        let script = Script::new(seed, 45);
        let (verdict, _) = Run::new(&script, 32, seed).go(new_disk(seed), together);
        assert_eq!(verdict.wrong, None, "seed {seed}");
        crashes += verdict.crashes;
        operations += verdict.operations;
        let (flushes, rewritten) = verdict.kept;
        assert!(flushes > 2, "{flushes} flushes");
        rewrites += rewritten;
    }
    assert!(rewrites > 0, "no file was rewritten");
    println!("{crashes} losses of power at {operations} operations, nothing lost");
    assert!(
        operations > 150,
        "the workload has become too small: {operations} operations"
    );
}

/// What a write begins with. A frame of the log has its record after eight bytes, and a record
/// begins with its type.
fn first_record(path: &str, data: &[u8]) -> &'static str {
    match (path.ends_with(".wal"), data.get(9)) {
        (false, _) => "a file of the store",
        (true, Some(2)) => "entries",
        (true, Some(3)) => "a hard state alone",
        (true, Some(5)) => "a position",
        (true, _) => "a segment's head",
    }
}

/// Syncs whose absence loses nothing, and why.
fn is_not_needed_for_safety(what: &str) -> Option<&'static str> {
    match what {
        "a hard state alone" => Some(
            "the vote of a sole voter for itself: there is nobody else to vote for, and its first \
             entry brings the hard state again",
        ),
        "names removed from \"member/wal\"" => {
            Some("a segment that comes back holds nothing that is not in the store")
        }
        "names prepared in \"member/wal\"" => {
            Some("a segment that is prepared and lost is prepared again")
        }
        "a position" => Some(
            "our own start takes the position from the store; the record is for programs \
             that know only the log",
        ),
        _ => None,
    }
}

#[test]
fn every_sync_that_is_left_out_is_noticed() {
    // Each write changes the store, and the log behind each flush goes.
    let script = Script::of(5, 40, |rng, _| next_large_put(rng));
    let whole = Run::new(&script, 1, 3).go(new_disk(3), 2);
    assert_eq!(whole.0.wrong, None);
    // Nothing is acknowledged after the last sync of entries.
    let (last, _) = (whole
        .1
        .iter()
        .rev()
        .find(|(_, sync)| sync.what == "entries"))
    .expect("writes are acknowledged");
    println!("{} syncs, each left out in turn", last + 1);
    let mut unnoticed = Vec::new();
    for (number, sync) in whole.1.range(..=last) {
        if is_not_needed_for_safety(&sync.what).is_some() {
            continue;
        }
        let mut disk = new_disk(3);
        disk.skip_sync(*number);
        let (verdict, _) = Run::new(&script, 16, 3).go(disk, 2);
        if verdict.wrong.is_none() && !is_repeated(&whole.1, *number) {
            unnoticed.push(format!("sync {number}: {}", sync.what));
        }
    }
    assert_eq!(unnoticed, Vec::<String>::new(), "of {} syncs", last + 1);
}

/// The process is killed at every operation, started again, and the power fails soon after: what
/// the second process has read may not have been durable, and it must not rely on it.
#[test]
fn what_a_killed_process_did_not_sync_may_still_be_lost_after_the_next_start() {
    let script = Script::new(11, 60);
    let mut losses = 0;
    for kill_at in (0..).step_by(3) {
        let mut rng = SplitMix64::new(kill_at);
        let mut disk = new_disk(11);
        let mut member = SimMember::start(&mut disk, &options(), Answers::default()).unwrap();
        let mut writes = script.writes.iter().zip(0..);
        let begin = disk.performed();
        while disk.performed() < begin + kill_at {
            if !member.step(&mut disk, &mut rng) {
                let Some((write, n)) = writes.next() else {
                    assert!(losses > 100, "too few losses: {losses}");
                    return;
                };
                member.write(n, write.clone()).unwrap();
            }
        }
        drop(member);
        disk.end_process(&mut rng);
        for again in 0..4 {
            let mut disk = disk.clone();
            let mut member = SimMember::start(&mut disk, &options(), Answers::default()).unwrap();
            for _ in 0..rng.below(40) {
                member.step(&mut disk, &mut rng);
            }
            drop(member);
            disk.crash(Survival::Random, &mut rng);
            let started = SimMember::start(&mut disk, &options(), Answers::default());
            if let Err(error) = started {
                panic!("killed after {kill_at} operations, power lost ({again}): {error}");
            }
            losses += 1;
        }
    }
}
