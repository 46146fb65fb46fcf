//! Leases through power losses, random requests and the passing of time.
//!
//! Two promises are checked against a model that knows only what clients were told: no lease ends,
//! and no key of it goes, before the time that the last answered grant or renewal gave it; and
//! every lease ends, with its keys, once nobody renews it. A third is checked at each restart: of a
//! lease that was not renewed for long, not more is left than its checkpoints allow.

use crate::scene::{new_disk, options};
use std::collections::BTreeMap;
use tenet_base::world::SplitMix64;
use tenet_base::{LeaseId, Rng, limits};
use tenet_member::{Renewal, Write};
use tenet_proto::etcdserverpb::{LeaseGrantRequest, LeaseRevokeRequest, PutRequest, RangeRequest};
use tenet_sim::disk::{SimDisk, Survival};
use tenet_sim::member::{Answers, SimMember};

const TICK_MS: u64 = 100;
/// One election timeout, which every lease gets when a term begins.
const EXTENSION_MS: u64 = 1_000;

/// What clients know of a lease.
struct Promise {
    ttl_ms: u64,
    /// Before this it must not end.
    until_ms: u64,
    /// From when on its checkpoints are counted: its renewal or the last restart, what was left
    /// of it then, and when its first checkpoint was due from there.
    since_ms: u64,
    left_ms: u64,
    first_ms: u64,
    /// The power failed while a renewal of it was on its way: it may last longer.
    open: bool,
    /// Keys whose puts were answered.
    keys: Vec<String>,
}

struct World {
    disk: SimDisk,
    member: SimMember,
    answers: Answers,
    rng: SplitMix64,
    /// Time of the world; the member's starts anew with each start.
    now_ms: u64,
    requests: u64,
    /// Leases whose grants were answered and which nobody has tried to revoke.
    promises: BTreeMap<i64, Promise>,
    next_lease: i64,
    crashes: u64,
    resets: u64,
}

impl World {
    fn new(seed: u64) -> World {
        let mut disk = new_disk(seed);
        let mut rng = SplitMix64::new(seed);
        let answers = Answers::default();
        let mut member = SimMember::start(&mut disk, &options(), answers.clone()).unwrap();
        member.settle(&mut disk, &mut rng);
        World {
            disk,
            member,
            answers,
            rng,
            now_ms: 0,
            requests: 0,
            promises: BTreeMap::new(),
            next_lease: 1,
            crashes: 0,
            resets: 0,
        }
    }

    /// Sends a write and lets everything happen, or cuts the power somewhere in between. Whether
    /// it was answered with success.
    fn write(&mut self, write: Write) -> bool {
        self.requests += 1;
        let request = self.requests;
        self.member.write(request, write).expect("admitted");
        if self.rng.below(6) == 0 {
            for _ in 0..self.rng.below(30) {
                self.member.step(&mut self.disk, &mut self.rng);
            }
            let answered = self.is_answered(request);
            self.crash();
            return answered;
        }
        self.settle();
        self.is_answered(request)
    }

    fn is_answered(&self, request: u64) -> bool {
        let answers = self.answers.lock().unwrap();
        answers
            .iter()
            .any(|answer| answer.request == request && answer.result.is_ok())
    }

    fn settle(&mut self) {
        self.member.settle(&mut self.disk, &mut self.rng);
        assert_eq!(self.member.ended(), None);
    }

    fn crash(&mut self) {
        self.crashes += 1;
        let survival = match self.rng.below(3) {
            0 => Survival::Nothing,
            1 => Survival::Everything,
            _ => Survival::Random,
        };
        self.disk.crash(survival, &mut self.rng);
        self.answers = Answers::default();
        self.member =
            SimMember::start(&mut self.disk, &options(), self.answers.clone()).expect("a start");
        self.settle();
        self.check();
        self.tick();
        self.check_remaining();
    }

    fn tick(&mut self) {
        self.now_ms += TICK_MS;
        self.member.tick();
        self.settle();
    }

    fn pass(&mut self, ms: u64) {
        for _ in 0..ms / TICK_MS {
            self.tick();
            self.check();
        }
    }

    fn any_lease(&mut self) -> Option<i64> {
        let count = self.promises.len() as u64;
        if count == 0 {
            return None;
        }
        let nth = self.rng.below(count) as usize;
        self.promises.keys().nth(nth).copied()
    }

    fn grant(&mut self) {
        let id = self.next_lease;
        self.next_lease += 1;
        let ttl = 2 + self.rng.below(30) as i64;
        if self.write(Write::LeaseGrant(LeaseGrantRequest { ttl, id })) {
            // Counted from before the restart that may have followed: the client did not see it.
            let promise = Promise {
                ttl_ms: ttl as u64 * 1_000,
                until_ms: self.now_ms - self.now_ms.min(TICK_MS) + ttl as u64 * 1_000,
                since_ms: self.now_ms,
                left_ms: ttl as u64 * 1_000,
                first_ms: ttl as u64 * 500,
                open: false,
                keys: Vec::new(),
            };
            self.promises.insert(id, promise);
        }
    }

    fn put(&mut self) {
        let Some(lease) = self.any_lease() else {
            return;
        };
        self.requests += 1;
        let key = format!("key{}", self.requests);
        let put = PutRequest {
            key: key.clone().into(),
            value: "v".into(),
            lease,
            ..PutRequest::default()
        };
        if self.write(Write::Put(put))
            && let Some(promise) = self.promises.get_mut(&lease)
        {
            promise.keys.push(key);
        }
    }

    fn revoke(&mut self) {
        let Some(id) = self.any_lease() else { return };
        self.promises.remove(&id);
        self.write(Write::LeaseRevoke(LeaseRevokeRequest { id }));
    }

    fn renew(&mut self) {
        let Some(id) = self.any_lease() else { return };
        for attempt in 0..4 {
            if attempt == 3 {
                // What was proposed too early for this term is proposed again with a tick.
                self.tick();
            }
            self.requests += 1;
            match self.member.renew(self.requests, LeaseId(id)) {
                Renewal::Renewed(ttl_s) => {
                    let now_ms = self.now_ms;
                    let promise = self.promises.get_mut(&id).expect("chosen from them");
                    assert_eq!(ttl_s as u64 * 1_000, promise.ttl_ms);
                    promise.until_ms = now_ms + promise.ttl_ms;
                    promise.since_ms = now_ms;
                    promise.left_ms = promise.ttl_ms;
                    promise.first_ms = promise.ttl_ms / 2;
                    promise.open = false;
                    if self.rng.below(8) == 0 {
                        self.crash();
                    }
                    return;
                }
                Renewal::NotFound => {
                    // Said of a lease that should be there: the check finds out.
                    self.check();
                    self.promises.remove(&id);
                    return;
                }
                Renewal::Waits { .. } => {
                    self.resets += 1;
                    self.promises.get_mut(&id).expect("chosen from them").open = true;
                    if self.rng.below(4) == 0 {
                        for _ in 0..self.rng.below(12) {
                            self.member.step(&mut self.disk, &mut self.rng);
                        }
                        self.crash();
                        return;
                    }
                    self.settle();
                }
                other => panic!("attempt {attempt}: {other:?}"),
            }
        }
        panic!("lease {id} cannot be renewed");
    }

    /// Nothing that was promised is gone.
    fn check(&self) {
        for (id, promise) in &self.promises {
            if self.now_ms >= promise.until_ms {
                continue;
            }
            let lease = self.member.state().lease(LeaseId(*id));
            let lease = lease.unwrap_or_else(|| {
                panic!(
                    "lease {id} is gone at {} ms, promised until {} ms",
                    self.now_ms, promise.until_ms
                )
            });
            for key in &promise.keys {
                assert!(
                    lease.keys.contains(key.as_bytes()),
                    "{key} is off its lease"
                );
                assert!(self.exists(key), "{key} is gone before its lease");
            }
        }
    }

    fn exists(&self, key: &str) -> bool {
        let request = RangeRequest {
            key: key.to_owned().into(),
            ..RangeRequest::default()
        };
        let view = self.member.state().views().load();
        view.kv.range(&request).expect("the newest revision").count == 1
    }

    /// After a restart: what is left is what the checkpoints allow.
    fn check_remaining(&mut self) {
        for (id, promise) in &mut self.promises {
            let Some(left_s) = self.member.remaining_s(LeaseId(*id)) else {
                continue;
            };
            let step_ms = (promise.ttl_ms / 8).max(1_000);
            let passed_ms = self.now_ms - promise.since_ms;
            // Slots of the wheel and ticks on the way to a checkpoint, rounding in it, and what
            // every lease gets on top.
            let slack_ms = 4 * TICK_MS + 1_000 + EXTENSION_MS;
            let first_ms = promise.first_ms.max(1_000) + slack_ms;
            let allowed_ms = if promise.open {
                promise.ttl_ms + EXTENSION_MS
            } else if passed_ms < first_ms {
                promise.left_ms + EXTENSION_MS
            } else {
                promise.left_ms.saturating_sub(passed_ms) + step_ms + slack_ms
            };
            let left_ms = left_s.max(0) as u64 * 1_000;
            assert!(
                left_ms <= allowed_ms,
                "lease {id} of {} ms, of which {} ms were left {passed_ms} ms ago, has {left_ms} ms \
                 left",
                promise.ttl_ms,
                promise.left_ms,
            );
            promise.since_ms = self.now_ms;
            // Cut to whole seconds.
            promise.left_ms = left_ms + 1_000;
            promise.first_ms = step_ms;
        }
    }

    /// Once nobody renews them all leases end, with all their keys.
    fn all_end(&mut self) {
        self.pass(32_000 + EXTENSION_MS + 10 * TICK_MS);
        let left: Vec<_> = self.member.state().leases().map(|(id, _)| id).collect();
        assert_eq!(left, [], "leases that did not end");
        for promise in self.promises.values() {
            for key in &promise.keys {
                assert!(!self.exists(key), "{key} outlives its lease");
            }
        }
    }
}

fn run(seed: u64, steps: u64) -> World {
    let mut world = World::new(seed);
    for _ in 0..steps {
        match world.rng.below(20) {
            0..=3 => world.grant(),
            4..=8 => world.put(),
            9..=12 => world.renew(),
            13 => world.revoke(),
            14 => world.crash(),
            _ => {
                let ms = world.rng.below(4_000);
                world.pass(ms);
            }
        }
        world.check();
    }
    world.all_end();
    world
}

#[test]
fn no_lease_ends_early_and_none_for_ever_whenever_the_power_fails() {
    let (mut crashes, mut leases, mut resets) = (0, 0, 0);
    for seed in 0..40 {
        let world = run(seed, 150);
        crashes += world.crashes;
        leases += world.next_lease - 1;
        resets += world.resets;
    }
    println!("{crashes} power losses, {leases} leases, {resets} renewals that took something back");
    assert!(crashes > 400 && leases > 800 && resets > 100);
}

#[test]
fn a_put_waits_behind_one_batch_of_a_storm_at_most() {
    const LEASES: i64 = 4_000;
    let mut world = World::new(7);
    for id in 1..=LEASES {
        let grant = Write::LeaseGrant(LeaseGrantRequest { ttl: 5, id });
        world.member.write(id as u64, grant).expect("admitted");
    }
    world.settle();
    assert_eq!(world.member.state().leases().count() as i64, LEASES);
    let mut puts = 0;
    let mut passed_ms = 0;
    while world.member.state().leases().count() > 0 {
        world.member.tick();
        passed_ms += TICK_MS;
        assert!(passed_ms < 7_000, "the storm is not over");
        // A put in the middle of whatever is going on.
        for _ in 0..world.rng.below(40) {
            world.member.step(&mut world.disk, &mut world.rng);
        }
        let before = world.member.state().applied().0.get();
        let request = 1_000_000 + puts;
        let put = PutRequest {
            key: "k".into(),
            ..PutRequest::default()
        };
        world
            .member
            .write(request, Write::Put(put))
            .expect("admitted");
        while !world.is_answered(request) {
            assert!(world.member.step(&mut world.disk, &mut world.rng));
        }
        puts += 1;
        let behind = world.member.state().applied().0.get() - before;
        // One batch in the log, one being made.
        let allowed = 2 * limits::LEASE_REVOKES_IN_FLIGHT_MAX as u64 + 1;
        assert!(behind <= allowed, "a put waited behind {behind} entries");
        world.settle();
    }
    assert!(puts >= 50);
}
