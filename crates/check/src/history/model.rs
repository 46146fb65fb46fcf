//! The sequential model: what a store answers whose clients come one after another.
//!
//! It keeps every version of every key, so that it can answer for any revision, and it can take
//! back what it did last, so that a search can try. It is written from the rules of the API alone
//! and shares no code with what it judges.
//!
//! Invariant: a revision is the place of its changes in `changes`; 1 is the empty store.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::format::{
    Answer, Compare, Comparison, Delete, DeleteAnswer, Keys, Kv, Operand, Put, PutAnswer, Range,
    RangeAnswer, Refusal, Request, Txn, TxnAnswer,
};

/// The revision of a store that nothing was written to.
pub(super) const FIRST: i64 = 1;

/// What happened to one key in one revision.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) key: String,
    /// Nothing after a delete.
    pub(super) now: Option<Arc<Kv>>,
    pub(super) before: Option<Arc<Kv>>,
}

#[derive(Clone, Debug)]
struct Version {
    revision: i64,
    kv: Option<Arc<Kv>>,
}

/// A lease.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    /// What it was granted for.
    pub(super) ttl_s: i64,
    /// It must not end by itself before.
    pub(super) until: i64,
    /// When the client knew of that.
    pub(super) given: i64,
    pub(super) keys: BTreeSet<String>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Store {
    compacted: i64,
    keys: BTreeMap<String, Vec<Version>>,
    /// By revision.
    changes: Vec<Vec<Change>>,
    leases: BTreeMap<i64, Lease>,
    /// What the request that runs has changed so far.
    pending: Vec<Change>,
}

/// What a request did.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) answer: Answer,
    /// Whether it made a revision.
    pub(super) wrote: bool,
}

impl Store {
    pub(super) fn new() -> Store {
        Store {
            compacted: -1,
            keys: BTreeMap::new(),
            changes: vec![Vec::new(); FIRST as usize + 1],
            leases: BTreeMap::new(),
            pending: Vec::new(),
        }
    }

    /// The newest revision.
    pub(super) fn revision(&self) -> i64 {
        self.changes.len() as i64 - 1
    }

    /// What has changed in a revision; nothing if there is no such revision.
    pub(super) fn changes(&self, revision: i64) -> &[Change] {
        let at = usize::try_from(revision).unwrap_or(usize::MAX);
        self.changes.get(at).map_or(&[], Vec::as_slice)
    }

    pub(super) fn lease(&self, id: i64) -> Option<&Lease> {
        self.leases.get(&id)
    }

    pub(super) fn lease_mut(&mut self, id: i64) -> Option<&mut Lease> {
        self.leases.get_mut(&id)
    }

    pub(super) fn leases(&self) -> impl Iterator<Item = (i64, &Lease)> {
        self.leases.iter().map(|(id, lease)| (*id, lease))
    }

    /// What is kept; everything while nothing was compacted.
    pub(super) fn compacted(&self) -> i64 {
        self.compacted
    }

    pub(super) fn set_compacted(&mut self, revision: i64) {
        self.compacted = revision;
    }

    /// Adds a lease that does not exist.
    pub(super) fn insert_lease(&mut self, id: i64, lease: Lease) {
        let before = self.leases.insert(id, lease);
        assert!(before.is_none(), "lease {id} is granted twice");
    }

    /// Removes a lease that exists.
    pub(super) fn remove_lease(&mut self, id: i64) -> Lease {
        self.leases.remove(&id).expect("the caller has seen it")
    }

    /// Deletes the keys of a lease, in a revision if there are any. Whether there were.
    pub(super) fn delete_keys_of(&mut self, id: i64) -> bool {
        let keys = self.leases[&id].keys.clone();
        for key in keys {
            self.change(key, None);
        }
        self.commit()
    }

    /// Why a request would be refused now.
    pub(super) fn refusal(&self, request: &Request) -> Option<Refusal> {
        match request {
            Request::Range(range) if range.revision > self.revision() => Some(Refusal::Future),
            Request::Range(range) if range.revision > 0 && range.revision < self.compacted => {
                Some(Refusal::Compacted)
            }
            Request::Put(put) if put.lease != 0 && !self.leases.contains_key(&put.lease) => {
                Some(Refusal::LeaseNotFound)
            }
            Request::Txn(txn) => self
                .branch(txn)
                .1
                .iter()
                .find_map(|next| self.refusal(next)),
            Request::Compact(compact) if compact.revision > self.revision() => {
                Some(Refusal::Future)
            }
            Request::Compact(compact) if compact.revision <= self.compacted => {
                Some(Refusal::Compacted)
            }
            Request::Grant(grant) if self.leases.contains_key(&grant.lease) => {
                Some(Refusal::LeaseExists)
            }
            Request::Revoke(name) if !self.leases.contains_key(&name.lease) => {
                Some(Refusal::LeaseNotFound)
            }
            _ => None,
        }
    }

    /// Carries out a range, put, delete or transaction.
    pub(super) fn run(&mut self, request: &Request) -> Ran {
        if let Some(refusal) = self.refusal(request) {
            return Ran {
                answer: Answer::Refused(refusal),
                wrote: false,
            };
        }
        // All compares are made before anything is written.
        let mut path = Vec::new();
        self.path(request, &mut path);
        let answer = self.step(request, &mut path.into_iter());
        Ran {
            answer,
            wrote: self.commit(),
        }
    }

    /// The answer to a request that only looks, or that would find nothing to change.
    pub(super) fn look(&self, request: &Request) -> Option<Answer> {
        match request {
            Request::Range(range) => {
                let revision = if range.revision > 0 {
                    range.revision
                } else {
                    i64::MAX
                };
                Some(Answer::Range(self.range(range, revision)))
            }
            Request::Delete(delete) => {
                let nothing = self.between(&delete.keys, i64::MAX).next().is_none();
                nothing.then(|| Answer::Delete(DeleteAnswer::default()))
            }
            Request::Txn(txn) => {
                let (succeeded, branch) = self.branch(txn);
                // As nothing is written, what is compared later is what is compared now.
                let results = branch
                    .iter()
                    .map(|next| self.look(next))
                    .collect::<Option<_>>()?;
                Some(Answer::Txn(TxnAnswer { succeeded, results }))
            }
            _ => None,
        }
    }

    /// Takes back the newest revision.
    pub(super) fn undo_revision(&mut self) {
        let changes = self.changes.pop().expect("a revision was made");
        for change in changes.into_iter().rev() {
            self.take_back(change);
        }
    }

    /// What a range finds at a revision.
    pub(super) fn range(&self, range: &Range, revision: i64) -> RangeAnswer {
        let mut answer = RangeAnswer::default();
        for kv in self.between(&range.keys, revision) {
            answer.count += 1;
            let full = range.limit > 0 && answer.kvs.len() as i64 == range.limit;
            if range.count_only {
                continue;
            }
            if full {
                answer.more = true;
            } else {
                answer.kvs.push((**kv).clone());
            }
        }
        answer
    }

    /// A key at a revision.
    pub(super) fn get(&self, key: &str, revision: i64) -> Option<&Arc<Kv>> {
        at(self.keys.get(key)?, revision)
    }

    fn between(&self, keys: &Keys, revision: i64) -> impl Iterator<Item = &Arc<Kv>> {
        let start = Bound::Included(keys.key.as_str());
        let end = match keys.end.as_str() {
            "" => start,
            "\0" => Bound::Unbounded,
            // An end before its start holds nothing.
            end => Bound::Excluded(end.max(keys.key.as_str())),
        };
        let empty = !keys.end.is_empty() && keys.end != "\0" && keys.end <= keys.key;
        let found = (!empty).then(|| self.keys.range::<str, _>((start, end)));
        let versions = found.into_iter().flatten();
        versions.filter_map(move |(_, versions)| at(versions, revision))
    }

    fn step(&mut self, request: &Request, path: &mut std::vec::IntoIter<bool>) -> Answer {
        match request {
            Request::Range(range) if range.revision > 0 => {
                Answer::Range(self.range(range, range.revision))
            }
            Request::Range(range) => Answer::Range(self.range(range, i64::MAX)),
            Request::Put(put) => Answer::Put(self.put(put)),
            Request::Delete(delete) => Answer::Delete(self.delete(delete)),
            Request::Txn(txn) => {
                let succeeded = path.next().expect("one for each transaction on the way");
                let branch = if succeeded {
                    &txn.success
                } else {
                    &txn.failure
                };
                let results = branch.iter().map(|next| self.step(next, path)).collect();
                Answer::Txn(TxnAnswer { succeeded, results })
            }
            other => unreachable!("{other:?} is not carried out by the key-value part"),
        }
    }

    /// Whether the compares of each transaction hold, in the order in which they are run.
    fn path(&self, request: &Request, path: &mut Vec<bool>) {
        if let Request::Txn(txn) = request {
            let (succeeded, branch) = self.branch(txn);
            path.push(succeeded);
            for next in branch {
                self.path(next, path);
            }
        }
    }

    fn branch<'a>(&self, txn: &'a Txn) -> (bool, &'a [Request]) {
        match txn.compare.iter().all(|compare| self.holds(compare)) {
            true => (true, &txn.success),
            false => (false, &txn.failure),
        }
    }

    fn holds(&self, compare: &Compare) -> bool {
        let mut found = self.between(&compare.keys, i64::MAX).peekable();
        if found.peek().is_none() {
            return holds_of(compare, None);
        }
        found.all(|kv| holds_of(compare, Some(kv)))
    }

    fn put(&mut self, put: &Put) -> PutAnswer {
        let before = self.get(&put.key, i64::MAX).cloned();
        let modified = self.revision() + 1;
        let kv = Kv {
            key: put.key.clone(),
            value: put.value.clone(),
            created: before.as_ref().map_or(modified, |kv| kv.created),
            modified,
            version: before.as_ref().map_or(0, |kv| kv.version) + 1,
            lease: put.lease,
        };
        self.change(put.key.clone(), Some(Arc::new(kv)));
        let prev = before.filter(|_| put.prev_kv);
        PutAnswer {
            prev: prev.map(|kv| (*kv).clone()),
        }
    }

    fn delete(&mut self, delete: &Delete) -> DeleteAnswer {
        let found: Vec<_> = self.between(&delete.keys, i64::MAX).cloned().collect();
        for kv in &found {
            self.change(kv.key.clone(), None);
        }
        DeleteAnswer {
            deleted: found.len() as i64,
            prevs: match delete.prev_kv {
                true => found.iter().map(|kv| (**kv).clone()).collect(),
                false => Vec::new(),
            },
        }
    }

    fn change(&mut self, key: String, now: Option<Arc<Kv>>) {
        let before = self.get(&key, i64::MAX).cloned();
        self.attach(&key, before.as_ref(), now.as_ref());
        let version = Version {
            revision: self.revision() + 1,
            kv: now.clone(),
        };
        self.keys.entry(key.clone()).or_default().push(version);
        self.pending.push(Change { key, now, before });
    }

    fn take_back(&mut self, change: Change) {
        self.attach(&change.key, change.now.as_ref(), change.before.as_ref());
        let versions = self.keys.get_mut(&change.key).expect("it was changed");
        versions.pop();
        if versions.is_empty() {
            self.keys.remove(&change.key);
        }
    }

    /// Moves a key from the lease that it had to the one that it has.
    fn attach(&mut self, key: &str, from: Option<&Arc<Kv>>, to: Option<&Arc<Kv>>) {
        let id = |kv: Option<&Arc<Kv>>| kv.map_or(0, |kv| kv.lease);
        if let Some(lease) = self.leases.get_mut(&id(from)) {
            lease.keys.remove(key);
        }
        if let Some(lease) = self.leases.get_mut(&id(to)) {
            lease.keys.insert(key.to_owned());
        }
    }

    fn commit(&mut self) -> bool {
        let wrote = !self.pending.is_empty();
        if wrote {
            self.changes.push(std::mem::take(&mut self.pending));
        }
        wrote
    }
}

fn at(versions: &[Version], revision: i64) -> Option<&Arc<Kv>> {
    let after = versions.partition_point(|version| version.revision <= revision);
    versions[..after].last()?.kv.as_ref()
}

fn holds_of(compare: &Compare, kv: Option<&Arc<Kv>>) -> bool {
    let number = |of: fn(&Kv) -> i64| kv.map_or(0, |kv| of(kv));
    let order = match &compare.with {
        Operand::Version(with) => number(|kv| kv.version).cmp(with),
        Operand::Create(with) => number(|kv| kv.created).cmp(with),
        Operand::Mod(with) => number(|kv| kv.modified).cmp(with),
        Operand::Lease(with) => number(|kv| kv.lease).cmp(with),
        // No value compares with that of a key that is not there.
        Operand::Value(with) => match kv {
            None => return false,
            Some(kv) => kv.value.as_str().cmp(with),
        },
    };
    match compare.result {
        Comparison::Equal => order.is_eq(),
        Comparison::NotEqual => order.is_ne(),
        Comparison::Greater => order.is_gt(),
        Comparison::Less => order.is_lt(),
    }
}
