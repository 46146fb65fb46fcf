//! Nothing is answered before it is durable.

use crate::driver::Driver;
use tenet_base::disk::{DiskError, DiskOp, FilePath};
use tenet_proto::ApiError;

fn syncs(ops: &[DiskOp]) -> usize {
    ops.iter()
        .filter(|op| matches!(op, DiskOp::SyncData { .. }))
        .count()
}

/// A member that leads and has published itself.
fn serving() -> Driver {
    let mut driver = Driver::new();
    driver.settle();
    assert!(
        driver.frontend.progress().is_published(),
        "a sole voter leads at once"
    );
    driver
}

#[test]
fn a_write_is_never_answered_while_the_log_does_not_acknowledge() {
    let mut driver = serving();
    driver.put("client", "k");
    driver.run();
    driver.tick(60);
    assert_eq!(driver.take_answers(), vec![], "the disk has not finished");
    assert_eq!(driver.frontend.views().load().kv.revision().get(), 1);
    driver.tick(20);
    assert_eq!(
        driver.take_answers(),
        vec![("client", Err(ApiError::Timeout))]
    );
    // The outcome was open: it may still be written.
    driver.settle();
    assert_eq!(driver.frontend.views().load().kv.revision().get(), 2);
    assert_eq!(driver.take_answers(), vec![], "nobody is answered twice");
}

#[test]
fn a_write_is_answered_once_its_sync_has_completed() {
    let mut driver = serving();
    driver.put("client", "k");
    driver.run();
    let (_, ops) = driver.disk.submitted.front().unwrap();
    assert_eq!(syncs(ops), 1);
    driver.finish(Ok(()));
    assert_eq!(driver.take_answers(), vec![("client", Ok(()))]);
}

#[test]
fn a_failed_write_ends_the_member_and_answers_nobody() {
    let mut driver = serving();
    driver.put("client", "k");
    driver.run();
    driver.put("later", "k");
    driver.run();
    let path = FilePath::new("member/wal/x.wal");
    let reason = "Input/output error".to_owned();
    driver.finish(Err(DiskError {
        operation: "sync",
        path,
        reason,
        no_space: false,
    }));
    assert_eq!(
        driver.fatal.as_deref(),
        Some("sync member/wal/x.wal: Input/output error")
    );
    assert!(
        driver.disk.submitted.is_empty(),
        "nothing is written after a failed sync"
    );
    assert_eq!(driver.take_answers(), vec![]);
}

#[test]
fn writes_that_come_while_the_disk_works_share_the_next_sync() {
    let mut driver = serving();
    driver.put("first", "a");
    driver.run();
    for who in ["second", "third", "fourth"] {
        driver.put(who, "b");
        driver.run();
    }
    assert_eq!(driver.disk.submitted.len(), 1, "one batch at a time");
    driver.finish(Ok(()));
    assert_eq!(driver.take_answers(), vec![("first", Ok(()))]);
    let (_, ops) = driver.disk.submitted.front().unwrap();
    let writes = ops
        .iter()
        .filter(|op| matches!(op, DiskOp::Write { .. }))
        .count();
    assert_eq!((writes, syncs(ops)), (1, 1));
    driver.finish(Ok(()));
    let answers = driver.take_answers();
    assert_eq!(
        answers,
        vec![("second", Ok(())), ("third", Ok(())), ("fourth", Ok(()))]
    );
}

#[test]
fn reads_wait_for_the_first_commit_of_the_term() {
    let mut driver = Driver::new();
    driver.read("early");
    driver.run();
    while !driver.frontend.progress().reads_alone() {
        assert_eq!(driver.take_answers(), vec![]);
        driver.finish(Ok(()));
    }
    driver.settle();
    assert_eq!(driver.take_answers(), vec![("early", Ok(()))]);
}

#[test]
fn writes_wait_for_a_leader() {
    let mut driver = Driver::new();
    driver.put("early", "k");
    driver.run();
    driver.settle();
    assert_eq!(driver.take_answers(), vec![("early", Ok(()))]);
}
