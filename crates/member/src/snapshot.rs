//! A snapshot for people: the state as a bbolt file that etcd's tools and ours can restore.
//!
//! It is a consistent cut, as of one applied entry: the applier gives an immutable view and goes
//! on, and everything here runs on a thread that may be busy for long. The file comes into being
//! piece by piece; what is held is one piece and the pages that are being filled.

use bytes::Bytes;
use std::fmt;
use std::ops::ControlFlow;
use tenet_base::limits::{SNAPSHOT_BLOB_BYTES, SNAPSHOT_STEP_BYTES};
use tenet_bolt::{Plan, Planner, WriteError, Writer};
use tenet_mvcc::ExportPosition;
use tenet_state::{Export, TableBucket};
use tenet_store::ReadError;

/// A snapshot in the making: an iterator over the bytes of its file. Every piece but the last is a
/// multiple of [`SNAPSHOT_BLOB_BYTES`] long.
pub struct SnapshotFile {
    export: Export,
    keys: tenet_mvcc::Export,
    plan: Plan,
    /// `None` once the last piece was given.
    writer: Option<Writer>,
    stage: Stage,
}

/// Why a snapshot cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Something does not fit into the format.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A value cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

enum Stage {
    BeforeKeys,
    Keys(ExportPosition),
    AfterKeys,
}

impl fmt::Debug for SnapshotFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotFile")
            .field("applied", &self.export.applied)
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

impl SnapshotFile {
    /// Finds where everything will stand. Looks at every key.
    ///
    /// # Errors
    /// If something does not fit into the format.
    pub fn plan(export: Export) -> Result<Self, SnapshotError> {
        let keys = export.keys.export();
        let mut planner = Planner::new();
        plan_tables(&mut planner, &export.before_keys)?;
        planner.bucket(Export::KEYS.as_bytes());
        keys.lengths(|key, value_len| planner.entry(key, value_len))?;
        plan_tables(&mut planner, &export.after_keys)?;
        let plan = planner.finish()?;
        Ok(SnapshotFile {
            export,
            keys,
            plan,
            writer: Some(Writer::new(plan)),
            stage: Stage::BeforeKeys,
        })
    }

    /// The length of the file.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.plan.len_bytes()
    }

    /// The next piece. Gives the writer back unless it was the last.
    fn piece(&mut self, mut writer: Writer) -> Result<(Bytes, Option<Writer>), SnapshotError> {
        while writer.ready_bytes() < SNAPSHOT_STEP_BYTES {
            self.stage = match self.stage {
                Stage::BeforeKeys => {
                    write_tables(&mut writer, &self.export.before_keys)?;
                    writer.bucket(Export::KEYS.as_bytes())?;
                    Stage::Keys(ExportPosition::START)
                }
                Stage::Keys(from) => match write_keys(&mut writer, &self.keys, from)? {
                    Some(next) => Stage::Keys(next),
                    None => Stage::AfterKeys,
                },
                Stage::AfterKeys => {
                    write_tables(&mut writer, &self.export.after_keys)?;
                    return Ok((writer.finish()?, None));
                }
            };
        }
        Ok((writer.take(SNAPSHOT_BLOB_BYTES), Some(writer)))
    }
}

impl Iterator for SnapshotFile {
    type Item = Result<Bytes, SnapshotError>;

    fn next(&mut self) -> Option<Self::Item> {
        let writer = self.writer.take()?;
        Some(self.piece(writer).map(|(bytes, writer)| {
            self.writer = writer;
            bytes
        }))
    }
}

fn plan_tables(planner: &mut Planner, buckets: &[TableBucket]) -> Result<(), WriteError> {
    for bucket in buckets {
        planner.bucket(bucket.name.as_bytes());
        for (key, value) in &bucket.entries {
            planner.entry(key, value.len())?;
        }
    }
    Ok(())
}

fn write_tables(writer: &mut Writer, buckets: &[TableBucket]) -> Result<(), WriteError> {
    for bucket in buckets {
        writer.bucket(bucket.name.as_bytes())?;
        for (key, value) in &bucket.entries {
            writer.entry(key, value)?;
        }
    }
    Ok(())
}

/// Writes keys until a piece is full; gives where to go on.
fn write_keys(
    writer: &mut Writer,
    keys: &tenet_mvcc::Export,
    from: ExportPosition,
) -> Result<Option<ExportPosition>, SnapshotError> {
    let mut failed = None;
    let next = keys.entries(from, |key, value| {
        if let Err(error) = writer.entry(key, value) {
            failed = Some(error);
            return ControlFlow::Break(());
        }
        match writer.ready_bytes() < SNAPSHOT_STEP_BYTES {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    });
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(next?),
    }
}
