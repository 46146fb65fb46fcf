//! A disk that fills up: writes are refused in time, and the way back works, over a restart too.

use crate::scene::options;
use tenet_base::Rng as _;
use tenet_base::disk::{DiskView as _, FilePath};
use tenet_base::world::SplitMix64;
use tenet_member::Write;
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::alarm_request::AlarmAction;
use tenet_proto::etcdserverpb::{
    AlarmRequest, AlarmType, CompactionRequest, DeleteRangeRequest, PutRequest, RangeRequest,
};
use tenet_sim::disk::{Config, SimDisk};
use tenet_sim::member::{Answers, SimMember};

const CAPACITY_BYTES: u64 = 2 * 1024 * 1024;

struct World {
    disk: SimDisk,
    member: SimMember,
    answers: Answers,
    rng: SplitMix64,
    request: u64,
    /// The ballast was seen to be gone.
    gave_up_ballast: bool,
}

impl World {
    fn new(seed: u64) -> World {
        let config = Config {
            capacity_bytes: CAPACITY_BYTES,
            ..Config::default()
        };
        let mut disk = SimDisk::new(seed, config);
        let answers = Answers::default();
        let member =
            SimMember::start(&mut disk, &options(), answers.clone()).expect("an empty disk");
        let mut world = World {
            disk,
            member,
            answers,
            rng: SplitMix64::new(seed),
            request: 0,
            gave_up_ballast: false,
        };
        world.second();
        world.gave_up_ballast = false;
        world
    }

    /// Lets a second pass.
    fn second(&mut self) {
        self.member.settle(&mut self.disk, &mut self.rng);
        self.gave_up_ballast |= !self.has_ballast();
        self.member.look(&mut self.disk);
        self.member.settle(&mut self.disk, &mut self.rng);
        assert_eq!(self.member.ended(), None);
    }

    fn restart(&mut self) {
        self.disk.end_process(&mut self.rng);
        self.member = SimMember::start(&mut self.disk, &options(), self.answers.clone())
            .expect("a full disk can be started from");
        self.second();
    }

    /// Sends a write; `None` if it is not answered within some seconds.
    fn write(&mut self, write: Write) -> Option<Result<(), ApiError>> {
        self.request += 1;
        if let Err(refused) = self.member.write(self.request, write) {
            return Some(Err(refused));
        }
        for _ in 0..5 {
            self.second();
            let answers = self.answers.lock().unwrap();
            let last = answers.last().filter(|last| last.request == self.request);
            if let Some(last) = last {
                return Some(last.result.clone().map(|_| ()));
            }
        }
        None
    }

    fn put(&mut self, key: u64) -> Option<Result<(), ApiError>> {
        let value: Vec<u8> = (0..2_000).map(|_| self.rng.next_u64() as u8).collect();
        self.write(Write::Put(PutRequest {
            key: format!("k{key:05}").into(),
            value: value.into(),
            ..PutRequest::default()
        }))
    }

    fn revision(&self) -> i64 {
        self.member.state().revision().get()
    }

    fn count(&self) -> i64 {
        let everything = RangeRequest {
            key: "k".into(),
            range_end: "l".into(),
            ..RangeRequest::default()
        };
        let view = self.member.state().views().load();
        view.kv.range(&everything).expect("readable").count
    }

    fn has_alarm(&self) -> bool {
        self.member.state().has_alarm(AlarmType::Nospace)
    }

    fn has_ballast(&self) -> bool {
        let len = self.disk.len(&FilePath::new("member/ballast"));
        len.expect("the disk can tell").is_some()
    }

    /// Deletes most keys, compacts, waits for the room, and disarms the alarm.
    fn recover(&mut self) {
        let delete = DeleteRangeRequest {
            key: "k0001".into(),
            range_end: "l".into(),
            ..DeleteRangeRequest::default()
        };
        assert_eq!(self.write(Write::DeleteRange(delete)), Some(Ok(())));
        let compact = CompactionRequest {
            revision: self.revision(),
            physical: true,
        };
        assert_eq!(self.write(Write::Compact(compact)), Some(Ok(())));
        for _ in 0..5 {
            self.second();
        }
        self.disarm();
    }

    fn disarm(&mut self) {
        let disarm = AlarmRequest {
            action: AlarmAction::Deactivate.into(),
            member_id: self.member.frontend().identity().member.get(),
            alarm: AlarmType::Nospace.into(),
        };
        assert_eq!(self.write(Write::Alarm(disarm)), Some(Ok(())));
    }

    /// Puts keys until one is refused; gives how many were taken.
    fn fill(&mut self) -> u64 {
        for n in 0..10_000 {
            match self.put(n) {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    assert_eq!(error, ApiError::NoSpace);
                    return n;
                }
                None => panic!("put {n} is not answered"),
            }
        }
        panic!("the disk does not fill up");
    }
}

#[test]
fn a_disk_that_fills_up_is_noticed_before_it_is_full_and_recovers() {
    for seed in 0..5 {
        let mut world = World::new(seed);
        assert!(world.has_ballast());
        let taken = world.fill();
        let free = CAPACITY_BYTES - world.disk.used_bytes();
        assert!(free > CAPACITY_BYTES / 16, "{free} bytes are free");
        assert!(world.has_ballast(), "the ballast is for worse");
        world.second();
        assert!(world.has_alarm());
        assert_eq!(world.count(), taken as i64);
        world.restart();
        assert!(world.has_alarm() && world.has_ballast());
        assert_eq!(world.put(1), Some(Err(ApiError::NoSpace)));
        world.recover();
        assert_eq!(world.put(1), Some(Ok(())));
        assert_eq!(world.count(), 10);
    }
}

#[test]
fn when_others_take_all_space_the_ballast_gives_enough_to_recover() {
    for seed in 0..5 {
        let mut world = World::new(seed);
        for n in 0..200 {
            assert_eq!(world.put(n), Some(Ok(())));
        }
        // Somebody else takes what is left, and what the log gives up from now on.
        let used = world.disk.used_bytes();
        world.disk.set_capacity_bytes(used - 100_000);
        world.second();
        assert!(world.has_alarm(), "seed {seed}");
        assert_eq!(world.put(1), Some(Err(ApiError::NoSpace)));
        world.restart();
        assert!(world.has_alarm());
        assert_eq!(world.count(), 200);

        world.recover();
        assert!(
            world.gave_up_ballast,
            "seed {seed}: nothing had to be given up"
        );
        assert_eq!(world.count(), 10);
        world.restart();
        assert_eq!(world.count(), 10);
        // They give it back.
        world.disk.set_capacity_bytes(CAPACITY_BYTES);
        world.second();
        world.disarm();
        world.second();
        assert!(world.has_ballast() && !world.has_alarm());
        assert_eq!(world.put(1), Some(Ok(())));
    }
}

#[test]
fn without_ballast_nothing_is_lost_and_what_waits_is_done_once_there_is_space() {
    let mut world = World::new(3);
    for n in 0..100 {
        assert_eq!(world.put(n), Some(Ok(())));
    }
    // All space is gone, the ballast too.
    let mut full = world.disk.clone();
    full.set_capacity_bytes(0);
    world.disk = full;
    let mut answered = 0;
    let waiting = loop {
        let delete = DeleteRangeRequest {
            key: format!("k{answered:05}").into(),
            ..DeleteRangeRequest::default()
        };
        match world.write(Write::DeleteRange(delete)) {
            Some(result) => {
                assert_eq!(result, Ok(()));
                answered += 1;
            }
            None => break answered,
        }
    };
    assert!(answered < 99, "the log takes no room");
    let progress = world.member.frontend().progress();
    assert!(progress.log_is_waiting());
    assert_eq!(world.count(), 100 - waiting);
    world.disk.set_capacity_bytes(CAPACITY_BYTES);
    world.second();
    assert!(!world.member.frontend().progress().log_is_waiting());
    assert_eq!(world.count(), 100 - waiting - 1);
    let last = world
        .answers
        .lock()
        .unwrap()
        .last()
        .cloned()
        .expect("an answer");
    assert_eq!(last.request, world.request);
}
