//! The command line of the load generator.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, value_parser};
use serde_json::{Value, json};

use crate::key::{Keys, Order, Values};
use crate::pace::Extent;
use crate::workload::Workload;

/// What was asked for.
#[derive(Debug)]
pub(crate) enum Command {
    Load(Load),
    Pages(Pages),
    Floor(Floor),
}

/// Options that every measuring command has.
#[derive(Clone, Debug)]
pub(crate) struct Common {
    pub(crate) endpoints: Vec<String>,
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    pub(crate) server_pid: Option<u32>,
}

/// `put` and `range`: many clients, one kind of call.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) common: Common,
    pub(crate) connections: usize,
    pub(crate) clients: usize,
    pub(crate) threads: usize,
    pub(crate) extent: Extent,
    pub(crate) warm_up: Duration,
    pub(crate) rate: Option<f64>,
    pub(crate) space: Space,
    pub(crate) call: Call,
}

/// The calls of a load.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Put { value_size: usize },
    Range { serializable: bool, limit: u32 },
}

/// The key space.
#[derive(Clone, Debug)]
pub(crate) struct Space {
    pub(crate) prefix: String,
    pub(crate) key_size: usize,
    pub(crate) keys: u64,
    pub(crate) order: Order,
    pub(crate) seed: u64,
}

/// `pages`: one client that lists the key space page by page.
#[derive(Clone, Debug)]
pub(crate) struct Pages {
    pub(crate) common: Common,
    pub(crate) space: Space,
    pub(crate) limit: u32,
    pub(crate) stride: u64,
    pub(crate) pinned: bool,
}

/// `floor`: the empty server.
#[derive(Clone, Debug)]
pub(crate) struct Floor {
    pub(crate) listen: String,
    pub(crate) threads: usize,
    pub(crate) value_size: usize,
}

impl Space {
    /// The keys themselves; says why the numbers do not fit together.
    pub(crate) fn keys(&self) -> Result<Keys, String> {
        Keys::new(
            &self.prefix,
            self.key_size,
            self.keys,
            self.order,
            self.seed,
        )
    }

    fn json(&self) -> Value {
        json!({
            "prefix": self.prefix,
            "key_size": self.key_size,
            "key_space_size": self.keys,
            "order": match self.order {
                Order::Sequential => "sequential",
                Order::Random => "random",
            },
            "seed": self.seed,
        })
    }
}

impl Load {
    /// The command's name.
    pub(crate) fn name(&self) -> &'static str {
        match self.call {
            Call::Put { .. } => "put",
            Call::Range { .. } => "range",
        }
    }

    /// The operations that the options describe.
    pub(crate) fn workload(&self) -> Result<Workload, String> {
        let keys = self.space.keys()?;
        Ok(match self.call {
            Call::Put { value_size } => Workload::Put {
                keys,
                values: Values::new(value_size, self.space.seed),
            },
            Call::Range {
                serializable,
                limit,
            } => Workload::Range {
                keys,
                serializable,
                limit,
            },
        })
    }

    /// The endpoints that the connections of one worker thread lead to.
    pub(crate) fn endpoints_of(&self, worker: usize) -> Vec<String> {
        let endpoints = &self.common.endpoints;
        (worker..self.connections)
            .step_by(self.threads)
            .map(|connection| endpoints[connection % endpoints.len()].clone())
            .collect()
    }

    /// How many clients one worker thread has.
    pub(crate) fn clients_of(&self, worker: usize) -> usize {
        (0..self.clients)
            .filter(|client| (client % self.connections) % self.threads == worker)
            .count()
    }

    /// Says why the numbers do not fit together.
    fn check(self) -> Result<Load, String> {
        self.space.keys()?;
        for (flag, number) in [
            ("--conns", self.connections),
            ("--clients", self.clients),
            ("--threads", self.threads),
        ] {
            if number == 0 {
                return Err(format!("{flag} must be at least 1"));
            }
        }
        if self.threads > self.connections {
            return Err(format!(
                "--threads {} needs as many connections, --conns is {}",
                self.threads, self.connections
            ));
        }
        if self.connections > self.clients {
            return Err(format!(
                "--conns {} needs as many clients, --clients is {}",
                self.connections, self.clients
            ));
        }
        if self
            .rate
            .is_some_and(|rate| rate <= 0.0 || !rate.is_finite())
        {
            return Err("--rate must be above 0".into());
        }
        Ok(self)
    }
}

/// What a report says about a command.
pub(crate) trait Describe {
    fn common(&self) -> &Common;
    /// The command's name.
    fn operation(&self) -> &'static str;
    /// One line for a person.
    fn title(&self) -> String;
    /// Every option that shapes the result.
    fn options(&self) -> Value;
}

impl Describe for Load {
    fn common(&self) -> &Common {
        &self.common
    }

    fn operation(&self) -> &'static str {
        self.name()
    }

    fn title(&self) -> String {
        let call = match self.call {
            Call::Put { value_size } => {
                format!("put {} B keys, {value_size} B values", self.space.key_size)
            }
            Call::Range {
                serializable,
                limit,
            } => format!(
                "{} range of {limit}, {} B keys",
                if serializable {
                    "serializable"
                } else {
                    "linearizable"
                },
                self.space.key_size,
            ),
        };
        let rate = self
            .rate
            .map_or(String::new(), |rate| format!(", {rate}/s"));
        format!(
            "{call}, {} connections x {} clients{rate}",
            self.connections, self.clients
        )
    }

    fn options(&self) -> Value {
        let mut options = json!({
            "connections": self.connections,
            "clients": self.clients,
            "threads": self.threads,
            "warm_up_s": self.warm_up.as_secs_f64(),
            "rate": self.rate,
            "keys": self.space.json(),
        });
        match self.call {
            Call::Put { value_size } => options["value_size"] = value_size.into(),
            Call::Range {
                serializable,
                limit,
            } => {
                options["serializable"] = serializable.into();
                options["limit"] = limit.into();
            }
        }
        options
    }
}

impl Describe for Pages {
    fn common(&self) -> &Common {
        &self.common
    }

    fn operation(&self) -> &'static str {
        "pages"
    }

    fn title(&self) -> String {
        format!(
            "pages of {} out of {} keys at {}, every {} of them",
            self.limit,
            self.space.keys,
            if self.pinned {
                "the first page's revision"
            } else {
                "the newest revision"
            },
            ordinal(self.stride),
        )
    }

    fn options(&self) -> Value {
        json!({
            "limit": self.limit,
            "stride": self.stride,
            "pinned": self.pinned,
            "keys": self.space.json(),
        })
    }
}

fn ordinal(number: u64) -> String {
    match number {
        1 => "one".into(),
        number => format!("{number}th"),
    }
}

/// Reads the command line.
pub(crate) fn parse(args: Vec<OsString>) -> Result<Command, clap::Error> {
    let mut program = program();
    let matches = program.try_get_matches_from_mut(args)?;
    let command = match matches.subcommand() {
        Some(("put", matches)) => load(matches, put_call(matches)).check().map(Command::Load),
        Some(("range", matches)) => load(matches, range_call(matches))
            .check()
            .map(Command::Load),
        Some(("pages", matches)) => pages(matches).map(Command::Pages),
        Some(("floor", matches)) => Ok(Command::Floor(Floor {
            listen: get(matches, "listen"),
            threads: get(matches, "threads"),
            value_size: get(matches, "val-size"),
        })),
        other => unreachable!("clap lets no other subcommand through: {other:?}"),
    };
    command.map_err(|text| program.error(clap::error::ErrorKind::ValueValidation, text))
}

fn put_call(matches: &ArgMatches) -> Call {
    Call::Put {
        value_size: get(matches, "val-size"),
    }
}

fn range_call(matches: &ArgMatches) -> Call {
    Call::Range {
        serializable: get::<String>(matches, "consistency") == "s",
        limit: get(matches, "limit"),
    }
}

fn load(matches: &ArgMatches, call: Call) -> Load {
    let total = matches.get_one::<u64>("total").copied();
    Load {
        common: common(matches),
        connections: get(matches, "conns"),
        clients: get(matches, "clients"),
        threads: get(matches, "threads"),
        extent: total.map_or_else(
            || Extent::Time(get(matches, "duration")),
            Extent::Operations,
        ),
        warm_up: get(matches, "warm-up"),
        rate: matches.get_one("rate").copied(),
        space: space(matches, order(matches)),
        call,
    }
}

fn pages(matches: &ArgMatches) -> Result<Pages, String> {
    let pages = Pages {
        common: common(matches),
        space: space(matches, Order::Sequential),
        limit: get(matches, "limit"),
        stride: get(matches, "stride"),
        pinned: matches.get_flag("pinned"),
    };
    pages.space.keys()?;
    if pages.limit == 0 || pages.stride == 0 {
        return Err("--limit and --stride must be at least 1".into());
    }
    Ok(pages)
}

fn common(matches: &ArgMatches) -> Common {
    Common {
        endpoints: get::<String>(matches, "endpoints")
            .split(',')
            .map(|endpoint| endpoint.trim_start_matches("http://").to_owned())
            .collect(),
        json: matches.get_flag("json"),
        quiet: matches.get_flag("quiet"),
        server_pid: matches.get_one("server-pid").copied(),
    }
}

fn space(matches: &ArgMatches, order: Order) -> Space {
    Space {
        prefix: get(matches, "prefix"),
        key_size: get(matches, "key-size"),
        keys: get(matches, "key-space-size"),
        order,
        seed: get(matches, "seed"),
    }
}

fn order(matches: &ArgMatches) -> Order {
    match get::<String>(matches, "order").as_str() {
        "sequential" => Order::Sequential,
        _ => Order::Random,
    }
}

/// A value that has a default.
fn get<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> T {
    matches
        .get_one::<T>(name)
        .unwrap_or_else(|| panic!("--{name} is declared with a default"))
        .clone()
}

fn program() -> clap::Command {
    let put = subcommand("put", "Write keys").args(load_args()).arg(
        value("val-size", "BYTES", "256", "Size of a value").value_parser(value_parser!(usize)),
    );
    let range = subcommand("range", "Read keys")
        .args(load_args())
        .arg(
            value(
                "consistency",
                "l|s",
                "l",
                "Linearizable or serializable reads",
            )
            .value_parser(["l", "s"]),
        )
        .arg(
            value(
                "limit",
                "KEYS",
                "1",
                "Keys read by a call, from a key of the space on",
            )
            .value_parser(value_parser!(u32)),
        );
    let pages = subcommand(
        "pages",
        "List the key space page by page, as Kubernetes does",
    )
    .args(common_args())
    .args(space_args())
    .arg(value("limit", "KEYS", "500", "Keys of a page").value_parser(value_parser!(u32)))
    .arg(
        value(
            "stride",
            "N",
            "1",
            "Read only every N-th page, for a slow server",
        )
        .value_parser(value_parser!(u64)),
    )
    .arg(flag(
        "pinned",
        "Read all pages at the revision of the first",
    ));
    let floor = subcommand(
        "floor",
        "Serve put and range without doing anything: what the transport alone costs",
    )
    .arg(value(
        "listen",
        "ADDRESS",
        "127.0.0.1:2379",
        "Address to serve on",
    ))
    .arg(value("threads", "N", "2", "Worker threads").value_parser(value_parser!(usize)))
    .arg(
        value(
            "val-size",
            "BYTES",
            "256",
            "Size of the value that a range answers",
        )
        .value_parser(value_parser!(usize)),
    );
    clap::Command::new("tenet bench")
        .about("Generates load and measures what a server makes of it")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([put, range, pages, floor])
}

fn common_args() -> Vec<Arg> {
    vec![
        value(
            "endpoints",
            "HOSTS",
            "127.0.0.1:2379",
            "Servers, separated by commas",
        ),
        flag("json", "Print the report as one JSON document"),
        flag("quiet", "Draw no progress bar"),
        Arg::new("server-pid")
            .long("server-pid")
            .value_name("PID")
            .help("Report what this process uses as the server's CPU time and memory")
            .value_parser(value_parser!(u32)),
    ]
}

fn space_args() -> Vec<Arg> {
    vec![
        value("prefix", "TEXT", "", "What all keys begin with"),
        value("key-size", "BYTES", "8", "Size of a key, with the prefix")
            .value_parser(value_parser!(usize)),
        value(
            "key-space-size",
            "KEYS",
            "100000",
            "Number of distinct keys",
        )
        .value_parser(value_parser!(u64)),
        value("seed", "N", "1", "Seed of random keys and values").value_parser(value_parser!(u64)),
    ]
}

fn load_args() -> Vec<Arg> {
    let mut args = common_args();
    args.extend(space_args());
    args.extend([
        value(
            "order",
            "ORDER",
            "random",
            "Order in which the key space is walked",
        )
        .value_parser(["sequential", "random"]),
        value("conns", "N", "1", "Connections").value_parser(value_parser!(usize)),
        value(
            "clients",
            "N",
            "1",
            "Clients, each with one call at a time, spread over the connections",
        )
        .value_parser(value_parser!(usize)),
        value("threads", "N", "1", "Worker threads of the load generator")
            .value_parser(value_parser!(usize)),
        Arg::new("total")
            .long("total")
            .value_name("N")
            .help("Stop after this many operations instead of after --duration")
            .value_parser(value_parser!(u64)),
        value("duration", "TIME", "10s", "How long to measure").value_parser(duration),
        value("warm-up", "TIME", "1s", "How long to run before measuring").value_parser(duration),
        Arg::new("rate")
            .long("rate")
            .value_name("PER-SECOND")
            .help(
                "Start operations at this rate whatever the server does; \
                 latencies run from the moment an operation was due",
            )
            .value_parser(value_parser!(f64)),
    ]);
    args
}

fn subcommand(name: &'static str, about: &'static str) -> clap::Command {
    clap::Command::new(name).about(about)
}

fn value(name: &'static str, kind: &'static str, default: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name(kind)
        .default_value(default)
        .help(help)
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .action(ArgAction::SetTrue)
        .help(help)
}

/// A number and a unit: `500ms`, `10s`, `2m`.
fn duration(text: &str) -> Result<Duration, String> {
    let unit_at = text
        .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
        .ok_or("a unit is missing: ms, s or m")?;
    let number: f64 = text[..unit_at]
        .parse()
        .map_err(|_| format!("{:?} is not a number", &text[..unit_at]))?;
    let seconds = match &text[unit_at..] {
        "ms" => number / 1_000.0,
        "s" => number,
        "m" => number * 60.0,
        unit => return Err(format!("unknown unit {unit:?}: use ms, s or m")),
    };
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Command, String> {
        parse(line.split(' ').map(OsString::from).collect()).map_err(|error| error.to_string())
    }

    fn load_of(line: &str) -> Load {
        match parse_line(line).unwrap() {
            Command::Load(load) => load,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_declaration_is_consistent() {
        program().debug_assert();
    }

    #[test]
    fn a_total_takes_the_place_of_the_duration() {
        assert_eq!(
            load_of("bench put").extent,
            Extent::Time(Duration::from_secs(10))
        );
        let load = load_of("bench put --total 7 --conns 2 --clients 5 --endpoints http://a:1,b:2");
        assert_eq!(load.extent, Extent::Operations(7));
        assert_eq!(load.endpoints_of(0), ["a:1", "b:2"]);
        assert_eq!(load.clients_of(0), 5);
    }

    #[test]
    fn workers_share_out_all_connections_and_clients() {
        let load = load_of("bench range --threads 3 --conns 8 --clients 1000");
        let connections: usize = (0..3).map(|worker| load.endpoints_of(worker).len()).sum();
        let clients: usize = (0..3).map(|worker| load.clients_of(worker)).sum();
        assert_eq!((connections, clients), (8, 1_000));
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused_by_name() {
        for (line, text) in [
            ("bench put --threads 2", "--threads 2"),
            ("bench put --conns 3 --clients 2", "--conns 3"),
            ("bench put --rate 0", "--rate"),
            ("bench put --duration 5", "a unit is missing"),
            ("bench put --key-size 2", "--key-size is 2"),
            ("bench pages --stride 0", "--stride"),
            ("bench put --nonsense", "--nonsense"),
        ] {
            let error = parse_line(line).unwrap_err();
            assert!(error.contains(text), "{line}: {error}");
        }
    }
}
