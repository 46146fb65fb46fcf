//! The state machine itself: one committed entry in, one answer out.

use crate::Member;
use crate::answer::{Applied, ConfApplied, Fatal};
use crate::lease::Lease;
use crate::quota::Quota;
use crate::tables::Tables;
use crate::views::{ClusterView, StateView, StateViews};
use arc_swap::ArcSwap;
use std::sync::Arc;
use tenet_base::{Index, LeaseId, MemberId, Revision, Term, limits};
use tenet_mvcc::{Mvcc, Size};
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::{AlarmType, InternalRaftRequest};
use tenet_proto::raftpb::{ConfChange, ConfState};
use tenet_store::Store;

/// What a member's own flags say about applying.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// This member.
    pub member: MemberId,
    /// The shortest time to live of a lease, in seconds; shorter ones are raised to it.
    pub min_lease_ttl_s: i64,
    /// The storage quota in bytes: zero the default, negative none.
    pub quota_bytes: i64,
    /// How many learners the cluster may have; must be equal on all members.
    pub learners_max: usize,
}

/// The replicated state of one member. Owned by whoever applies the log.
#[derive(Debug)]
pub struct State {
    pub(crate) config: Config,
    pub(crate) quota: Quota,
    pub(crate) mvcc: Mvcc,
    pub(crate) tables: Tables,
    /// What readers see of `tables` may have changed since it was last published.
    pub(crate) cluster_changed: bool,
    /// Bytes of the small tables when they were last written.
    pub(crate) tables_bytes: u64,
    views: StateViews,
}

impl State {
    /// The state before the first entry, over a store of nobody: for tests.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self::over(config, Store::default())
    }

    /// The state before the first entry, over an empty store.
    #[must_use]
    pub fn over(config: Config, store: Store) -> Self {
        let tables = Tables::new(&config);
        Self::of(config, Mvcc::new(store), tables)
    }

    /// A state from its parts, published.
    pub(crate) fn of(config: Config, mvcc: Mvcc, tables: Tables) -> Self {
        let view = StateView {
            kv: mvcc.views().load(),
            cluster: Arc::new(ClusterView::of(&tables)),
        };
        State {
            quota: Quota::from_config(config.quota_bytes),
            config,
            mvcc,
            tables,
            cluster_changed: false,
            tables_bytes: 0,
            views: StateViews(Arc::new(ArcSwap::from_pointee(view))),
        }
    }

    /// Applies a committed entry that holds a request and answers it.
    ///
    /// # Errors
    /// If this member must not go past the entry. Nothing of it may be published.
    ///
    /// # Panics
    /// If the entry is not the one after the last applied one.
    pub fn apply(
        &mut self,
        index: Index,
        term: Term,
        request: &InternalRaftRequest,
    ) -> Result<Applied, Fatal> {
        self.apply_entry(index, term, request, true)
    }

    /// As [`State::apply`], with the same effects, where nobody waits for the answer: ranges are
    /// not run and previous values not read, so the answer lacks them.
    ///
    /// # Errors
    /// As [`State::apply`].
    ///
    /// # Panics
    /// As [`State::apply`].
    pub fn apply_unasked(
        &mut self,
        index: Index,
        term: Term,
        request: &InternalRaftRequest,
    ) -> Result<Applied, Fatal> {
        self.apply_entry(index, term, request, false)
    }

    /// Applies an entry without payload, the first of a new leader.
    ///
    /// # Panics
    /// As [`State::apply`].
    pub fn apply_empty(&mut self, index: Index, term: Term) {
        self.expect_next(index, term);
        self.set_applied(index, term);
    }

    /// Judges a committed configuration change and, if it is valid, does it.
    ///
    /// # Errors
    /// If this member must not go past the entry. Nothing of it was applied.
    ///
    /// # Panics
    /// As [`State::apply`].
    pub fn apply_conf_change(
        &mut self,
        index: Index,
        term: Term,
        change: &ConfChange,
    ) -> Result<ConfApplied, Fatal> {
        self.expect_next(index, term);
        let members = &mut self.tables.members;
        let verdict = members.judge(index, change, self.config.learners_max)?;
        let mut change = change.clone();
        let mut removes_self = false;
        let result = match verdict {
            Ok(step) => {
                removes_self = step.removes() == Some(self.config.member);
                members.take(step);
                Ok(members.iter().map(Into::into).collect())
            }
            Err(error) => {
                change.node_id = 0;
                Err(error)
            }
        };
        self.cluster_changed = true;
        self.set_applied(index, term);
        Ok(ConfApplied {
            change,
            result,
            removes_self,
        })
    }

    /// Stores the configuration that raft is in after the last applied change.
    pub fn set_conf_state(&mut self, conf_state: ConfState) {
        self.tables.conf_state = conf_state;
        self.cluster_changed = true;
    }

    /// Makes everything applied so far visible to readers at once: keys and small tables.
    pub fn publish(&mut self) {
        self.mvcc.publish(self.tables.applied, self.tables.term);
        let cluster = if self.cluster_changed {
            Arc::new(ClusterView::of(&self.tables))
        } else {
            Arc::clone(&self.views.0.load().cluster)
        };
        self.cluster_changed = false;
        let kv = self.mvcc.views().load();
        self.views.0.store(Arc::new(StateView { kv, cluster }));
    }

    /// Publishes where `other` did: its readers see this state from now on.
    pub fn take_readers(&mut self, other: &State) {
        self.views = other.views.clone();
        self.cluster_changed = true;
        self.publish();
    }

    /// How many members the cluster has.
    #[must_use]
    pub fn member_count(&self) -> usize {
        self.tables.members.iter().count()
    }

    /// The readers' half.
    #[must_use]
    pub fn views(&self) -> StateViews {
        self.views.clone()
    }

    /// The last applied entry.
    #[must_use]
    pub fn applied(&self) -> (Index, Term) {
        (self.tables.applied, self.tables.term)
    }

    /// The configuration that raft was in after the last applied entry.
    #[must_use]
    pub fn conf_state(&self) -> &ConfState {
        &self.tables.conf_state
    }

    /// The members, by id.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.tables.members.iter()
    }

    /// The version that the cluster agreed on, if it did yet.
    #[must_use]
    pub fn cluster_version(&self) -> Option<crate::Version> {
        self.tables.cluster_version
    }

    /// Whether this member has raised an alarm of a kind.
    #[must_use]
    pub fn has_alarm(&self, kind: AlarmType) -> bool {
        self.tables.alarms.of_member(self.config.member, kind)
    }

    /// The leases, by id.
    pub fn leases(&self) -> impl Iterator<Item = (LeaseId, &Lease)> {
        self.tables.leases.iter()
    }

    /// One lease.
    #[must_use]
    pub fn lease(&self, id: LeaseId) -> Option<&Lease> {
        self.tables.leases.get(id)
    }

    /// The current revision, what is not yet published included.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.mvcc.revision()
    }

    /// The store of the keys, to ask what it holds.
    #[must_use]
    pub fn store(&self) -> &Store {
        self.mvcc.store()
    }

    /// Whether the index should be written with the next flush: so much has happened since that a
    /// start would take long, or rewriting waits for it.
    #[must_use]
    pub fn wants_index(&self) -> bool {
        let behind = self.store().appended_since_index();
        let most = limits::STORE_RECORDS_BEHIND_INDEX_MIN.max(self.mvcc.index_entries() / 4);
        behind >= most
            || (self.store().wants_index() && !self.compaction_pending())
            || self.store().wants_new_sides()
            || self.store().wants_flush()
    }

    /// How much room the keys take.
    #[must_use]
    pub fn size(&self) -> Size {
        self.mvcc.size()
    }

    /// Does up to about `budget_entries` of the physical work of compactions. Returns whether
    /// work is left.
    pub fn step_maintenance(&mut self, budget_entries: usize) -> bool {
        self.mvcc.step_maintenance(budget_entries)
    }

    /// Whether the physical work of a compaction is not done yet.
    #[must_use]
    pub fn compaction_pending(&self) -> bool {
        self.mvcc.compaction_pending()
    }

    fn apply_entry(
        &mut self,
        index: Index,
        term: Term,
        request: &InternalRaftRequest,
        answering: bool,
    ) -> Result<Applied, Fatal> {
        self.expect_next(index, term);
        if request.id == 0 && request.header.is_none() {
            return Err(Fatal::NoHeader { index });
        }
        let mut applied = self.apply_request(index, request, answering)?;
        if let Some(error) = self.mvcc.read_failure() {
            return Err(Fatal::Unreadable {
                index,
                error: Box::new(error.clone()),
            });
        }
        if let Some(error) = self.mvcc.take_unanswered() {
            // What the entry does does not depend on it.
            applied.result = Err(ApiError::Corrupt);
            applied.damaged = Some(Box::new(error));
        }
        self.set_applied(index, term);
        Ok(applied)
    }

    /// An entry left out or applied twice is a lost or forked write.
    fn expect_next(&self, index: Index, term: Term) {
        let Tables {
            applied,
            term: last,
            ..
        } = &self.tables;
        assert!(
            index == applied.next() && term >= *last,
            "entry {index} of term {term} was given to be applied after entry {applied} of term \
             {last}; entries must come one by one and terms never go back. The log and the state \
             do not belong together"
        );
    }

    fn set_applied(&mut self, index: Index, term: Term) {
        self.tables.applied = index;
        self.tables.term = term;
    }
}
