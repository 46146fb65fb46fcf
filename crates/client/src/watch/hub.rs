//! The task behind watches: keeps one stream open as long as there are watches, and feeds the
//! state machine.
//!
//! Invariant: at most one task runs per hub, and it ends with the last watch, so that a client
//! without watches has no stream. The task never waits for a reader.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::{WatchRequest, WatchResponse};
use tokio::sync::Notify;

use super::WatchOptions;
use super::buffer::Buffer;
use super::mux::{Mux, Reaction, WatchKey};
use crate::duplex::{Duplex, ReopenWait, may_come_back};
use crate::services::watch_client::WatchClient;
use crate::{Client, Error, Status};

pub(crate) struct Hub {
    require_leader: bool,
    state: Mutex<State>,
    /// There may be a request, or no watch any more.
    woken: Notify,
}

#[derive(Default)]
struct State {
    mux: Mux,
    running: bool,
}

/// Why a stream is not used any more.
enum Ended {
    /// Nobody watches.
    Idle,
    Broken(Status),
    WithoutToken,
}

type Stream = Duplex<WatchRequest, WatchResponse>;

impl Hub {
    pub(crate) fn new(require_leader: bool) -> Arc<Hub> {
        Arc::new(Hub {
            require_leader,
            state: Mutex::default(),
            woken: Notify::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(
        self: &Arc<Self>,
        client: &Client,
        options: WatchOptions,
        buffer: Arc<Buffer>,
    ) -> WatchKey {
        let mut state = self.state();
        let key = state.mux.add(options, buffer);
        if !std::mem::replace(&mut state.running, true) {
            tokio::spawn(self.clone().run(client.without_deadline()));
        }
        drop(state);
        self.woken.notify_one();
        key
    }

    pub(super) fn remove(&self, key: WatchKey) {
        self.state().mux.remove(key);
        self.woken.notify_one();
    }

    pub(super) fn resume(&self, key: WatchKey) {
        self.state().mux.resume(key);
        self.woken.notify_one();
    }

    pub(crate) fn request_progress(&self) {
        self.state().mux.request_progress();
        self.woken.notify_one();
    }

    async fn run(self: Arc<Self>, client: Client) {
        let mut wait = ReopenWait::default();
        loop {
            let ended = match client.renew_token(None).await {
                Ok(()) => self.serve(&mut self.open(&client), &mut wait).await,
                Err(error) => Ended::Broken(error.into_status()),
            };
            {
                let mut state = self.state();
                state.mux.disconnect();
                if let Ended::Broken(status) = &ended {
                    if status.api_error() == Some(ApiError::NoLeader) {
                        state.mux.lose_leader();
                    }
                    if !may_come_back(status) {
                        state.mux.fail(&Error::from(status.clone()));
                    }
                }
                if state.mux.is_empty() {
                    state.running = false;
                    return;
                }
            }
            if matches!(ended, Ended::Broken(_)) {
                tokio::time::sleep(wait.next()).await;
            }
        }
    }

    fn open(&self, client: &Client) -> Stream {
        let method = "/etcdserverpb.Watch/Watch";
        Duplex::open(
            client,
            method,
            self.require_leader,
            |channel, requests| async move {
                let limit = channel.receive_bytes_max;
                WatchClient::new(channel)
                    .max_decoding_message_size(limit)
                    .watch(requests)
                    .await
            },
        )
    }

    async fn serve(&self, stream: &mut Stream, wait: &mut ReopenWait) -> Ended {
        loop {
            let (has_request, is_empty) = {
                let state = self.state();
                (state.mux.has_request(), state.mux.is_empty())
            };
            if is_empty {
                return Ended::Idle;
            }
            // An end of the stream is told by its answers, so a failure to send says nothing new.
            let room = stream.room_if(has_request);
            tokio::select! {
                permit = room => {
                    if let Some(request) = self.state().mux.next_request() {
                        permit.send(request);
                    }
                }
                answer = stream.answer() => match answer {
                    Ok(answer) => {
                        wait.reset();
                        if self.state().mux.receive(answer) == Reaction::RenewToken {
                            return Ended::WithoutToken;
                        }
                    }
                    Err(status) => return Ended::Broken(status),
                },
                () = self.woken.notified() => {}
            }
        }
    }
}
