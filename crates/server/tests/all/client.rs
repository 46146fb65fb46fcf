//! A client that sends whatever bytes it is told to.

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Method, Request};
use prost::Message;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Everything in these tests that could hang ends by this.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// One HTTP/2 connection.
pub(crate) struct Client {
    send: SendRequest<Bytes>,
    /// Ends with the connection.
    pub(crate) connection: JoinHandle<Result<(), h2::Error>>,
    pub(crate) pings: h2::PingPong,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) http: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Trailers, or the headers of an answer that has no others.
    trailers: HeaderMap,
}

impl Reply {
    pub(crate) fn code(&self) -> i32 {
        self.text_of("grpc-status").parse().expect("a number")
    }

    pub(crate) fn text(&self) -> &str {
        self.text_of("grpc-message")
    }

    fn text_of(&self, name: &str) -> &str {
        let value = self.trailers.get(name).or(self.headers.get(name));
        value
            .unwrap_or_else(|| panic!("no {name} in {self:?}"))
            .to_str()
            .expect("ASCII")
    }

    /// The messages of the body, which are not compressed.
    pub(crate) fn messages<M: Message + Default>(&self) -> Vec<M> {
        let mut body = self.body.clone();
        let mut out = Vec::new();
        while !body.is_empty() {
            assert_eq!(body[0], 0, "not compressed");
            let len = u32::from_be_bytes([body[1], body[2], body[3], body[4]]) as usize;
            let _ = body.split_to(5);
            out.push(M::decode(body.split_to(len)).expect("a message"));
        }
        out
    }
}

/// A message with its prefix.
pub(crate) fn frame(flag: u8, message: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(message.len() + 5);
    out.put_u8(flag);
    out.put_u32(message.len() as u32);
    out.put_slice(message);
    out.freeze()
}

/// A request of gRPC.
pub(crate) fn request(path: &str) -> http::request::Builder {
    Request::builder()
        .method(Method::POST)
        .uri(format!("http://localhost{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
}

impl Client {
    pub(crate) async fn connect(address: &str) -> Client {
        Client::connect_with(address, &h2::client::Builder::new()).await
    }

    pub(crate) async fn connect_with(address: &str, builder: &h2::client::Builder) -> Client {
        let socket = TcpStream::connect(address).await.expect("a server");
        socket.set_nodelay(true).expect("a TCP socket");
        let (send, mut connection) = builder.handshake(socket).await.expect("HTTP/2");
        let pings = connection.ping_pong().expect("not taken yet");
        Client {
            send,
            connection: tokio::spawn(connection),
            pings,
        }
    }

    /// Opens a stream and leaves it open.
    pub(crate) async fn open(
        &mut self,
        request: http::request::Builder,
    ) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
        self.send = self.send.clone().ready().await.expect("an open connection");
        let request = request.body(()).expect("a request");
        self.send.send_request(request, false).expect("a stream")
    }

    /// Sends a request with these bytes as its body.
    pub(crate) async fn send(&mut self, request: http::request::Builder, body: Bytes) -> Reply {
        let (answer, mut stream) = self.open(request).await;
        // A server may answer before it has everything; then the rest need not be sent.
        let _ = stream.send_data(body, true);
        reply(answer).await.expect("an answer")
    }

    /// Calls a method with one message.
    pub(crate) async fn call(&mut self, path: &str, message: &impl Message) -> Reply {
        self.send(request(path), frame(0, &message.encode_to_vec()))
            .await
    }
}

/// The whole answer.
pub(crate) async fn reply(answer: h2::client::ResponseFuture) -> Result<Reply, h2::Error> {
    let whole = async {
        let (head, mut body) = answer.await?.into_parts();
        let data = read(&mut body).await?;
        let trailers = body.trailers().await?.unwrap_or_default();
        Ok(Reply {
            http: head.status.as_u16(),
            headers: head.headers,
            body: data,
            trailers,
        })
    };
    tokio::time::timeout(PATIENCE, whole)
        .await
        .expect("an answer in time")
}

async fn read(body: &mut RecvStream) -> Result<Bytes, h2::Error> {
    let mut out = BytesMut::new();
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        out.put(part);
    }
    Ok(out.freeze())
}

/// Sends bytes and reads until the server closes.
pub(crate) async fn raw(address: &str, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(address).await.expect("a server");
    socket.write_all(bytes).await.expect("sent");
    let mut out = Vec::new();
    // A reset says as much as an end.
    let _ = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut out))
        .await
        .expect("an end");
    String::from_utf8_lossy(&out).into_owned()
}

/// One HTTP/1.1 request; the answer with its head.
pub(crate) async fn http(address: &str, method: &str, path: &str, headers: &str) -> String {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n"
    );
    raw(address, request.as_bytes()).await
}
