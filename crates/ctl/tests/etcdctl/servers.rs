//! Servers to compare on: started on free ports of this machine, stopped when dropped.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tenet_client::{Client, Config, KeyRange};
use tenet_proto::etcdserverpb::{
    AlarmRequest, LeaseGrantRequest, PutRequest, RangeRequest, alarm_request::AlarmAction,
};

use crate::normal::Places;

pub(crate) struct Server {
    process: Child,
    port: u16,
    /// Nothing listens here.
    dead_port: u16,
    folder: PathBuf,
}

const START_LIMIT: Duration = Duration::from_secs(20);

impl Server {
    /// Starts a server whose identity depends on nothing but its binary: the announced peer URL
    /// is always the same, whatever it listens on.
    pub(crate) fn start(binary: &Path, folder: PathBuf) -> Result<Server, String> {
        std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let [port, peer_port, dead_port] = free_ports()?;
        let client_url = format!("http://127.0.0.1:{port}");
        let process = Command::new(binary)
            .arg("--data-dir")
            .arg(folder.join("data"))
            .args([
                "--listen-client-urls",
                &format!("{client_url},unix://member.sock"),
            ])
            .args(["--advertise-client-urls", &client_url])
            .args([
                "--listen-peer-urls",
                &format!("http://127.0.0.1:{peer_port}"),
            ])
            .args(["--initial-advertise-peer-urls", "http://127.0.0.1:2380"])
            .args(["--initial-cluster", "default=http://127.0.0.1:2380"])
            .args(["--log-level", "error"])
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("{}: {error}", binary.display()))?;
        let server = Server {
            process,
            port,
            dead_port,
            folder,
        };
        server.wait_until_healthy()?;
        Ok(server)
    }

    fn wait_until_healthy(&self) -> Result<(), String> {
        let begun = Instant::now();
        while begun.elapsed() < START_LIMIT {
            if self
                .request("GET", "/health", "")
                .is_ok_and(|answer| answer.contains("\"true\""))
            {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(format!(
            "the server on port {} is not healthy after {START_LIMIT:?}",
            self.port
        ))
    }

    /// Asks the server over its JSON gateway for what the client has no call for either. What it
    /// answers shows in the cases that follow.
    pub(crate) fn post(&self, path: &str, body: &str) {
        if let Err(error) = self.request("POST", path, body) {
            panic!("{path}: {error}");
        }
    }

    fn request(&self, method: &str, path: &str, body: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Calls the server for what etcdctl has no command for. What comes of a call that is refused
    /// shows in the cases that follow.
    fn call<T>(
        &self,
        call: impl AsyncFnOnce(Client) -> Result<T, tenet_client::Error>,
    ) -> Option<T> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let client = Client::new(Config::new([self.endpoint()])).expect("an endpoint");
        runtime
            .block_on(call(client.with_timeout(START_LIMIT)))
            .ok()
    }

    /// Makes a lease of 100,000 seconds, whose id is then the same on all servers.
    pub(crate) fn grant(&self, id: i64) {
        let request = LeaseGrantRequest { ttl: 100_000, id };
        self.call(async |client| client.lease_grant(request).await);
    }

    pub(crate) fn raise_alarm(&self, member_id: u64, alarm: i32) {
        let request = AlarmRequest {
            action: AlarmAction::Activate.into(),
            member_id,
            alarm,
        };
        self.call(async |client| client.alarm(request).await);
    }

    pub(crate) fn put(&self, key: &str, value: &str) {
        let request = PutRequest {
            key: key.to_owned().into(),
            value: value.to_owned().into(),
            ..PutRequest::default()
        };
        self.call(async |client| client.put(request).await);
    }

    /// How many keys begin so.
    pub(crate) fn count(&self, prefix: &str) -> Option<i64> {
        let range = KeyRange::prefix(prefix.to_owned());
        let answer = self.call(async |client| client.range(RangeRequest::from(range)).await)?;
        Some(answer.count)
    }

    /// How many watches it has, by its own account.
    pub(crate) fn watches(&self) -> Option<u32> {
        let metrics = self.request("GET", "/metrics", "").ok()?;
        let mut lines = metrics.lines();
        let count = lines.find_map(|line| line.strip_prefix("etcd_debugging_mvcc_watcher_total "));
        count?.trim().parse().ok()
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn places(&self) -> Places {
        vec![
            ("@ENDPOINT@", self.endpoint()),
            ("@DEAD@", format!("127.0.0.1:{}", self.dead_port)),
            ("@FOLDER@", self.folder.display().to_string()),
        ]
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Ports that were free a moment ago, all of five digits so that tables keep their widths.
fn free_ports<const N: usize>() -> Result<[u16; N], String> {
    let listeners: Vec<TcpListener> = std::iter::repeat_with(|| TcpListener::bind("127.0.0.1:0"))
        .take(64)
        .collect::<std::io::Result<_>>()
        .map_err(|error| error.to_string())?;
    let ports = listeners
        .iter()
        .filter_map(|listener| listener.local_addr().ok());
    let ports: Vec<u16> = ports
        .map(|address| address.port())
        .filter(|port| *port > 9_999)
        .collect();
    ports
        .get(..N)
        .and_then(|ports| ports.try_into().ok())
        .ok_or("no free ports".to_owned())
}
