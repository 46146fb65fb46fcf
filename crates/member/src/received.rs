//! A snapshot file, from its bytes to a state.
//!
//! Every byte is judged before anything of it is used: a file that is damaged, of another place in
//! the log than its sender says, or that holds what this version does not understand is refused as
//! a whole. It must not know where the bytes are kept.

use crate::boot::{Layout, new_store};
use crate::identity::Identity;
use tenet_base::{Index, Revision, Term};
use tenet_bolt::{BoltError, Content, Db, Source};
use tenet_proto::raftpb::Snapshot;
use tenet_state::{Import, ImportError, State};

/// Why a snapshot is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TakeInError {
    /// It is no sound bbolt file.
    #[error(transparent)]
    File(#[from] BoltError),
    /// An entry is not understood.
    #[error("byte {offset}: {error}")]
    Entry {
        /// Where it stands in the file.
        offset: u64,
        /// What is wrong with it.
        error: ImportError,
    },
    /// Something is where etcd never puts it.
    #[error("byte {offset}: {what}")]
    Shape {
        /// Where it stands in the file.
        offset: u64,
        /// What it is.
        what: String,
    },
    /// The file is not of the entry that its sender says.
    #[error(
        "it holds the state at entry {index} of term {term}, but was sent as that of entry \
         {sent_index} of term {sent_term}"
    )]
    OtherPlace {
        #[allow(missing_docs)]
        index: Index,
        #[allow(missing_docs)]
        term: Term,
        #[allow(missing_docs)]
        sent_index: Index,
        #[allow(missing_docs)]
        sent_term: Term,
    },
}

/// Checks a file and gives all its entries to `import`; returns the newest revision in it.
///
/// # Errors
/// See [`TakeInError`].
pub fn take_in(source: impl Source, import: &mut Import) -> Result<Revision, TakeInError> {
    let db = Db::open(source)?;
    if let Some(error) = db.check().into_iter().next() {
        return Err(error.into());
    }
    let mut newest = 0;
    for bucket in db.walk(&db.root()) {
        let bucket = bucket?;
        let Content::Bucket(entries) = &bucket.content else {
            let key = bucket.key.escape_ascii();
            return Err(TakeInError::Shape {
                offset: bucket.offset,
                what: format!("{key} is a value where a bucket is due"),
            });
        };
        for entry in db.walk(entries) {
            let entry = entry?;
            let offset = entry.offset;
            let Content::Value(value) = &entry.content else {
                let (bucket, key) = (bucket.key.escape_ascii(), entry.key.escape_ascii());
                let what = format!("{bucket} holds a bucket {key}, which etcd never makes");
                return Err(TakeInError::Shape { offset, what });
            };
            import
                .entry(&bucket.key, &entry.key, value)
                .map_err(|error| TakeInError::Entry { offset, error })?;
            if bucket.key == b"key"[..] {
                let main = entry.key.first_chunk();
                newest = main.map_or(0, |main| i64::from_be_bytes(*main));
            }
        }
    }
    Ok(Revision(newest))
}

/// Makes states of the snapshots that a member is sent.
#[derive(Clone, Debug)]
pub struct Receiver {
    config: tenet_state::Config,
    identity: Identity,
}

impl Receiver {
    pub(crate) fn new(config: tenet_state::Config, identity: Identity) -> Self {
        Receiver { config, identity }
    }

    /// The state of a snapshot file that came with `snapshot`.
    ///
    /// # Errors
    /// See [`TakeInError`].
    pub fn state(&self, file: impl Source, snapshot: &Snapshot) -> Result<Box<State>, TakeInError> {
        let store = new_store(&Layout::new(), self.identity);
        let mut import = Import::of_leader(self.config.clone(), store);
        take_in(file, &mut import)?;
        let mut state = Box::new(import.finish_of_leader());
        let (index, term) = state.applied();
        let (sent_index, sent_term) = (Index(snapshot.index()), Term(snapshot.term()));
        if (index, term) != (sent_index, sent_term) {
            return Err(TakeInError::OtherPlace {
                index,
                term,
                sent_index,
                sent_term,
            });
        }
        let metadata = snapshot.metadata.as_ref();
        if let Some(conf_state) = metadata.and_then(|metadata| metadata.conf_state.clone()) {
            state.set_conf_state(conf_state);
        }
        Ok(state)
    }
}
