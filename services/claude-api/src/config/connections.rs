//! Settings for the HTTP connections of clients: how many may be open, and their time limits.

use clap::Args;
use clap::builder::RangedU64ValueParser;

/// The flags for connections.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connections")]
pub struct ConnectionArgs {
    /// Maximum open connections; never more than half of the file descriptors. Three quarters of
    /// them may be streams. At the maximum, a new connection closes an idle one of the peer with
    /// the most idle connections
    #[arg(
        long,
        env = "CLAUDE_API_CONNECTIONS",
        value_name = "N",
        default_value_t = 8192,
        value_parser = RangedU64ValueParser::<u64>::new().range(8..=1_000_000)
    )]
    pub connections: u64,
    /// Maximum open connections of one peer; a further one gets 429 too-many-connections. It does
    /// not apply to this machine, the default gateway, trusted proxies and bridges
    #[arg(
        long,
        env = "CLAUDE_API_CONNECTIONS_PER_PEER",
        value_name = "N",
        default_value_t = 256,
        value_parser = RangedU64ValueParser::<u64>::new().range(1..=1_000_000)
    )]
    pub connections_per_peer: u64,
    /// Time limit for receiving the head of a request, ms
    #[arg(
        long,
        env = "CLAUDE_API_HEAD_MS",
        value_name = "N",
        default_value_t = 10_000,
        value_parser = RangedU64ValueParser::<u64>::new().range(1..=3_600_000)
    )]
    pub head_ms: u64,
    /// Time limit for a connection between two requests, ms
    #[arg(
        long,
        env = "CLAUDE_API_KEEP_ALIVE_MS",
        value_name = "N",
        default_value_t = 60_000,
        value_parser = RangedU64ValueParser::<u64>::new().range(1..=3_600_000)
    )]
    pub keep_alive_ms: u64,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::config::{Cli, Settings};

    #[test]
    fn the_limits_have_the_connections_of_each_peer() {
        for (flags, expected) in [(&[][..], 256), (&["--connections-per-peer=7"], 7)] {
            let cli = Cli::parse_from(std::iter::once(&"claude-api").chain(flags));
            let limits = Settings::check(cli.serve, Vec::new()).unwrap().limits;
            assert_eq!(limits.connections_per_peer, expected, "{flags:?}");
        }
        let none = Cli::try_parse_from(["claude-api", "--connections-per-peer=0"]);
        assert!(none.is_err());
    }
}
