//! The calls about access (docs/protocol.md, "Access"): to whom a token belongs, tickets for web
//! pages, shares of executions, and the limits. The limits say whether claude-api has tokens.

use std::future::Future;

use http::Method;
use protocol::access::{Redeem, Redeemed, Share, ShareRequest, Ticket, TicketRequest};
use protocol::rpc::RpcError;
use protocol::{ExecutionId, Limits, Me, ProblemType};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Upstream;
use super::errors::Failure;
use super::response::{json, success};
use super::retry::delays;

impl Upstream {
    /// Requests claude-api's limits once. They need no token. The caller repeats the call if it
    /// needs to.
    ///
    /// # Errors
    /// Returns the failure if claude-api refuses the request, does not answer within `callMs`, or
    /// sends malformed JSON.
    pub async fn limits(&self) -> Result<Limits, Failure> {
        let url = format!("{}/health/limits", self.base);
        self.in_time(async { json(self.get(&url).send().await?).await })
            .await
    }

    /// Asks claude-api once to whom the token of this client belongs.
    ///
    /// # Errors
    /// Returns the failure if claude-api refuses the token (`unauthorized`), or does not answer
    /// within `callMs`.
    pub async fn me(&self) -> Result<Me, Failure> {
        let url = format!("{}/v1/me", self.base);
        self.in_time(async { json(self.get(&url).send().await?).await })
            .await
    }

    /// Returns whether claude-api refuses every request of this bridge, because it takes the
    /// bridge's address for one of its own container.
    ///
    /// # Errors
    /// Returns the failure if claude-api does not answer within `callMs`.
    pub async fn is_refused_as_box(&self) -> Result<bool, Failure> {
        match self.me().await {
            Ok(_) => Ok(false),
            Err(failure) if failure.problem(ProblemType::FromBox).is_some() => Ok(true),
            Err(Failure::Refused(..)) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Requests a ticket for the client whose token this is. `origin` is the header of that name of
    /// the client's request. A broken attempt is retried within `callMs`, because a further ticket
    /// does no harm.
    ///
    /// # Errors
    /// Returns the last failure.
    pub async fn ticket(&self, origin: Option<String>) -> Result<Ticket, Failure> {
        let url = format!("{}/v1/tickets", self.base);
        let request = TicketRequest { origin };
        let mut delays = delays();
        self.try_often(&mut delays, || self.post_json(&url, &request))
            .await
    }

    /// Uses up a ticket, and returns the token that it stands for. Sends the request once, because
    /// a ticket works once.
    ///
    /// # Errors
    /// Returns the failure if claude-api refuses the ticket or does not answer within `callMs`. If
    /// the failure may have acted, the ticket may be used up.
    pub async fn redeem(&self, redeem: &Redeem) -> Result<Redeemed, Failure> {
        let url = format!("{}/v1/tickets/redeem", self.base);
        self.in_time(self.post_json(&url, redeem)).await
    }

    /// Renews the token of a session once. The token of this client is the renewal secret.
    ///
    /// # Errors
    /// Returns the failure if claude-api refuses the secret (`unauthorized`), because the token has
    /// ended, or if it does not answer within `callMs`.
    pub async fn renew_session(&self) -> Result<(), Failure> {
        let url = format!("{}/v1/tickets/session", self.base);
        let request = self.request(Method::PUT, &url);
        self.in_time(async { success(request.send().await?).await.map(drop) })
            .await
    }

    /// Ends the token of a session. The token of this client is the renewal secret. A broken
    /// attempt is retried within `callMs`.
    ///
    /// # Errors
    /// Returns the last failure.
    pub async fn end_session(&self) -> Result<(), Failure> {
        let url = format!("{}/v1/tickets/session", self.base);
        let mut delays = delays();
        self.try_often(&mut delays, || async {
            let request = self.request(Method::DELETE, &url);
            success(request.send().await?).await.map(drop)
        })
        .await
    }

    /// Creates a share of an execution. A broken attempt is retried within `callMs`. Then there may
    /// be a second share, which nobody knows and which expires.
    ///
    /// # Errors
    /// Returns an error as [`Self::status`] does, or -32002 (`NOT_ALLOWED`, reason `forbidden`) if
    /// the token may not share the execution.
    pub async fn share(&self, id: ExecutionId, share: ShareRequest) -> Result<Share, RpcError> {
        let url = self.execution_url(id, "/share");
        self.attempts(|| self.post_json(&url, &share)).await
    }

    /// Sends a value as JSON, and parses the JSON answer.
    async fn post_json<T: DeserializeOwned>(
        &self,
        url: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        json(self.post(url).json(body).send().await?).await
    }

    /// Waits for an answer up to `callMs`.
    async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        match tokio::time::timeout(self.times.call, answer).await {
            Ok(result) => result,
            Err(_) => Err(Failure::Broken("no answer in time".to_owned())),
        }
    }
}
