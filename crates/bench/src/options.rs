//! What the command line of the load generator asks for.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use tenet_cli::flag::{Flag, Group};
use tenet_cli::go_flags::ParseError;
use tenet_cli::settings::Settings;
use tenet_cli::{help, posix_flags};

use crate::flags::{
    CLIENTS, CONNS, CONSISTENCY, DEAF, DURATION, ENDPOINTS, FLOOR, FLOOR_THREADS, FLOOR_VALUE_SIZE,
    HISTORY, JSON, KEY_FLAGS, KEY_SIZE, KEY_SPACE, LEASE, LEASE_CONNS, LEASES, LISTEN, LOAD, ORDER,
    PAGE_LIMIT, PAGES, PART, PINNED, PREFIX, PUT, PUT_RATE, QUIET, RANGE, RANGE_LIMIT, RATE,
    REPORT, SEED, SERVER_PID, STREAM_EACH, STREAMS, STRIDE, TARGET, THREADS, TOTAL, TTL,
    VALUE_SIZE, WARM_UP, WATCH, WATCHERS,
};
use crate::key::{Keys, Order, Values};
use crate::pace::Extent;
use crate::workload::Workload;

/// A command with its flags.
struct Program {
    name: &'static str,
    about: &'static str,
    groups: &'static [Group],
    build: fn(&Settings) -> Result<Command, String>,
}

static PROGRAMS: [Program; 6] = [
    Program {
        name: "put",
        about: "write keys",
        groups: &[PUT, LOAD, KEY_FLAGS, REPORT],
        build: |settings| {
            let call = Call::Put {
                value_size: size(settings, &VALUE_SIZE),
            };
            load(settings, call).check().map(Command::Load)
        },
    },
    Program {
        name: "range",
        about: "read keys",
        groups: &[RANGE, LOAD, KEY_FLAGS, REPORT],
        build: |settings| {
            let call = Call::Range {
                serializable: settings.text(&CONSISTENCY) == "s",
                limit: number(settings, &RANGE_LIMIT).max(1),
            };
            load(settings, call).check().map(Command::Load)
        },
    },
    Program {
        name: "pages",
        about: "list the key space page by page, as Kubernetes does",
        groups: &[PAGES, KEY_FLAGS, REPORT],
        build: |settings| pages(settings).map(Command::Pages),
    },
    Program {
        name: "watch",
        about: "watch keys while they are put, or from the first revision on",
        groups: &[WATCH, PUT, LOAD, KEY_FLAGS, REPORT],
        build: |settings| watching(settings).map(Command::Watch),
    },
    Program {
        name: "lease",
        about: "grant, renew, revoke leases, or let very many end at once",
        groups: &[LEASE, REPORT],
        build: |settings| leases(settings).map(Command::Leases),
    },
    Program {
        name: "floor",
        about: "serve put and range without doing anything: what the transport alone costs",
        groups: &[FLOOR],
        build: |settings| {
            Ok(Command::Floor(Floor {
                listen: settings.text(&LISTEN).to_owned(),
                threads: size(settings, &FLOOR_THREADS),
                value_size: size(settings, &FLOOR_VALUE_SIZE),
            }))
        },
    },
];

/// What was asked for.
#[derive(Debug)]
pub(crate) enum Command {
    Load(Load),
    Pages(Pages),
    Watch(Watching),
    Leases(Leases),
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

/// `watch`: watches, and puts beside them.
#[derive(Clone, Debug)]
pub(crate) struct Watching {
    pub(crate) common: Common,
    pub(crate) connections: usize,
    pub(crate) watchers: usize,
    pub(crate) target: Target,
    pub(crate) stream_each: bool,
    pub(crate) deaf: usize,
    pub(crate) history: bool,
    /// Events that each watch is to get from the history.
    pub(crate) operations: u64,
    pub(crate) clients: usize,
    pub(crate) extent: Extent,
    pub(crate) rate: Option<f64>,
    pub(crate) space: Space,
    pub(crate) value_size: usize,
}

/// What watches want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// All the same key.
    One,
    /// Each a key of its own.
    Each,
    /// Each a range of its own; together they cover the key space.
    Range,
    /// All of them all keys.
    All,
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Target::One => "one",
            Target::Each => "each",
            Target::Range => "range",
            Target::All => "all",
        }
    }
}

/// `lease`: one part of what leases cost.
#[derive(Clone, Debug)]
pub(crate) struct Leases {
    pub(crate) common: Common,
    pub(crate) part: LeasePart,
    pub(crate) leases: u64,
    pub(crate) ttl_s: i64,
    pub(crate) put_rate: f64,
    pub(crate) connections: usize,
    pub(crate) clients: usize,
}

/// The parts of `lease`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeasePart {
    Grant,
    Renew,
    Storm,
    Revoke,
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
        let load = self.check_puts()?;
        if load.threads > load.connections {
            return Err(format!(
                "--threads {} needs as many connections, --conns is {}",
                load.threads, load.connections
            ));
        }
        if load.connections > load.clients {
            return Err(format!(
                "--conns {} needs as many clients, --clients is {}",
                load.connections, load.clients
            ));
        }
        Ok(load)
    }

    fn check_puts(self) -> Result<Load, String> {
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

impl Describe for Leases {
    fn common(&self) -> &Common {
        &self.common
    }

    fn operation(&self) -> &'static str {
        match self.part {
            LeasePart::Grant => "lease grant",
            LeasePart::Renew => "lease renew",
            LeasePart::Storm => "lease storm",
            LeasePart::Revoke => "lease revoke",
        }
    }

    fn title(&self) -> String {
        match self.part {
            LeasePart::Grant => format!("{} grants", self.leases),
            LeasePart::Renew => format!("{} renewals on {} streams", self.leases, self.clients),
            LeasePart::Storm => format!(
                "{} puts/s while {} leases with one key each end within a second",
                self.put_rate, self.leases
            ),
            LeasePart::Revoke => format!(
                "{} puts/s while a lease with {} keys is revoked",
                self.put_rate, self.leases
            ),
        }
    }

    fn options(&self) -> Value {
        json!({
            "leases": self.leases,
            "ttl_s": self.ttl_s,
            "put_rate": self.put_rate,
            "connections": self.connections,
            "clients": self.clients,
        })
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

impl Describe for Watching {
    fn common(&self) -> &Common {
        &self.common
    }

    fn operation(&self) -> &'static str {
        "watch"
    }

    fn title(&self) -> String {
        let streams = if self.stream_each {
            "a stream each"
        } else {
            "a stream a connection"
        };
        format!(
            "{} watches of {} on {} connections, {streams}",
            self.watchers,
            self.target.name(),
            self.connections
        )
    }

    fn options(&self) -> Value {
        json!({
            "connections": self.connections,
            "watchers": self.watchers,
            "target": self.target.name(),
            "stream_each": self.stream_each,
            "deaf": self.deaf,
            "history": self.history,
            "clients": self.clients,
            "rate": self.rate,
            "value_size": self.value_size,
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

/// Why there is no command.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Help was asked for: this text.
    Help(String),
    /// The command line cannot be taken, for this reason.
    Usage(String),
}

/// Reads the command line, whose first element is the program's own name.
pub(crate) fn parse(args: Vec<OsString>) -> Result<Command, Refusal> {
    let mut words = Vec::new();
    for arg in args {
        words.push(
            arg.into_string()
                .map_err(|arg| Refusal::Usage(format!("{} is not UTF-8", arg.display())))?,
        );
    }
    let Some((name, rest)) = words.split_first() else {
        return Err(Refusal::Help(overview()));
    };
    if ["-h", "--help", "help"].contains(&name.as_str()) {
        return Err(Refusal::Help(overview()));
    }
    let program = PROGRAMS
        .iter()
        .find(|program| program.name == name)
        .ok_or_else(|| Refusal::Usage(format!("unknown command {name:?} for \"tenet bench\"")))?;
    let mut settings = Settings::new(program.groups);
    let positionals = posix_flags::parse(&mut settings, rest).map_err(|error| match error {
        ParseError::Help => Refusal::Help(help_of(program)),
        ParseError::Bad(text) => Refusal::Usage(text),
    })?;
    if let Some(arg) = positionals.args.first() {
        return Err(Refusal::Usage(format!("unexpected argument {arg:?}")));
    }
    (program.build)(&settings).map_err(Refusal::Usage)
}

fn overview() -> String {
    let mut text =
        String::from("tenet bench: generates load and measures what a server makes of it\n\n");
    for program in &PROGRAMS {
        let _ = writeln!(text, "  tenet bench {:6} {}", program.name, program.about);
    }
    text += "\n`tenet bench COMMAND --help` shows the flags of a command.\n";
    text
}

fn help_of(program: &Program) -> String {
    format!(
        "tenet bench {}: {}\n\n{}",
        program.name,
        program.about,
        help::columns(program.groups)
    )
}

fn load(settings: &Settings, call: Call) -> Load {
    Load {
        common: common(settings),
        connections: size(settings, &CONNS),
        clients: size(settings, &CLIENTS),
        threads: size(settings, &THREADS),
        extent: match settings.uint(&TOTAL) {
            0 => Extent::Time(settings.duration(&DURATION).to_std()),
            total => Extent::Operations(total),
        },
        warm_up: settings.duration(&WARM_UP).to_std(),
        rate: match number(settings, &RATE) {
            0 => None,
            rate => Some(f64::from(rate)),
        },
        space: space(
            settings,
            match settings.text(&ORDER) {
                "sequential" => Order::Sequential,
                _ => Order::Random,
            },
        ),
        call,
    }
}

fn pages(settings: &Settings) -> Result<Pages, String> {
    let pages = Pages {
        common: common(settings),
        space: space(settings, Order::Sequential),
        limit: number(settings, &PAGE_LIMIT),
        stride: settings.uint(&STRIDE),
        pinned: settings.bool(&PINNED),
    };
    pages.space.keys()?;
    if pages.limit == 0 || pages.stride == 0 {
        return Err("--limit and --stride must be at least 1".into());
    }
    Ok(pages)
}

fn watching(settings: &Settings) -> Result<Watching, String> {
    let call = Call::Put {
        value_size: size(settings, &VALUE_SIZE),
    };
    let load = load(settings, call).check_puts()?;
    let watching = Watching {
        common: load.common,
        connections: load.connections,
        watchers: size(settings, &WATCHERS),
        target: match settings.text(&TARGET) {
            "each" => Target::Each,
            "range" => Target::Range,
            "all" => Target::All,
            _ => Target::One,
        },
        stream_each: settings.bool(&STREAM_EACH),
        deaf: size(settings, &DEAF),
        history: settings.bool(&HISTORY),
        operations: settings.uint(&TOTAL),
        clients: load.clients,
        extent: load.extent,
        rate: load.rate,
        space: load.space,
        value_size: size(settings, &VALUE_SIZE),
    };
    if watching.value_size < 8 {
        return Err("--val-size must be at least 8: a value begins with a time".into());
    }
    if watching.history && watching.operations == 0 {
        return Err("--history needs --total, the events that there are".into());
    }
    let own = matches!(watching.target, Target::Each | Target::Range);
    if own && watching.watchers as u64 > watching.space.keys {
        return Err(format!(
            "--watchers {} need as many keys, --key-space-size is {}",
            watching.watchers, watching.space.keys
        ));
    }
    Ok(watching)
}

fn leases(settings: &Settings) -> Result<Leases, String> {
    let leases = Leases {
        common: common(settings),
        part: match settings.text(&PART) {
            "renew" => LeasePart::Renew,
            "storm" => LeasePart::Storm,
            "revoke" => LeasePart::Revoke,
            _ => LeasePart::Grant,
        },
        leases: settings.uint(&LEASES),
        ttl_s: i64::from(number(settings, &TTL)),
        put_rate: f64::from(number(settings, &PUT_RATE)),
        connections: size(settings, &LEASE_CONNS),
        clients: size(settings, &STREAMS),
    };
    if leases.connections == 0 || leases.clients < leases.connections || leases.put_rate < 1.0 {
        return Err(
            "--conns and --put-rate must be at least 1, and --clients no fewer than --conns".into(),
        );
    }
    if leases.part == LeasePart::Storm && leases.ttl_s < 5 {
        return Err("--ttl must be at least 5 for a storm: its leases are made first".into());
    }
    Ok(leases)
}

fn common(settings: &Settings) -> Common {
    Common {
        endpoints: settings
            .list(&ENDPOINTS)
            .iter()
            .map(|endpoint| endpoint.trim_start_matches("http://").to_owned())
            .collect(),
        json: settings.bool(&JSON),
        quiet: settings.bool(&QUIET),
        server_pid: match number(settings, &SERVER_PID) {
            0 => None,
            id => Some(id),
        },
    }
}

fn space(settings: &Settings, order: Order) -> Space {
    Space {
        prefix: settings.text(&PREFIX).to_owned(),
        key_size: size(settings, &KEY_SIZE),
        keys: settings.uint(&KEY_SPACE),
        order,
        seed: settings.uint(&SEED),
    }
}

/// A size in bytes or a count of things in memory.
fn size(settings: &Settings, flag: &Flag) -> usize {
    usize::try_from(settings.uint(flag)).unwrap_or(usize::MAX)
}

/// A number that is far below the type's largest if it makes sense.
fn number(settings: &Settings, flag: &Flag) -> u32 {
    u32::try_from(settings.uint(flag)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Command, String> {
        parse(line.split(' ').skip(1).map(OsString::from).collect()).map_err(
            |refusal| match refusal {
                Refusal::Help(text) | Refusal::Usage(text) => text,
            },
        )
    }

    fn load_of(line: &str) -> Load {
        match parse_line(line).unwrap() {
            Command::Load(load) => load,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_flag_has_a_valid_default_and_stands_in_help() {
        for program in &PROGRAMS {
            let help = parse_line(&format!("bench {} --help", program.name)).unwrap_err();
            for flag in Settings::new(program.groups).iter() {
                assert!(help.contains(&format!("--{} ", flag.flag.name)), "{help}");
            }
            assert!(
                parse_line("bench --help")
                    .unwrap_err()
                    .contains(program.about)
            );
        }
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
            ("bench put --conns 0", "--conns"),
            ("bench put --duration 5", "missing unit"),
            ("bench put --order backwards", "--order"),
            ("bench put foo", "foo"),
            ("bench bogus", "bogus"),
            ("bench put --key-size 2", "--key-size is 2"),
            ("bench pages --stride 0", "--stride"),
            ("bench lease --part everything", "--part"),
            ("bench lease --part storm --ttl 4", "--ttl"),
            ("bench lease --conns 9 --clients 8", "--clients"),
            ("bench put --nonsense", "--nonsense"),
        ] {
            let error = parse_line(line).unwrap_err();
            assert!(error.contains(text), "{line}: {error}");
        }
    }
}
