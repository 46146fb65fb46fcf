//! The command line, the environment, and ways not to get through.

use super::{Case, Loose, case, lines};

/// Lines that say all that they have to say without a server. What etcdctl says to them is recorded.
pub(crate) fn offline() -> Vec<Case> {
    let mut cases: Vec<Case> = [
        "",
        "--help",
        "-h",
        "help",
        "help get",
        "help endpoint status",
        "get --help",
        "get -h",
        "--help get",
        "endpoint",
        "endpoint bogus",
        "endpoint --help status",
        "alarm",
        "member",
        "lease",
        "user",
        "role",
        "auth",
        "check",
        "downgrade",
        "snapshot",
        "options",
        "watch --help",
        "lease grant --help",
        "u",
        "hel",
        "-w json",
        "-- get a",
        "help get bogus",
        "completion bash",
        "completion zsh",
        "completion fish",
        "completion powershell",
    ]
    .iter()
    .map(|line| case(line).loose(&[Loose::Help]))
    .collect();
    cases.extend(lines(&[
        "version",
        "version extra",
        "version -w json",
        "version --bogus",
        "version -w bogus",
        "bogus",
        "bogus --help",
        "gt",
        "e",
        "comp",
        "m",
        "--bogus",
        "--bogus get a",
        "--bogus=1 get a",
        "-x get a",
        "-w",
        "get -w",
        "get --write-out",
        "get a --bogus",
        "get a --bogus=x",
        "get a -x",
        "get a -xyz",
        "get a -hx",
        "get a -'\'",
        "get a -é",
        "get a --prefix=maybe",
        "get a --prefix maybe",
        "get a --limit",
        "get a --limit=",
        "get a --limit ''",
        "get a --limit x",
        "get a --limit 1.5",
        "get a --limit 99999999999999999999",
        "get a --limit -99999999999999999999",
        "get a --limit 0x",
        "get a --limit 08",
        "get a --=x",
        "get a ---x",
        "get a --command-timeout 5",
        "get a --command-timeout ''",
        "get a --command-timeout 5x",
        "get a --command-timeout '\"'",
        "get a -wbogus",
        "get a -w ''",
        "get a -w JSON",
        "get a --max-request-bytes x",
        "get a --endpoints '\"a'",
        "get a --endpoints 'a\"b'",
        "get a --endpoints '\"a\"b'",
        "get a --cert ''",
        "get a --key ''",
        "get a --cacert ''",
        "get a --cert '' -w bogus",
        "endpoint status --rev 5",
        "endpoint --rev 5 hashkv",
        "alarm list --cluster",
        "completion",
        "completion tcsh",
        "completion bash zsh",
        "help bogus",
        "help bogus words",
        "__complete completion ''",
        "get",
        "get --prefix --from-key a",
        "get --keys-only --count-only a",
        "get a b --prefix",
        "get a --consistency x",
        "get a --order sideways",
        "get a --sort-by size",
        "get a --min-mod-rev 5 --max-mod-rev 4",
        "get a --min-create-rev 5 --max-create-rev 4",
        "put",
        "put k v --ignore-value",
        "put k v --lease zz",
        "put k v --lease ffffffffffffffffff",
        "del",
        "del a b c",
        "del a b --from-key",
        "compaction",
        "compaction x",
        "txn extra",
        "member list --consistency x",
        "alarm list extra",
        "alarm disarm extra",
        "get a --max-recv-bytes 20 --max-request-bytes 30",
        "endpoint status --endpoints '' -w json",
        "endpoint health --endpoints '' -w table",
        "get a --endpoints ''",
        "watch",
        "watch a --",
        "watch a b --prefix",
        "watch a --rev x",
        "watch a --from-key",
        "lease grant",
        "lease grant x",
        "lease revoke x y",
        "lease revoke xyz",
        "lease timetolive",
        "lease keep-alive xyz",
        "lock",
        "lock l --ttl x",
        "elect",
        "elect e",
        "elect -l e v",
        "elect e v extra",
        "check perf --load bogus",
        "check datascale --load ''",
    ]));
    cases.extend([
        case("put k").stdin(""),
        case("txn").stdin(""),
        case("txn").stdin("\n\n"),
        case("txn -i").stdin("bad\n"),
        case("txn").stdin("mod(k) > \"1\"\n"),
        case("txn").stdin("mod(\"k\")>\"1\"\n"),
        case("txn").stdin("foo(\"k\") > \"1\"\n"),
        case("txn").stdin("\nget k --bogus\n"),
        case("txn").stdin("\nput k\n"),
        case("txn").stdin("\nput \"\\q\" x\n"),
        case("get a --hex")
            .env("ETCDCTL_HEX", "true")
            .env("ETCDCTL_API", "3"),
        case("get a -w bogus").env("ETCDCTL_FOO", "bar=baz"),
        case("watch").env("ETCDCTL_WATCH_RANGE_END", "z"),
        case("watch a").env("ETCDCTL_WATCH_KEY", "z"),
        case("watch -i").stdin(""),
        case("watch -i").stdin("bogus\nwatch\n\nget a"),
        case("watch -i").stdin("watch a --bogus\n"),
        case("watch -i").stdin("watch \"\\q\"\n"),
    ]);
    for case in &mut cases {
        case.uses_server = false;
        case.sets_up = false;
    }
    cases
}

pub(super) fn command_line() -> Vec<Case> {
    let mut cases = offline();
    cases.extend(lines(&[
        "put a b",
        "ge a",
        "get -- a",
        "get a -- -w json",
        "get a --prefix=TRUE",
        "get a --command-timeout 1h -w json",
        "get a -wjson",
        "get a -w=json",
        "get a --write-out=fields",
        "get a --hex=false",
    ]));
    cases
}

pub(super) fn environment() -> Vec<Case> {
    vec![
        case("put a b"),
        case("get a").env("ETCDCTL_WRITE_OUT", "json"),
        case("get a").env("ETCDCTL_WRITE_OUT", "bogus"),
        case("get a").env("ETCDCTL_WRITE_OUT", ""),
        case("get a -w fields").env("ETCDCTL_WRITE_OUT", "json"),
        case("get a").env("ETCDCTL_HEX", "true"),
        case("get a").env("ETCDCTL_HEX", "maybe"),
        case("get a").env("ETCDCTL_API", "3"),
        case("get a").env("ETCDCTL_API", ""),
        case("get a").env("ETCDCTL_FOO", "bar=baz"),
        case("get a").env("ETCDCTL_", "x"),
        case("get a").env("ETCDCTL_PREFIX", "true"),
        case("get a").env("ETCDCTL_CLUSTER", "true"),
        case("endpoint status")
            .env("ETCDCTL_CLUSTER", "true")
            .loose(&[Loose::Sizes]),
        case("endpoint status -w json")
            .env("ETCDCTL_CLUSTER", "true")
            .loose(&[Loose::Sizes]),
        case("defrag")
            .env("ETCDCTL_CLUSTER", "true")
            .loose(&[Loose::Took]),
        case("get a --endpoints @ENDPOINT@").env("ETCDCTL_ENDPOINTS", "x"),
        case("get a --endpoints @ENDPOINT@").env("ETCDCTL_ENDPOINTS", ""),
        case("get a --endpoints @ENDPOINT@").env("ETCDCTL_DISCOVERY_SRV", ""),
        case("get a --hex")
            .env("ETCDCTL_HEX", "true")
            .env("ETCDCTL_API", "3"),
        case("put b c").env("ETCDCTL_COMMAND_TIMEOUT", "0s"),
        case("get a").env("ETCDCTL_COMMAND_TIMEOUT", "0s"),
        case("member list").env("ETCDCTL_COMMAND_TIMEOUT", "0s"),
        case("alarm list").env("ETCDCTL_COMMAND_TIMEOUT", "0s"),
        case("compaction 1").env("ETCDCTL_COMMAND_TIMEOUT", "0s"),
        case("endpoint hashkv").env("ETCDCTL_COMMAND_TIMEOUT", "0s"),
        case("get a").env("ETCDCTL_MAX_RECV_BYTES", "10"),
        case("get a").env("ETCDCTL_MAX_RECV_BYTES", "x"),
        case("get a").env("ETCDCTL_ENDPOINTS", "http://@ENDPOINT@"),
        case("get a").env("ETCDCTL_ENDPOINTS", "@DEAD@,@ENDPOINT@"),
        case("get a").env("ETCDCTL_KEEPALIVE_TIME", "soon"),
        case("version").env("ETCDCTL_FOO", "bar"),
        case("get --bogus").env("ETCDCTL_FOO", "bar"),
        case("get").env("ETCDCTL_FOO", "bar"),
        case("get a").env("ETCDCTL_WATCH_KEY", "x"),
    ]
}

pub(super) fn unreachable() -> Vec<Case> {
    let mut cases = lines(&[
        "get a --endpoints @DEAD@ --command-timeout 300ms",
        "get a --stream --endpoints @DEAD@ --command-timeout 300ms",
        "put a b --endpoints @DEAD@ --command-timeout 300ms",
        "del a --endpoints @DEAD@ --command-timeout 300ms",
        "compaction 1 --endpoints @DEAD@ --command-timeout 300ms",
        "member list --endpoints @DEAD@ --command-timeout 300ms",
        "alarm list --endpoints @DEAD@ --command-timeout 300ms -w json",
        "alarm disarm --endpoints @DEAD@ --command-timeout 300ms",
        "get a --endpoints @DEAD@,@DEAD@ --command-timeout 300ms",
        "get a --endpoints unix:nothing.sock --command-timeout 300ms",
        "get a --endpoints unix:///nothing/there.sock --command-timeout 300ms",
        "get a --endpoints nowhere.invalid:2379 --command-timeout 2s",
        "get a --endpoints noport --command-timeout 300ms",
        "get a --endpoints http://noport --command-timeout 300ms",
        "get a --endpoints a:b:c --command-timeout 300ms",
        "get a --endpoints 127.0.0.1:port --command-timeout 300ms",
        "get a --endpoints '[::1]' --command-timeout 300ms",
        "get a --endpoints dns://x --command-timeout 300ms",
        "get a --endpoints @DEAD@ --command-timeout 0s",
    ]);
    for case in &mut cases {
        case.sets_up = false;
    }
    cases
}

pub(super) fn auth() -> Vec<Case> {
    let mut cases = vec![
        case("get a --user root:pw"),
        case("put a 1"),
        case("put a 2 --user root:pw").before(|server| {
            server.post("/v3/auth/user/add", r#"{"name":"root","password":"pw"}"#);
            server.post("/v3/auth/user/add", r#"{"name":"plain","password":"pw"}"#);
            server.post("/v3/auth/role/add", r#"{"name":"root"}"#);
            server.post("/v3/auth/user/grant", r#"{"user":"root","role":"root"}"#);
            server.post("/v3/auth/enable", "{}");
        }),
    ];
    cases.extend(lines(&[
        "get a",
        "get a --stream",
        "put a 3",
        "get a --user root:pw",
        "get a --user root --password pw",
        "get a --user root:pw --password pw",
        "get a --user root:wrong",
        "get a --user root:",
        "get a --user :pw",
        "get a --user nobody:pw",
        "get a --user plain:pw",
        "put a 4 --user plain:pw",
        "get a --stream --user root:pw",
        "get a --auth-jwt-token bogus",
        "get a --auth-jwt-token bogus --user root:pw",
        "get a --user root:pw -w bogus",
        "get a --user root:pw --endpoints @DEAD@ --dial-timeout 300ms",
        "member list",
        "member list --user root:pw",
        "alarm list",
        "alarm list --user plain:pw",
        "compaction 2 --user plain:pw",
        "compaction 2 --user root:pw",
    ]));
    let took = |line: &str| case(line).loose(&[Loose::Took, Loose::Sizes]);
    cases.extend([
        took("endpoint health"),
        took("endpoint health --user plain:pw"),
        took("endpoint health --user root:pw"),
        took("endpoint health --user root:wrong"),
        took("endpoint health --cluster --user root:wrong"),
        took("endpoint status"),
        took("endpoint status --user root:pw"),
        took("endpoint status --user root:wrong"),
        took("endpoint hashkv"),
        took("endpoint hashkv --user plain:pw"),
        took("defrag --user plain:pw"),
        took("defrag --user root:pw"),
    ]);
    cases
}
