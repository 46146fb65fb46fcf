//! Leases.

use super::{Case, Loose, Step, case, in_every_format, lines};

pub(super) fn lease() -> Vec<Case> {
    let mut cases = in_every_format("lease list");
    // The same ids on both servers. This one is the smallest and the oldest, since leases that run
    // out in the same instant are listed by their ids.
    cases.push(case("lease list").before(|server| server.grant(-5)));
    cases.extend(
        in_every_format("lease grant 100000")
            .into_iter()
            .map(|case| case.loose(&[Loose::Ids])),
    );
    cases.push(case("put leased v --lease 1d23").before(|server| server.grant(7459)));
    for line in ["lease timetolive 1d23", "lease timetolive 1d23 --keys"] {
        let cases_of_line = in_every_format(line).into_iter();
        cases.extend(cases_of_line.map(|case| case.loose(&[Loose::Left])));
    }
    cases.extend(in_every_format("lease timetolive 77"));
    cases.extend(
        in_every_format("lease timetolive -5")
            .into_iter()
            .map(|case| case.loose(&[Loose::Left])),
    );
    cases.extend(in_every_format("lease keep-alive --once 1d23"));
    cases.extend(in_every_format("lease keep-alive --once 77"));
    cases.extend(in_every_format("lease keep-alive 77"));
    cases.extend(
        in_every_format("lease list")
            .into_iter()
            .map(|case| case.loose(&[Loose::Ids])),
    );
    for (format, end) in [
        ("simple", "\n"),
        ("simple --hex", "\n"),
        ("fields", "\"TTL\" : 100000\n"),
        ("fields --hex", "\"TTL\" : 100000\n"),
        ("json", "}\n"),
        ("protobuf", "\u{2}"),
    ] {
        let steps = [Step::Out(String::new(), end), Step::Interrupt];
        cases.push(case(&format!("lease keep-alive 1d23 -w {format}")).steps(&steps));
    }
    // While it is kept alive it is revoked, which it is told when it is renewed next.
    cases.extend([
        case("lease grant 2").loose(&[Loose::Ids]),
        case("lease keep-alive 1d23 -w table"),
        case("lease keep-alive 1d23").steps(&[Step::Out(String::new(), "\n"), Step::Terminate]),
    ]);
    cases.extend(revocations());
    cases.extend(lines(&[
        "lease grant",
        "lease grant x",
        "lease grant 1 2",
        "lease grant 9000000001",
        "lease grant 99999999999999999999",
        "lease grant 0x10",
        "lease grant -w bogus 100",
        "lease grant 100 --command-timeout 0s",
        "lease revoke",
        "lease revoke x",
        "lease revoke 1 2",
        "lease revoke 1d23 --command-timeout 0s",
        "lease timetolive",
        "lease timetolive xyz",
        "lease timetolive 1 2",
        "lease timetolive 1 --bogus",
        "lease timetolive 0",
        "lease list --bogus",
        "lease keep-alive",
        "lease keep-alive xyz",
        "lease keep-alive 1 2",
        "lease keep-alive --once",
        "lease keep-alive --once ffffffffffffffffff",
        "lease gra",
    ]));
    cases.push(case("lease").loose(&[Loose::Help]));
    cases.push(case("lease bogus").loose(&[Loose::Help]));
    cases.push(case("lease list extra").loose(&[Loose::Ids]));
    cases.push(case("lease grant -- -100").loose(&[Loose::Ids]));
    cases.push(case("lease grant 0").loose(&[Loose::Ids]));
    cases
}

fn revocations() -> Vec<Case> {
    let mut cases = Vec::new();
    for format in [
        "simple",
        "simple --hex",
        "fields",
        "fields --hex",
        "json",
        "protobuf",
        "table",
    ] {
        cases.push(
            case(&format!("lease revoke 2b67 -w {format}")).before(|server| server.grant(11_111)),
        );
        cases.push(case(&format!("lease revoke 2b67 -w {format}")));
    }
    cases.extend(lines(&[
        "lease revoke -5",
        "lease revoke -- -5",
        "lease revoke 1d23",
        "get leased",
    ]));
    cases
}
