//! What single members and the cluster say of themselves.

use tenet_proto::etcdserverpb::AlarmType;

use super::{Case, Loose, case, in_every_format, lines};
use crate::servers::Server;

pub(super) fn endpoint() -> Vec<Case> {
    let mut cases = lines(&["put a 1", "put b 2"]);
    for flags in ["", " --cluster"] {
        for line in ["endpoint health", "endpoint status", "endpoint hashkv"] {
            let line = format!("{line}{flags}");
            cases.extend(
                in_every_format(&line)
                    .into_iter()
                    .map(|case| case.loose(&[Loose::Took, Loose::Sizes])),
            );
        }
        let line = format!("defrag{flags}");
        cases.extend(
            in_every_format(&line)
                .into_iter()
                .map(|case| case.loose(&[Loose::Took])),
        );
    }
    let took = |line: &str| case(line).loose(&[Loose::Took, Loose::Sizes]);
    cases.extend([
        took("endpoint health extra arguments"),
        took("endpoint --cluster health"),
        took("end st"),
        took("endpoint hashkv --rev 2 -w json"),
        took("endpoint health --endpoints http://@ENDPOINT@"),
        took("endpoint status --endpoints http://@ENDPOINT@ -w fields"),
        took("endpoint status --endpoints @ENDPOINT@,http://@ENDPOINT@ -w table"),
        took("endpoint status --endpoints @ENDPOINT@,http://@ENDPOINT@ -w json"),
        took("endpoint hashkv --endpoints @ENDPOINT@,unix:member.sock"),
        took("endpoint status --endpoints ' @ENDPOINT@'"),
        took("endpoint health --endpoints @ENDPOINT@,http://@ENDPOINT@").loose(&[Loose::Sorted]),
        took("endpoint status --endpoints ''"),
        took("endpoint status --endpoints '' -w json"),
        took("endpoint status --endpoints '' -w table"),
        took("endpoint hashkv --endpoints '' -w json"),
        took("endpoint health --endpoints '' -w json"),
        took("endpoint health --endpoints '' -w fields"),
        took("endpoint health --endpoints ''"),
        took("endpoint health --endpoints '' --cluster"),
        took("defrag --endpoints ''"),
        took("endpoint status --command-timeout 0s"),
        took("endpoint hashkv --command-timeout 0s"),
        took("endpoint health --command-timeout 0s"),
        took("defrag --command-timeout 0s"),
        took("endpoint status --cluster --command-timeout 0s"),
        took("endpoint health --endpoints @DEAD@ --command-timeout 300ms"),
        took("endpoint health --endpoints @DEAD@,@ENDPOINT@ --command-timeout 300ms -w json"),
        took("endpoint health --endpoints @DEAD@,@ENDPOINT@ --command-timeout 300ms -w table"),
        took("endpoint health --endpoints @DEAD@ --command-timeout 300ms -w fields"),
        took("endpoint status --endpoints @DEAD@,@ENDPOINT@ --command-timeout 300ms"),
        took("endpoint status --endpoints @DEAD@ --command-timeout 300ms -w json"),
        took("endpoint status --endpoints @DEAD@ --command-timeout 300ms -w table"),
        took("endpoint hashkv --endpoints @DEAD@,@ENDPOINT@ --command-timeout 300ms -w fields"),
        took("endpoint hashkv --endpoints @ENDPOINT@,@DEAD@ --command-timeout 300ms"),
        took("defrag --endpoints @DEAD@,@ENDPOINT@ --command-timeout 300ms"),
        took("endpoint status --cluster --endpoints @DEAD@ --command-timeout 300ms"),
        took("endpoint status --cluster --endpoints @DEAD@,@ENDPOINT@"),
    ]);
    cases
}

pub(super) fn member() -> Vec<Case> {
    let mut cases = in_every_format("member list");
    cases.extend(lines(&[
        "member list extra",
        "mem l",
        "member list --consistency s",
        "member list --consistency s -w json",
        "member list --consistency x",
        "member list --linearizable",
        "member list --command-timeout 0s",
        "member list --max-recv-bytes 10",
    ]));
    cases
}

pub(super) fn alarm() -> Vec<Case> {
    let mut cases = in_every_format("alarm list");
    cases.extend(in_every_format("alarm disarm"));
    cases.push(case("put k v").before(|server| {
        server.raise_alarm(7, AlarmType::Nospace.into());
    }));
    cases.extend(
        in_every_format("alarm list")
            .into_iter()
            .map(|case| case.loose(&[Loose::Blanks])),
    );
    cases.extend(
        [
            "endpoint health",
            "endpoint health -w json",
            "endpoint health -w fields",
        ]
        .map(|line| case(line).loose(&[Loose::Took])),
    );
    cases.push(case("endpoint status").loose(&[Loose::Sizes, Loose::Blanks]));
    cases.push(case("endpoint status -w json").loose(&[Loose::Sizes, Loose::Blanks]));
    cases.push(case("endpoint status -w fields").loose(&[Loose::Sizes, Loose::Blanks]));
    cases.push(case("alarm disarm").loose(&[Loose::Blanks]));
    cases.push(case("alarm list"));
    for format in [
        "fields",
        "fields --hex",
        "json",
        "json --hex",
        "protobuf",
        "table",
    ] {
        let raise: fn(&Server) = |server| {
            server.raise_alarm(12_345_678_901_234_567_890, AlarmType::Corrupt.into());
        };
        cases.push(case(&format!("alarm disarm -w {format}")).before(raise));
        cases.push(case("alarm list"));
    }
    cases.push(case("endpoint health").loose(&[Loose::Took]));
    cases.extend(lines(&[
        "alarm list extra",
        "alarm disarm extra",
        "alarm list --command-timeout 0s",
        "alarm disarm --command-timeout 0s",
        "put k v",
    ]));
    cases
}
