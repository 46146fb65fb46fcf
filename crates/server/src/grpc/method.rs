//! The methods that are served, generated from our .proto files by the build script.

use super::frames::Reply;
use prost::Message;

/// Which side sends more than one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Neither.
    Unary,
    /// The client.
    #[allow(dead_code)] // The table has no such method, grpc's metrics know the word.
    ClientStream,
    /// The server.
    ServerStream,
    /// Both.
    BidiStream,
}

impl Kind {
    /// The word that labels of metrics use.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Unary => "unary",
            Kind::ClientStream => "client_stream",
            Kind::ServerStream => "server_stream",
            Kind::BidiStream => "bidi_stream",
        }
    }
}

/// What the table says of a method.
#[derive(Debug)]
pub(crate) struct Description {
    /// The service with its package.
    pub(crate) service: &'static str,
    /// The method's name.
    pub(crate) name: &'static str,
    /// The path of its requests.
    pub(crate) path: &'static str,
    /// Who streams.
    pub(crate) kind: Kind,
}

/// A method as a type, which ties its two messages together.
pub(crate) trait Rpc {
    /// What the client sends.
    type Request: Message + Default;
    /// What the server answers.
    type Response: Reply;
}

impl Method {
    /// What the table says of it.
    pub(crate) fn description(self) -> &'static Description {
        &table::TABLE[self as usize]
    }

    /// All methods.
    pub(crate) fn all() -> &'static [Description] {
        table::TABLE
    }
}

/// Whether a service of this name is in the table.
pub(super) fn is_service(name: &str) -> bool {
    table::SERVICES.contains(&name)
}

pub(crate) use table::*;

mod table {
    #![allow(dead_code)] // Markers of methods that are in the table but not served yet.
    use super::{Description, Kind, Reply, Rpc};

    include!(concat!(env!("OUT_DIR"), "/methods.rs"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_is_found_and_names_its_own_row() {
        // 52 methods of etcd's table, counted in the reference: 49 of etcd and 3 of health.
        assert_eq!(Method::all().len(), 52);
        for row in Method::all() {
            let method = Method::find(row.path).expect(row.path);
            assert_eq!(method.description().path, row.path);
            assert!(is_service(row.service));
        }
        assert_eq!(Method::find("/etcdserverpb.KV/Rang"), None);
        assert_eq!(Method::KvRangeStream.description().kind, Kind::ServerStream);
        assert_eq!(Method::WatchWatch.description().kind, Kind::BidiStream);
    }
}
