//! Calls in which both sides send messages as they like, until either ends it.
//!
//! A method gives a [`Session`]; this module carries messages between it and the stream. Like all
//! calls they run in their connection's task, so each turn of a stream is short: it reads what has
//! arrived, lets the session fill one [`Outbox`], sends that, and gives way to the other streams.
//! A session is asked for output only while there is room for it; so what a slow client leaves
//! unread stays with the session, as a place in what it reads from, and not here as bytes. A
//! session is woken by its waker alone, which costs the connection one entry in its list of calls
//! that can go on, however many sessions are woken at once.
//!
//! Invariants: messages of a session are sent in the order in which it gave them; its status
//! follows the last of them; nothing is read for a session that takes no requests.

use super::call::Call;
use super::inbound::Received;
use super::leader::Lost;
use super::outbox::Outbox;
use super::status::Status;
use crate::api::Api;
use prost::Message;
use std::future::Future;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use tenet_base::limits;
use tenet_proto::{ApiError, Code};
use tokio::time::{Sleep, sleep_until};

/// What a method does with a stream.
pub(super) trait Session {
    /// What the client sends.
    type Request: Message + Default;

    /// Whether [`Session::receive`] may be called. While not, what the client sends waits, in the
    /// end on its own side. It may become true again only while [`Session::poll`] runs.
    fn takes_requests(&self) -> bool;

    /// Takes a message of the client.
    fn receive(&mut self, request: Self::Request);

    /// The client has sent all that it will.
    fn half_close(&mut self);

    /// Adds what is ready to `out`, asking [`Outbox::has_room`] before each message. Pending if it
    /// has nothing more to add for now, which it must then say by the waker, or if there is no
    /// more room. Ready ends the call, after what was added has been sent.
    fn poll(&mut self, cx: &mut Context<'_>, out: &mut Outbox) -> Poll<Status>;
}

impl Call<'_> {
    /// Runs a session from the call's headers to its end. `make` is called once the call was
    /// admitted.
    pub(super) async fn converse<S: Session>(&mut self, api: &impl Api, make: impl FnOnce() -> S) {
        if let Err(status) = self.begin_stream(api) {
            return self.finish(&status);
        }
        let mut conversation = Conversation {
            session: make(),
            outbox: Outbox::new(self.outbound.gzip()),
            input_ended: false,
            ended: None,
            timer: self.deadline.map(|at| Box::pin(sleep_until(at))),
            leader_lost: self.leader_lost(),
        };
        let status = poll_fn(|cx| conversation.poll(self, cx)).await;
        self.finish(&status);
    }
}

/// A session and its stream.
struct Conversation<S> {
    session: S,
    outbox: Outbox,
    input_ended: bool,
    /// How the session ended, while what it gave is still being sent.
    ended: Option<Status>,
    timer: Option<Pin<Box<Sleep>>>,
    leader_lost: Option<Lost>,
}

impl<S: Session> Conversation<S> {
    /// Ready with how the call ends.
    fn poll(&mut self, call: &mut Call<'_>, cx: &mut Context<'_>) -> Poll<Status> {
        if let Some(status) = self.poll_outside(call, cx) {
            if !self.input_ended {
                // etcd counts the attempt to receive that this ends.
                call.count_received(0);
            }
            return Poll::Ready(status);
        }
        // A session that was not asked for lack of room is asked once there is some.
        let held = !self.outbox.has_room();
        let mut more = false;
        for _ in 0..limits::STREAM_TURN_MESSAGES {
            let took = match self.take_request(call, cx) {
                Ok(took) => took,
                Err(status) => {
                    // What was given before it is sent before it.
                    self.ended = Some(status);
                    break;
                }
            };
            let gave = self.poll_session(call, cx);
            more = took || gave;
            if !more || !self.outbox.has_room() {
                break;
            }
        }
        match self.outbox.poll_send(&mut call.outbound, cx) {
            Poll::Ready(Err(_)) => return Poll::Ready(Status::CANCELED),
            Poll::Ready(Ok(())) => {
                if let Some(status) = self.ended.take() {
                    return Poll::Ready(status);
                }
                more |= held;
            }
            Poll::Pending => {}
        }
        if more {
            // The others first.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// What ends a call whatever its session does.
    fn poll_outside(&mut self, call: &mut Call<'_>, cx: &mut Context<'_>) -> Option<Status> {
        if call.outbound.poll_gone(cx).is_ready() {
            return Some(Status::CANCELED);
        }
        if let Some(timer) = &mut self.timer
            && timer.as_mut().poll(cx).is_ready()
        {
            return Some(Status::DEADLINE);
        }
        if let Some(lost) = &mut self.leader_lost
            && lost.as_mut().poll(cx).is_ready()
        {
            return Some(ApiError::NoLeader.into());
        }
        None
    }

    /// Gives the session one message of the client, or its end; whether there was one.
    fn take_request(&mut self, call: &mut Call<'_>, cx: &mut Context<'_>) -> Result<bool, Status> {
        if self.input_ended || self.ended.is_some() || !self.session.takes_requests() {
            return Ok(false);
        }
        let Poll::Ready(received) = call.inbound.poll_next(cx) else {
            return Ok(false);
        };
        // etcd counts attempts to receive, also the one that finds the end.
        let bytes = match &received {
            Ok(Received::Message(bytes)) => bytes.len(),
            _ => 0,
        };
        call.count_received(bytes);
        match received? {
            Received::Message(bytes) => {
                let request = S::Request::decode(bytes).map_err(|_| undecodable())?;
                self.session.receive(request);
            }
            Received::End | Received::TornPrefix => {
                self.input_ended = true;
                self.session.half_close();
            }
            Received::TornMessage => return Err(Status::new(Code::Internal, "unexpected EOF")),
        }
        Ok(true)
    }

    /// Asks the session for output; whether it gave any.
    fn poll_session(&mut self, call: &Call<'_>, cx: &mut Context<'_>) -> bool {
        if self.ended.is_some() || !self.outbox.has_room() {
            return false;
        }
        if let Poll::Ready(status) = self.session.poll(cx, &mut self.outbox) {
            self.ended = Some(status);
        }
        let (messages, bytes) = self.outbox.take_added();
        if messages > 0 {
            call.count_sent(messages, bytes);
        }
        messages > 0
    }
}

fn undecodable() -> Status {
    Status::new(
        Code::Internal,
        "grpc: failed to unmarshal the received message: proto: cannot parse invalid wire-format \
         data",
    )
}

#[cfg(test)]
#[path = "duplex_tests.rs"]
mod tests;
