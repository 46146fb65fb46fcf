//! Measurements of the cluster: their refusals, and the one that does not take a minute.

use super::{Case, Loose, case, lines};

pub(super) fn check() -> Vec<Case> {
    let mut cases = lines(&[
        "check perf --load bogus",
        "check perf --load S",
        "check datascale --load ''",
        "check perf --bogus",
        "put /etcdctl-check-perf/a 1",
        "put /etcdctl-check-datascale/a 1",
        "put 'mine \"x\"' 1",
        "check perf",
        "check perf --load small",
        "check datascale",
        "check datascale --load xLarge",
        "check perf --prefix mine",
        "check datascale --prefix mine --load m",
        "del /etcdctl-check --prefix",
    ]);
    cases.extend(["check", "check bogus"].map(|line| case(line).loose(&[Loose::Help])));
    for flags in ["", " --auto-compact --auto-defrag"] {
        let line = format!("check datascale --load s{flags}");
        cases.push(case(&line).loose(&[Loose::Measured]));
    }
    cases.push(case("get '' --prefix --keys-only"));
    cases
}
