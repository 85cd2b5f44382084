//! The service itself, in this process.

use std::net::SocketAddr;

use clap::Parser;
use credentials::config::{Cli, Settings};
use grants::Timing;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{ClaudeApi, KEY, soon};

pub(crate) struct Service {
    pub(crate) addr: SocketAddr,
    stop: CancellationToken,
    done: AbortOnDropHandle<anyhow::Result<()>>,
}

impl Service {
    /// Starts a service with an API key, unless `variables` have another credential.
    pub(crate) async fn start(
        claude_api: &ClaudeApi,
        api: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let settings = Self::settings(claude_api, api, arguments, variables);
        Self::run(settings).await
    }

    /// Starts a service with this timing of the control connection.
    pub(crate) async fn with_timing(claude_api: &ClaudeApi, api: &str, timing: Timing) -> Self {
        let mut settings = Self::settings(claude_api, api, &[], &[]);
        settings.timing = timing;
        Self::run(settings).await
    }

    fn settings(
        claude_api: &ClaudeApi,
        api: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Settings {
        let control = claude_api.addr().to_string();
        let fixed = ["credentials", "--claude-api", &control];
        let cli = Cli::try_parse_from(fixed.iter().chain(arguments)).unwrap();
        let base = [("ANTHROPIC_BASE_URL", api), ("ANTHROPIC_API_KEY", KEY)];
        let variables = base.iter().chain(variables);
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        cli.serve.check(&variables.map(owned).collect()).unwrap()
    }

    async fn run(settings: Settings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let shutdown = stop.clone().cancelled_owned();
        let task = credentials::run(listener, settings, shutdown);
        Self {
            addr,
            stop,
            done: AbortOnDropHandle::new(tokio::spawn(task)),
        }
    }

    /// Begins to stop the service.
    pub(crate) fn begin_stop(&self) {
        self.stop.cancel();
    }

    /// Stops the service and waits for its end.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        soon("the end of the service", self.done)
            .await
            .unwrap()
            .unwrap();
    }
}
