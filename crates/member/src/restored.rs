//! The data directory of a member that begins with a snapshot.
//!
//! Its log is that of a new cluster (see [`crate::boot`]) with a snapshot record behind the entries
//! that bring the members in; its store is flushed at that place, by the same actor that a running
//! member has. The store is there before the log, so that a directory with a log can be started
//! from.

use crate::boot::{
    BootError, Founder, Layout, founding_conf_state, founding_entries, founding_identity,
    new_keeper, new_store, prepare_directories,
};
use crate::identity::Identity;
use crate::keeper::{Keeper, StoreJob};
use std::sync::Arc;
use tenet_base::disk::DiskOp;
use tenet_base::{Index, Term};
use tenet_state::{Beginning, Member, State, bootstrap_member_id};
use tenet_store::Store;
use tenet_wal::{Metadata, Position};

/// The cluster that a snapshot is restored into.
#[derive(Debug)]
pub struct NewCluster {
    founders: Vec<Founder>,
    token: String,
    identity: Identity,
}

/// What to write, in this order.
#[derive(Debug)]
pub struct NewDirectory {
    /// Operations to be done first.
    pub prepare: Vec<DiskOp>,
    /// Who does the flush.
    pub keeper: Keeper,
    /// The flush of the state.
    pub flush: StoreJob,
    /// Operations to be done when it is durable.
    pub log: Vec<DiskOp>,
}

impl NewCluster {
    /// The cluster of `founders`, as the member called `name` sees it.
    ///
    /// # Errors
    /// If there is no such member.
    pub fn new(founders: Vec<Founder>, name: &str, token: &str) -> Result<Self, BootError> {
        let identity = founding_identity(&founders, name, token)?;
        Ok(NewCluster {
            founders,
            token: token.to_owned(),
            identity,
        })
    }

    /// Who the member is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// The store that the member begins with.
    #[must_use]
    pub fn store(&self) -> Store {
        new_store(&Layout::new(), self.identity)
    }

    /// What the state of the new cluster begins with.
    #[must_use]
    pub fn beginning(&self) -> Beginning {
        let member = |founder: &Founder| Member {
            id: bootstrap_member_id(&founder.peer_urls, &self.token),
            peer_urls: founder.peer_urls.clone(),
            name: founder.name.clone(),
            ..Member::default()
        };
        let members: Vec<Member> = self.founders.iter().map(member).collect();
        Beginning {
            conf_state: founding_conf_state(members.iter().map(|member| member.id)),
            applied: (Index(members.len() as u64), Term(1)),
            members,
        }
    }

    /// The data directory that holds `state`, which has [`Self::beginning`] in it.
    ///
    /// # Panics
    /// If the state is of another place in the log.
    #[must_use]
    pub fn directory(&self, state: &mut State, wal: tenet_wal::Options) -> NewDirectory {
        let (applied, term) = state.applied();
        let id_of = |founder: &Founder| bootstrap_member_id(&founder.peer_urls, &self.token);
        let (mut hard_state, entries) = founding_entries(&self.founders, id_of);
        assert!(
            (applied.get(), term.get()) == (hard_state.commit, hard_state.term),
            "the log ends at {} and the state stands at {applied} of term {term}",
            hard_state.commit
        );
        // As etcd's restore has it.
        let conf_state = state.conf_state().clone();
        hard_state.vote = conf_state.voters.first().copied().unwrap_or(0);
        let layout = Layout::new();
        let metadata = Metadata {
            member: self.identity.member,
            cluster: self.identity.cluster,
        };
        let mut log = Vec::new();
        let mut writer =
            tenet_wal::create_founded(&layout.wal, metadata, wal, &hard_state, &entries, &mut log);
        let position = Position {
            index: applied,
            term,
            conf_state: Some(conf_state),
        };
        writer.save_position(&position, &mut log);
        NewDirectory {
            prepare: prepare_directories(&layout),
            keeper: new_keeper(&layout, Arc::default(), 0, 0),
            flush: StoreJob::flush(state, true),
            log,
        }
    }
}
