//! The fakes around the service.

pub(crate) mod api;
pub(crate) mod claude_api;
pub(crate) mod client;
pub(crate) mod service;

use std::time::Duration;

pub(crate) use api::{Api, Exchange};
pub(crate) use claude_api::ClaudeApi;
pub(crate) use client::{Answer, Client};
pub(crate) use service::Service;

/// The timeout of a wait, far longer than any step of these tests takes.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Waits for a future for at most [`SOON`].
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let result = tokio::time::timeout(SOON, future).await;
    result.unwrap_or_else(|_| panic!("waited {SOON:?} for {what}"))
}

/// The grant of the execution `e1`, which [`Setup::start`] registers.
pub(crate) const GRANT: &str = "ccg_the-grant";
/// The credential of the service.
pub(crate) const KEY: &str = "sk-the-key";

/// A service with its fakes, synced, with one grant.
pub(crate) struct Setup {
    pub(crate) api: Api,
    pub(crate) claude_api: ClaudeApi,
    pub(crate) service: Service,
}

impl Setup {
    /// Starts a service whose API answers with `answer`.
    pub(crate) async fn start<F>(answer: impl Fn(Exchange) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::with(&[], &[], answer).await
    }

    /// Starts a service with further arguments and variables.
    pub(crate) async fn with<F>(
        arguments: &[&str],
        variables: &[(&str, &str)],
        answer: impl Fn(Exchange) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let api = Api::start(answer).await;
        let claude_api = ClaudeApi::start().await;
        let service = Service::start(&claude_api, &api.url(), arguments, variables).await;
        let mut setup = Self {
            api,
            claude_api,
            service,
        };
        setup.claude_api.accept().await;
        setup.claude_api.grant("e1", GRANT, None).await;
        setup.claude_api.sync().await;
        setup
    }

    /// Opens a connection to the service.
    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.service.addr).await
    }

    /// Sends a request for a message with a small body.
    pub(crate) async fn ask(&self) -> Answer {
        let mut client = self.client().await;
        client
            .post("/v1/messages", GRANT, "{\"model\":\"m\"}")
            .await;
        client.answer().await
    }
}
