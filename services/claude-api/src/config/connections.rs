//! Settings for connections: how many clients may open, and how long one may be idle.

use clap::Args;
use clap::builder::RangedU64ValueParser;

/// Flags about connections.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connections")]
pub struct ConnectionArgs {
    /// Connections at once; never more than half of the descriptors. Three quarters of them may be
    /// streams. Where all are taken, those that have done nothing for longest are closed
    #[arg(
        long,
        env = "CLAUDE_API_CONNECTIONS",
        value_name = "N",
        default_value_t = 8192,
        value_parser = RangedU64ValueParser::<u64>::new().range(8..=1_000_000)
    )]
    pub connections: u64,
    /// How long the head of a request may take, ms
    #[arg(
        long,
        env = "CLAUDE_API_HEAD_MS",
        value_name = "N",
        default_value_t = 10_000,
        value_parser = RangedU64ValueParser::<u64>::new().range(1..=3_600_000)
    )]
    pub head_ms: u64,
    /// How long a connection may stay open between two requests, ms
    #[arg(
        long,
        env = "CLAUDE_API_KEEP_ALIVE_MS",
        value_name = "N",
        default_value_t = 60_000,
        value_parser = RangedU64ValueParser::<u64>::new().range(1..=3_600_000)
    )]
    pub keep_alive_ms: u64,
}
