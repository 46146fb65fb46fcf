//! Tokens for calls of a user.

use std::sync::PoisonError;

use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::AuthenticateRequest;
use tokio::time::Instant;

use crate::call::call;
use crate::client::Deadline;
use crate::services::auth_client::AuthClient;
use crate::{Client, Credentials, Error, Status};

impl Client {
    /// Fetches a token for the name and password of the settings, if they have any. Calls do this
    /// by themselves when the server asks for a token; doing it first tells a wrong password apart
    /// from a failed call.
    ///
    /// # Errors
    /// If the server refuses name or password. A cluster without authentication refuses nothing.
    pub async fn authenticate(&self) -> Result<(), Error> {
        let Some(Credentials::Password { user, password }) = &self.shared.config.credentials else {
            return Ok(());
        };
        let request = AuthenticateRequest {
            name: user.clone(),
            password: password.clone(),
        };
        let name = "/etcdserverpb.Auth/Authenticate";
        // Boxed, since asking for a token is itself a call.
        let asking =
            Box::pin(async { call!(self, name, Write, AuthClient::authenticate, request) });
        let token = match asking.await {
            Ok(answer) => Some(answer.token),
            Err(Error::Api(ApiError::AuthNotEnabled)) => None,
            Err(error) => return Err(error),
        };
        let token = match token {
            Some(token) => Some(token.parse().map_err(|_| {
                let text = "the server's token has characters that metadata cannot carry";
                Error::Status(Status::new(tenet_proto::Code::Internal, text))
            })?),
            None => None,
        };
        *self
            .shared
            .token
            .write()
            .unwrap_or_else(PoisonError::into_inner) = token;
        Ok(())
    }

    /// Fetches a new token in the middle of a call, within its deadline.
    pub(crate) async fn renew_token(&self, deadline: Option<Instant>) -> Result<(), Error> {
        let deadline = deadline.map_or(Deadline::None, Deadline::At);
        self.with(deadline).authenticate().await
    }
}
