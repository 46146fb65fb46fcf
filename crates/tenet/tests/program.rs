//! The binary as a program: how it is called, what it prints, how it ends.

use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Whatever hangs fails after this.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the process has to end in.
const SHUTDOWN_MAX: Duration = Duration::from_secs(5);

fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_tenet"))
}

/// The binary under another name.
fn called(dir: &TempDir, name: &str) -> PathBuf {
    let path = dir.path().join(name);
    symlink(binary(), &path).expect("a new name");
    path
}

/// Flags for a member on free ports, with its data in `dir`.
fn member(command: &mut Command, dir: &TempDir) {
    command.args(["--listen-client-urls", "http://127.0.0.1:0"]);
    command.args(["--advertise-client-urls", "http://127.0.0.1:0"]);
    command.args(["--listen-peer-urls", "http://127.0.0.1:0"]);
    command.arg("--data-dir").arg(dir.path().join("data"));
    command.env_clear();
}

/// A child that does not outlive the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, signal).expect("it runs");
    }

    fn wait(&mut self, patience: Duration) -> ExitStatus {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Some(status) = self.0.try_wait().expect("a child") {
                return status;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("still running after {patience:?}");
    }
}

/// Starts a member called `etcd`, and reads its log until it serves. Gives its address and lines.
fn start_etcd(dir: &TempDir, prepare: impl FnOnce(&mut Command)) -> (Running, String, Vec<Value>) {
    let mut command = Command::new(called(dir, "etcd"));
    member(&mut command, dir);
    prepare(&mut command);
    let mut child = Running(command.stderr(Stdio::piped()).spawn().expect("the binary"));
    let mut lines = Vec::new();
    let mut log = BufReader::new(child.0.stderr.take().expect("piped"));
    loop {
        let mut line = String::new();
        assert!(
            log.read_line(&mut line).expect("text") > 0,
            "it ended after {lines:#?}"
        );
        let line: Value = serde_json::from_str(&line).expect(&line);
        let address = line["address"].as_str().map(str::to_owned);
        let serves = line["msg"]
            .as_str()
            .is_some_and(|text| text.starts_with("serving client"));
        lines.push(line);
        if let Some(address) = address.filter(|_| serves) {
            // The rest is read too, so that the process never waits for us.
            std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
            return (child, address, lines);
        }
    }
}

#[test]
fn called_etcd_it_logs_what_scripts_wait_for_and_tells_systemd() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let socket = dir.path().join("notify");
    let init = UnixDatagram::bind(&socket).expect("a socket");
    init.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let (_child, address, lines) = start_etcd(&dir, |command| {
        command.env("NOTIFY_SOCKET", &socket);
    });
    for line in &lines {
        for key in ["level", "ts", "caller", "msg"] {
            assert!(
                line[key].as_str().is_some_and(|text| !text.is_empty()),
                "{key} in {line}"
            );
        }
    }
    let messages: Vec<_> = lines
        .iter()
        .filter_map(|line| line["msg"].as_str())
        .collect();
    for message in [
        "starting an etcd server",
        "now serving peer/client/metrics",
        "ready to serve client requests",
        "notifying init daemon",
        "successfully notified init daemon",
    ] {
        assert!(messages.contains(&message), "{message} in {messages:?}");
    }
    let mut word = [0; 64];
    let len = init.recv(&mut word).expect("word of readiness");
    assert_eq!(&word[..len], b"READY=1");
    let mut http = TcpStream::connect(address).expect("it listens");
    http.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .expect("sent");
    let mut answer = String::new();
    http.read_to_string(&mut answer).expect("an answer");
    assert!(
        answer.ends_with("{\"health\":\"true\",\"reason\":\"\"}"),
        "{answer}"
    );
}

/// Connections of every kind that would last for ever.
struct Lasting {
    _idle_http: TcpStream,
    _silent: TcpStream,
    _half_preface: TcpStream,
    _calls: tokio::runtime::Runtime,
}

impl Lasting {
    fn open(address: &str) -> Lasting {
        let connect = |bytes: &[u8]| {
            let mut stream = TcpStream::connect(address).expect("it listens");
            stream.write_all(bytes).expect("sent");
            stream
        };
        let mut idle_http = connect(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n");
        idle_http.read_exact(&mut [0; 15]).expect("an answer");
        let calls = tokio::runtime::Runtime::new().expect("threads");
        calls.block_on(open_calls(address));
        Lasting {
            _idle_http: idle_http,
            _silent: connect(b""),
            _half_preface: connect(b"PRI * HT"),
            _calls: calls,
        }
    }
}

/// One stream that the server keeps open, and one request that never ends.
async fn open_calls(address: &str) {
    let socket = tokio::net::TcpStream::connect(address)
        .await
        .expect("it listens");
    let (mut send, connection) = h2::client::handshake(socket).await.expect("HTTP/2");
    tokio::spawn(connection);
    let mut request = |path: &str| {
        let request = http::Request::post(format!("http://localhost{path}"))
            .header("content-type", "application/grpc")
            .body(())
            .expect("a request");
        send.send_request(request, false).expect("a stream")
    };
    let (watching, mut stream) = request("/grpc.health.v1.Health/Watch");
    stream
        .send_data(bytes::Bytes::from_static(&[0; 5]), true)
        .expect("sent");
    let (_, mut half) = request("/etcdserverpb.KV/Put");
    half.send_data(bytes::Bytes::from_static(&[0, 0, 0, 1, 0, 7]), false)
        .expect("sent");
    let answer = watching.await.expect("an answer");
    tokio::spawn(async move {
        let _kept = (answer, half, send);
        std::future::pending::<()>().await;
    });
}

#[test]
fn a_signal_ends_it_in_time_whatever_is_open() {
    for (signal, number) in [
        (rustix::process::Signal::TERM, 15),
        (rustix::process::Signal::INT, 2),
    ] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (mut child, address, _) = start_etcd(&dir, |_| {});
        let _lasting = Lasting::open(&address);
        child.signal(signal);
        let status = child.wait(SHUTDOWN_MAX);
        assert_eq!(
            status.signal(),
            Some(number),
            "it ends by the signal, as etcd does: {status}"
        );
    }
}

#[test]
fn a_taken_port_is_named_with_its_owner_and_nothing_is_made() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", taken.local_addr().expect("bound"));
    let output = Command::new(called(&dir, "etcd"))
        .args([
            "--listen-client-urls",
            &url,
            "--advertise-client-urls",
            &url,
            "--data-dir",
        ])
        .arg(dir.path().join("data"))
        .env_clear()
        .output()
        .expect("the binary");
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8(output.stderr).expect("text");
    let last: Value = serde_json::from_str(log.lines().last().expect("a line")).expect(&log);
    assert_eq!(
        (last["level"].as_str(), last["msg"].as_str()),
        (Some("fatal"), Some("discovery failed"))
    );
    let error = format!(
        "listen tcp {}: bind: address already in use",
        &url["http://".len()..]
    );
    assert_eq!(last["error"].as_str(), Some(&*error));
    let owner = last["used-by"].as_str().unwrap_or_default();
    assert!(
        owner.ends_with(&format!("(pid {})", std::process::id())),
        "{last}"
    );
    assert!(!dir.path().join("data").exists());
}

/// A terminal; what is written to it comes back as text.
fn terminal() -> (File, File) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let here = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&here).expect("a terminal");
    unlockpt(&here).expect("a terminal");
    let name = ptsname(&here, Vec::new())
        .expect("a name")
        .into_string()
        .expect("text");
    let there = File::options()
        .read(true)
        .write(true)
        .open(name)
        .expect("its other side");
    (File::from(here), there)
}

#[test]
fn on_a_terminal_tenet_greets_and_etcd_logs() {
    for (name, expected) in [
        ("tenet", "  try      tenet ctl "),
        ("etcd", "{\"level\":\"info\""),
    ] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (here, there) = terminal();
        let mut command = Command::new(called(&dir, name));
        member(&mut command, &dir);
        command
            .stdout(there.try_clone().expect("a copy"))
            .stderr(there);
        let mut child = Running(command.spawn().expect("the binary"));
        drop(command);
        let mut reader = BufReader::new(here);
        let mut shown = String::new();
        while !shown.contains(expected) {
            let read = reader.read_line(&mut shown).unwrap_or(0);
            assert!(read > 0, "{name} showed {shown}");
        }
        if name == "tenet" {
            assert!(shown.contains("  clients  http://127.0.0.1:"), "{shown}");
            assert!(shown.contains("a sync takes "), "{shown}");
            assert!(!shown.contains('{'), "{shown}");
        }
        child.signal(rustix::process::Signal::TERM);
        child.wait(SHUTDOWN_MAX);
    }
}

#[test]
fn programs_that_are_not_there_say_so() {
    let run = |args: &[&str]| {
        Command::new(binary())
            .args(args)
            .output()
            .expect("the binary")
    };
    let version = run(&["version"]);
    assert!(version.status.success());
    assert!(String::from_utf8_lossy(&version.stdout).starts_with("tenet "));
    let bench = run(&["bench", "put", "--help"]);
    assert!(
        bench.status.success(),
        "its arguments begin with what is to be done"
    );
    let lab = run(&["lab"]);
    assert_eq!(lab.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&lab.stderr).contains("tenet lab is not there yet"));
}

/// Families that exist beside those of etcd.
const OWN_METRICS: [&str; 2] = ["tenet_build_info", "tenet_store_"];

/// `etcd-metrics.txt` holds the families of a running etcd 3.7.1 with their types, and
/// `metrics.txt` those that we have of them: what dashboards can rely on.
#[test]
fn metrics_are_named_and_typed_as_etcds_and_the_list_is_complete() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (_child, address, _) = start_etcd(&dir, |_| {});
    let get = |path: &str| {
        let mut http = TcpStream::connect(&address).expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        http.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        http.read_to_string(&mut answer).expect("an answer");
        answer
    };
    // Families with labels are there once a label was used.
    get("/readyz");
    let page = get("/metrics");
    let ours: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .collect();
    let etcds: Vec<&str> = include_str!("etcd-metrics.txt").lines().collect();
    let is_own = |family: &str| OWN_METRICS.iter().any(|own| family.starts_with(own));
    let shared: Vec<&str> = ours.into_iter().filter(|family| !is_own(family)).collect();
    for family in &shared {
        assert!(etcds.contains(family), "etcd has no {family}");
    }
    let listed: Vec<&str> = include_str!("metrics.txt").lines().collect();
    assert_eq!(shared, listed, "bring tests/metrics.txt up to date");
}
