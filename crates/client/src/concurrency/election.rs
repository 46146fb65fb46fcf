//! Elections: offices with one holder, whose value everyone can see.

use std::collections::VecDeque;

use bytes::Bytes;
use tenet_proto::etcdserverpb::{Compare, RangeResponse, ResponseHeader};
use tenet_proto::mvccpb::event::EventType;
use tenet_proto::mvccpb::{Event, KeyValue};

use super::claim::{Claim, oldest, range_of};
use super::{ConcurrencyError, Session};
use crate::{Client, Error, KeyRange, Update, Watch, WatchOptions};

/// An office that is held. Dropping it resigns in the background, as far as that is possible;
/// [`Leadership::resign`] says whether it was done.
pub struct Leadership {
    claim: Claim,
}

/// Who holds an office.
#[derive(Clone, Debug, PartialEq)]
pub struct Leader {
    /// The answer, or the header of the change, that tells.
    pub header: ResponseHeader,
    /// The holder's key; its value is the proposal.
    pub kv: KeyValue,
}

impl Session {
    /// Stands for election with this value, and waits until elected. A session that stands already
    /// changes its value.
    ///
    /// May be given up while it waits: the candidacy is given up too.
    ///
    /// # Errors
    /// If the session expires, or a call fails.
    pub async fn campaign(
        &self,
        name: impl AsRef<[u8]>,
        value: impl Into<Bytes>,
    ) -> Result<Leadership, ConcurrencyError> {
        let (name, value) = (name.as_ref(), value.into());
        let (claim, found) = Claim::make(self, name, value.clone()).await?;
        if found.value.is_some_and(|before| before != value) {
            claim.change(value).await?;
        }
        if !found.is_first {
            claim.wait_for_turn(self, name).await?;
        }
        Ok(Leadership { claim })
    }
}

impl Leadership {
    /// The key of the holder.
    #[must_use]
    pub fn key(&self) -> &Bytes {
        &self.claim.key
    }

    /// The revision at which the key was put: the fencing token. It grows from holder to holder.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.claim.revision
    }

    /// Holds in a transaction as long as the office is held.
    #[must_use]
    pub fn guard(&self) -> Compare {
        self.claim.guard()
    }

    /// Reads the key; none if the office is lost.
    ///
    /// # Errors
    /// If the call fails.
    pub async fn read(&self) -> Result<Option<RangeResponse>, Error> {
        self.claim.read().await
    }

    /// Changes the value without a new election.
    ///
    /// # Errors
    /// [`ConcurrencyError::Lost`] if the office is not held any more, or if the call fails.
    pub async fn proclaim(
        &self,
        value: impl Into<Bytes>,
    ) -> Result<ResponseHeader, ConcurrencyError> {
        self.claim.change(value.into()).await
    }

    /// Gives the office up.
    ///
    /// # Errors
    /// If the call fails. The office is given up when the lease ends.
    pub async fn resign(self) -> Result<(), Error> {
        self.claim.give_up().await.map(|_| ())
    }
}

impl std::fmt::Debug for Leadership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leadership")
            .field("key", self.key())
            .field("revision", &self.revision())
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Who holds the office of this name; none if nobody does.
    ///
    /// # Errors
    /// If the call fails.
    pub async fn election_leader(&self, name: impl AsRef<[u8]>) -> Result<Option<Leader>, Error> {
        let answer = self.range(oldest(range_of(name.as_ref()))).await?;
        let header = answer.header.unwrap_or_default();
        let kv = answer.kvs.into_iter().next();
        Ok(kv.map(|kv| Leader { header, kv }))
    }

    /// Sees who holds the office of this name, and every change of the holder or its value.
    #[must_use]
    pub fn election_observer(&self, name: impl AsRef<[u8]>) -> Observer {
        Observer {
            client: self.without_deadline(),
            name: name.as_ref().to_vec().into(),
            phase: Phase::Looking,
            seen: VecDeque::new(),
        }
    }
}

/// Sees an election. Values that replace each other quickly are all seen; a holder who is gone
/// before it was looked for is not.
pub struct Observer {
    client: Client,
    name: Bytes,
    phase: Phase,
    /// Seen, and not handed out.
    seen: VecDeque<Leader>,
}

enum Phase {
    /// For the holder.
    Looking,
    /// Nobody holds the office: the first to get in line will.
    Vacant(Watch),
    /// For changes of the holder.
    Following(Watch),
}

impl Observer {
    /// The holder, then each change. Waits for it, also while there is no holder. May be given up
    /// at any point: nothing is lost.
    ///
    /// # Errors
    /// If a call or a watch fails in a way that will not pass.
    pub async fn next(&mut self) -> Result<Leader, ConcurrencyError> {
        loop {
            if let Some(leader) = self.seen.pop_front() {
                return Ok(leader);
            }
            self.phase = match &mut self.phase {
                Phase::Looking => self.look().await?,
                Phase::Vacant(watch) => match watch.next().await? {
                    Update::Progress { .. } => continue,
                    Update::Compacted { .. } => Phase::Looking,
                    Update::Events { header, events } => match first_put(header, events) {
                        Some(leader) => self.follow(leader).await?,
                        None => continue,
                    },
                },
                Phase::Following(watch) => match watch.next().await? {
                    Update::Progress { .. } => continue,
                    Update::Compacted { .. } => Phase::Looking,
                    Update::Events { header, events } => {
                        let is_put = |event: &Event| event.r#type() == EventType::Put;
                        let is_gone = !events.iter().all(is_put);
                        let puts = events.into_iter().take_while(is_put);
                        let leaders = puts.filter_map(|event| event.kv);
                        self.seen.extend(leaders.map(|kv| Leader { header, kv }));
                        if !is_gone {
                            continue;
                        }
                        Phase::Looking
                    }
                },
            };
        }
    }

    async fn look(&mut self) -> Result<Phase, ConcurrencyError> {
        let answer = self.client.range(oldest(range_of(&self.name))).await?;
        let header = answer.header.unwrap_or_default();
        if let Some(kv) = answer.kvs.into_iter().next() {
            return self.follow(Leader { header, kv }).await;
        }
        let options = WatchOptions::new(range_of(&self.name))
            .from_revision(header.revision + 1)
            .no_deletes();
        Ok(Phase::Vacant(self.client.watch(options).await?))
    }

    /// Shows a holder, and looks out for what becomes of it after that.
    async fn follow(&mut self, leader: Leader) -> Result<Phase, ConcurrencyError> {
        let options = WatchOptions::new(KeyRange::key(leader.kv.key.clone()))
            .from_revision(leader.header.revision + 1);
        let watch = self.client.watch(options).await?;
        self.seen.push_back(leader);
        Ok(Phase::Following(watch))
    }
}

/// The first key that was put, at the revision at which it was.
fn first_put(header: ResponseHeader, events: Vec<Event>) -> Option<Leader> {
    let kv = events.into_iter().next()?.kv?;
    let header = ResponseHeader {
        revision: kv.mod_revision,
        ..header
    };
    Some(Leader { header, kv })
}

impl std::fmt::Debug for Observer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ElectionObserver")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
