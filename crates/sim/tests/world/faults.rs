//! Every operation of the disk fails in turn, for lack of space or because the medium fails, or
//! hangs. What was answered is there all the same, and the member goes on, or goes on after its
//! next start.

use crate::scene::{Fingerprint, Script, new_disk, options};
use tenet_base::world::SplitMix64;
use tenet_sim::disk::{Fault, SimDisk};
use tenet_sim::member::{Answers, SimMember};
use tenet_sim::workload::next_large_put;

/// What happens to one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Fails(Fault),
    /// It takes long, then it is done.
    Hangs,
    /// It takes so long that the process is ended meanwhile.
    HangsForever,
}

/// What became of the runs.
#[derive(Debug, Default)]
struct Tally {
    runs: u64,
    /// The member refused to start, or ended itself, and was started again.
    ended: u64,
    /// Jobs on the files of the store that were given up.
    given_up: u64,
    /// Writes that were sent when the member ended, and whether they had been done.
    lost_unanswered: u64,
}

/// A run of a script, with trouble at one operation.
struct Run<'a> {
    script: &'a Script,
    disk: SimDisk,
    rng: SplitMix64,
    answers: Answers,
    hang_at: Option<(u64, Trouble)>,
    tally: &'a mut Tally,
}

impl<'a> Run<'a> {
    fn new(script: &'a Script, trouble: Option<(u64, Trouble)>, tally: &'a mut Tally) -> Self {
        let mut disk = new_disk(1);
        if trouble.is_none() {
            disk.keep_trace();
        }
        let mut hang_at = None;
        match trouble {
            Some((at, Trouble::Fails(fault))) => disk.fail_operation(at, fault),
            other => hang_at = other,
        }
        tally.runs += 1;
        Run {
            script,
            disk,
            rng: SplitMix64::new(9),
            answers: Answers::default(),
            hang_at,
            tally,
        }
    }

    /// Writes that were answered with success.
    fn answered(&self) -> usize {
        let answers = self.answers.lock().unwrap();
        answers
            .iter()
            .filter(|answer| answer.result.is_ok())
            .count()
    }

    /// Starts the member, if need be more than once: an operation fails once.
    fn start(&mut self) -> SimMember {
        for _ in 0..2 {
            let started = SimMember::start(&mut self.disk, &options(), self.answers.clone());
            match started {
                Ok(mut member) => {
                    self.settle(&mut member);
                    if member.ended().is_none() {
                        return member;
                    }
                }
                Err(error) => assert!(
                    error.to_string().contains("space")
                        || error.to_string().contains("input/output"),
                    "{error}"
                ),
            }
            self.tally.ended += 1;
            self.disk.end_process(&mut self.rng);
        }
        panic!("the member does not start");
    }

    fn settle(&mut self, member: &mut SimMember) {
        loop {
            self.hang(member);
            if !member.step(&mut self.disk, &mut self.rng) {
                break;
            }
        }
    }

    /// The disk hangs for a while, if it is time: everything else goes on, and nobody is answered.
    fn hang(&mut self, member: &mut SimMember) {
        let Some((at, trouble)) = self.hang_at else {
            return;
        };
        if self.disk.performed() < at || self.disk.is_idle() {
            return;
        }
        self.hang_at = None;
        member.settle_but_disk(&mut self.disk);
        let answered = self.answered();
        for _ in 0..30 {
            member.tick();
            member.settle_but_disk(&mut self.disk);
        }
        assert_eq!(self.answered(), answered, "answered without the disk");
        if trouble == Trouble::HangsForever {
            self.disk.end_process(&mut self.rng);
            *member = self.start();
        }
    }

    /// Sends the script and gives the operations of the disk, if they were kept. Sends each write when the one before is answered or known to be lost.
    fn go(mut self) -> Vec<String> {
        let mut member = self.start();
        let mut done = 0;
        while done < self.script.writes.len() {
            let answered = self.answered();
            let write = self.script.writes[done].clone();
            member.write(done as u64, write).expect("writes are valid");
            self.settle(&mut member);
            if self.answered() == answered && member.ended().is_none() {
                // It may wait for room, which is looked at every second.
                member.look(&mut self.disk);
                self.settle(&mut member);
            }
            if let Some(why) = member.ended() {
                assert!(
                    why.contains("space") || why.contains("input/output"),
                    "{why}"
                );
                self.tally.ended += 1;
                self.tally.given_up += member.jobs_given_up();
                self.disk.end_process(&mut self.rng);
                member = self.start();
            }
            let found = Fingerprint::of(member.state());
            let expected = &self.script.after[done..=done + 1];
            assert!(expected.contains(&found), "after {done} writes: {found:?}");
            if self.answered() > answered {
                assert_eq!(found, expected[1], "write {done} was answered");
                done += 1;
            } else if found == expected[1] {
                done += 1;
            } else {
                self.tally.lost_unanswered += 1;
            }
        }
        self.tally.given_up += member.jobs_given_up();
        self.disk.trace().to_vec()
    }
}

/// Runs a script with trouble at each operation in turn. Gives the operations, and for each
/// whether the member ended.
fn every_operation(trouble: Trouble) -> (Vec<(String, bool)>, Tally) {
    // Each write changes the store, so that it is seen whether it was done.
    let script = Script::of(5, 40, |rng, _| next_large_put(rng));
    let operations = Run::new(&script, None, &mut Tally::default()).go();
    let mut tally = Tally::default();
    let mut outcomes = Vec::new();
    for (at, operation) in operations.into_iter().enumerate() {
        let before = tally.ended;
        Run::new(&script, Some((at as u64, trouble)), &mut tally).go();
        outcomes.push((operation, tally.ended > before));
    }
    println!(
        "{trouble:?} at each of {} operations: {tally:?}",
        outcomes.len()
    );
    (outcomes, tally)
}

#[test]
fn a_lack_of_space_at_any_operation_loses_nothing() {
    let (outcomes, tally) = every_operation(Trouble::Fails(Fault::NoSpace));
    // A file of the store that nothing durable names can be thrown away, and a segment of the log
    // that nothing is in.
    let can_wait = |operation: &str| {
        let words: Vec<&str> = operation.split(' ').collect();
        let of_store = words[1].starts_with("member/store/")
            && matches!(words[0], "create" | "write" | "sync" | "rename");
        of_store || operation.starts_with("create member/wal/")
    };
    let waited = outcomes.iter().filter(|(operation, _)| can_wait(operation));
    let wrong: Vec<_> = waited.clone().filter(|(_, ended)| *ended).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(waited.count() > 40 && tally.given_up > 40, "{tally:?}");
}

#[test]
fn a_failure_of_any_operation_ends_the_process_and_loses_nothing() {
    let (outcomes, _) = every_operation(Trouble::Fails(Fault::Io));
    assert!(outcomes.iter().all(|(_, ended)| *ended));
}

#[test]
fn a_hang_at_any_operation_answers_nobody_and_loses_nothing() {
    let (_, tally) = every_operation(Trouble::Hangs);
    assert_eq!(tally.ended, 0);
    let (outcomes, tally) = every_operation(Trouble::HangsForever);
    assert_eq!(tally.runs, outcomes.len() as u64);
}
