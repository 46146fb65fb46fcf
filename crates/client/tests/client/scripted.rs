//! A server that does as each test says, frame by frame.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Response};
use tenet_client::{Client, Config};
use tenet_proto::Code;
use tenet_proto::prost::Message;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// What the server does with one request.
#[derive(Clone)]
pub(crate) enum Act {
    /// Answers with these messages.
    Answer(Vec<Bytes>),
    /// Answers with a status that is not OK.
    Fail(Code, &'static str),
    /// Refuses the stream: HTTP/2's promise that nothing was done.
    Refuse,
    /// Drops the connection in the middle of the request.
    Hang,
    /// Never answers.
    Wait,
}

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Came {
    pub(crate) path: String,
    pub(crate) body: Bytes,
    pub(crate) headers: HeaderMap,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    came: Arc<Mutex<Vec<Came>>>,
}

impl Server {
    /// Acts in order; the last act is repeated.
    pub(crate) async fn start(acts: impl IntoIterator<Item = Act>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let came = Arc::new(Mutex::new(Vec::new()));
        let acts: Arc<Mutex<VecDeque<Act>>> = Arc::new(Mutex::new(acts.into_iter().collect()));
        let seen = came.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, acts.clone(), seen.clone()));
            }
        });
        Server { address, came }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(Config::new([self.address.to_string()])).unwrap()
    }

    pub(crate) fn came(&self) -> Vec<Came> {
        self.came.lock().unwrap().clone()
    }
}

pub(crate) async fn serve(
    socket: TcpStream,
    acts: Arc<Mutex<VecDeque<Act>>>,
    came: Arc<Mutex<Vec<Came>>>,
) {
    let mut connection = h2::server::handshake(socket).await.unwrap();
    while let Some(Ok((request, respond))) = connection.accept().await {
        let act = {
            let mut acts = acts.lock().unwrap();
            if acts.len() > 1 {
                acts.pop_front()
            } else {
                acts.front().cloned()
            }
            .unwrap()
        };
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        let headers = head.headers;
        match act {
            Act::Hang => {
                came.lock().unwrap().push(Came {
                    path,
                    body: Bytes::new(),
                    headers,
                });
                return;
            }
            act => {
                let came = came.clone();
                tokio::spawn(async move {
                    let body = read(body).await;
                    came.lock().unwrap().push(Came {
                        path,
                        body,
                        headers,
                    });
                    respond_with(act, respond).await;
                });
            }
        }
    }
}

async fn read(mut body: RecvStream) -> Bytes {
    let mut bytes = BytesMut::new();
    while let Some(Ok(part)) = body.data().await {
        let _ = body.flow_control().release_capacity(part.len());
        bytes.extend_from_slice(&part);
    }
    // Flag and length of the message.
    bytes.advance(5.min(bytes.len()));
    bytes.freeze()
}

fn head() -> http::response::Builder {
    Response::builder().header("content-type", "application/grpc")
}

fn frame(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap());
    frame.extend_from_slice(message);
    frame.freeze()
}

fn trailers(code: Code, text: &str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    let code = (code as u8).to_string();
    trailers.insert("grpc-status", code.parse().unwrap());
    let text = text.replace(' ', "%20");
    trailers.insert("grpc-message", text.parse().unwrap());
    trailers
}

async fn respond_with(act: Act, mut respond: SendResponse<Bytes>) {
    match act {
        Act::Answer(messages) => {
            let response = head().body(()).unwrap();
            let mut stream = respond.send_response(response, false).unwrap();
            for message in messages {
                stream.send_data(frame(&message), false).unwrap();
            }
            stream.send_trailers(trailers(Code::Ok, "")).unwrap();
        }
        Act::Fail(code, text) => {
            let response = head()
                .header("grpc-status", (code as u8).to_string())
                .header("grpc-message", text.replace(' ', "%20"))
                .body(())
                .unwrap();
            respond.send_response(response, true).unwrap();
        }
        Act::Refuse => respond.send_reset(Reason::REFUSED_STREAM),
        Act::Wait => std::future::pending().await,
        Act::Hang => unreachable!("done with the connection"),
    }
}

/// A server whose streams the test drives itself.
pub(crate) struct StreamServer {
    pub(crate) address: SocketAddr,
    streams: mpsc::Receiver<Stream>,
}

/// A stream that a client has opened.
pub(crate) struct Stream {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    body: RecvStream,
    received: BytesMut,
    respond: SendResponse<Bytes>,
    answers: Option<SendStream<Bytes>>,
    connection: AbortHandle,
}

impl StreamServer {
    pub(crate) async fn start() -> StreamServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, streams) = mpsc::channel(16);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let sender = sender.clone();
                let (told, handle) = tokio::sync::oneshot::channel();
                let task = tokio::spawn(accept_streams(socket, sender, handle));
                told.send(task.abort_handle()).unwrap();
            }
        });
        StreamServer { address, streams }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(Config::new([self.address.to_string()])).unwrap()
    }

    /// The next stream that is opened.
    pub(crate) async fn stream(&mut self) -> Stream {
        soon(self.streams.recv()).await.unwrap()
    }
}

/// What must happen soon, if it happens at all.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(std::time::Duration::from_secs(20), future)
        .await
        .expect("it does not happen")
}

async fn accept_streams(
    socket: TcpStream,
    sender: mpsc::Sender<Stream>,
    handle: tokio::sync::oneshot::Receiver<AbortHandle>,
) {
    let handle = handle.await.unwrap();
    let mut connection = h2::server::handshake(socket).await.unwrap();
    while let Some(Ok((request, respond))) = connection.accept().await {
        let (head, body) = request.into_parts();
        let stream = Stream {
            path: head.uri.path().to_owned(),
            headers: head.headers,
            body,
            received: BytesMut::new(),
            respond,
            answers: None,
            connection: handle.clone(),
        };
        // A test that wants no more streams lets them wait.
        let _ = sender.send(stream).await;
    }
}

impl Stream {
    /// The next message of the client; none after the last.
    pub(crate) async fn next<M: Message + Default>(&mut self) -> Option<M> {
        soon(async {
            loop {
                if let Some(head) = self.received.get(1..5) {
                    let len = 5 + u32::from_be_bytes(head.try_into().unwrap()) as usize;
                    if self.received.len() >= len {
                        let message = self.received.split_to(len).freeze().slice(5..);
                        return Some(M::decode(message).unwrap());
                    }
                }
                let part = self.body.data().await?.ok()?;
                let _ = self.body.flow_control().release_capacity(part.len());
                self.received.extend_from_slice(&part);
            }
        })
        .await
    }

    pub(crate) fn send(&mut self, message: &impl Message) {
        let respond = &mut self.respond;
        let answers = self.answers.get_or_insert_with(|| {
            let response = head().body(()).unwrap();
            respond.send_response(response, false).unwrap()
        });
        answers
            .send_data(frame(&message.encode_to_vec()), false)
            .unwrap();
    }

    /// Ends the stream with a status.
    pub(crate) fn fail(mut self, code: Code, text: &str) {
        match self.answers.take() {
            Some(mut answers) => answers.send_trailers(trailers(code, text)).unwrap(),
            None => {
                let mut response = head().body(()).unwrap();
                response.headers_mut().extend(trailers(code, text));
                self.respond.send_response(response, true).unwrap();
            }
        }
    }

    /// Ends the connection without a word.
    pub(crate) fn cut(self) {
        self.connection.abort();
    }
}
