//! The transports from outside: raw HTTP/2 and HTTP/1.1 against a member in memory.
//!
//! Texts and codes are those that etcd 3.7.1 gave to the same bytes, where the comment does not say
//! otherwise.

mod client;
mod connections;
mod fake;
mod grpc;
mod http;
mod limits;
mod long;
mod streams;

use fake::Fake;
use std::time::Duration;
use tenet_cli::go::Url;
use tenet_server::config::access::AccessRules;
use tenet_server::listen::{Listener, SocketOptions};
use tenet_server::serve::{Role, ServeOptions, Serving};

/// A server on a port of its own.
struct Server {
    fake: Fake,
    serving: Serving<Fake>,
    address: String,
}

fn options() -> ServeOptions {
    ServeOptions {
        message_bytes_max: 2 * 1024 * 1024,
        streams_max: u32::MAX,
        ping_interval_min: Duration::from_secs(5),
        keepalive_interval: Duration::from_secs(7200),
        keepalive_timeout: Duration::from_secs(20),
        slow_request: Duration::from_millis(300),
        extensive_metrics: false,
        connections_max: 1_000,
        access: AccessRules::new([], []),
        other_metrics: tenet_server::metrics::OtherMetrics::default(),
        election_timeout: Duration::from_millis(400),
    }
}

impl Server {
    fn start() -> Server {
        Server::with(options())
    }

    fn with(options: ServeOptions) -> Server {
        let fake = Fake::default();
        let serving = Serving::new(fake.clone(), options);
        let mut server = Server {
            fake,
            serving,
            address: String::new(),
        };
        server.address = server.listen(Role::Client);
        server
    }

    /// Opens a further listener.
    fn listen(&self, role: Role) -> String {
        let url = Url::parse("http://127.0.0.1:0").expect("a URL");
        let options = SocketOptions {
            reuse_port: false,
            unacknowledged_max: Duration::ZERO,
        };
        let listener = Listener::bind(&url, options).expect("a free port");
        let address = listener.address.clone();
        self.serving.listen(listener, role);
        address
    }

    async fn client(&self) -> client::Client {
        client::Client::connect(&self.address).await
    }
}
