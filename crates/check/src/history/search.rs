//! Looks for an order of all operations that explains every answer.
//!
//! The search is that of Wing and Gong (1993): again and again it takes an operation that was
//! called before the first answer that is still to be explained, and does it in the model. As Lowe
//! (2017) proposes it remembers configurations from which there is no way, and never tries one
//! twice. The partition of Horn and Kroening (2015) is taken along time instead of along keys:
//! every answer names its revision, so an operation has one revision at which it can stand, and
//! what is left to search is the order of the few that stand at the same one, what became of
//! requests whose answers were lost, and when leases ended. That is no trust in revisions: they are
//! part of the answers, and an order that does not explain them explains nothing.
//!
//! Invariant: what was accepted was carried out in the model, one after another, within its time.
//! So an accepted history is linearizable, however the steps were chosen.

use std::collections::BTreeSet;

use tenet_base::limits;

use super::evidence::{Evidence, may_change, wrote};
use super::format::{Answer, Operation, Refusal, Request, json, millis};
use super::model::{Lease, Ran, Store};
use super::report::{Property, Violation};

const SECOND_NS: i64 = 1_000_000_000;

/// Something that can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// An operation takes effect.
    Operation(usize),
    /// A lease ends by itself.
    End(i64),
    /// One of these makes a revision, as all watches were told.
    OperationTold(usize),
    EndTold(i64),
}

/// What has to be taken back.
#[derive(Debug)]
enum Undo {
    Placed(usize),
    Revision,
    Granted(i64),
    Ended(i64, Lease),
    /// A lease has another time: what it had before.
    Until(i64, i64, i64),
    Compacted(i64),
    Configuration(u128),
    Expired,
    LostDone,
}

/// What an operation means for the search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// It made the revision in its answer.
    Writes,
    /// It took effect, or looked, while the revision in its answer was the newest.
    Stands,
    /// It looked at some time; its answer has no revision.
    Floats,
    /// An acknowledged compaction: its answer's revision may be newer than itself.
    Compacts,
    /// Its answer was lost.
    Lost,
    /// It says nothing, or is checked when all is known.
    Aside,
}

/// A point to come back to.
struct Choice {
    undo_len: usize,
    /// What else can happen, the best last.
    left: Vec<Step>,
}

/// See the module.
pub(super) struct Search<'a> {
    ops: &'a [&'a Operation],
    roles: Vec<Role>,
    evidence: &'a Evidence<'a>,
    pub(super) store: Store,
    /// Places of operations by call; those before `next` are in the sets below or placed.
    by_call: Vec<usize>,
    next: usize,
    /// Called and not placed: with an answer by (time of it, place), …
    waiting: BTreeSet<(i64, usize)>,
    /// … those that stand at a revision by (revision, place), …
    standing: BTreeSet<(i64, usize)>,
    /// … those that float, compactions, and those whose answer was lost.
    floating: BTreeSet<usize>,
    compacting: BTreeSet<usize>,
    lost: BTreeSet<usize>,
    undo: Vec<Undo>,
    /// A hash of everything that was placed, and where.
    configuration: u128,
    dead: BTreeSet<u128>,
    deepest: Option<(usize, Violation)>,
    pub(super) taken_back: usize,
    pub(super) expired: usize,
    pub(super) lost_done: usize,
    /// Who made each revision, where it was not a lease that ended.
    pub(super) makers: Vec<Option<usize>>,
}

impl<'a> Search<'a> {
    pub(super) fn new(ops: &'a [&'a Operation], evidence: &'a Evidence<'a>) -> Search<'a> {
        let mut by_call: Vec<_> = (0..ops.len()).collect();
        let roles: Vec<_> = ops.iter().map(|op| role(op)).collect();
        by_call.retain(|place| roles[*place] != Role::Aside);
        by_call.sort_by_key(|place| ops[*place].call);
        Search {
            ops,
            roles,
            evidence,
            store: Store::new(),
            by_call,
            next: 0,
            waiting: BTreeSet::new(),
            standing: BTreeSet::new(),
            floating: BTreeSet::new(),
            compacting: BTreeSet::new(),
            lost: BTreeSet::new(),
            undo: Vec::new(),
            configuration: 0,
            dead: BTreeSet::new(),
            deepest: None,
            taken_back: 0,
            expired: 0,
            lost_done: 0,
            makers: vec![None; 2],
        }
    }

    /// Searches until an order is found.
    ///
    /// # Errors
    /// If there is none: what could not be explained where the search came farthest.
    pub(super) fn run(&mut self) -> Result<(), Violation> {
        let mut choices: Vec<Choice> = Vec::new();
        loop {
            self.observe();
            if self.is_done() {
                return Ok(());
            }
            if self.dead.insert(self.configuration) {
                let mut left = self.options();
                left.reverse();
                let undo_len = self.undo.len();
                choices.push(Choice { undo_len, left });
            }
            self.go_on(&mut choices)?;
        }
    }

    /// Takes the best step that is left, back to an earlier choice if there is none here.
    fn go_on(&mut self, choices: &mut Vec<Choice>) -> Result<(), Violation> {
        let mut fresh = true;
        loop {
            let Some(choice) = choices.last_mut() else {
                return Err(self.verdict(false));
            };
            let undo_len = choice.undo_len;
            match choice.left.pop() {
                Some(step) => {
                    self.undo_to(undo_len);
                    if self.take(step).is_ok() {
                        return Ok(());
                    }
                    self.undo_to(undo_len);
                }
                None => {
                    if fresh {
                        self.undo_to(undo_len);
                        self.note_dead_end();
                    }
                    fresh = false;
                    choices.pop();
                    self.taken_back += 1;
                }
            }
            let tried_out = self.taken_back > limits::CHECK_STEPS_BACK_MAX
                || self.dead.len() > limits::CHECK_CONFIGURATIONS_MAX;
            if tried_out {
                return Err(self.verdict(true));
            }
        }
    }

    /// Everything is explained that anybody was shown.
    fn is_done(&self) -> bool {
        self.next == self.by_call.len()
            && self.waiting.is_empty()
            && self.store.revision() >= self.evidence.newest
    }

    /// The time by which something must have taken effect: the first answer that is to be
    /// explained.
    fn horizon(&self) -> i64 {
        self.waiting
            .first()
            .map_or(i64::MAX, |(returned, _)| *returned)
    }

    /// Takes in everything that was called before the horizon.
    fn admit(&mut self) {
        while let Some(place) = self.by_call.get(self.next) {
            if self.ops[*place].call > self.horizon() {
                return;
            }
            self.next += 1;
            self.put_back(*place);
        }
    }

    fn put_back(&mut self, place: usize) {
        let op = self.ops[place];
        match self.roles[place] {
            Role::Lost => {
                self.lost.insert(place);
                return;
            }
            Role::Stands => drop(self.standing.insert((op.revision, place))),
            Role::Floats => drop(self.floating.insert(place)),
            Role::Compacts => drop(self.compacting.insert(place)),
            Role::Writes | Role::Aside => {}
        }
        self.waiting.insert((op.returned, place));
    }

    fn place(&mut self, place: usize) {
        let op = self.ops[place];
        self.waiting.remove(&(op.returned, place));
        self.standing.remove(&(op.revision, place));
        self.floating.remove(&place);
        self.compacting.remove(&place);
        self.lost.remove(&place);
        self.undo.push(Undo::Placed(place));
        self.configure(1, place as u64);
    }

    fn configure(&mut self, kind: u64, what: u64) {
        self.undo.push(Undo::Configuration(self.configuration));
        self.configuration ^= mixed(kind, what);
    }

    fn undo_to(&mut self, len: usize) {
        while self.undo.len() > len {
            match self.undo.pop().expect("longer than that") {
                Undo::Placed(place) => self.put_back(place),
                Undo::Revision => {
                    self.store.undo_revision();
                    self.makers.pop();
                }
                Undo::Granted(id) => drop(self.store.remove_lease(id)),
                Undo::Ended(id, lease) => self.store.insert_lease(id, lease),
                Undo::Until(id, until, given) => {
                    let lease = self.store.lease_mut(id).expect("it was renewed");
                    (lease.until, lease.given) = (until, given);
                }
                Undo::Compacted(revision) => self.store.set_compacted(revision),
                Undo::Configuration(before) => self.configuration = before,
                Undo::Expired => self.expired -= 1,
                Undo::LostDone => self.lost_done -= 1,
            }
        }
    }

    /// Places everything that only looks and finds what it was answered. Nothing is lost by that:
    /// it changes nothing for others.
    fn observe(&mut self) {
        loop {
            self.admit();
            let (now, horizon) = (self.store.revision(), self.horizon());
            let here = self.standing.range((now, 0)..=(now, usize::MAX));
            let here = here.map(|(_, place)| *place);
            let ready = here.chain(self.floating.iter().copied());
            let ready = ready.filter(|place| self.ops[*place].call <= horizon);
            let ready: Vec<_> = ready.filter(|place| self.sees(*place)).collect();
            if ready.is_empty() {
                return;
            }
            for place in ready {
                self.renew(place);
                self.place(place);
            }
        }
    }

    /// Whether an operation that only looks finds now what it was answered.
    fn sees(&self, place: usize) -> bool {
        let op = self.ops[place];
        let answer = op
            .answer
            .as_ref()
            .expect("only with an answer it can be wrong");
        match (&op.request, answer) {
            (request, Answer::Refused(refusal)) => self.store.refusal(request) == Some(*refusal),
            (Request::KeepAlive(name), Answer::Lease(answer)) => match self.store.lease(name.lease)
            {
                Some(lease) => answer.ttl == lease.ttl_s,
                None => answer.ttl <= 0,
            },
            (Request::TimeToLive(name), Answer::Lease(answer)) => {
                match self.store.lease(name.lease) {
                    Some(lease) => {
                        let promised = (lease.until - op.returned).div_euclid(SECOND_NS);
                        answer.granted == lease.ttl_s
                            // Of what was given meanwhile it cannot be said which came first.
                            && (lease.given >= op.call || answer.ttl >= promised)
                            && answer.keys.iter().all(|key| lease.keys.contains(key))
                    }
                    None => answer.ttl < 0,
                }
            }
            (Request::Compact(_) | Request::Grant(_) | Request::Revoke(_), _) => false,
            (request, answer) => {
                self.store.refusal(request).is_none()
                    && self.store.look(request) == Some(answer.clone())
            }
        }
    }

    /// A renewal that was answered gives its lease time, counted from its call.
    fn renew(&mut self, place: usize) {
        let op = self.ops[place];
        if let Request::KeepAlive(name) = &op.request
            && let Some(lease) = self.store.lease_mut(name.lease)
        {
            let until = after(op.call, lease.ttl_s);
            if until > lease.until {
                let undo = Undo::Until(name.lease, lease.until, lease.given);
                self.undo.push(undo);
                (lease.until, lease.given) = (until, op.returned);
            }
        }
    }

    /// What can happen next, the best first.
    fn options(&self) -> Vec<Step> {
        let (now, horizon) = (self.store.revision(), self.horizon());
        let ready = |place: &usize| self.ops[*place].call <= horizon;
        let here = self.standing.range((now, 0)..=(now, usize::MAX));
        let here: Vec<usize> = here.map(|(_, place)| *place).filter(ready).collect();
        let mut steps = Vec::new();
        // Whoever stands at this revision must be placed before the next is made.
        if here.is_empty() {
            steps.extend(self.known_writers().map(Step::Operation));
        }
        steps.extend(here.iter().copied().map(Step::Operation));
        let knows_next = self.evidence.maker(now + 1).is_some();
        for place in self.blocked(&here, horizon) {
            self.needs(place, here.is_empty() && !knows_next, &mut steps);
        }
        if here.is_empty() && !knows_next && now < self.evidence.newest {
            let lost: Vec<usize> = self.lost.iter().copied().filter(ready).collect();
            let ended = self
                .store
                .leases()
                .filter(|(_, lease)| !lease.keys.is_empty());
            let ended: Vec<i64> = ended.map(|(id, _)| id).collect();
            // What watches were told first; only if nothing fits may one have missed something.
            steps.extend(lost.iter().copied().map(Step::OperationTold));
            steps.extend(ended.iter().copied().map(Step::EndTold));
            steps.extend(lost.into_iter().map(Step::Operation));
            steps.extend(ended.into_iter().map(Step::End));
        }
        steps
    }

    /// Who says to have made the next revision. A revoke says so only if its lease had keys.
    fn known_writers(&self) -> impl Iterator<Item = usize> {
        let next = self.store.revision() + 1;
        let revokes = self.standing.range((next, 0)..=(next, usize::MAX));
        let revokes = revokes.map(|(_, place)| *place);
        let revokes =
            revokes.filter(|place| matches!(self.ops[*place].request, Request::Revoke(_)));
        self.evidence.maker(next).into_iter().chain(revokes)
    }

    /// Operations that could be placed by their time and are not.
    fn blocked(&self, here: &[usize], horizon: i64) -> Vec<usize> {
        let mut blocked: Vec<usize> = self.floating.iter().copied().collect();
        blocked.extend(here);
        blocked.extend(self.known_writers());
        blocked.extend(self.waiting.first().map(|(_, place)| *place));
        blocked.extend(&self.lost);
        blocked.retain(|place| self.ops[*place].call <= horizon);
        blocked.dedup();
        blocked
    }

    /// Adds what would have to happen unseen for an operation to find what it was answered.
    /// `may_write`: the next revision may be made by something that was not acknowledged.
    fn needs(&self, place: usize, may_write: bool, steps: &mut Vec<Step>) {
        let op = self.ops[place];
        match (&op.request, &op.answer) {
            (Request::KeepAlive(name) | Request::TimeToLive(name), Some(Answer::Lease(answer))) => {
                match answer.ttl > 0 || answer.granted > 0 {
                    true => self.needs_lease(name.lease, steps),
                    false => self.needs_end(name.lease, may_write, steps),
                }
            }
            (request, Some(Answer::Refused(Refusal::LeaseNotFound))) => {
                each_lease(request, &mut |id| self.needs_end(id, may_write, steps));
            }
            (Request::Grant(grant), Some(Answer::Refused(Refusal::LeaseExists))) => {
                self.needs_lease(grant.lease, steps);
            }
            (request, Some(Answer::Refused(Refusal::Compacted))) => {
                let above = asked_revision(request).max(self.store.compacted());
                self.needs_compaction(|other| other > above, steps);
            }
            (Request::Compact(_), Some(_)) => self.needs_compaction(|_| false, steps),
            (Request::Put(_) | Request::Txn(_) | Request::Revoke(_), _) => {
                each_lease(&op.request, &mut |id| self.needs_lease(id, steps));
            }
            _ => {}
        }
    }

    fn needs_lease(&self, id: i64, steps: &mut Vec<Step>) {
        if id == 0 || self.store.lease(id).is_some() {
            return;
        }
        let grants = self.lost.iter().copied().filter(
            |place| matches!(&self.ops[*place].request, Request::Grant(grant) if grant.lease == id),
        );
        steps.extend(grants.map(Step::Operation));
    }

    fn needs_end(&self, id: i64, may_write: bool, steps: &mut Vec<Step>) {
        let Some(lease) = self.store.lease(id) else {
            return;
        };
        if lease.keys.is_empty() || may_write {
            let revokes = self.lost.iter().copied().filter(|place| {
                matches!(&self.ops[*place].request, Request::Revoke(name) if name.lease == id)
            });
            steps.extend(revokes.map(Step::Operation));
            steps.push(Step::End(id));
        }
    }

    fn needs_compaction(&self, enough: impl Fn(i64) -> bool, steps: &mut Vec<Step>) {
        let revision = |place: &usize| match &self.ops[*place].request {
            Request::Compact(compact) => Some((compact.revision, *place)),
            _ => None,
        };
        let lost = self.lost.iter().filter_map(revision);
        let lost = lost.filter(|(revision, _)| enough(*revision));
        // Those that were acknowledged come in the order of their revisions, needed or not.
        let known = self.compacting.iter().filter_map(revision);
        let mut found: Vec<(i64, usize)> = known.chain(lost).collect();
        // First the one that takes away least.
        found.sort_unstable();
        steps.extend(found.into_iter().map(|(_, place)| Step::Operation(place)));
    }

    /// Whether an acknowledged compaction is still to come that would be refused after this one.
    fn comes_first(&self, revision: i64, place: usize) -> bool {
        self.compacting
            .iter()
            .any(|other| match &self.ops[*other].request {
                Request::Compact(compact) => *other != place && compact.revision <= revision,
                _ => false,
            })
    }

    /// Does a step, if it can happen now. The caller takes back what was done by half.
    fn take(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::OperationTold(place) => {
                self.take(Step::Operation(place))?;
                self.was_told()
            }
            Step::EndTold(id) => {
                self.take(Step::End(id))?;
                self.was_told()
            }
            Step::End(id) => {
                self.end(id)?;
                self.undo.push(Undo::Expired);
                self.expired += 1;
                self.configure(2, id as u64);
                Ok(())
            }
            Step::Operation(place) => {
                let op = self.ops[place];
                if op.call > self.horizon() {
                    return Err("it was called too late".into());
                }
                self.perform(place, op)?;
                if op.answer.is_none() {
                    self.undo.push(Undo::LostDone);
                    self.lost_done += 1;
                }
                self.place(place);
                Ok(())
            }
        }
    }

    fn was_told(&self) -> Result<(), String> {
        let revision = self.store.revision();
        match self
            .evidence
            .was_told(revision, self.store.changes(revision))
        {
            true => Ok(()),
            false => Err("a watch would have been told of it".into()),
        }
    }

    fn perform(&mut self, place: usize, op: &Operation) -> Result<(), String> {
        match &op.request {
            Request::Grant(_) => self.grant(op),
            Request::Revoke(name) => self.revoke(name.lease, place),
            Request::Compact(compact) => match self.store.refusal(&op.request) {
                Some(refusal) => Err(format!("the model refuses it: {refusal:?}")),
                None if self.comes_first(compact.revision, place) => {
                    Err("another compaction must come before it".into())
                }
                None => {
                    self.undo.push(Undo::Compacted(self.store.compacted()));
                    self.store.set_compacted(compact.revision);
                    Ok(())
                }
            },
            request => self.write(request, op, place),
        }
    }

    fn write(&mut self, request: &Request, op: &Operation, place: usize) -> Result<(), String> {
        let Ran { answer, wrote } = self.store.run(request);
        if wrote {
            self.made(Some(place), place as u64);
        }
        match &op.answer {
            Some(given) if *given != answer => {
                let model = json(&answer);
                Err(format!("by the model its answer is {model}"))
            }
            Some(_) if op.revision != self.store.revision() => Err(format!(
                "by the model it leaves revision {}",
                self.store.revision()
            )),
            None if !wrote => Err("it would change nothing".into()),
            _ if wrote => self.new_revision_fits(op.call),
            _ => Ok(()),
        }
    }

    /// Notes that the store has made a revision, by an operation or by a lease of that name.
    fn made(&mut self, by: Option<usize>, name: u64) {
        self.undo.push(Undo::Revision);
        self.makers.push(by);
        self.configure(3 + self.store.revision() as u64, name);
    }

    /// Whether the newest revision may have been made by something called then, and is as others
    /// saw it.
    fn new_revision_fits(&self, call: i64) -> Result<(), String> {
        let revision = self.store.revision();
        let shown = self.evidence.shown_at(revision);
        if call > shown {
            return Err(format!(
                "revision {revision} was shown at {}, before that",
                millis(shown)
            ));
        }
        if !self.evidence.fits(revision, self.store.changes(revision)) {
            return Err(format!(
                "it does not make revision {revision} as it was seen"
            ));
        }
        Ok(())
    }

    fn grant(&mut self, op: &Operation) -> Result<(), String> {
        let (Request::Grant(asked), answer) = (&op.request, &op.answer) else {
            return Err("it is no grant".into());
        };
        let given = match answer {
            Some(Answer::Grant(given)) => given,
            _ => asked,
        };
        if self.store.lease(given.lease).is_some() {
            return Err(format!("lease {} exists", given.lease));
        }
        if given.ttl < asked.ttl {
            return Err(format!(
                "it gives {} s instead of {} s",
                given.ttl, asked.ttl
            ));
        }
        let lease = Lease {
            ttl_s: given.ttl,
            until: after(op.call, given.ttl),
            given: op.answer.as_ref().map_or(i64::MAX, |_| op.returned),
            keys: BTreeSet::new(),
        };
        self.store.insert_lease(given.lease, lease);
        self.undo.push(Undo::Granted(given.lease));
        Ok(())
    }

    fn revoke(&mut self, id: i64, place: usize) -> Result<(), String> {
        let op = self.ops[place];
        if self.store.lease(id).is_none() {
            return Err(format!("there is no lease {id}"));
        }
        let wrote = self.remove(id, Some(place));
        if op.answer.is_some() && op.revision != self.store.revision() {
            return Err(format!(
                "by the model it leaves revision {}",
                self.store.revision()
            ));
        }
        match wrote {
            true => self.new_revision_fits(op.call),
            false => Ok(()),
        }
    }

    /// Lets a lease end by itself, which it may not before the time that it was given.
    fn end(&mut self, id: i64) -> Result<(), String> {
        let until = self.store.lease(id).ok_or("there is no such lease")?.until;
        if until > self.horizon() {
            return Err(format!("lease {id} was given until {}", millis(until)));
        }
        match self.remove(id, None) {
            true => self.new_revision_fits(until),
            false => Ok(()),
        }
    }

    fn remove(&mut self, id: i64, by: Option<usize>) -> bool {
        let wrote = self.store.delete_keys_of(id);
        if wrote {
            self.made(by, by.map_or(id as u64, |place| place as u64));
        }
        let lease = self.store.remove_lease(id);
        self.undo.push(Undo::Ended(id, lease));
        wrote
    }

    fn note_dead_end(&mut self) {
        let depth = self.undo.len();
        if self
            .deepest
            .as_ref()
            .is_none_or(|(before, _)| *before < depth)
        {
            let violation = self.explain();
            self.deepest = Some((depth, violation));
        }
    }

    /// Why nothing can happen here.
    fn explain(&mut self) -> Violation {
        let now = self.store.revision();
        let mut what = format!("no order of the operations explains what follows revision {now}");
        let mut evidence = Vec::new();
        let first = self.waiting.first().map(|(_, place)| *place);
        let writer = self.evidence.maker(now + 1);
        if writer.is_none() && now < self.evidence.newest {
            what += &format!(": nothing that was sent can have made revision {}", now + 1);
            for fact in self.evidence.facts(now + 1) {
                let seen = json(&fact.kv);
                evidence.push(format!(
                    "revision {}, {} was seen as {seen}",
                    now + 1,
                    fact.key
                ));
            }
        }
        for place in first
            .into_iter()
            .chain(writer.filter(|writer| Some(*writer) != first))
        {
            let why = self.why_not(place);
            evidence.push(format!("{}; {why}", self.ops[place]));
        }
        Violation::new(Property::Linearizable, what, evidence)
    }

    fn why_not(&mut self, place: usize) -> String {
        let (op, now) = (self.ops[place], self.store.revision());
        let (role, looks) = (self.roles[place], self.store.look(&op.request));
        if role == Role::Stands && op.revision < now {
            let next = self.makers.get(op.revision as usize + 1).copied().flatten();
            let by = match next {
                Some(next) => format!("operation {}", self.ops[next].id),
                None => "a lease that ended".into(),
            };
            return format!("but revision {} had been made by {by}", op.revision + 1);
        }
        if matches!(role, Role::Stands | Role::Writes) && op.revision > now + 1 {
            return format!("revision {} was not made by then", op.revision - 1);
        }
        if role == Role::Floats {
            return match self.store.refusal(&op.request) {
                Some(refusal) => format!("by the model it is refused: {refusal:?}"),
                None => "no lease or compaction in its time explains it".into(),
            };
        }
        if let (Role::Stands, Some(answer)) = (role, looks) {
            return format!("by the model its answer is {}", json(&answer));
        }
        let undo_len = self.undo.len();
        let why = self.take(Step::Operation(place));
        self.undo_to(undo_len);
        why.err()
            .unwrap_or_else(|| "what follows it is not explained".into())
    }

    fn verdict(&mut self, given_up: bool) -> Violation {
        let deepest = self.deepest.take().map(|(_, violation)| violation);
        let mut violation = deepest.unwrap_or_else(|| {
            let what = "no order of the operations explains the first answer".into();
            Violation::new(Property::Linearizable, what, Vec::new())
        });
        if given_up {
            violation.what += " (the search was given up: there may be an order)";
        }
        violation
    }
}

fn role(op: &Operation) -> Role {
    match (&op.request, &op.answer) {
        (Request::Range(range), _) if range.serializable => Role::Aside,
        (request, None) if may_change(request) => Role::Lost,
        (_, None) => Role::Aside,
        (_, Some(Answer::Refused(_) | Answer::Lease(_))) => Role::Floats,
        (Request::Compact(_), _) => Role::Compacts,
        _ if wrote(op) => Role::Writes,
        _ => Role::Stands,
    }
}

fn after(time_ns: i64, seconds: i64) -> i64 {
    time_ns.saturating_add(seconds.saturating_mul(SECOND_NS))
}

fn each_lease(request: &Request, visit: &mut dyn FnMut(i64)) {
    match request {
        Request::Put(put) => visit(put.lease),
        Request::Revoke(name) => visit(name.lease),
        Request::Txn(txn) => {
            let all = txn.success.iter().chain(&txn.failure);
            all.for_each(|next| each_lease(next, visit));
        }
        _ => {}
    }
}

fn asked_revision(request: &Request) -> i64 {
    match request {
        Request::Range(range) => range.revision,
        // A compaction that is refused was at or below the last.
        Request::Compact(compact) => compact.revision - 1,
        _ => i64::MAX,
    }
}

/// Spreads what was placed over 128 bits (the finalizer of SplitMix64, twice).
fn mixed(kind: u64, what: u64) -> u128 {
    let mix = |mut z: u64| {
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let seed = kind.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let low = mix(seed ^ what);
    let high = mix(low ^ seed.rotate_left(32) ^ what.wrapping_mul(0xd6e8_feb8_6659_fd93));
    u128::from(high) << 64 | u128::from(low)
}
