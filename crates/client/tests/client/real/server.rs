//! A server on free ports and in a temporary folder, which can be killed and started again.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tenet_client::proto::MemberListRequest;
use tenet_client::{Client, Config};

pub(crate) struct Server {
    process: Child,
    ports: [u16; 2],
    folder: tempfile::TempDir,
}

impl Server {
    pub(crate) async fn start(flags: &[&str]) -> Option<Server> {
        let binary = std::env::var_os("ETCD")?;
        let folder = tempfile::tempdir().unwrap();
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let ports = listeners
            .each_ref()
            .map(|listener| listener.local_addr().unwrap().port());
        drop(listeners);
        let process = spawn(&binary, folder.path(), ports, flags);
        let server = Server {
            process,
            ports,
            folder,
        };
        server.wait_until_healthy().await;
        Some(server)
    }

    /// Kills it without warning, and starts it again on the same folder and ports.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        let binary = std::env::var_os("ETCD").unwrap();
        self.process = spawn(&binary, self.folder.path(), self.ports, &[]);
        self.wait_until_healthy().await;
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(Config::new([format!("127.0.0.1:{}", self.ports[0])])).unwrap()
    }

    async fn wait_until_healthy(&self) {
        let (client, begun) = (self.client(), Instant::now());
        let client = client.with_timeout(Duration::from_secs(1));
        // It answers once there is a leader.
        let linearizable = MemberListRequest { linearizable: true };
        while client.member_list(linearizable).await.is_err() {
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "it does not start"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(
    binary: &std::ffi::OsStr,
    folder: &std::path::Path,
    ports: [u16; 2],
    flags: &[&str],
) -> Child {
    let [client, peer] = ports.map(|port| format!("http://127.0.0.1:{port}"));
    Command::new(binary)
        .arg("--data-dir")
        .arg(folder.join("data"))
        .args(["--listen-client-urls", &client])
        .args(["--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer])
        .args(["--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("default={peer}")])
        .args(["--log-level", "error"])
        .args(flags)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}
