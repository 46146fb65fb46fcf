//! The other direction: opens a stream at another member and reads what it sends, again and again.

use crate::body::{ReadError, RequestBody, next_piece, read_all};
use crate::call::{CallError, set_host};
use crate::connect::Connection;
use crate::headers::{self, SERVER_VERSION, Version};
use crate::link::Kind;
use crate::peer::Contact;
use crate::trouble::Trouble;
use bytes::Bytes;
use http::header::HeaderValue;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use std::sync::Arc;
use std::time::Duration;
use tenet_base::limits::{
    PEER_DIAL_INTERVAL_MS, PEER_LOG_AGAIN_MS, PEER_QUESTION_BYTES_MAX, PEER_SILENCE_MS,
};
use tenet_proto::peer::{AppendDecoder, MessageDecoder, StreamError, is_link_heartbeat};
use tenet_proto::raftpb::Message;
use tokio::time::{Instant, sleep_until, timeout};

/// How a stream has ended.
#[derive(Debug, thiserror::Error)]
enum End {
    /// The other member has closed it, after a whole message.
    #[error("EOF")]
    Closed,
    /// It was silent, or the connection broke.
    #[error("{0}")]
    Broken(#[from] ReadError),
    /// It sends what is no stream.
    #[error("{0}")]
    Garbage(#[from] StreamError),
}

/// Reads a stream of another member until it is stopped from outside.
pub(crate) async fn run(contact: Arc<Contact>, kind: Kind) {
    let mut trouble = Trouble::default();
    loop {
        let began = Instant::now();
        match dial(&contact, kind).await {
            Ok((body, _connection)) => {
                contact.status.activate();
                tracing::debug!(
                    "stream-reader-type" = kind.name(),
                    "remote-peer-id" = %contact.id,
                    "established TCP streaming connection with remote peer"
                );
                let end = read(&contact, kind, body).await;
                if !matches!(end, End::Closed) {
                    contact
                        .status
                        .deactivate(kind.name(), "read", &end.to_string());
                }
                if began.elapsed() > Duration::from_millis(PEER_LOG_AGAIN_MS) {
                    trouble.over();
                }
                say(&contact, kind, &mut trouble, &end);
            }
            Err(error) => {
                contact
                    .status
                    .deactivate(kind.name(), "dial", &error.to_string());
                refused(&contact, kind, &mut trouble, &error);
            }
        }
        sleep_until(began + Duration::from_millis(PEER_DIAL_INTERVAL_MS)).await;
    }
}

/// Says that a stream has ended.
fn say(contact: &Contact, kind: Kind, trouble: &mut Trouble, end: &End) {
    if trouble.is_news(&end.to_string()) {
        tracing::warn!(
            "stream-reader-type" = kind.name(),
            "local-member-id" = %contact.shared.options.local,
            "remote-peer-id" = %contact.id,
            error = %end,
            "lost TCP streaming connection with remote peer"
        );
    }
}

/// Says that a stream was refused; that nobody is there is the status' to say.
fn refused(contact: &Contact, kind: Kind, trouble: &mut Trouble, error: &CallError) {
    let is_answer = matches!(
        error,
        CallError::Status { .. } | CallError::Removed | CallError::Answer(_) | CallError::Tls(_)
    );
    if is_answer && trouble.is_news(&error.to_string()) {
        tracing::warn!(
            "stream-reader-type" = kind.name(),
            "local-member-id" = %contact.shared.options.local,
            "remote-peer-id" = %contact.id,
            %error,
            "remote peer refuses the stream"
        );
    }
}

/// Asks for a stream.
async fn dial(contact: &Contact, kind: Kind) -> Result<(Incoming, Connection), CallError> {
    let url = contact.picker.pick();
    let opened = open(contact, kind, &url).await;
    if let Err(error) = &opened {
        contact.picker.failed(&url);
        if matches!(error, CallError::Removed) {
            contact.shared.handler.removed_says(contact.id);
        }
    }
    opened
}

async fn open(
    contact: &Contact,
    kind: Kind,
    url: &crate::PeerUrl,
) -> Result<(Incoming, Connection), CallError> {
    let options = &contact.shared.options;
    let patience = Duration::from_millis(PEER_SILENCE_MS);
    let mut request = Request::new(RequestBody::empty());
    *request.uri_mut() = format!("{}/{}", kind.path(), options.local)
        .parse()
        .expect("a path of letters and digits");
    *request.headers_mut() = contact.shared.own_headers.clone();
    let to = HeaderValue::from_str(&contact.id.to_string()).expect("a number is fit for a header");
    request.headers_mut().insert(headers::TO, to);
    set_host(&mut request, url);
    let mut connection = contact.shared.pool.connector.open(url, patience).await?;
    let response = timeout(patience, connection.sender.send_request(request)).await;
    let response = response
        .map_err(|_| CallError::Slow {
            what: "the answer",
            after: patience,
        })?
        .map_err(CallError::http)?;
    Ok((accepted(contact, response).await?, connection))
}

/// The stream, if that is what the answer is.
async fn accepted(contact: &Contact, response: Response<Incoming>) -> Result<Incoming, CallError> {
    let version = Version::of(response.headers(), &SERVER_VERSION);
    // Old members without streams do not say their version either, nor does whatever else may
    // listen there.
    if version.is_none_or(|version| version < Version::FIRST_WITH_STREAMS) {
        return Err(CallError::Answer(format!(
            "version {:?} has no such stream",
            headers::text(response.headers(), &SERVER_VERSION)
        )));
    }
    match response.status() {
        StatusCode::OK => Ok(response.into_body()),
        StatusCode::GONE => Err(CallError::Removed),
        status => {
            let text = read_all(response.into_body(), PEER_QUESTION_BYTES_MAX, None).await?;
            let text = String::from_utf8_lossy(&text).trim_end().to_owned();
            let text = match status {
                StatusCode::NOT_FOUND => format!(
                    "peer {} failed to find local node {} ({text})",
                    contact.id, contact.shared.options.local
                ),
                _ => text,
            };
            Err(CallError::Status { status, text })
        }
    }
}

/// Takes messages off a stream, of either kind.
enum Decoder {
    Message(MessageDecoder),
    Append(AppendDecoder),
}

impl Decoder {
    fn push(&mut self, piece: Bytes) {
        match self {
            Decoder::Message(decoder) => decoder.push(piece),
            Decoder::Append(decoder) => decoder.push(piece),
        }
    }

    fn next(&mut self) -> Result<Option<Message>, StreamError> {
        match self {
            Decoder::Message(decoder) => decoder.next_message(),
            Decoder::Append(decoder) => decoder.next_message(),
        }
    }

    fn finish(&self) -> Result<(), StreamError> {
        match self {
            Decoder::Message(decoder) => decoder.finish(),
            Decoder::Append(decoder) => decoder.finish(),
        }
    }
}

/// Reads a stream to its end.
async fn read(contact: &Contact, kind: Kind, mut body: Incoming) -> End {
    let mut decoder = match kind {
        Kind::Message => Decoder::Message(MessageDecoder::new()),
        Kind::Append => {
            Decoder::Append(AppendDecoder::new(contact.id, contact.shared.options.local))
        }
    };
    let mut trouble = Trouble::default();
    loop {
        let piece = match next_piece(&mut body).await {
            Ok(Some(piece)) => piece,
            Ok(None) => match decoder.finish() {
                Ok(()) => return End::Closed,
                Err(error) => return error.into(),
            },
            Err(error) => return error.into(),
        };
        contact.counts.received_bytes.add(piece.len() as u64);
        decoder.push(piece);
        loop {
            match decoder.next() {
                Ok(None) => break,
                Ok(Some(message)) => {
                    if !is_link_heartbeat(&message) && !contact.is_paused() {
                        take(contact, message, &mut trouble);
                    }
                }
                Err(error) => return error.into(),
            }
        }
    }
}

/// Hands a message to the member, or says why not.
fn take(contact: &Contact, message: Message, trouble: &mut Trouble) {
    let kind = message.msg_type;
    if let Err(error) = contact.shared.deliver(message) {
        contact.counts.received_failures.add(1);
        if trouble.is_news(&error.to_string()) {
            tracing::warn!(
                "message-type" = kind,
                "local-member-id" = %contact.shared.options.local,
                "remote-peer-id" = %contact.id,
                %error,
                "dropped Raft message of remote peer"
            );
        }
    }
}
