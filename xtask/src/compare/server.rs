//! A server under measurement: started on its own core over a fresh folder on the tree's disk,
//! and ended with the value.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{process, thread};

use crate::Failure;
use crate::repo::Repo;

/// The core of the server.
pub(super) const SERVER_CORE: &str = "0";
/// The core of the load generator.
pub(super) const CLIENT_CORE: &str = "1";
/// How long a server may take until it answers.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a server may take to end when it is asked to.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Tenet,
    Etcd,
    /// The empty server of the load generator.
    Floor,
}

impl Kind {
    /// The name in files and tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Tenet => "tenet",
            Kind::Etcd => "etcd",
            Kind::Floor => "floor",
        }
    }
}

/// A program that serves.
#[derive(Clone, Debug)]
pub(super) struct Contender {
    pub(super) kind: Kind,
    command: Vec<String>,
}

/// A running server. Dropping it ends the process and removes its folder.
pub(super) struct Server {
    child: Child,
    folder: PathBuf,
    pub(super) endpoint: String,
}

impl Contender {
    /// The program that these words start.
    pub(super) fn new(kind: Kind, command: Vec<String>) -> Contender {
        Contender { kind, command }
    }

    /// Starts it and waits until it serves.
    pub(super) fn start(&self, repo: &Repo) -> Result<Server, Failure> {
        let folder = repo.path(format!(
            "target/compare/{}-{}",
            self.kind.name(),
            process::id()
        ));
        let file_failure = |source| Failure::File {
            path: folder.display().to_string(),
            source,
        };
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).map_err(file_failure)?;
        let log = File::create(folder.join("log")).map_err(file_failure)?;
        let (client, peer) = (free_port()?, free_port()?);
        let endpoint = format!("127.0.0.1:{client}");
        let mut command = Command::new("taskset");
        command.args(["-c", SERVER_CORE]).args(&self.command);
        match self.kind {
            Kind::Floor => command.args(["floor", "--threads", "1", "--listen", &endpoint]),
            Kind::Tenet | Kind::Etcd => command
                .args(flags(client, peer))
                .arg("--data-dir")
                .arg(folder.join("data")),
        };
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|source| Failure::Program {
                program: format!("taskset {}", self.command.join(" ")),
                source,
            })?;
        let mut server = Server {
            child,
            folder,
            endpoint,
        };
        server.wait_until_ready(self.kind)?;
        Ok(server)
    }
}

/// The flags of both servers, to the letter alike.
fn flags(client: u16, peer: u16) -> Vec<String> {
    let (client, peer) = (
        format!("http://127.0.0.1:{client}"),
        format!("http://127.0.0.1:{peer}"),
    );
    vec![
        "--log-level=error".into(),
        // The million keys do not fit the default quota.
        "--quota-backend-bytes=8589934592".into(),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
    ]
}

impl Server {
    /// The id of the server's process: taskset replaces itself by the server.
    pub(super) fn process_id(&self) -> u32 {
        self.child.id()
    }

    fn wait_until_ready(&mut self, kind: Kind) -> Result<(), Failure> {
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            let ready = match kind {
                Kind::Floor => TcpStream::connect(&self.endpoint).is_ok(),
                Kind::Tenet | Kind::Etcd => is_healthy(&self.endpoint),
            };
            if ready {
                return Ok(());
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(Failure::Text(format!(
                    "the {} ended at once with {status}: {}",
                    kind.name(),
                    self.log()
                )));
            }
            thread::sleep(Duration::from_millis(50));
        }
        Err(Failure::Text(format!(
            "the {} did not answer within {START_TIMEOUT:?}: {}",
            kind.name(),
            self.log()
        )))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Asks the process to end and waits for it.
    fn stop(&mut self) {
        let _ = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let deadline = Instant::now() + STOP_TIMEOUT;
        while Instant::now() < deadline {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Whether `GET /health` says so.
fn is_healthy(endpoint: &str) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(endpoint)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream
            .write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.contains("\"health\":\"true\""))
}

/// A port that nobody uses at this moment.
fn free_port() -> Result<u16, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0");
    listener
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|source| Failure::Text(format!("no free port: {source}")))
}
