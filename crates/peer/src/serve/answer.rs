//! Answers in the form of Go's library.

use crate::link::Outgoing;
use bytes::Bytes;
use http::header::{
    ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

/// An answer.
pub(crate) type Answered = Response<AnswerBody>;

/// What an answer says.
pub(crate) enum AnswerBody {
    /// All at once.
    Whole(Option<Bytes>),
    /// A stream.
    Stream(Box<Outgoing>),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            AnswerBody::Whole(bytes) => {
                Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))))
            }
            AnswerBody::Stream(stream) => Pin::new(stream.as_mut()).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, AnswerBody::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            AnswerBody::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64)
            }
            AnswerBody::Stream(_) => SizeHint::default(),
        }
    }
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Answered {
    let mut answer = Response::new(AnswerBody::Whole(None));
    *answer.status_mut() = status;
    answer
}

/// An answer of a type.
pub(crate) fn of_type(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answered {
    let mut answer = Response::new(AnswerBody::Whole(Some(body.into())));
    *answer.status_mut() = status;
    set(&mut answer, CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// An answer that is good.
pub(crate) fn good(kind: &'static str, body: impl Into<Bytes>) -> Answered {
    of_type(StatusCode::OK, kind, body)
}

/// A stream.
pub(crate) fn stream(stream: Outgoing) -> Answered {
    Response::new(AnswerBody::Stream(Box::new(stream)))
}

/// An error.
pub(crate) fn error(status: StatusCode, text: impl std::fmt::Display) -> Answered {
    let mut answer = of_type(status, "text/plain; charset=utf-8", format!("{text}\n"));
    set(
        &mut answer,
        X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    answer
}

/// The error for what is not there.
pub(crate) fn not_found() -> Answered {
    error(StatusCode::NOT_FOUND, "404 page not found")
}

/// The error for another method than `allowed`, if the request has one.
pub(crate) fn wrong_method<B>(request: &Request<B>, allowed: &Method) -> Option<Answered> {
    if request.method() == allowed {
        return None;
    }
    let mut answer = error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    let allowed = HeaderValue::from_str(allowed.as_str()).expect("methods are fit for headers");
    set(&mut answer, ALLOW, allowed);
    Some(answer)
}

/// Sets a header.
pub(crate) fn set(answer: &mut Answered, name: HeaderName, value: HeaderValue) {
    answer.headers_mut().insert(name, value);
}

/// Lets the connection end with the answer: what else came on it is not read.
pub(crate) fn last(mut answer: Answered) -> Answered {
    set(&mut answer, CONNECTION, HeaderValue::from_static("close"));
    answer
}
