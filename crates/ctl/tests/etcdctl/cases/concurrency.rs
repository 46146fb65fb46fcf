//! Locks and elections.

use super::{Case, Loose, Step, case, lines};

fn held(line: &str, end: &'static str) -> Case {
    let steps = [Step::Out(String::new(), end), Step::Interrupt];
    case(line).steps(&steps).loose(&[Loose::Ids])
}

pub(super) fn lock() -> Vec<Case> {
    let mut cases = lines(&["put other 1"]);
    cases.extend([
        held("lock l", "\n\n"),
        held("lock l --hex", "\n\n"),
        held("lock l -w fields", "\"Count\" : 1\n"),
        held("lock l -w json", "\n"),
        held("lock l --ttl 20", "\n\n"),
        held("lock l --ttl 0", "\n\n"),
        held("lock l --ttl -3", "\n\n"),
        case("lock l")
            .steps(&[Step::Out(String::new(), "\n\n"), Step::Terminate])
            .loose(&[Loose::Ids]),
        case("lock l -w table"),
        case("get l --prefix --keys-only").loose(&[Loose::Ids]),
        // The order of waiting: an older key holds the lock until it is deleted.
        case("lock w")
            .before(|server| server.put("w/1", "x"))
            .steps(&[
                Step::Keys("w/", 2),
                Step::Also("del w/1"),
                Step::Out(String::new(), "\n\n"),
                Step::Interrupt,
            ])
            .loose(&[Loose::Ids]),
        case("lock w")
            .before(|server| server.put("w/1", "x"))
            .steps(&[Step::Keys("w/", 2), Step::Watches(1), Step::Interrupt]),
        case("get w --prefix"),
        case("lock w true")
            .before(|server| server.put("w/1", "x"))
            .steps(&[Step::Keys("w/", 2), Step::Watches(1), Step::Terminate]),
        case("get w --prefix"),
        case("lock l")
            .steps(&[
                Step::Out(String::new(), "\n\n"),
                Step::Also("del l/ --prefix"),
                Step::Interrupt,
            ])
            .loose(&[Loose::Ids]),
    ]);
    for program in [
        "true",
        "false",
        "sh -c 'exit 7'",
        "sh -c 'kill -9 $$'",
        "sh -c 'echo $ETCD_LOCK_KEY; echo out; echo err >&2; exit 200'",
        "-- sh -c 'cat; echo read'",
        "no-such-program",
        "./no-such-program",
        "''",
        "./",
        "echo a b c",
        "-w json true",
    ] {
        cases.push(case(&format!("lock l {program}")).loose(&[Loose::Ids]));
        cases.push(case("get l --prefix"));
    }
    cases.push(case("lock l -- sh -c 'echo $ETCD_LOCK_KEY'").env("ETCD_LOCK_KEY", "before"));
    cases.push(
        case("lock l -- sh -c 'trap : INT; echo up; read x; sleep 0.1 & wait; exit 3'")
            .steps(&[Step::Out("up".to_owned(), "\n"), Step::Interrupt]),
    );
    cases.extend(lines(&[
        "lock",
        "lock --ttl x l",
        "lock --bogus l",
        "lock l --endpoints ''",
        "lock l -w bogus",
    ]));
    cases
}

pub(super) fn elect() -> Vec<Case> {
    let mut cases = lines(&["put other 1"]);
    cases.extend([
        held("elect e v", "v\n"),
        held("elect e v --hex", "\\x76\n"),
        held("elect e v -w fields", "\"Count\" : 1\n"),
        held("elect e v -w json", "\n"),
        held("elect e 'two words'", "words\n"),
        case("elect e v")
            .steps(&[Step::Out(String::new(), "v\n"), Step::Terminate])
            .loose(&[Loose::Ids]),
        case("elect e v -w table"),
        case("get e --prefix --keys-only").loose(&[Loose::Ids]),
        case("elect w v")
            .before(|server| server.put("w/1", "x"))
            .steps(&[
                Step::Keys("w/", 2),
                Step::Also("del w/1"),
                Step::Out(String::new(), "v\n"),
                Step::Interrupt,
            ])
            .loose(&[Loose::Ids]),
        case("elect w v")
            .before(|server| server.put("w/1", "x"))
            .steps(&[Step::Keys("w/", 2), Step::Watches(1), Step::Interrupt]),
        case("get w --prefix"),
        case("del w/1"),
    ]);
    for format in [
        "simple",
        "simple --hex",
        "fields",
        "json",
        "protobuf",
        "table",
    ] {
        let end = match format {
            "simple" => "three\n",
            "simple --hex" => "\\x65\n",
            "fields" => "\"Count\" : 0\n",
            "json" => "}\n",
            _ => "three",
        };
        let part = match format {
            "simple --hex" => "\\x74\\x68\\x72\\x65\\x65",
            "json" => "dGhyZWU=",
            _ => "three",
        };
        cases.push(case("put o/1 one"));
        cases.push(
            case(&format!("elect -l o -w {format}")).steps(&[
                Step::Out(
                    if format.starts_with("json") {
                        "b25l"
                    } else if format == "simple --hex" {
                        "\\x6f\\x6e\\x65"
                    } else {
                        "one"
                    }
                    .to_owned(),
                    if format == "protobuf" { "one" } else { "\n" },
                ),
                Step::Also("put o/2 later"),
                Step::Also("put o/1 two"),
                Step::Also("del o/1"),
                Step::Also("put o/2 three"),
                Step::Out(part.to_owned(), end),
                Step::Interrupt,
            ]),
        );
        cases.push(case("del o --prefix"));
    }
    cases.extend([case("elect --listen n").steps(&[
        Step::Also("put n/5 five"),
        Step::Out("five".to_owned(), "\n"),
        Step::Also("del n/5"),
        Step::Also("put n/6 six"),
        Step::Out("six".to_owned(), "\n"),
        Step::Terminate,
    ])]);
    cases.extend(lines(&[
        "elect",
        "elect e",
        "elect e v extra",
        "elect -l e v",
        "elect -l",
        "elect --bogus e v",
        "elect e v -w bogus",
        "elect e v --endpoints ''",
    ]));
    cases
}
