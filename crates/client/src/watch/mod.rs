//! Watches: changes of keys as they happen, in order, each once.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use tenet_client::{Client, Config, KeyRange, Update, WatchOptions};
//!
//! let client = Client::new(Config::new(["127.0.0.1:2379"]))?;
//! let mut watch = client.watch(WatchOptions::new(KeyRange::prefix("jobs/"))).await?;
//! loop {
//!     match watch.next().await? {
//!         Update::Events { events, .. } => println!("{} changes", events.len()),
//!         Update::Progress { header } => println!("nothing new up to {}", header.revision),
//!         Update::Compacted { compact_revision, .. } => {
//!             // Changes before this revision are gone: read the keys anew.
//!             println!("continues at {compact_revision}");
//!         }
//!     }
//! }
//! # }
//! ```
//!
//! **One stream.** All watches of a client and its clones share one stream to one server (two if
//! some require a leader and some do not).
//!
//! **Resuming.** When the stream breaks, or its server has lost the leader, all watches go on at
//! another endpoint from the first change that has not been handed out. When that change has been
//! compacted away meanwhile, the caller is told with [`Update::Compacted`] from which revision on
//! the watch goes on. [`WatchOptions::end_when_compacted`] and [`WatchOptions::end_without_leader`]
//! make these an end instead.
//!
//! **Whole revisions.** The changes of one revision come together in one [`Update::Events`], also
//! when the server sends them in fragments; an update may hold several revisions.
//!
//! **Slow callers.** What a caller does not read is kept up to
//! [`WATCH_BUFFER_BYTES_MAX`](crate::WATCH_BUFFER_BYTES_MAX), for each watch. Beyond that the watch
//! is ended at the server and begun again where it stopped once half of it has been read. So
//! neither memory nor other watches suffer, and nothing is left out.

mod buffer;
mod hub;
mod mux;

use std::sync::Arc;

use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::ResponseHeader;
use tenet_proto::mvccpb::Event;

pub(crate) use hub::Hub;

use crate::call::within;
use crate::{Client, Error, KeyRange};
use buffer::Buffer;
use mux::WatchKey;

/// What to watch, and how.
#[derive(Clone, Debug)]
#[must_use]
pub struct WatchOptions {
    pub(crate) range: KeyRange,
    pub(crate) start_revision: i64,
    pub(crate) prev_kv: bool,
    pub(crate) progress_notify: bool,
    pub(crate) no_puts: bool,
    pub(crate) no_deletes: bool,
    pub(crate) fragments: bool,
    pub(crate) require_leader: bool,
    pub(crate) end_without_leader: bool,
    pub(crate) end_when_compacted: bool,
}

impl WatchOptions {
    /// Changes of these keys from now on.
    pub fn new(range: KeyRange) -> WatchOptions {
        WatchOptions {
            range,
            start_revision: 0,
            prev_kv: false,
            progress_notify: false,
            no_puts: false,
            no_deletes: false,
            fragments: true,
            require_leader: true,
            end_without_leader: false,
            end_when_compacted: false,
        }
    }

    /// From this revision on, which may be past or future; 0 means from now on.
    pub fn from_revision(mut self, revision: i64) -> WatchOptions {
        self.start_revision = revision;
        self
    }

    /// With the key-values that the changes replaced, unless they have been compacted.
    pub fn prev_kv(mut self) -> WatchOptions {
        self.prev_kv = true;
        self
    }

    /// With [`Update::Progress`] every ten minutes (by the server's setting) without changes.
    pub fn progress_notify(mut self) -> WatchOptions {
        self.progress_notify = true;
        self
    }

    /// Without puts.
    pub fn no_puts(mut self) -> WatchOptions {
        self.no_puts = true;
        self
    }

    /// Without deletions.
    pub fn no_deletes(mut self) -> WatchOptions {
        self.no_deletes = true;
        self
    }

    /// Asks the server not to split large answers. They are put together again in any case; whole
    /// ones show how the server batches.
    pub fn unfragmented(mut self) -> WatchOptions {
        self.fragments = false;
        self
    }

    /// Stays with a server that has no leader, which hears of no changes.
    pub fn without_leader(mut self) -> WatchOptions {
        self.require_leader = false;
        self
    }

    /// Ends when the server has no leader, instead of going on elsewhere.
    pub fn end_without_leader(mut self) -> WatchOptions {
        self.end_without_leader = true;
        self
    }

    /// Ends when changes have been compacted away, instead of going on after them.
    pub fn end_when_compacted(mut self) -> WatchOptions {
        self.end_when_compacted = true;
        self
    }
}

/// What a watch hands out.
#[derive(Clone, Debug, PartialEq)]
pub enum Update {
    /// Changes, in order.
    Events {
        /// The server's. Its revision is not a bookmark: the newest change's is.
        header: ResponseHeader,
        /// At least one.
        events: Vec<Event>,
    },
    /// All changes up to the header's revision have been handed out: a bookmark to resume from.
    Progress {
        /// The server's.
        header: ResponseHeader,
    },
    /// Changes before `compact_revision` that had not been handed out are gone. The watch goes on
    /// with that revision.
    Compacted {
        /// The server's.
        header: ResponseHeader,
        /// The first revision that is left.
        compact_revision: i64,
    },
}

/// Why a watch has ended.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum WatchError {
    /// The server would not have it.
    #[error("{reason}")]
    Refused {
        /// In the server's words.
        reason: String,
    },
    /// The server has ended it.
    #[error("watch is canceled by the server")]
    Canceled {
        /// In the server's words; may be empty.
        reason: String,
    },
    /// Changes that it should have shown are gone (with [`WatchOptions::end_when_compacted`]).
    #[error("{}", ApiError::Compacted)]
    Compacted {
        /// The server's.
        header: ResponseHeader,
        /// The first revision that is left.
        compact_revision: i64,
    },
    /// The stream failed in a way that will not pass.
    #[error("{0}")]
    Call(Error),
}

/// A watch. Dropping it ends it.
pub struct Watch {
    client: Client,
    hub: Arc<Hub>,
    key: WatchKey,
    buffer: Arc<Buffer>,
}

impl Client {
    /// Begins a watch, and returns once the server has it: changes from then on are seen. The
    /// deadline of the client holds for this beginning only.
    ///
    /// # Errors
    /// If the server refuses, or the deadline passes.
    pub async fn watch(&self, options: WatchOptions) -> Result<Watch, WatchError> {
        let options = self.watch_inward(options).map_err(WatchError::Call)?;
        let hub = self.shared.hub(options.require_leader);
        let buffer = Arc::new(Buffer::default());
        let key = hub.add(self, options, buffer.clone());
        let watch = Watch {
            client: self.clone(),
            hub,
            key,
            buffer,
        };
        match within(self.deadline.instant(), watch.buffer.created()).await {
            Some(created) => created.map(|()| watch),
            None => Err(WatchError::Call(Error::Deadline)),
        }
    }

    /// Asks for [`Update::Progress`] on all watches that require a leader, as
    /// [`Watch::request_progress`] does.
    pub fn request_watch_progress(&self) {
        self.shared.hub(true).request_progress();
    }
}

impl Watch {
    /// The next update; waits for it. May be given up at any point: nothing is lost.
    ///
    /// # Errors
    /// If the watch has ended, after all updates before that.
    pub async fn next(&mut self) -> Result<Update, WatchError> {
        loop {
            let taken = self.buffer.take();
            if taken.has_room_again {
                self.hub.resume(self.key);
            }
            match taken.update {
                Some(update) => return update.map(|update| self.client.update_outward(update)),
                None => self.buffer.changed().await,
            }
        }
    }

    /// Asks the server for [`Update::Progress`] on all watches that share the stream. It answers
    /// once all of them have been handed all changes; until then it may stay silent.
    pub fn request_progress(&self) {
        self.hub.request_progress();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.hub.remove(self.key);
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}
