//! Equal seeds give equal runs.

use crate::scene::{Script, new_disk, options};
use tenet_base::world::SplitMix64;
use tenet_sim::member::{Answers, SimMember};

/// Runs a script with several writes under way at once; gives the disk's digest and the answers.
fn run(script: &Script, seed: u64) -> (u64, String) {
    let mut rng = SplitMix64::new(seed);
    let mut disk = new_disk(seed);
    let answers = Answers::default();
    let mut member = SimMember::start(&mut disk, &options(), answers.clone()).unwrap();
    member.settle(&mut disk, &mut rng);
    for (n, write) in script.writes.iter().enumerate() {
        member.write(n as u64, write.clone()).unwrap();
        for _ in 0..n % 7 {
            member.step(&mut disk, &mut rng);
        }
    }
    member.settle(&mut disk, &mut rng);
    let answers = format!("{:?}", answers.lock().unwrap());
    (disk.digest(), answers)
}

#[test]
fn equal_seeds_give_equal_traces_and_others_do_not() {
    let script = Script::new(7, 60);
    let first = run(&script, 11);
    assert_eq!(first, run(&script, 11));
    assert_ne!(first.0, run(&script, 12).0);
    let answered = first.1.matches("request:").count();
    assert_eq!(answered, script.writes.len(), "every write was answered");
}
