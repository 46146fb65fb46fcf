//! The process's log: what `tracing` events and our own entries become, and where they go.
//!
//! Programs get etcd's lines; a person who started `tenet` on a terminal gets only what needs
//! attention, in plain words. There is one log per process, since panics and the crates below
//! have no other way to reach it.
//!
//! Events: a target without `tenet` at its start is etcd's name of a logger (`raft`); the level
//! comes from the event, or is fatal if a field `level_name` says so.

use std::io::IsTerminal;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use tenet_base::ids::{Index, MemberId, Term};
use tenet_cli::log::{Entry, Field, Format, Level, Outputs, caller};
use tracing::field::Visit;
use tracing::span;

/// How entries look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// etcd's lines.
    Lines(Format),
    /// Warnings and errors, as sentences.
    Person,
}

struct Log {
    level: Level,
    form: Form,
    outputs: Outputs,
    sampler: Sampler,
}

static LOG: OnceLock<Log> = OnceLock::new();

type Position = Box<dyn Fn() -> (MemberId, Term, Index) + Send + Sync>;
static POSITION: OnceLock<Position> = OnceLock::new();

/// Opens the log for the rest of the process and lets events and panics go there.
pub(crate) fn open(level: Level, form: Form, outputs: Outputs) {
    let log = Log {
        level,
        form,
        outputs,
        sampler: Sampler::new(),
    };
    if LOG.set(log).is_ok() {
        // Only a test that has one already can have set another.
        let _ = tracing::subscriber::set_global_default(Bridge);
        std::panic::set_hook(Box::new(log_panic));
    }
}

/// Tells the log where the member stands, for the line of a panic.
pub(crate) fn set_position(position: Position) {
    // A process has one member.
    let _ = POSITION.set(position);
}

/// Whether a person sits in front of this process and reads what it prints.
pub(crate) fn on_terminal() -> bool {
    std::io::stdout().is_terminal() && std::io::stderr().is_terminal()
}

/// Writes an entry. Before the log is open, to standard error.
pub(crate) fn write(entry: &Entry) {
    let now = SystemTime::now();
    let Some(log) = LOG.get() else {
        return Outputs::stderr().write(&entry.line(Format::Json, now));
    };
    if entry.level < log.level || !log.sampler.admits(entry, now) {
        return;
    }
    match log.form {
        Form::Lines(format) => log.outputs.write(&entry.line(format, now)),
        Form::Person if entry.level >= Level::Warn => log.outputs.write(&sentence(entry)),
        Form::Person => {}
    }
}

fn sentence(entry: &Entry) -> String {
    let error = entry.fields.iter().find(|(name, _)| name == "error");
    let (word, message) = match (entry.level, error) {
        (Level::Debug | Level::Info, _) => ("note", entry.message.clone()),
        (Level::Warn, _) => ("warning", entry.message.clone()),
        // etcd has one message for every start that fails; its cause says more.
        (Level::Fatal, Some((_, cause))) => ("cannot start", plain(cause)),
        _ => ("error", entry.message.clone()),
    };
    let told = |name: &str| word == "cannot start" && name == "error";
    let details: Vec<String> = entry
        .fields
        .iter()
        .filter(|(name, _)| !told(name))
        .map(|(name, value)| format!("{name}: {}", plain(value)))
        .collect();
    match details.join(", ") {
        details if details.is_empty() => format!("{word}: {message}\n"),
        details => format!("{word}: {message} ({details})\n"),
    }
}

fn plain(value: &Field) -> String {
    match value {
        Field::Text(text) => text.clone(),
        Field::Bool(value) => value.to_string(),
        Field::Int(value) => value.to_string(),
        Field::Uint(value) => value.to_string(),
        Field::List(texts) => texts.join(" "),
    }
}

fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let text = panic
        .payload_as_str()
        .map_or_else(|| "a panic without a text".to_owned(), str::to_owned);
    let mut entry = Entry::new(Level::Panic, text);
    if let Some(place) = panic.location() {
        entry.caller = caller(place.file(), place.line());
    }
    let thread = std::thread::current()
        .name()
        .unwrap_or("unnamed")
        .to_owned();
    entry = entry.with("thread", thread);
    if let Some(position) = POSITION.get() {
        let (member, term, applied) = position();
        entry = entry
            .with("local-member-id", member.to_string())
            .with("term", term.get())
            .with("applied-index", applied.get());
    }
    write(&entry);
}

/// Lets the first entries of a kind pass in each second, then every hundredth, as etcd does: a
/// fault that repeats must not fill the disk with its own reports.
struct Sampler {
    slots: Box<[Slot]>,
}

/// A kind of entry: which second it was last seen in, and how often in that second. Two kinds may
/// share a slot; then they are thinned out a little early.
#[derive(Default)]
struct Slot {
    second: AtomicU64,
    count: AtomicU64,
}

impl Sampler {
    const SLOTS: usize = 1024;
    const FIRST: u64 = 100;
    const EVERY: u64 = 100;

    fn new() -> Sampler {
        Sampler {
            slots: (0..Self::SLOTS).map(|_| Slot::default()).collect(),
        }
    }

    fn admits(&self, entry: &Entry, now: SystemTime) -> bool {
        if entry.level > Level::Error {
            return true;
        }
        let hash = tenet_base::crc::crc32c(entry.message.as_bytes()) as usize;
        let slot = &self.slots[(hash ^ entry.level as usize) % Self::SLOTS];
        let second = now
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        if slot.second.swap(second, Ordering::Relaxed) != second {
            slot.count.store(0, Ordering::Relaxed);
        }
        let count = slot.count.fetch_add(1, Ordering::Relaxed) + 1;
        count <= Self::FIRST || (count - Self::FIRST).is_multiple_of(Self::EVERY)
    }
}

/// Turns events into entries. Spans are not used.
struct Bridge;

impl tracing::Subscriber for Bridge {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.is_event() && LOG.get().is_some_and(|log| level(metadata) >= log.level)
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        use tracing::level_filters::LevelFilter;
        Some(match LOG.get().map(|log| log.level) {
            Some(Level::Debug) => LevelFilter::DEBUG,
            Some(Level::Info) | None => LevelFilter::INFO,
            Some(Level::Warn) => LevelFilter::WARN,
            Some(_) => LevelFilter::ERROR,
        })
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        write(&entry(event));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

fn level(metadata: &tracing::Metadata<'_>) -> Level {
    match *metadata.level() {
        tracing::Level::ERROR => Level::Error,
        tracing::Level::WARN => Level::Warn,
        tracing::Level::INFO => Level::Info,
        tracing::Level::DEBUG | tracing::Level::TRACE => Level::Debug,
    }
}

fn entry(event: &tracing::Event<'_>) -> Entry {
    let metadata = event.metadata();
    let mut fields = Fields(Entry {
        level: level(metadata),
        logger: if metadata.target().starts_with("tenet") {
            ""
        } else {
            metadata.target()
        },
        caller: caller(
            metadata.file().unwrap_or("unknown"),
            metadata.line().unwrap_or(0),
        ),
        message: String::new(),
        fields: Vec::new(),
    });
    event.record(&mut fields);
    fields.0
}

struct Fields(Entry);

impl Fields {
    fn add(&mut self, field: &tracing::field::Field, value: Field) {
        match (field.name(), value) {
            ("message", Field::Text(text)) => self.0.message = text,
            ("level_name", Field::Text(text)) if text == "fatal" => self.0.level = Level::Fatal,
            (name, value) => self.0.fields.push((name.to_owned(), value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.add(field, Field::Text(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        self.add(field, value.into());
    }

    fn record_bool(&mut self, field: &tracing::field::Field, value: bool) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &tracing::field::Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &tracing::field::Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_error(
        &mut self,
        field: &tracing::field::Field,
        value: &(dyn std::error::Error + 'static),
    ) {
        self.add(field, value.to_string().into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    /// Keeps entries instead of writing them.
    #[derive(Clone, Default)]
    struct Keep(Arc<Mutex<Vec<Entry>>>);

    impl tracing::Subscriber for Keep {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, event: &tracing::Event<'_>) {
            self.0.lock().expect("not poisoned").push(entry(event));
        }
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    fn logged(body: impl FnOnce()) -> Entry {
        let keep = Keep::default();
        tracing::subscriber::with_default(keep.clone(), body);
        let entry = keep.0.lock().expect("not poisoned").pop();
        entry.expect("an event")
    }

    #[test]
    fn events_become_entries() {
        let member = MemberId(0xab);
        let entry = logged(|| {
            tracing::warn!(
                "local-member-id" = %member,
                took = 7u64,
                ok = true,
                name = "n",
                "it took {} s",
                7
            );
        });
        assert_eq!((entry.level, entry.logger), (Level::Warn, ""));
        assert_eq!(entry.message, "it took 7 s");
        assert!(entry.caller.starts_with("src/log.rs:"), "{}", entry.caller);
        assert_eq!(
            entry.fields,
            [
                ("local-member-id".to_owned(), Field::from("ab")),
                ("took".to_owned(), Field::Uint(7)),
                ("ok".to_owned(), Field::Bool(true)),
                ("name".to_owned(), Field::from("n")),
            ]
        );
    }

    #[test]
    fn loggers_and_fatal_entries_are_recognised() {
        let entry = logged(|| tracing::info!(target: "raft", "became leader"));
        assert_eq!(entry.logger, "raft");
        let entry = logged(|| tracing::error!(level_name = "fatal", "no way on"));
        assert_eq!((entry.level, entry.fields.len()), (Level::Fatal, 0));
    }

    #[test]
    fn people_get_sentences() {
        let entry = Entry::new(Level::Warn, "the disk is slow")
            .with("sync", "40 ms")
            .with("urls", vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(
            sentence(&entry),
            "warning: the disk is slow (sync: 40 ms, urls: a b)\n"
        );
        let entry = Entry::new(Level::Fatal, "discovery failed")
            .with("error", "the port is taken")
            .with("used-by", "etcd (pid 7)");
        assert_eq!(
            sentence(&entry),
            "cannot start: the port is taken (used-by: etcd (pid 7))\n"
        );
    }

    #[test]
    fn repeated_entries_are_thinned_out_within_a_second() {
        let sampler = Sampler::new();
        let entry = Entry::new(Level::Warn, "again");
        let now = SystemTime::now();
        let admitted = (0..1_000).filter(|_| sampler.admits(&entry, now)).count();
        assert_eq!(admitted, 100 + 9);
        assert!(sampler.admits(&entry, now + Duration::from_secs(1)));
        let fatal = Entry::new(Level::Fatal, "again");
        assert!((0..1_000).all(|_| sampler.admits(&fatal, now)));
    }
}
