//! Bits flip in every kind of file of the store, while the member is down and while it runs. None
//! is accepted: it is seen at the start, by a read, or by the scrub.

use crate::scene::{Fingerprint, Script, new_disk, options};
use std::collections::BTreeMap;
use tenet_base::Rng as _;
use tenet_base::disk::{DiskView as _, FilePath};
use tenet_base::world::SplitMix64;
use tenet_member::Write;
use tenet_proto::etcdserverpb::{AlarmType, CompactionRequest, RangeRequest};
use tenet_proto::mvccpb::KeyValue;
use tenet_sim::disk::SimDisk;
use tenet_sim::member::{Answers, SimMember};
use tenet_state::CannotRead;

/// A member that has run for a while, and what is in it.
struct Scene {
    disk: SimDisk,
    is: Fingerprint,
    kvs: Vec<KeyValue>,
}

fn everything() -> RangeRequest {
    RangeRequest {
        key: "\0".into(),
        range_end: "\0".into(),
        ..RangeRequest::default()
    }
}

fn range(member: &SimMember, request: &RangeRequest) -> Result<Vec<KeyValue>, CannotRead> {
    let range = member.frontend().range(request);
    range.map(|response| response.kvs)
}

impl Scene {
    fn new() -> Scene {
        let script = Script::new(6, 70);
        let mut disk = new_disk(6);
        let mut rng = SplitMix64::new(6);
        let mut member = start(&mut disk).expect("an empty disk");
        for (n, write) in script.writes.iter().enumerate() {
            member.write(n as u64, write.clone()).expect("valid");
            member.settle(&mut disk, &mut rng);
        }
        // An index that has all records, and files without what is superseded.
        let compact = CompactionRequest {
            revision: member.state().revision().get(),
            physical: true,
        };
        member.write(100, Write::Compact(compact)).expect("valid");
        member.settle(&mut disk, &mut rng);
        let scene = Scene {
            is: Fingerprint::of(member.state()),
            kvs: range(&member, &everything()).expect("readable"),
            disk: disk.clone(),
        };
        assert!(scene.kvs.len() > 4);
        scene
    }

    fn files(&self) -> Vec<FilePath> {
        let dir = FilePath::new("member/store");
        let names = self.disk.list(&dir).expect("readable").expect("there");
        names.iter().map(|name| dir.join(name)).collect()
    }

    fn len(&self, file: &FilePath) -> u64 {
        self.disk.len(file).expect("readable").expect("there")
    }
}

fn start(disk: &mut SimDisk) -> Result<SimMember, String> {
    let mut member = SimMember::start(disk, &options(), Answers::default());
    if let Ok(member) = &mut member {
        member.settle(disk, &mut SplitMix64::new(1));
    }
    member.map_err(|error| error.to_string())
}

/// Lets time pass until all files were read back.
fn scrub(member: &mut SimMember, disk: &mut SimDisk) {
    for step in 0..100 {
        member.pass_time(60_000 + 100 * step);
        member.settle(disk, &mut SplitMix64::new(1));
    }
}

/// Which kind of file it is.
fn kind(file: &FilePath) -> &'static str {
    match file.name().rsplit_once('.') {
        Some((_, "segment")) => "segment",
        Some((_, "tables")) => "tables",
        Some((_, "index")) => "index",
        _ => "manifest",
    }
}

/// How flipped bits of one kind of file were seen.
#[derive(Debug, Default)]
struct Seen {
    flips: u64,
    at_start: u64,
    by_read: u64,
    by_scrub: u64,
    /// By the scrub, and written anew from memory.
    repaired: u64,
}

#[test]
fn no_bit_that_flips_while_the_member_is_down_is_accepted() {
    let scene = Scene::new();
    let mut rng = SplitMix64::new(2);
    let mut seen: BTreeMap<&str, Seen> = BTreeMap::new();
    for file in scene.files() {
        let step = if kind(&file) == "segment" { 5 } else { 1 };
        for offset in (0..scene.len(&file)).step_by(step) {
            let mut disk = scene.disk.clone();
            disk.end_process(&mut rng);
            disk.flip_bit(&file, offset, rng.below(8) as u8);
            let seen = seen.entry(kind(&file)).or_default();
            seen.flips += 1;
            let mut member = match start(&mut disk) {
                Ok(member) => member,
                Err(error) => {
                    assert!(error.contains(file.as_str()), "{file} {offset}: {error}");
                    seen.at_start += 1;
                    continue;
                }
            };
            match range(&member, &everything()) {
                Ok(kvs) => assert!(kvs == scene.kvs, "{file} {offset} is accepted"),
                Err(CannotRead::Store(error)) => {
                    let error = error.to_string();
                    assert!(error.contains(file.as_str()), "{file} {offset}: {error}");
                    seen.by_read += 1;
                    continue;
                }
                Err(other) => panic!("{file} {offset}: {other}"),
            }
            scrub(&mut member, &mut disk);
            let (_, found) = member.scrubbed();
            let named = |text: String| text.contains(file.as_str());
            assert!(
                found.iter().any(|damage| named(damage.error.to_string())),
                "{file} {offset} is seen by nobody: {found:?}"
            );
            seen.by_scrub += 1;
        }
    }
    println!("flipped while the member is down: {seen:#?}");
    for kind in ["segment", "tables", "index", "manifest"] {
        assert!(seen[kind].flips > 100 && seen[kind].at_start > 0, "{kind}");
    }
    assert!(seen["segment"].by_read > 100);
}

#[test]
fn what_rots_while_the_member_runs_is_found_refused_or_repaired() {
    let scene = Scene::new();
    let mut rng = SplitMix64::new(3);
    let mut seen: BTreeMap<&str, Seen> = BTreeMap::new();
    let mut refused = 0;
    for file in scene.files() {
        let step = if kind(&file) == "segment" { 37 } else { 5 };
        for offset in (0..scene.len(&file)).step_by(step) {
            let mut disk = scene.disk.clone();
            disk.end_process(&mut rng);
            let mut member = start(&mut disk).expect("nothing is wrong yet");
            if disk.len(&file).expect("readable").is_none() {
                // The start has brought a flush about.
                continue;
            }
            disk.flip_bit(&file, offset, rng.below(8) as u8);
            scrub(&mut member, &mut disk);
            let (bytes, found) = member.scrubbed();
            assert!(bytes > 0);
            let [damage] = found else {
                panic!("{file} {offset}: {found:?}");
            };
            assert!(damage.error.to_string().contains(file.as_str()));
            let seen = seen.entry(kind(&file)).or_default();
            seen.flips += 1;
            seen.by_scrub += 1;
            if damage.records.is_empty() {
                // Everything is there, and the next start finds it.
                assert!(!member.state().has_alarm(AlarmType::Corrupt));
                disk.end_process(&mut rng);
                let member = start(&mut disk).expect("it was written anew");
                assert_eq!(Fingerprint::of(member.state()), scene.is, "{file} {offset}");
                assert_eq!(range(&member, &everything()), Ok(scene.kvs.clone()));
                seen.repaired += 1;
                continue;
            }
            refused += check_refused(&scene, &member, &file);
        }
    }
    println!("flipped while the member runs: {seen:#?}, {refused} values refused");
    assert!(refused > 0 && seen["segment"].repaired > 0);
}

/// Exactly the damaged values are refused, and the alarm is raised if there are any that somebody
/// can ask for.
fn check_refused(scene: &Scene, member: &SimMember, file: &FilePath) -> usize {
    let lost: Vec<i64> = member.scrubbed().1[0]
        .records
        .iter()
        .map(|rev| rev.main)
        .collect();
    let mut refused = 0;
    for kv in &scene.kvs {
        let key = RangeRequest {
            key: kv.key.clone(),
            ..RangeRequest::default()
        };
        match range(member, &key) {
            Ok(kvs) => assert_eq!(kvs, std::slice::from_ref(kv)),
            Err(CannotRead::Store(error)) => {
                assert!(error.to_string().contains(file.as_str()), "{error}");
                assert!(lost.contains(&kv.mod_revision), "{lost:?}");
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused == 0 || member.state().has_alarm(AlarmType::Corrupt));
    assert_eq!(member.ended(), None);
    refused
}
