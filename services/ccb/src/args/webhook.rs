//! The arguments of `ccb webhook`, which needs no bridge.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::help;
use crate::values;

#[derive(Debug, Args)]
pub(crate) struct WebhookArgs {
    #[command(subcommand)]
    pub(crate) command: WebhookCommand,
}

/// The subcommands of `ccb webhook`.
#[derive(Debug, Subcommand)]
pub(crate) enum WebhookCommand {
    /// Check whether a received webhook is genuine
    #[command(after_help = help::WEBHOOK_VERIFY)]
    Verify(VerifyArgs),
    /// Make secrets that sign webhooks
    Secret {
        #[command(subcommand)]
        command: SecretCommand,
    },
}

/// The subcommands of `ccb webhook secret`.
#[derive(Debug, Subcommand)]
pub(crate) enum SecretCommand {
    /// Make a secret, for the operator's file of secrets and for the receiver
    New {
        /// New file of mode 600 for the secret; `-` writes it to a pipe
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// File with the body, as it was received; absent or `-`: stdin
    pub(crate) body: Option<PathBuf>,
    /// A header of the request; repeatable
    #[arg(long, value_name = "NAME: VALUE", value_parser = values::header)]
    pub(crate) header: Vec<(String, String)>,
    /// File with the headers of the request, one a line; other lines are ignored
    #[arg(long, value_name = "FILE")]
    pub(crate) headers: Option<PathBuf>,
    /// File with the secret, or with two, one a line
    #[arg(long, value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,
    /// How far the time of the webhook may be from this machine's clock
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = values::duration)]
    pub(crate) tolerance: Duration,
}
