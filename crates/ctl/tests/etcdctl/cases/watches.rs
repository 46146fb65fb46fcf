//! Watches: on the command line, of what is compacted, and as standard input asks for them.

use super::{Case, Step, case, in_every_format, lines};

/// The beginning of each chapter, at revisions 2 to 9.
fn history() -> Vec<Case> {
    lines(&[
        "put a 1",
        "put a 2",
        "put b 3",
        "del a",
        "put $'\\xff' $'\\x01\\n\\xfe'",
        "put a 4",
        "put 'ünïcödé' '日本語 <&>'",
        "put z END",
    ])
}

/// What the last change looks like in a format: a part, and the end.
fn last_in(format: &str) -> Step {
    let (part, end) = match format {
        "simple" => ("END", "\n"),
        "simple --hex" => ("\\x45\\x4e\\x44", "\n"),
        "fields" => ("\"END\"", "\"Lease\" : 0\n"),
        "fields --hex" => ("\"END\"", "\"Lease\" : 0000000000000000\n"),
        "json" | "json --hex" => ("RU5E", "\n"),
        _ => ("END", "END"),
    };
    Step::Out(part.to_owned(), end)
}

const FORMATS: &[&str] = &[
    "simple",
    "simple --hex",
    "fields",
    "fields --hex",
    "json",
    "json --hex",
    "protobuf",
    "protobuf --hex",
    "table",
    "yaml",
];

/// A watch that is interrupted once it has shown everything.
fn shown(line: &str) -> Case {
    case(line).steps(&[last_in("simple"), Step::Interrupt])
}

fn seen(line: &str, part: &str, end: &'static str) -> Case {
    case(line).steps(&[Step::Out(part.to_owned(), end), Step::Interrupt])
}

pub(super) fn watch() -> Vec<Case> {
    let mut cases = history();
    for format in FORMATS {
        for line in ["watch '' --prefix --rev 2 --prev-kv", "watch z --rev 1"] {
            let case = case(&format!("{line} -w {format}"));
            cases.push(case.steps(&[last_in(format), Step::Interrupt]));
        }
    }
    cases.extend([
        shown("watch '' --prefix --rev 2"),
        shown("watch --rev 2 --prefix ''"),
        shown("watch --prefix --rev=9 z"),
        shown("watch a zz --rev 6"),
        shown("watch a zz extra --rev 6 --hex=false -- echo END"),
        shown("wat z --rev 0x9"),
        shown("watch z --rev 9 --progress-notify"),
        shown("watch z --rev 9 --endpoints http://@ENDPOINT@"),
        shown("watch z --rev 9 --endpoints @DEAD@,@ENDPOINT@"),
        shown("watch z --rev 9 --command-timeout 0s"),
        shown("watch z --rev 9 --keepalive-time 0s"),
        case("watch z --rev 9").steps(&[last_in("simple"), Step::Terminate]),
        seen("watch a --rev 2", "4", "4\n"),
        seen("watch a --rev 2 --hex", "\\x34", "\\x34\n"),
        case("put n1 v"),
        case("del n1"),
        case("put nEND END"),
        case("watch n --prefix --rev 10 --prev-kv -w json")
            .steps(&[last_in("json"), Step::Interrupt]),
        // What comes while it runs. One change, since of several it depends on the moment whether
        // they come together.
        case("watch ÿ --prefix --rev 13 --prev-kv -w json").steps(&[
            Step::Also("put ÿEND END"),
            last_in("json"),
            Step::Interrupt,
        ]),
        case("get n --prefix -w json"),
        case("watch n --prefix --rev 10 -w fields").steps(&[last_in("fields"), Step::Interrupt]),
    ]);
    cases.extend(programs());
    cases.extend(mistakes());
    cases.extend(in_environment());
    cases
}

/// Programs that are run for each change.
fn programs() -> Vec<Case> {
    let variables = "sh -c 'env | grep ETCD_WATCH_ | sort; echo done'";
    // The last change by then, in quotes only here.
    let wait = [Step::Out("\"nEND\"".to_owned(), "done\n"), Step::Interrupt];
    vec![
        case(&format!("watch '' 'üz' --rev 2 -- {variables}")).steps(&wait),
        case(&format!("watch '' 'üz' --rev 2 -w json -- {variables}")).steps(&wait),
        seen("watch z --rev 9 -- echo a -b --c -- d", "a -b", "d\n"),
        seen("watch z --rev 9 -- cat", "END", "\n"),
        case("watch z --rev 9 -- false"),
        case("watch z --rev 9 -- sh -c 'exit 7'"),
        case("watch z --rev 9 -- sh -c 'kill -9 $$'"),
        case("watch z --rev 9 -- sh -c 'echo to stderr >&2; kill -15 $$'"),
        case("watch z --rev 9 -- no-such-program 'with \"quotes\"'"),
        case("watch z --rev 9 -- ./no-such-program"),
        case("watch z --rev 9 -- ''"),
        case("watch z --rev 9 -- ./"),
        seen("watch z --rev 9 -- echo z END", "z END", "\n"),
    ]
}

fn mistakes() -> Vec<Case> {
    let mut cases = in_every_format("watch b a");
    cases.extend(in_every_format("watch z --rev -1"));
    cases.extend(lines(&[
        "watch",
        "watch --rev 2",
        "watch --prefix",
        "watch --",
        "watch a --",
        "watch a b --",
        "watch -- echo",
        "watch --rev 2 -- echo x",
        "watch a b --prefix",
        "watch a b --prefix -- echo",
        "watch a --rev x",
        "watch a --rev 99999999999999999999",
        "watch a --bogus",
        "watch a --from-key",
        "watch a -w bogus",
        "watch a --prev-kv=maybe",
        "watch a --endpoints ''",
        "watch b a -- echo x",
        "watch a a",
    ]));
    cases
}

fn in_environment() -> Vec<Case> {
    let key = "ETCDCTL_WATCH_KEY";
    let end = "ETCDCTL_WATCH_RANGE_END";
    vec![
        shown("watch --rev 9").env(key, "z"),
        shown("watch --rev 9").env(key, "o").env(end, "zz"),
        shown("watch --rev 9 --prefix").env(key, "z"),
        seen("watch --rev 9 -- echo z END", "z END", "\n").env(key, "z"),
        case("watch --rev 9 --prefix").env(key, "a").env(end, "b"),
        case("watch z --rev 9").env(key, "z"),
        case("watch z --rev 9 -- echo").env(key, "z"),
        case("watch --rev 9 --").env(key, "z"),
        case("watch z").env(end, "zz"),
        case("watch").env(end, "$'\"'"),
    ]
}

pub(super) fn compacted() -> Vec<Case> {
    let mut cases = history();
    cases.push(case("compaction 6"));
    cases.extend(in_every_format("watch a --rev 2"));
    cases.extend([
        case("watch '' --prefix --rev 5 --prev-kv -w json"),
        case("watch a --rev 2 -- echo x"),
        shown("watch '' --prefix --rev 6"),
        shown("watch '' --prefix --rev 7 --prev-kv"),
        // It ends while it waits for more, which is passed over in silence.
        case("watch -i").steps(&[
            Step::Input("watch a --rev 2\n"),
            Step::Err("compacted", "\n"),
            Step::Close,
        ]),
    ]);
    cases
}

/// A line of standard input whose watch shows the last change.
fn asked(input: &'static str) -> Case {
    case("watch -i").steps(&[Step::Input(input), last_in("simple"), Step::Close])
}

/// A line of standard input that is answered on standard error, or ends the program.
fn answered(input: &'static str) -> Case {
    case("watch -i").steps(&[Step::Input(input), Step::Err("Invalid", "\n"), Step::Close])
}

pub(super) fn interactive() -> Vec<Case> {
    let mut cases = history();
    cases.extend([
        asked("watch z --rev 9\n"),
        asked("watch a zz --rev 9\n"),
        asked("  watch   'z'  --rev \"9\"  \n"),
        asked("watch \"\\x7a\" --rev 9\n"),
        asked("watch z --prefix --rev 9 --prev-kv\n"),
        case("watch -i").steps(&[
            Step::Input("watch z --rev 9 -- echo z END\n"),
            Step::Out("z END".to_owned(), "\n"),
            Step::Close,
        ]),
        case("watch -i --prefix --rev 2 z").steps(&[
            Step::Input("watch z --rev 9\n"),
            last_in("simple"),
            Step::Close,
        ]),
        case("watch -i -w json").steps(&[
            Step::Input("watch z --rev 9\n"),
            last_in("json"),
            Step::Input("watch a --rev 7\n"),
            Step::Out("NA==".to_owned(), "\n"),
            Step::Close,
        ]),
        case("watch -i").steps(&[
            Step::Input("watch z --rev 9\n"),
            last_in("simple"),
            Step::Input("progress\n"),
            Step::Out("progress".to_owned(), "notify: 9\n"),
            Step::Close,
        ]),
        case("watch -i -w json").steps(&[
            Step::Input("watch z --rev 9\n"),
            last_in("json"),
            Step::Input("progress\n"),
            Step::Out("notify: 9\n{".to_owned(), "\n"),
            Step::Close,
        ]),
        case("watch -i").steps(&[
            Step::Input("watch z --rev 9 -- false\n"),
            Step::Err("error", "\n"),
        ]),
        case("watch -i").steps(&[
            Step::Input("watch b a\n"),
            Step::Err("canceled", "\n"),
            Step::Close,
        ]),
        case("watch -i").steps(&[Step::Input("watch z --rev 9"), Step::Close]),
        case("watch -i").steps(&[
            Step::Input("watch z --rev 9\n"),
            last_in("simple"),
            Step::Interrupt,
        ]),
        case("watch -i").stdin(""),
        case("watch -i").stdin("progress\n"),
        case("watch -i z").stdin(""),
        answered("\n"),
        answered("bogus\n"),
        answered("get a\n"),
        answered("WATCH a\n"),
        answered("watch\n"),
        answered("watch  \n"),
        answered("watch a b --prefix\n"),
        answered("watch a --\n"),
        answered("watch --rev 9\n"),
        answered("watch a --bogus\n"),
        answered("watch a --rev x\n"),
        answered("watch a -h\n"),
        answered("watch \"\\q\"\n"),
        answered("watch -- echo\n"),
    ]);
    let key = "ETCDCTL_WATCH_KEY";
    cases.extend([
        asked("watch --rev 9\n").env(key, "z"),
        case("watch -i").env(key, "z").steps(&[
            Step::Input("watch --rev 9 -- echo z END\n"),
            Step::Out("z END".to_owned(), "\n"),
            Step::Close,
        ]),
        answered("watch z --rev 9\n").env(key, "z"),
        case("watch -i")
            .stdin("")
            .env("ETCDCTL_WATCH_RANGE_END", "z"),
    ]);
    cases
}
