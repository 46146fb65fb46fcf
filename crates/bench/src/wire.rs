//! Unary gRPC calls straight over HTTP/2.
//!
//! A general gRPC client builds its request through several layers and hands it to another task;
//! per call that costs about as much as an empty server's answer. Here a call is a prepared head,
//! one frame with the message, and the wait for the trailers.
//!
//! Must not know what the messages mean.

use std::future::poll_fn;
use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version, header};
use tenet_proto::prost::Message;
use tokio::net::TcpStream;

/// What a stream may send before it waits for us: a page of large values fits.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// What all streams of a connection may send before they wait for us.
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;
/// Length of a gRPC message's head: one byte for compression, four for the length.
const MESSAGE_HEAD_BYTES: usize = 5;

/// Why a call had no good answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The server answered with an error.
    #[error("code {code}: {text}")]
    Status {
        /// The gRPC status code.
        code: i32,
        /// The server's text.
        text: String,
    },
    /// The connection broke or could not be made.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The HTTP/2 connection or stream failed.
    #[error("{0}")]
    Http2(#[from] h2::Error),
    /// The answer is not a gRPC answer.
    #[error("{0}")]
    Protocol(String),
}

impl CallError {
    /// Whether further calls on the same connection can still succeed.
    pub(crate) fn leaves_connection_usable(&self) -> bool {
        match self {
            CallError::Status { .. } => true,
            CallError::Http2(error) => error.is_reset(),
            CallError::Io(_) | CallError::Protocol(_) => false,
        }
    }
}

/// One connection; clones share it.
#[derive(Clone)]
pub(crate) struct Connection {
    send: SendRequest<Bytes>,
    head: Head,
}

/// What stays the same in the heads of all calls of one method on one connection.
#[derive(Clone)]
struct Head {
    uri: Uri,
    headers: HeaderMap,
}

impl Connection {
    /// Connects to `endpoint` (host and port) for calls of the method at `path`, and spawns the
    /// task that drives the connection on the current runtime.
    pub(crate) async fn open(endpoint: &str, path: &'static str) -> Result<Connection, CallError> {
        let stream = TcpStream::connect(endpoint).await?;
        stream.set_nodelay(true)?;
        let (send, connection) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .enable_push(false)
            .handshake::<_, Bytes>(stream)
            .await?;
        // An error of the connection reaches every call on it, which counts it.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        let uri = Uri::builder()
            .scheme("http")
            .authority(endpoint)
            .path_and_query(path)
            .build()
            .map_err(|error| CallError::Protocol(format!("endpoint {endpoint}: {error}")))?;
        let mut headers = HeaderMap::with_capacity(2);
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/grpc"),
        );
        Ok(Connection {
            send,
            head: Head { uri, headers },
        })
    }

    /// Opens a stream on which both sides send messages.
    pub(crate) async fn open_stream(mut self) -> Result<Duplex, CallError> {
        let (response, send) = self.request().await?;
        Ok(Duplex {
            send,
            answer: Answer::Awaited(response),
            buffer: BytesMut::new(),
        })
    }

    /// Begins a call.
    async fn request(&mut self) -> Result<(ResponseFuture, SendStream<Bytes>), CallError> {
        poll_fn(|context| self.send.poll_ready(context)).await?;
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = self.head.uri.clone();
        *request.headers_mut() = self.head.headers.clone();
        Ok(self.send.send_request(request, false)?)
    }

    /// Sends a framed message and waits for the end of the answer, whose message's length is
    /// returned; the message itself is dropped unread.
    pub(crate) async fn call(&mut self, framed: Bytes) -> Result<usize, CallError> {
        let mut length = 0;
        self.exchange(framed, |chunk| length += chunk.len()).await?;
        Ok(length)
    }

    /// Like [`Connection::call`], and decodes the answer.
    pub(crate) async fn call_decoded<M: Message + Default>(
        &mut self,
        framed: Bytes,
    ) -> Result<M, CallError> {
        let mut body = BytesMut::new();
        self.exchange(framed, |chunk| body.extend_from_slice(&chunk))
            .await?;
        if body.len() < MESSAGE_HEAD_BYTES {
            return Err(CallError::Protocol(format!(
                "the answer has {} bytes, less than a message's head",
                body.len()
            )));
        }
        body.advance(MESSAGE_HEAD_BYTES);
        M::decode(body.freeze()).map_err(|error| CallError::Protocol(error.to_string()))
    }

    async fn exchange(
        &mut self,
        framed: Bytes,
        mut on_chunk: impl FnMut(Bytes),
    ) -> Result<(), CallError> {
        let (response, mut stream) = self.request().await?;
        stream.send_data(framed, true)?;
        let (parts, mut body) = accepted(response.await?)?.into_parts();
        if parts.headers.contains_key("grpc-status") {
            // An answer without a message: the head is the trailers.
            return check_status(&parts.headers);
        }
        while let Some(chunk) = body.data().await {
            let chunk = chunk?;
            body.flow_control().release_capacity(chunk.len())?;
            on_chunk(chunk);
        }
        match body.trailers().await? {
            Some(trailers) => check_status(&trailers),
            None => Err(CallError::Protocol("the answer has no trailers".into())),
        }
    }
}

fn accepted(response: http::Response<RecvStream>) -> Result<http::Response<RecvStream>, CallError> {
    match response.status() {
        http::StatusCode::OK => Ok(response),
        status => Err(CallError::Protocol(format!("HTTP status {status}"))),
    }
}

/// A call on which both sides send messages. Dropping it ends it.
pub(crate) struct Duplex {
    send: SendStream<Bytes>,
    answer: Answer,
    /// What has arrived of messages that were not given out.
    buffer: BytesMut,
}

enum Answer {
    Awaited(ResponseFuture),
    Begun(RecvStream),
}

impl Duplex {
    /// Sends framed messages; what the server does not take yet waits here.
    pub(crate) fn send(&mut self, framed: Bytes) -> Result<(), CallError> {
        Ok(self.send.send_data(framed, false)?)
    }

    /// The next message; `None` when the server has ended the call well.
    pub(crate) async fn next<M: Message + Default>(&mut self) -> Result<Option<M>, CallError> {
        loop {
            if let Some(message) = self.buffered() {
                let message = M::decode(message);
                return message
                    .map(Some)
                    .map_err(|error| CallError::Protocol(error.to_string()));
            }
            let body = match &mut self.answer {
                Answer::Begun(body) => body,
                Answer::Awaited(response) => {
                    let answer = accepted(response.await?)?;
                    if answer.headers().contains_key("grpc-status") {
                        check_status(answer.headers())?;
                    }
                    self.answer = Answer::Begun(answer.into_body());
                    continue;
                }
            };
            let Some(chunk) = body.data().await else {
                return match body.trailers().await? {
                    Some(trailers) => check_status(&trailers).map(|()| None),
                    None => Err(CallError::Protocol("the answer has no trailers".into())),
                };
            };
            let chunk = chunk?;
            body.flow_control().release_capacity(chunk.len())?;
            self.buffer.extend_from_slice(&chunk);
        }
    }

    fn buffered(&mut self) -> Option<Bytes> {
        let length = self.buffer.get(1..MESSAGE_HEAD_BYTES)?;
        let length = u32::from_be_bytes(length.try_into().expect("four bytes")) as usize;
        if self.buffer.len() < MESSAGE_HEAD_BYTES + length {
            return None;
        }
        self.buffer.advance(MESSAGE_HEAD_BYTES);
        Some(self.buffer.split_to(length).freeze())
    }
}

/// `message` as one frame of a gRPC body.
pub(crate) fn frame(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut out = BytesMut::with_capacity(MESSAGE_HEAD_BYTES + length);
    out.put_u8(0);
    out.put_u32(u32::try_from(length).expect("a request is far below 4 GiB"));
    message
        .encode(&mut out)
        .expect("the buffer was made large enough");
    out.freeze()
}

fn check_status(headers: &HeaderMap) -> Result<(), CallError> {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("")
    };
    match text("grpc-status") {
        "0" => Ok(()),
        status => Err(CallError::Status {
            code: status.parse().unwrap_or(-1),
            text: text("grpc-message").to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenet_proto::etcdserverpb::PutRequest;

    #[test]
    fn a_frame_is_a_plain_flag_a_length_and_the_message() {
        let put = PutRequest {
            key: Bytes::from_static(b"k"),
            ..Default::default()
        };
        assert_eq!(frame(&put).as_ref(), [0, 0, 0, 0, 3, 0x0a, 1, b'k']);
    }

    #[test]
    fn the_status_of_an_answer_is_its_code_and_text() {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-status", HeaderValue::from_static("0"));
        assert!(check_status(&headers).is_ok());
        headers.insert("grpc-status", HeaderValue::from_static("8"));
        headers.insert("grpc-message", HeaderValue::from_static("too much"));
        let error = check_status(&headers).unwrap_err();
        assert_eq!(error.to_string(), "code 8: too much");
        assert!(error.leaves_connection_usable());
        assert!(check_status(&HeaderMap::new()).is_err());
    }
}
