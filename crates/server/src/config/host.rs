//! The address of this machine towards the rest of the world.

use std::net::UdpSocket;

/// The source address of packets to the default route: what etcd advertises for a listener on
/// `0.0.0.0`. Nothing is sent.
///
/// # Errors
/// If there is no default route, in etcd's words.
pub fn default_host() -> Result<String, String> {
    // Connecting a datagram socket makes the kernel choose a route and a source address. The
    // addresses are of the ranges for documentation, so that only a default route leads there.
    for (any, outside) in [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")] {
        let socket =
            UdpSocket::bind(any).and_then(|socket| socket.connect(outside).map(|()| socket));
        if let Ok(address) = socket.and_then(|socket| socket.local_addr())
            && !address.ip().is_unspecified()
        {
            return Ok(address.ip().to_string());
        }
    }
    Err("could not find default route".to_owned())
}
