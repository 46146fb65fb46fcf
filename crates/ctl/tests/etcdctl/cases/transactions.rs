//! Transactions: every part of their grammar.

use super::{Case, case};

pub(super) fn txn() -> Vec<Case> {
    let both = "mod(\"a\") > \"0\"\n\nput a 1 --prev-kv\nget a\nget --prefix ''\ndel b --prev-kv\n\n\
                put a 2\nget nothing\n\n";
    let mut cases = Vec::new();
    for format in ["simple", "fields", "json", "protobuf", "table", "yaml"] {
        for hex in ["", " --hex"] {
            cases.push(case("put b 1"));
            cases.push(case(&format!("txn -w {format}{hex}")).stdin(both));
            cases.push(case(&format!("txn -w {format}{hex}")).stdin(both));
            cases.push(case("del a"));
        }
    }
    cases.extend([
        case("put k v"),
        case("txn").stdin("\n\n\n"),
        case("txn -w json").stdin("\n\n\n"),
        case("txn -i").stdin(both),
        case("txn --interactive").stdin("val(\"k\") = \"v\"\n\nget k\n\nget x\n\n"),
        case("txn -i").stdin("bad\n"),
        case("txn extra").stdin(both),
        case("txn").stdin(""),
        case("txn").stdin("\n"),
        case("txn").stdin("\n\n"),
        case("txn").stdin("\n\n\nmore"),
        case("txn").stdin("mod(\"a\") > \"0\""),
        case("txn").stdin("\n\nput a 1"),
        case("txn -w bogus").stdin(both),
        case("txn --command-timeout 0s").stdin("\n\n\n"),
    ]);
    for comparison in [
        "ver(\"k\") = \"1\"",
        "version(\"k\") = \"1\"",
        "version(\"k\") != \"1\"",
        "c(\"k\") > \"0\"",
        "create(\"k\") < \"1000\"",
        "m(\"k\") = \"-1\"",
        "mod(\"k\") > \"9223372036854775807\"",
        "mod(\"k\") > \"9223372036854775808\"",
        "mod(\"k\") > \"0x1\"",
        "mod(\"k\") > \"\"",
        "val(\"k\") = \"v\"",
        "value(\"k\") < \"w\"",
        "value(\"k\") > \"\\x00\"",
        "value(\"nothing\") != \"x\"",
        "val(\"\") = \"v\"",
        "val(`k`) = `v`",
        "val(\"k\")  =  \"v\"",
        "val(\"k\") = \"v\" trailing words",
        "  val( \"k\") = \"v\"  ",
        "val(\"k\" ) = \"v\"",
        "val(\"k\")= \"v\"",
        "val(\"k\") =\"v\"",
        "val(\"k\") = v",
        "val(\"k\") =",
        "val(\"k\")",
        "val(\"k",
        "val(k) = \"v\"",
        "val \"k\" = \"v\"",
        "val",
        "val (\"k\") = \"v\"",
        "foo(\"k\") = \"v\"",
        "VAL(\"k\") = \"v\"",
        "val(\"k\\\"q\") = \"v\"",
        "val(\"\\q\") = \"v\"",
        "val(\"k\") = \"\\q\"",
        "val(\"\\x6b\") = \"\\u0076\"",
    ] {
        cases.push(case("txn").stdin(&format!("{comparison}\n\nget k\n\ndel nothing\n\n")));
    }
    for operation in [
        "get",
        "get k -w fields",
        "get k --rev 1",
        "get k --rev 1000",
        "get --prefix '' --limit 1",
        "get --prefix \"\"",
        "get k --print-value-only",
        "get k --count-only",
        "get k --keys-only --count-only",
        "get k --stream",
        "get k --bogus",
        "get k --limit x",
        "get k --order bad",
        "get k --consistency bad",
        "get a b --prefix",
        "g k",
        "put k",
        "put k --ignore-value",
        "put k v extra",
        "put k v --lease zz",
        "put k v --lease 5",
        "put k v --prev-kv",
        "put '' v",
        "put \"quoted key\" 'single quoted'",
        "put \"a\\nb\" \"\\xff\\x00\"",
        "put 'it''s' x",
        "put \"bad \\q\" x",
        "put \"open x",
        "put 'open x",
        "put a\"b c'd",
        "put -- -k -v",
        "p k v",
        "del",
        "del k --prev-kv",
        "del a z --range",
        "del --prefix --from-key a",
        "del a b c",
        "watch k",
        "txn k",
        "bogus k",
        "GET k",
        "--hex k",
    ] {
        cases.push(case("txn").stdin(&format!("\n{operation}\n\n\n")));
        cases.push(case("get --prefix '' -w json"));
    }
    cases.extend([
        case("txn").stdin("\nput a 1\nput a 2\n\n\n"),
        case("txn").stdin("\nput a 1\ndel --prefix a\n\n\n"),
        case("txn").stdin(&format!("\n{}\n\n", "get k\n".repeat(129))),
        case("txn").stdin(&format!("\n{}\n\n", "get k\n".repeat(128))),
        case("txn").stdin(&format!("\nput k {}\n\n\n", "x".repeat(3_000_000))),
    ]);
    cases
}
