//! The client against a real server, named by the variable `ETCD`. Without it nothing here is
//! checked, and each test says so.

mod concurrency;
mod leases;
mod server;
mod watches;

use tenet_client::proto::PutRequest;
use tenet_client::{Client, Update, Watch};

use crate::scripted::soon;

/// A started server, or the end of the test.
macro_rules! start {
    () => {
        match crate::real::server::Server::start(&[]).await {
            Some(server) => server,
            None => return eprintln!("not checked: ETCD must name a server"),
        }
    };
}
pub(crate) use start;

async fn put(client: &Client, key: &str, value: impl Into<bytes::Bytes>) -> i64 {
    let put = PutRequest {
        key: key.to_owned().into(),
        value: value.into(),
        ..PutRequest::default()
    };
    client.put(put).await.unwrap().header.unwrap().revision
}

/// The revisions of the next changes.
async fn revisions(watch: &mut Watch) -> Vec<i64> {
    loop {
        match soon(watch.next()).await.unwrap() {
            Update::Events { events, .. } => {
                let kvs = events.into_iter().filter_map(|event| event.kv);
                return kvs.map(|kv| kv.mod_revision).collect();
            }
            Update::Progress { .. } => {}
            Update::Compacted { .. } => panic!("compacted"),
        }
    }
}
