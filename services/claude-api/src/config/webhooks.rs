//! Settings for webhooks, by which clients are notified of events of their executions.

use clap::Args;
use protocol::webhook::WebhookHosts;

/// The flags for webhooks.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Webhooks")]
pub struct WebhookArgs {
    /// Receivers to which clients may have webhooks sent, separated by commas: HOST or HOST:PORT
    /// (default port 443), exactly as in their URLs. Without it, a webhook is refused.
    /// `credentials` has the same list and sends to no other host
    #[arg(
        long,
        env = "CLAUDE_API_WEBHOOK_HOSTS",
        value_name = "LIST",
        default_value = "",
        hide_default_value = true,
        value_parser = |text: &str| text.parse::<WebhookHosts>()
    )]
    pub webhook_hosts: WebhookHosts,
}
