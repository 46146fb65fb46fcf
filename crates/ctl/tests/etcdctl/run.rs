//! Runs a program on one case, and does with it what the steps of the case say.

use std::ffi::OsString;
use std::io::{Read, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::cases::{Case, Step, case_of};
use crate::normal::Places;
use crate::servers::Server;
use crate::shell;

/// Where a case runs.
pub(crate) struct Surroundings<'a> {
    pub(crate) folder: &'a Path,
    /// For cases that do not name endpoints themselves.
    pub(crate) endpoint: &'a str,
    pub(crate) places: &'a Places,
    /// Of the endpoint, if there is one.
    pub(crate) server: Option<&'a Server>,
}

/// Time for what a step waits for, and for a program to end.
const LIMIT: Duration = Duration::from_secs(90);

pub(crate) fn run(
    case: &Case,
    program: &Path,
    surroundings: &Surroundings<'_>,
) -> Result<Output, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", program.display());
    let mut child = command(case, program, surroundings)
        .spawn()
        .map_err(failed)?;
    let stdin = child.stdin.take();
    let stdout = Gathered::from(child.stdout.take());
    let stderr = Gathered::from(child.stderr.take());
    let mut running = Running {
        child,
        stdin,
        stdout: &stdout,
        stderr: &stderr,
    };
    let feeder = if case.steps.is_empty() {
        let (stdin, input) = (running.stdin.take(), case.stdin.clone());
        Some(std::thread::spawn(move || {
            // A program that does not read its input closes it early.
            let _ = stdin.map(|mut stdin| stdin.write_all(&input));
        }))
    } else {
        None
    };
    let stepped = case
        .steps
        .iter()
        .try_for_each(|step| running.step(step, program, surroundings));
    let status = stepped.and_then(|()| {
        // What ends by a signal does not end by its input.
        if !matches!(case.steps.last(), Some(Step::Interrupt | Step::Terminate)) {
            running.stdin = None;
        }
        running.wait_until("its end", |_| false)?;
        running.child.wait().map_err(failed)
    });
    if status.is_err() {
        let _ = running.child.kill();
        let _ = running.child.wait();
    }
    feeder.map(JoinHandle::join);
    let output = |status| Output {
        status,
        stdout: stdout.whole(),
        stderr: stderr.whole(),
    };
    status.map(output).map_err(|error| {
        let [out, err] =
            [&stdout, &stderr].map(|part| String::from_utf8_lossy(&part.now()).into_owned());
        format!("{} {}: {error}\n{out}\n{err}", program.display(), case.line)
    })
}

fn command(case: &Case, program: &Path, surroundings: &Surroundings<'_>) -> Command {
    let place = |word: &[u8]| OsString::from_vec(shell::replace(word, surroundings.places));
    let mut command = Command::new(program);
    command.args(case.words.iter().map(|word| place(word)));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ETCDCTL_") {
            command.env_remove(name);
        }
    }
    if case.uses_server {
        command.env("ETCDCTL_ENDPOINTS", surroundings.endpoint);
    }
    for (name, value) in &case.environment {
        command.env(name, place(value.as_bytes()));
    }
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .current_dir(surroundings.folder);
    command
}

struct Running<'a> {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: &'a Gathered,
    stderr: &'a Gathered,
}

impl Running<'_> {
    fn step(
        &mut self,
        step: &Step,
        program: &Path,
        surroundings: &Surroundings<'_>,
    ) -> Result<(), String> {
        let what = format!("{step:?}");
        match step {
            Step::Out(part, end) => self.wait_until(&what, |running| running.stdout.has(part, end)),
            Step::Err(part, end) => self.wait_until(&what, |running| running.stderr.has(part, end)),
            Step::Keys(prefix, count) => {
                let server = surroundings.server.ok_or("no server to look at")?;
                self.wait_until(&what, |_| server.count(prefix) == Some(*count))
            }
            Step::Watches(count) => {
                let server = surroundings.server.ok_or("no server to look at")?;
                self.wait_until(&what, |_| server.watches() == Some(*count))
            }
            Step::Also(line) => run(&case_of(line), program, surroundings).map(|_| ()),
            Step::Input(text) => match &mut self.stdin {
                // A program that has ended says so by its output.
                Some(stdin) => {
                    let _ = stdin.write_all(text.as_bytes());
                    Ok(())
                }
                None => Err("standard input is closed".to_owned()),
            },
            Step::Close => {
                self.stdin = None;
                Ok(())
            }
            Step::Interrupt => self.signal(rustix::process::Signal::INT),
            Step::Terminate => self.signal(rustix::process::Signal::TERM),
        }
    }

    fn signal(&mut self, signal: rustix::process::Signal) -> Result<(), String> {
        let ended = self.child.try_wait().map_err(|error| error.to_string())?;
        if ended.is_some() {
            return Ok(());
        }
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, signal).map_err(|error| error.to_string())
    }

    /// Waits until something is so, or the program has ended.
    fn wait_until(
        &mut self,
        what: &str,
        mut is_so: impl FnMut(&Running<'_>) -> bool,
    ) -> Result<(), String> {
        let begun = Instant::now();
        while begun.elapsed() < LIMIT {
            // In this order: what a program that has ended wrote may still be on its way.
            let ended = self.child.try_wait().map_err(|error| error.to_string())?;
            if is_so(self) || ended.is_some() {
                return Ok(());
            }
            self.stdout.changed(Duration::from_millis(10));
        }
        Err(format!("waits for {what} in vain"))
    }
}

/// What a program has written so far.
struct Gathered {
    shared: Arc<(Mutex<Vec<u8>>, Condvar)>,
    reader: Mutex<Option<JoinHandle<()>>>,
}

impl Gathered {
    fn from(source: Option<impl Read + Send + 'static>) -> Gathered {
        let shared = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let gathered = shared.clone();
        let reader = std::thread::spawn(move || {
            let Some(mut source) = source else { return };
            let mut part = [0; 64 * 1024];
            while let Ok(len @ 1..) = source.read(&mut part) {
                gathered
                    .0
                    .lock()
                    .expect("no panic")
                    .extend_from_slice(&part[..len]);
                gathered.1.notify_all();
            }
        });
        Gathered {
            shared,
            reader: Mutex::new(Some(reader)),
        }
    }

    fn now(&self) -> Vec<u8> {
        self.shared.0.lock().expect("no panic").clone()
    }

    /// Everything, once the program has closed its end.
    fn whole(&self) -> Vec<u8> {
        if let Some(reader) = self.reader.lock().expect("no panic").take() {
            reader.join().expect("the reader does not panic");
        }
        self.now()
    }

    fn has(&self, part: &str, end: &str) -> bool {
        let text = self.now();
        let part = part.as_bytes();
        text.ends_with(end.as_bytes())
            && (part.is_empty() || text.windows(part.len()).any(|window| window == part))
    }

    /// Waits for more, at most so long.
    fn changed(&self, limit: Duration) {
        let text = self.shared.0.lock().expect("no panic");
        let _ = self.shared.1.wait_timeout(text, limit).expect("no panic");
    }
}
