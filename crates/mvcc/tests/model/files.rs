//! Running the store's jobs on a disk in memory.

use bytes::Bytes;
use tenet_base::memory_disk::MemoryDisk;
use tenet_mvcc::Mvcc;
use tenet_store::Job;

/// Runs a job to its end. `between` is done to the store after each step.
pub(crate) fn run(
    mut job: Job,
    mvcc: &mut Mvcc,
    disk: &mut MemoryDisk,
    mut between: impl FnMut(&mut Mvcc),
) {
    while let Some(ops) = job.step().expect("readable") {
        disk.run(ops).expect("possible");
        between(mvcc);
    }
    mvcc.finished(job.finish(disk).expect("there"));
}

/// Makes what was published durable.
pub(crate) fn flush(
    mvcc: &mut Mvcc,
    disk: &mut MemoryDisk,
    with_index: bool,
    between: impl FnMut(&mut Mvcc),
) {
    let tables = Box::new(std::iter::once(Bytes::from_static(b"tables")));
    let job = mvcc.flush(tables, with_index);
    run(job, mvcc, disk, between);
}

/// Gives back what room may be given back.
pub(crate) fn rewrite(mvcc: &mut Mvcc, disk: &mut MemoryDisk) {
    while let Some(job) = mvcc.rewrite() {
        run(job, mvcc, disk, |_| {});
    }
}
