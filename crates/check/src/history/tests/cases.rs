//! Small histories by hand, for what random ones meet seldom.

use super::super::*;

const S: i64 = 1_000_000_000;

/// Operations at given times; ids are their places.
#[derive(Default)]
struct Builder {
    history: History,
}

impl Builder {
    fn op(
        mut self,
        call: i64,
        returned: i64,
        request: Request,
        answer: Option<(i64, Answer)>,
    ) -> Builder {
        let id = self.history.lines.len() as u64;
        let (revision, answer) =
            answer.map_or((0, None), |(revision, answer)| (revision, Some(answer)));
        self.history.lines.push(Line::Op(Operation {
            id,
            client: id,
            call,
            returned,
            request,
            revision,
            answer,
        }));
        self
    }

    fn put(self, call: i64, returned: i64, value: &str, revision: i64) -> Builder {
        let answer = (revision > 0).then(|| (revision, Answer::Put(PutAnswer::default())));
        self.op(call, returned, put("k", value, 0), answer)
    }

    /// A read of `k` that finds a value of a revision and version, or nothing.
    fn read(
        self,
        call: i64,
        returned: i64,
        header: i64,
        found: Option<(&str, i64, i64, i64)>,
    ) -> Builder {
        let kvs: Vec<Kv> = found
            .map(|(value, created, modified, version)| Kv {
                key: "k".into(),
                value: value.into(),
                created,
                modified,
                version,
                lease: 0,
            })
            .into_iter()
            .collect();
        let answer = RangeAnswer {
            count: kvs.len() as i64,
            kvs,
            more: false,
        };
        self.op(
            call,
            returned,
            read("k", 0),
            Some((header, Answer::Range(answer))),
        )
    }

    fn grant(self, call: i64, returned: i64, lease: i64, ttl: i64) -> Builder {
        let grant = Grant { lease, ttl };
        self.op(
            call,
            returned,
            Request::Grant(grant.clone()),
            Some((1, Answer::Grant(grant))),
        )
    }

    fn renewal(self, call: i64, returned: i64, lease: i64, ttl: i64) -> Builder {
        let answer = LeaseAnswer {
            ttl,
            ..LeaseAnswer::default()
        };
        self.op(
            call,
            returned,
            Request::KeepAlive(LeaseName { lease }),
            Some((0, Answer::Lease(answer))),
        )
    }

    fn verdict(&self) -> Result<Report, String> {
        let report = check(&self.history);
        match report.violations.first() {
            None => Ok(report),
            Some(violation) => Err(violation.to_string()),
        }
    }

    #[track_caller]
    fn refused(&self, with: &str) {
        let text = self.verdict().expect_err("it must be refused");
        assert!(text.contains(with), "{text}");
    }
}

fn put(key: &str, value: &str, lease: i64) -> Request {
    Request::Put(Put {
        key: key.into(),
        value: value.into(),
        lease,
        prev_kv: false,
    })
}

fn read(key: &str, revision: i64) -> Request {
    Request::Range(Range {
        keys: Keys {
            key: key.into(),
            end: String::new(),
        },
        revision,
        ..Range::default()
    })
}

#[test]
fn an_acknowledged_write_may_not_be_missed_by_a_later_read() {
    let good = Builder::default()
        .put(1, 5, "a", 2)
        .read(6, 9, 2, Some(("a", 2, 2, 1)));
    good.verdict().unwrap();
    // While they overlap the read may come first.
    Builder::default()
        .put(1, 5, "a", 2)
        .read(5, 9, 1, None)
        .verdict()
        .unwrap();
    Builder::default()
        .put(1, 5, "a", 2)
        .read(6, 9, 1, None)
        .refused("revision 1 was told after 2");
    Builder::default()
        .put(1, 5, "a", 2)
        .read(6, 9, 2, None)
        .refused("by the model its answer is");
}

#[test]
fn a_lost_write_happens_at_any_later_time_or_never() {
    let lost = || Builder::default().put(1, 2, "a", 0);
    let seen = Some(("a", 2, 2, 1));
    assert_eq!(lost().read(10, 11, 1, None).verdict().unwrap().lost_done, 0);
    assert_eq!(lost().read(10, 11, 2, seen).verdict().unwrap().lost_done, 1);
    lost()
        .read(10, 11, 1, None)
        .read(20, 21, 2, seen)
        .verdict()
        .unwrap();
    // But not before it was sent, not twice, and not to be taken back.
    Builder::default()
        .read(0, 0, 2, seen)
        .put(1, 2, "a", 0)
        .refused("no order");
    lost()
        .read(10, 11, 2, seen)
        .read(20, 21, 3, Some(("a", 2, 3, 2)))
        .refused("revision 3");
    lost()
        .read(10, 11, 2, seen)
        .read(20, 21, 2, None)
        .refused("no order");
}

#[test]
fn of_two_lost_writes_the_one_is_chosen_that_a_later_read_tells() {
    for value in ["a", "b"] {
        let history = Builder::default()
            .put(1, 2, "a", 0)
            .put(1, 2, "b", 0)
            .put(5, 6, "c", 3);
        let compare = Compare {
            keys: Keys {
                key: "k".into(),
                end: String::new(),
            },
            result: Comparison::Equal,
            with: Operand::Value("c".into()),
        };
        let txn = Txn {
            compare: vec![compare],
            ..Txn::default()
        };
        let answer = Answer::Txn(TxnAnswer {
            succeeded: true,
            results: vec![],
        });
        let old = Kv {
            key: "k".into(),
            value: value.into(),
            created: 2,
            modified: 2,
            version: 1,
            lease: 0,
        };
        let old = RangeAnswer {
            kvs: vec![old],
            count: 1,
            more: false,
        };
        history
            .op(7, 8, Request::Txn(txn), Some((3, answer)))
            .op(9, 10, read("k", 2), Some((3, Answer::Range(old))))
            .verdict()
            .unwrap();
    }
}

#[test]
fn a_revision_that_nobody_saw_is_chosen_by_what_follows_from_it() {
    // Nobody has seen revision 2; that the put which follows makes version 1 tells which it was.
    let delete = Request::Delete(Delete {
        keys: Keys {
            key: "k".into(),
            end: String::new(),
        },
        prev_kv: false,
    });
    let history = |version| {
        Builder::default()
            .put(1, 2, "first", 2)
            .put(3, 4, "lost", 0)
            .op(3, 4, delete.clone(), None)
            .put(5, 6, "b", 4)
            .read(
                7,
                8,
                4,
                Some(("b", if version == 1 { 4 } else { 2 }, 4, version)),
            )
    };
    assert!(
        history(1).verdict().unwrap().taken_back > 0,
        "the put is tried first"
    );
    history(3).verdict().unwrap();
    history(2).refused("no order");
}

#[test]
fn a_lease_ends_by_itself_but_not_before_its_time() {
    let history = |gone_at| {
        Builder::default()
            .grant(0, 1, 7, 2)
            .renewal(S, S + 1, 7, 2)
            .renewal(gone_at - 1, gone_at, 7, 0)
    };
    assert_eq!(history(3 * S).verdict().unwrap().expired, 1);
    history(3 * S - 1).refused("no lease or compaction in its time explains it");
    // Once it has ended it does not come back.
    history(3 * S)
        .renewal(3 * S + 1, 3 * S + 2, 7, 2)
        .refused("no order");
}

#[test]
fn the_keys_of_a_lease_go_in_one_revision_with_it() {
    let attached = |revision| Some((revision, Answer::Put(PutAnswer::default())));
    let base = || {
        Builder::default()
            .grant(0, 1, 7, 2)
            .op(2, 3, put("a", "1", 7), attached(2))
            .op(4, 5, put("k", "2", 7), attached(3))
    };
    let revoke = |revision| {
        (
            Request::Revoke(LeaseName { lease: 7 }),
            Some((revision, Answer::Done)),
        )
    };
    let (request, answer) = revoke(4);
    base()
        .op(6, 7, request, answer)
        .read(8, 9, 4, None)
        .verdict()
        .unwrap();
    let (request, answer) = revoke(3);
    base()
        .op(6, 7, request, answer)
        .read(8, 9, 3, None)
        .refused("no order");
    // Nothing but the end of the lease can have made revision 4, and that not before its time.
    base().read(2 * S, 2 * S + 1, 4, None).verdict().unwrap();
    base()
        .read(S, S + 1, 4, None)
        .refused("nothing that was sent can have made revision 4");
    base().read(2 * S, 2 * S + 1, 5, None).refused("revision 5");
}

#[test]
fn a_lease_whose_grant_was_lost_exists_if_it_is_used() {
    let grant = Request::Grant(Grant { lease: 7, ttl: 60 });
    let lost = || Builder::default().op(0, 1, grant.clone(), None);
    let done = Some((2, Answer::Put(PutAnswer::default())));
    let refused = Some((0, Answer::Refused(Refusal::LeaseNotFound)));
    lost()
        .op(2, 3, put("a", "1", 7), done.clone())
        .verdict()
        .unwrap();
    lost()
        .op(2, 3, put("a", "1", 7), refused.clone())
        .verdict()
        .unwrap();
    lost()
        .op(2, 3, put("a", "1", 7), refused.clone())
        .op(4, 5, put("a", "2", 7), done.clone())
        .verdict()
        .unwrap();
    lost()
        .op(2, 3, put("a", "1", 7), done)
        .op(4, 5, put("a", "2", 7), refused)
        .refused("no lease");
    let exists = Some((0, Answer::Refused(Refusal::LeaseExists)));
    lost()
        .op(2, 3, grant.clone(), exists.clone())
        .verdict()
        .unwrap();
    Builder::default()
        .op(2, 3, grant.clone(), exists)
        .refused("no lease");
}

#[test]
fn a_lost_compaction_explains_what_is_refused_after_it_and_nothing_before() {
    let compact = Request::Compact(Compact { revision: 3 });
    let refused = Some((0, Answer::Refused(Refusal::Compacted)));
    let found = |revision| {
        let kv = Kv {
            key: "k".into(),
            value: "a".into(),
            created: 2,
            modified: 2,
            version: 1,
            lease: 0,
        };
        Some((
            revision,
            Answer::Range(RangeAnswer {
                kvs: vec![kv],
                count: 1,
                more: false,
            }),
        ))
    };
    let base = || {
        Builder::default()
            .put(1, 2, "a", 2)
            .put(3, 4, "b", 3)
            .op(5, 6, compact.clone(), None)
    };
    base()
        .op(7, 8, read("k", 2), found(3))
        .op(9, 10, read("k", 2), refused.clone())
        .verdict()
        .unwrap();
    base()
        .op(7, 8, read("k", 2), refused.clone())
        .op(9, 10, read("k", 2), found(3))
        .refused("no order");
    Builder::default()
        .put(1, 2, "a", 2)
        .op(7, 8, read("k", 1), refused)
        .refused("no lease or compaction");
}

#[test]
fn two_compactions_at_once_are_put_in_their_order() {
    let done = |revision| Some((revision, Answer::Done));
    let compact = |revision| Request::Compact(Compact { revision });
    Builder::default()
        .put(1, 2, "a", 2)
        .put(3, 4, "b", 3)
        .op(5, 20, compact(2), done(3))
        .op(5, 10, compact(3), done(3))
        .verdict()
        .unwrap();
    Builder::default()
        .put(1, 2, "a", 2)
        .put(3, 4, "b", 3)
        .op(5, 10, compact(3), done(3))
        .op(11, 20, compact(2), done(3))
        .refused("the model refuses it");
}

#[test]
fn what_one_compaction_refuses_does_not_put_it_before_a_smaller_one() {
    let done = |revision| Some((revision, Answer::Done));
    let compact = |revision| Request::Compact(Compact { revision });
    let refused = Some((0, Answer::Refused(Refusal::Compacted)));
    Builder::default()
        .put(1, 2, "a", 2)
        .put(3, 4, "b", 3)
        .put(5, 6, "c", 4)
        .op(7, 30, compact(3), done(4))
        .op(8, 20, compact(4), done(4))
        .op(9, 10, read("k", 3), refused)
        .verdict()
        .unwrap();
}

#[test]
fn nonsense_is_refused_before_anything_is_searched() {
    let put = |id| match Builder::default().put(1, 2, "a", 2).history.lines.remove(0) {
        Line::Op(op) => Operation { id, ..op },
        _ => unreachable!("it is an operation"),
    };
    let refused = |ops: Vec<Operation>, with: &str| {
        let lines = ops.into_iter().map(Line::Op).collect();
        let report = check(&History { lines });
        assert_eq!(report.violations[0].property, Property::Form);
        assert!(
            report.violations[0].what.contains(with),
            "{}",
            report.violations[0]
        );
    };
    refused(vec![put(1), put(1)], "used twice");
    refused(
        vec![Operation {
            returned: 0,
            ..put(1)
        }],
        "before it was asked",
    );
    refused(
        vec![Operation {
            answer: Some(Answer::Done),
            ..put(1)
        }],
        "kind",
    );
    refused(
        vec![Operation {
            revision: 0,
            ..put(1)
        }],
        "names no revision",
    );
}
