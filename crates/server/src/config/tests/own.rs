//! What is our own: refusals, warnings, the classes of flags, and what comes out.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use tenet_cli::flag::{Effect, Flag};
use tenet_cli::log::{Field, Level};
use tenet_cli::settings::Settings;
use tenet_runtime::Retention;

use crate::config::{
    ClusterState, Invocation, ServerConfig, Stop, compatibility_markdown, default_host, flags,
    help, load, version_text,
};

fn invoke(args: &[&str]) -> Result<ServerConfig, Box<Stop>> {
    load(&Invocation {
        program: "etcd".to_owned(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        variables: Vec::new(),
        default_host: || Err("none".to_owned()),
    })
}

/// The error of the line that ends a start.
fn refusal(args: &[&str]) -> String {
    let stop = match invoke(args) {
        Err(stop) => stop,
        Ok(config) => panic!("{args:?} is accepted: {config:?}"),
    };
    assert_eq!(stop.code, 1, "{args:?}");
    let entry = stop.notices.late.last().expect("a line");
    assert_eq!(
        (entry.level, entry.message.as_str()),
        (Level::Warn, "failed to verify flags")
    );
    match &entry.fields[..] {
        [(key, Field::Text(error))] if key == "error" => error.clone(),
        other => panic!("{other:?}"),
    }
}

fn all_flags() -> impl Iterator<Item = &'static Flag> {
    flags::GROUPS
        .iter()
        .flat_map(|group| group.flags.iter().copied())
}

/// A value that is not the default of its flag.
fn other_value(flag: &Flag) -> &'static str {
    use tenet_cli::flag::Kind;
    match flag.kind {
        Kind::Bool if flag.default == "true" => "false",
        Kind::Bool => "true",
        Kind::Int | Kind::Int64 | Kind::Uint | Kind::Uint32 | Kind::Uint64 => "7",
        Kind::Duration => "7m",
        _ => "x7",
    }
}

#[test]
fn every_flag_of_etcd_is_declared_once() {
    let names: BTreeSet<&str> = all_flags().map(|flag| flag.name).collect();
    assert_eq!(all_flags().count(), names.len());
    let past = all_flags().filter(|flag| flag.hidden).count();
    assert_eq!((names.len() - past, past), (113, 15));
}

#[test]
fn every_default_is_a_value_and_every_flag_has_a_help_text() {
    let settings = Settings::new(flags::GROUPS);
    for setting in settings.iter() {
        assert!(
            setting.is_default() && !setting.is_given(),
            "{}",
            setting.flag.name
        );
        assert!(setting.flag.help.ends_with('.'), "{}", setting.flag.name);
    }
}

#[test]
fn a_refused_flag_names_itself_and_its_default_is_fine() {
    let mut refused = 0;
    for flag in all_flags() {
        let Effect::Refused(reason) = flag.effect else {
            continue;
        };
        refused += 1;
        if !flag.default.is_empty() {
            let given = invoke(&[&format!("--{}={}", flag.name, flag.default)]);
            assert!(given.is_ok(), "--{} at its default: {given:?}", flag.name);
        }
        // Discovery has rules of etcd's, which are met first.
        if flag.name.starts_with("discovery-") {
            continue;
        }
        let error = refusal(&[&format!("--{}={}", flag.name, other_value(flag))]);
        assert_eq!(error, format!("--{} is refused: {reason}", flag.name));
    }
    assert!(refused > 30, "only {refused} flags are refused");
}

#[test]
fn no_value_of_any_flag_panics() {
    let texts = [
        "",
        " ",
        ",",
        "=",
        "a=b",
        "-1",
        "0",
        "1",
        "999999999999999999999999",
        "true",
        "5s",
        "-9223372036854775808ns",
        "http://",
        "http://[::]:0",
        "http://a:1,http://a:1",
        "unix://",
        "unix:a",
        "unixs:///\u{fc}",
        "http://0.0.0.0:",
        "\u{0}",
        "\u{1f600}",
        "AllAlpha=true",
        "default=http://[",
        "{}",
        "/dev/null/x",
    ];
    // What names a file is opened, and what names a log output is created.
    let skipped = [&flags::logging::LOG_OUTPUTS, &flags::CONFIG_FILE].map(|flag| flag.name);
    for flag in all_flags().filter(|flag| !skipped.contains(&flag.name)) {
        for text in texts {
            let arg = format!("--{}={text}", flag.name);
            match invoke(&[&arg]) {
                Ok(config) => {
                    let _ = (config.start_entry(false), config.bootstrap());
                }
                Err(stop) => assert!((0..=2).contains(&stop.code), "{arg}"),
            }
        }
    }
}

#[test]
fn discovery_is_refused_by_name() {
    let token = "--discovery-token=x";
    let error = refusal(&[token, "--discovery-endpoints=http://a:1"]);
    assert!(
        error.starts_with("--discovery-endpoints is refused: "),
        "{error}"
    );
    let error = refusal(&["--discovery-srv=a.example"]);
    assert!(error.starts_with("--discovery-srv is refused: "), "{error}");
}

#[test]
fn what_automatic_compaction_keeps_is_hours_a_duration_or_revisions() {
    let kept = |args: &[&str]| invoke(args).map(|config| config.auto_compaction);
    let by_number = "--auto-compaction-mode=revision";
    let hour = Some(Retention::PeriodMs(3_600_000));
    for (text, by_time, revisions) in [
        ("1", hour, Some(Retention::Revisions(1))),
        ("+1", hour, Some(Retention::Revisions(1))),
        // As in etcd, a duration counts in nanoseconds where a number is due.
        (
            "1us",
            Some(Retention::PeriodMs(1)),
            Some(Retention::Revisions(1_000)),
        ),
        ("0", None, None),
        ("0h", None, None),
        ("", None, None),
    ] {
        let retention = format!("--auto-compaction-retention={text}");
        assert_eq!(kept(&[&retention]).unwrap(), by_time, "{text}");
        assert_eq!(kept(&[&retention, by_number]).unwrap(), revisions, "{text}");
    }
    for (text, why) in [
        ("abc", "error parsing CompactionRetention: "),
        (
            "99999999999999999999",
            "error parsing CompactionRetention: ",
        ),
        ("-5m", "--auto-compaction-retention must not be negative"),
        (
            "9999999",
            "--auto-compaction-retention of 9999999 hours is too long",
        ),
    ] {
        let stop = invoke(&[&format!("--auto-compaction-retention={text}")]).unwrap_err();
        let entry = stop.notices.late.last().expect("a line");
        let told = format!("{:?}", entry.fields);
        assert!(stop.code == 1 && told.contains(why), "{told}");
    }
}

#[test]
fn gates_and_outputs_without_counterpart_are_refused_by_name() {
    let error = refusal(&["--feature-gates=InitialCorruptCheck=true"]);
    assert!(
        error.starts_with("--feature-gates with InitialCorruptCheck=true is refused: "),
        "{error}"
    );
    let error = refusal(&["--log-outputs=systemd/journal"]);
    assert!(
        error.starts_with("--log-outputs=systemd/journal is refused: "),
        "{error}"
    );
}

#[test]
fn flags_without_effect_are_named_in_one_warning() {
    let config = invoke(&[
        "--backend-batch-limit=5",
        "--snapshot",
        "--name=a",
        "--enable-grpc-gateway=true",
    ]);
    let config = config.expect("a valid configuration");
    let text = "these flags are accepted, but have no effect here";
    let warnings: Vec<_> = config
        .notices
        .late
        .iter()
        .filter(|entry| entry.message == text)
        .collect();
    let names = [
        "--backend-batch-limit",
        "--enable-grpc-gateway",
        "--snapshot",
    ]
    .map(str::to_owned);
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].level, Level::Warn);
    assert_eq!(
        warnings[0].fields,
        [("flags".to_owned(), Field::List(names.to_vec()))]
    );
    let silent = invoke(&["--name=a"]).expect("a valid configuration");
    assert!(
        silent
            .notices
            .late
            .iter()
            .all(|entry| entry.message != text)
    );
}

#[test]
fn values_arrive_in_their_types() {
    let config = invoke(&[
        "--name=a",
        "--data-dir=d",
        "--wal-dir=w",
        "--snapshot-count=0",
        "--max-wals=0",
        "--grpc-keepalive-interval=0",
        "--grpc-keepalive-timeout=1500ms",
        "--warning-unary-request-duration=0",
        "--quota-backend-bytes=-1",
        "--max-request-bytes=20000000",
        "--metrics=extensive",
        "--unsafe-no-fsync",
        "--listen-client-urls=http://127.0.0.1:0,unix:///tmp/x",
        "--advertise-client-urls=http://a:1",
        "--cors=http://a:1",
    ])
    .expect("a valid configuration");
    assert_eq!(
        (config.data_dir.as_path(), config.wal_dir.as_deref()),
        (Path::new("d"), Some(Path::new("w")))
    );
    assert_eq!((config.snapshot_count, config.max_wals), (10_000, None));
    assert_eq!(config.keepalive.interval, None);
    assert_eq!(config.keepalive.timeout, Some(Duration::from_millis(1500)));
    assert_eq!(config.warning_unary_request, Duration::from_millis(300));
    assert_eq!(config.quota_backend_bytes, -1);
    assert!(config.extensive_metrics && config.unsafe_no_fsync && config.pre_vote);
    assert_eq!(config.listen_client_urls.len(), 2);
    assert_eq!(
        config.listen_client_urls[1].socket_path(),
        Path::new("/tmp/x")
    );
    assert_eq!(config.access.allowed_origin("http://b:1"), None);
    assert!(!config.log.is_given);
    let messages: Vec<&str> = config
        .notices
        .late
        .iter()
        .map(|entry| entry.message.as_str())
        .collect();
    assert!(
        messages.contains(&"exceeded recommended request limit"),
        "{messages:?}"
    );
    assert!(
        messages.contains(&"updating snapshot-count to default"),
        "{messages:?}"
    );
}

#[test]
fn a_large_quota_is_remarked() {
    let config = invoke(&["--quota-backend-bytes=9000000000"]).expect("a valid configuration");
    let remark = config
        .notices
        .late
        .iter()
        .find(|entry| entry.message == "quota exceeds the maximum value");
    let sizes: Vec<_> = remark
        .expect("a remark")
        .fields
        .iter()
        .map(|(_, field)| field.clone())
        .collect();
    let text = |text: &str| Field::Text(text.to_owned());
    let numbers = (Field::Int(9_000_000_000), Field::Int(8_589_934_592));
    assert_eq!(
        sizes,
        [
            text("v3-applier"),
            numbers.0,
            text("9.0 GB"),
            numbers.1,
            text("8.6 GB")
        ]
    );
}

#[test]
fn a_heartbeat_whose_fivefold_overflows_is_refused() {
    let error = refusal(&["--heartbeat-interval=3689348814741910324"]);
    assert!(
        error.starts_with("--election-timeout[1000ms] should be at least as 5 times"),
        "{error}"
    );
}

#[test]
fn a_logging_flag_is_remembered() {
    assert!(invoke(&["--log-level=warn"]).expect("valid").log.is_given);
    let config = invoke(&["--log-outputs=stderr,default"]).map(|_| ());
    assert_eq!(config.map_err(|stop| stop.code), Err(1));
}

#[test]
fn a_cluster_may_have_several_members_and_an_existing_one_may_be_joined() {
    let two = "--initial-cluster=a=http://127.0.0.1:1,b=http://127.0.0.1:2";
    let config = invoke(&[
        "--name=a",
        two,
        "--initial-advertise-peer-urls=http://127.0.0.1:1",
    ])
    .expect("valid");
    let bootstrap = config.bootstrap().expect("two members");
    assert_eq!(bootstrap.members.len(), 2);
    // Who joins is told by the others at which addresses it is known.
    let config = invoke(&["--name=a", two, "--initial-cluster-state=existing"]).expect("valid");
    assert_eq!(config.initial_cluster_state, ClusterState::Existing);
    assert_eq!(config.bootstrap().expect("two members").members.len(), 2);
    let config = invoke(&["--name=c", two, "--initial-cluster-state=existing"]).expect("valid");
    let error = bootstrap_error(&config);
    assert!(error.contains("couldn't find local name"), "{error}");
}

fn bootstrap_error(config: &ServerConfig) -> String {
    let entries = config.bootstrap().expect_err("refused");
    let messages: Vec<&str> = entries.iter().map(|entry| entry.message.as_str()).collect();
    assert_eq!(messages, ["bootstrap failed", "discovery failed"]);
    match &entries[1].fields[..] {
        [(_, Field::Text(error))] => error.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_name_with_several_urls_is_one_member() {
    let urls = "http://127.0.0.1:1,http://127.0.0.1:2";
    let config =
        invoke(&["--name=a", &format!("--initial-advertise-peer-urls={urls}")]).expect("valid");
    let bootstrap = config.bootstrap().expect("one member");
    let texts: Vec<String> = bootstrap.members["a"]
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(texts.join(","), urls);
    assert_eq!(bootstrap.token, "etcd-cluster");
}

#[test]
fn addresses_that_differ_in_text_alone_match() {
    let config = invoke(&[
        "--initial-advertise-peer-urls=http://[::1]:1",
        "--initial-cluster=default=http://[0:0:0:0:0:0:0:1]:1",
    ]);
    assert!(config.expect("valid").bootstrap().is_ok());
}

#[test]
fn an_error_about_the_cluster_flag_brings_hints() {
    let config = invoke(&["--name=a"]).expect("valid");
    let messages = |error: &str| {
        let entries = config.start_failure(error);
        entries
            .into_iter()
            .map(|entry| entry.message)
            .collect::<Vec<_>>()
    };
    assert_eq!(messages("listen failed"), ["discovery failed"]);
    let hints = messages("--initial-cluster must include a");
    assert_eq!(hints[0], "failed to start");
    assert_eq!(hints[1], "forgot to set --initial-cluster?");
    assert_eq!(hints.len(), 4);
}

#[test]
fn help_and_version_print_what_scripts_read() {
    let help = help();
    assert!(help.contains("\n  --name 'default'\n"), "{help}");
    assert!(
        all_flags()
            .filter(|flag| !flag.hidden)
            .all(|flag| help.contains(&format!("\n  --{} '", flag.name)))
    );
    let version = version_text();
    let lines: Vec<&str> = version.lines().collect();
    assert_eq!(lines[0], "etcd Version: 3.7.1");
    let names: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.split(": ").next())
        .collect();
    assert_eq!(
        names,
        [
            "etcd Version",
            "Git SHA",
            "Go Version",
            "Go OS/Arch",
            "Tenet Version"
        ]
    );
}

#[test]
fn the_lists_for_documentation_hold_every_flag_once() {
    let markdown = compatibility_markdown();
    for flag in all_flags() {
        assert_eq!(
            markdown.matches(&format!("| `--{}` |", flag.name)).count(),
            1,
            "{}",
            flag.name
        );
    }
    let sections: Vec<&str> = markdown.split("\n### ").collect();
    let count = |title: &str| {
        let section = sections
            .iter()
            .find(|section| section.starts_with(title))
            .expect(title);
        section
            .lines()
            .filter(|line| line.starts_with("| `--"))
            .count()
    };
    let total = count("Effective (") + count("Accepted without effect (") + count("Refused (");
    assert_eq!(total, all_flags().count());
    let refused = sections[3];
    assert!(
        ["cert-file", "auth-token"]
            .iter()
            .all(|name| refused.contains(name))
    );
}

#[test]
fn the_address_of_this_machine_is_one_or_the_words_of_etcd() {
    match default_host() {
        Ok(host) => assert!(host.parse::<std::net::IpAddr>().is_ok(), "{host}"),
        Err(error) => assert_eq!(error, "could not find default route"),
    }
}
