//! The disk itself: what survives, what fails, and that equal seeds give equal histories.

use super::*;

fn path(text: &str) -> FilePath {
    FilePath::new(text)
}

fn create(name: &str, reserve_bytes: u64) -> DiskOp {
    DiskOp::Create {
        path: path(name),
        reserve_bytes,
    }
}

fn write(name: &str, offset: u64, data: impl Into<Bytes>) -> DiskOp {
    DiskOp::Write {
        path: path(name),
        offset,
        data: data.into(),
    }
}

fn sync(name: &str) -> DiskOp {
    DiskOp::SyncData { path: path(name) }
}

fn sync_dir(name: &str) -> DiskOp {
    DiskOp::SyncDir { path: path(name) }
}

fn disk() -> SimDisk {
    SimDisk::new(1, Config::default())
}

fn run(disk: &mut SimDisk, ops: Vec<DiskOp>) -> Result<(), DiskError> {
    disk.submit(Token(0), ops);
    let mut completions = disk.run_to_idle();
    assert_eq!(completions.len(), 1);
    completions.remove(0).result
}

fn content(disk: &SimDisk, name: &str) -> Bytes {
    disk.read_at(&path(name), 0, 1 << 20).unwrap()
}

/// A durable file of `sectors` sectors of ones.
fn durable_file(sectors: usize) -> SimDisk {
    let mut disk = disk();
    let ones = vec![1; sectors * SECTOR_BYTES];
    run(
        &mut disk,
        vec![create("f", 0), write("f", 0, ones), sync("f"), sync_dir("")],
    )
    .unwrap();
    disk
}

#[test]
fn what_was_synced_survives_and_the_rest_survives_by_sector_in_part() {
    let mut seen = BTreeSet::new();
    for seed in 0..64 {
        let mut disk = durable_file(3);
        run(&mut disk, vec![write("f", 100, vec![2; 3 * SECTOR_BYTES])]).unwrap();
        assert_eq!(disk.len(&path("f")), Ok(Some(3 * 512 + 100)));
        disk.crash(Survival::Random, &mut SplitMix64::new(seed));
        let bytes = content(&disk, "f");
        assert_eq!(bytes[..100], [1; 100]);
        for part in [100..512, 512..1024, 1024..1536] {
            let first = bytes[part.start];
            assert!(
                bytes[part].iter().all(|byte| *byte == first),
                "torn within a sector"
            );
        }
        if bytes.len() > 1536 {
            assert_eq!(bytes.len(), 1636);
        }
        seen.insert((bytes[100], bytes[512], bytes[1024], bytes.len()));
    }
    assert_eq!(
        seen.len(),
        16,
        "all subsets of three sectors and a length occur: {seen:?}"
    );

    let mut nothing = durable_file(1);
    run(&mut nothing, vec![write("f", 0, vec![2; 600])]).unwrap();
    let mut everything = nothing.clone();
    let mut rng = SplitMix64::new(0);
    nothing.crash(Survival::Nothing, &mut rng);
    assert_eq!(content(&nothing, "f"), vec![1; 512]);
    everything.crash(Survival::Everything, &mut rng);
    assert_eq!(content(&everything, "f"), vec![2; 600]);
}

#[test]
fn earlier_contents_of_a_sector_survive_too() {
    let mut seen = BTreeSet::new();
    for seed in 0..64 {
        let mut disk = durable_file(1);
        run(
            &mut disk,
            vec![write("f", 0, vec![2]), write("f", 1, vec![3])],
        )
        .unwrap();
        disk.crash(Survival::Random, &mut SplitMix64::new(seed));
        seen.insert(content(&disk, "f")[..2].to_vec());
    }
    assert_eq!(seen, BTreeSet::from([vec![1, 1], vec![2, 1], vec![2, 3]]));
}

#[test]
fn names_survive_only_after_a_sync_of_their_directory() {
    let mut seen = BTreeSet::new();
    for seed in 0..64 {
        let mut disk = disk();
        let ops = vec![
            DiskOp::CreateDir { path: path("d") },
            sync_dir(""),
            create("d/a", 0),
            write("d/a", 0, "x"),
            sync("d/a"),
            DiskOp::Rename {
                from: path("d/a"),
                to: path("d/b"),
            },
            create("d/c", 0),
        ];
        run(&mut disk, ops).unwrap();
        disk.crash(Survival::Random, &mut SplitMix64::new(seed));
        let names = disk.list(&path("d")).unwrap().unwrap();
        for name in names.iter().filter(|name| *name != "c") {
            assert_eq!(content(&disk, &format!("d/{name}")), "x");
        }
        seen.insert(names.join(""));
    }
    let all = ["", "a", "b", "c", "ac", "bc"].map(str::to_owned);
    assert_eq!(seen, BTreeSet::from(all));

    let mut disk = disk();
    run(
        &mut disk,
        vec![
            create("a", 0),
            sync_dir(""),
            DiskOp::Remove { path: path("a") },
        ],
    )
    .unwrap();
    disk.crash(Survival::Nothing, &mut SplitMix64::new(0));
    assert_eq!(disk.list(&path("")).unwrap().unwrap(), ["a"]);
}

#[test]
fn a_new_file_may_survive_without_its_contents() {
    let mut disk = disk();
    run(
        &mut disk,
        vec![create("a", 2_000), write("a", 0, "x"), sync_dir("")],
    )
    .unwrap();
    disk.crash(Survival::Nothing, &mut SplitMix64::new(0));
    assert_eq!(disk.len(&path("a")), Ok(Some(0)));
}

#[test]
fn shortening_and_emptying_can_be_lost() {
    for shorten in [
        create("f", 512),
        DiskOp::SetLen {
            path: path("f"),
            len: 512,
        },
    ] {
        let mut lost = durable_file(2);
        run(&mut lost, vec![shorten.clone()]).unwrap();
        assert_eq!(lost.len(&path("f")), Ok(Some(512)));
        let mut kept = lost.clone();
        lost.crash(Survival::Nothing, &mut SplitMix64::new(0));
        assert_eq!(content(&lost, "f"), vec![1; 1024]);
        let byte = content(&kept, "f")[0];
        run(&mut kept, vec![sync("f")]).unwrap();
        kept.crash(Survival::Nothing, &mut SplitMix64::new(0));
        assert_eq!(content(&kept, "f"), vec![byte; 512]);
    }
    // What grows again is zeros.
    let mut disk = durable_file(1);
    let set_len = |len| DiskOp::SetLen {
        path: path("f"),
        len,
    };
    run(&mut disk, vec![set_len(100), set_len(300)]).unwrap();
    assert_eq!(content(&disk, "f"), [vec![1; 100], vec![0; 200]].concat());
}

#[test]
fn directories_are_renamed_and_removed_whole() {
    let mut disk = disk();
    let dir = |name| DiskOp::CreateDir { path: path(name) };
    let rename = |from, to| DiskOp::Rename {
        from: path(from),
        to: path(to),
    };
    run(
        &mut disk,
        vec![dir("w.tmp"), create("w.tmp/1", 0), rename("w.tmp", "w")],
    )
    .unwrap();
    assert_eq!(disk.list(&path("w")).unwrap().unwrap(), ["1"]);
    assert_eq!(disk.list(&path("w.tmp")).unwrap(), None);
    let error = run(&mut disk, vec![dir("v"), rename("v", "w")]).unwrap_err();
    assert_eq!(error.to_string(), "rename v: directory not empty");
    run(&mut disk, vec![DiskOp::RemoveDir { path: path("w") }]).unwrap();
    run(&mut disk, vec![DiskOp::RemoveDir { path: path("w") }]).unwrap();
    assert_eq!(disk.list(&path("")).unwrap().unwrap(), ["v"]);
}

#[test]
fn a_failure_ends_its_submission_and_a_failed_sync_is_never_made_good() {
    let mut disk = durable_file(8);
    disk.fail_operation(1, Fault::Io);
    let ops = vec![
        write("f", 0, vec![2; 8 * SECTOR_BYTES]),
        sync("f"),
        create("never", 0),
    ];
    let error = run(&mut disk, ops).unwrap_err();
    assert_eq!(error.to_string(), "sync f: input/output error");
    assert_eq!(disk.len(&path("never")), Ok(None));
    // Readers see the new bytes, another sync says it is done, and still a part is lost.
    assert_eq!(content(&disk, "f"), vec![2; 8 * SECTOR_BYTES]);
    run(&mut disk, vec![sync("f")]).unwrap();
    disk.crash(Survival::Everything, &mut SplitMix64::new(0));
    let bytes = content(&disk, "f");
    assert!(bytes.contains(&1) && bytes.contains(&2));
}

#[test]
fn a_failed_write_may_be_done_in_part() {
    let lens: BTreeSet<usize> = (0..20)
        .map(|seed| {
            let mut disk = SimDisk::new(seed, Config::default());
            disk.fail_operation(1, Fault::Io);
            assert!(run(&mut disk, vec![create("f", 0), write("f", 0, vec![2; 10])]).is_err());
            content(&disk, "f").len()
        })
        .collect();
    assert!(lens.len() > 4, "{lens:?}");
}

#[test]
fn a_full_disk_says_so_and_works_again_with_space() {
    let config = Config {
        capacity_bytes: 2_048,
        ..Config::default()
    };
    let mut disk = SimDisk::new(1, config);
    run(&mut disk, vec![create("a", 1_000)]).unwrap();
    for op in [
        create("b", 2_000),
        write("a", 2_000, vec![1; 100]),
        DiskOp::SetLen {
            path: path("a"),
            len: 3_000,
        },
    ] {
        let error = run(&mut disk, vec![op]).unwrap_err();
        assert!(error.no_space, "{error}");
    }
    // What is reserved can be written.
    run(&mut disk, vec![write("a", 0, vec![1; 1_000])]).unwrap();
    disk.set_capacity_bytes(10_000);
    run(&mut disk, vec![write("a", 2_000, vec![1; 100])]).unwrap();
    assert_eq!(disk.used_bytes(), 2_560);
    disk.fail_operation(0, Fault::NoSpace);
    assert!(run(&mut disk, vec![sync("a")]).unwrap_err().no_space);
}

#[test]
fn locks_end_with_the_process() {
    let mut disk = durable_file(1);
    let lock = || DiskOp::Lock { path: path("f") };
    run(&mut disk, vec![lock()]).unwrap();
    let error = run(&mut disk, vec![lock()]).unwrap_err();
    assert_eq!(error.to_string(), "lock f: locked by another process");
    run(&mut disk, vec![DiskOp::Close { path: path("f") }, lock()]).unwrap();
    run(&mut disk, vec![write("f", 0, vec![7])]).unwrap();
    disk.end_process(&mut SplitMix64::new(0));
    assert_eq!(content(&disk, "f")[0], 7, "the page cache stays");
    run(&mut disk, vec![lock()]).unwrap();
}

#[test]
fn operations_take_their_time_and_a_hung_disk_takes_for_ever() {
    let mut disk = disk();
    disk.submit(Token(1), vec![create("f", 0), sync("f")]);
    disk.submit(Token(2), vec![]);
    let mut now = 0;
    let mut completions = Vec::new();
    while let Some(due) = disk.next_due_us(now) {
        assert!(due >= now);
        assert_eq!(disk.next_due_us(now), Some(due), "asking changes nothing");
        if due > now {
            assert_eq!(disk.advance(due - 1), []);
        }
        completions.extend(disk.advance(due));
        now = due;
    }
    assert!((1_000..5_000).contains(&now), "{now}");
    let done = |token| Completion {
        token: Token(token),
        result: Ok(()),
    };
    assert_eq!(completions, [done(1), done(2)]);

    disk.submit(Token(3), vec![sync("f")]);
    disk.hang();
    assert_eq!(disk.next_due_us(now), None);
    assert_eq!(disk.advance(u64::MAX / 2), []);
    disk.resume();
    assert_eq!(disk.advance(u64::MAX / 2), [done(3)]);
    assert!(disk.is_idle());
}

#[test]
fn flips_and_unreadable_files_are_seen() {
    let mut disk = durable_file(1);
    disk.flip_bit(&path("f"), 5, 7);
    assert_eq!(content(&disk, "f")[4..7], [1, 0x81, 1]);
    disk.crash(Survival::Nothing, &mut SplitMix64::new(0));
    assert_eq!(content(&disk, "f")[5], 0x81);
    disk.set_unreadable(&path("f"), true);
    assert!(disk.read_at(&path("f"), 0, 1).is_err());
    disk.set_unreadable(&path("f"), false);
    assert!(disk.read_at(&path("f"), 0, 1).is_ok());
    let missing = disk.read_at(&path("g"), 0, 1).unwrap_err();
    assert_eq!(missing.to_string(), "read g: no such file or directory");
}

#[test]
fn a_skipped_sync_says_that_it_is_done() {
    for (skipped, survives) in [
        (None, true),
        (Some(0), false),
        (Some(1), false),
        (Some(2), true),
    ] {
        let mut disk = disk();
        if let Some(number) = skipped {
            disk.skip_sync(number);
        }
        let ops = vec![
            create("f", 0),
            write("f", 0, "x"),
            sync("f"),
            sync_dir(""),
            sync("f"),
        ];
        // The last sync would make the first good, so it is left out for that one.
        let take = if skipped == Some(0) { 4 } else { 5 };
        run(&mut disk, ops.into_iter().take(take).collect()).unwrap();
        disk.crash(Survival::Nothing, &mut SplitMix64::new(0));
        let there = disk
            .read_at(&path("f"), 0, 1)
            .is_ok_and(|bytes| bytes == "x");
        assert_eq!(there, survives, "without sync {skipped:?}");
    }
}

#[test]
fn every_crash_point_is_tried_with_every_subset() {
    let mut disk = disk();
    disk.submit(
        Token(0),
        vec![create("f", 0), write("f", 0, "x"), sync("f"), sync_dir("")],
    );
    disk.submit(Token(1), vec![write("f", 0, "y"), sync("f")]);
    let mut points = Vec::new();
    let crashes = crash_points(&mut disk, 8, 7, |point, copy| {
        let found = copy.read_at(&path("f"), 0, 1).ok();
        match point.completed {
            0 => {}
            1 => assert!(
                found.as_ref().is_some_and(|b| b == "x" || b == "y"),
                "{point:?}"
            ),
            _ => assert_eq!(found.as_deref(), Some(b"y".as_slice()), "{point:?}"),
        }
        points.push(point);
        true
    });
    assert_eq!((crashes, points.len()), (7 * 8, 7 * 8));
    assert_eq!(
        points.last(),
        Some(&CrashPoint {
            operation: 6,
            subset: 7,
            completed: 2
        })
    );
    let mut again = disk.clone();
    assert_eq!(crash_points(&mut again, 3, 7, |_, _| false), 1);
}

/// A history of everything that can happen.
fn history(seed: u64) -> SimDisk {
    let mut disk = SimDisk::new(seed, Config::default());
    disk.keep_trace();
    let mut rng = SplitMix64::new(seed ^ 0x5eed);
    let mut now = 0;
    for step in 0..200 {
        let name = ["a", "b", "c"][rng.below(3) as usize];
        let data = vec![step as u8; rng.below(1_500) as usize];
        let op = match rng.below(6) {
            0 => create(name, rng.below(3_000)),
            1 => sync(name),
            2 => sync_dir(""),
            3 => DiskOp::SetLen {
                path: path(name),
                len: rng.below(3_000),
            },
            _ => write(name, rng.below(3_000), data),
        };
        disk.submit(Token(step), vec![op]);
        now += rng.below(3_000);
        disk.advance(now);
        match rng.below(40) {
            0 => disk.crash(Survival::Random, &mut rng),
            1 => disk.end_process(&mut rng),
            2 => disk.fail_operation(rng.below(3), Fault::Io),
            _ => {}
        }
    }
    disk.run_to_idle();
    disk
}

#[test]
fn equal_seeds_give_equal_histories() {
    let mut digests = BTreeSet::new();
    for seed in 0..10 {
        let (one, two) = (history(seed), history(seed));
        assert_eq!(one.trace(), two.trace());
        assert_eq!(one.digest(), two.digest());
        assert!(one.trace().len() > 100);
        for name in ["a", "b", "c"] {
            let read = |disk: &SimDisk| disk.read_at(&path(name), 0, 10_000);
            assert_eq!(read(&one), read(&two));
        }
        digests.insert(one.digest());
    }
    assert_eq!(digests.len(), 10);
}
