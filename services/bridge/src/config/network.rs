//! The settings about connections, reverse proxies, and clients of other machines.

use std::net::IpAddr;
use std::time::Duration;

use addresses::{BadProxy, ProxyList};
use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};

/// The heading of these options in the help text.
const NETWORK: &str = "Network";
/// The longest time that a setting may have, in milliseconds: a day.
const DAY: u64 = 24 * 3600 * 1000;
/// The number of connections without a session that the default of `--connections` allows.
const SESSIONLESS: u64 = 1048;

/// The limits of the connections of clients.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// The most open connections in all, sessions included.
    pub connections: usize,
    /// The most open connections of one peer, sessions included.
    pub per_peer: usize,
    /// How long the head of a request may take to arrive. The time runs from its first byte, or
    /// from the start of the connection.
    pub head: Duration,
    /// How long a connection may be idle between two requests.
    pub keep_alive: Duration,
}

/// The flags about connections, reverse proxies, and clients of other machines.
#[derive(Debug, Clone, Args)]
#[allow(missing_docs, reason = "the help texts are the documentation")]
pub struct NetworkArgs {
    /// Address on which the host publishes the bridge, if it differs from --host; set by Compose. A
    /// bridge that other machines reach serves only clients with a token
    #[arg(long, env = "BRIDGE_PUBLISHED_ON", value_name = "ADDRESS")]
    #[arg(value_parser = protocol::guard::listen_address)]
    #[arg(help_heading = NETWORK)]
    pub published_on: Option<IpAddr>,
    /// Serve clients without a token although other machines reach the bridge
    #[arg(
        long,
        env = "BRIDGE_ALLOW_UNAUTHENTICATED",
        value_name = "BOOL",
        default_value_t = false,
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = ArgAction::Set,
        value_parser = BoolishValueParser::new()
    )]
    #[arg(help_heading = NETWORK)]
    pub allow_unauthenticated: bool,
    /// Reverse proxies whose X-Forwarded-For is believed: networks, addresses or host names
    /// (comma-separated)
    #[arg(long, env = "BRIDGE_TRUSTED_PROXIES", default_value = "")]
    #[arg(help_heading = NETWORK)]
    pub trusted_proxies: String,
    /// Second port to listen on, for a reverse proxy on this machine. There X-Forwarded-For is
    /// required, and believed from every peer
    #[arg(long, env = "BRIDGE_PROXY_PORT", value_name = "PORT")]
    #[arg(help_heading = NETWORK)]
    pub proxy_port: Option<String>,
    /// Most open connections in all, sessions included; default: --sessions and 1048 more. One more
    /// closes a connection that waits for its client
    #[arg(long, env = "BRIDGE_CONNECTIONS")]
    #[arg(help_heading = NETWORK)]
    pub connections: Option<String>,
    /// Most open connections of one address; one more gets 429. Does not apply to this machine, its
    /// gateway and trusted proxies
    #[arg(long, env = "BRIDGE_CONNECTIONS_PER_PEER", default_value = "256")]
    #[arg(help_heading = NETWORK)]
    pub connections_per_peer: String,
    /// Longest time until the head of a request has arrived, in milliseconds
    #[arg(long, env = "BRIDGE_HEAD_MS", default_value = "10000")]
    #[arg(help_heading = NETWORK)]
    pub head_ms: String,
    /// Longest idle time of a connection between two requests, in milliseconds
    #[arg(long, env = "BRIDGE_KEEP_ALIVE_MS", default_value = "60000")]
    #[arg(help_heading = NETWORK)]
    pub keep_alive_ms: String,
}

/// The values of the flags in this module, and the mistakes in them.
#[derive(Debug)]
pub(super) struct NetworkSettings {
    /// The limits of connections, without the one for each peer.
    pub(super) connections: ConnectionLimits,
    /// The port for proxies on this machine. `None` if there is none.
    pub(super) proxy_port: Option<u16>,
    /// The proxies whose header `X-Forwarded-For` is believed.
    pub(super) trusted_proxies: ProxyList,
    /// The texts for the operator about mistakes that `number` has not reported.
    pub(super) mistakes: Vec<String>,
}

impl NetworkArgs {
    /// Parses the values. `number` parses a flag of this name and text between two bounds, and
    /// reports its mistakes. `sessions` is the most open sessions.
    pub(super) fn check(
        &self,
        sessions: u64,
        number: &mut impl FnMut(&str, &str, u64, u64) -> u64,
    ) -> NetworkSettings {
        let connections = match &self.connections {
            Some(text) => number("connections", text, sessions + 1, 10_000_000),
            None => sessions + SESSIONLESS,
        };
        let head = number("head-ms", &self.head_ms, 10, DAY);
        let keep_alive = number("keep-alive-ms", &self.keep_alive_ms, 10, DAY);
        let proxy_port = self
            .proxy_port
            .as_ref()
            .filter(|text| !text.trim().is_empty());
        let proxy_port = proxy_port.map(|text| number("proxy-port", text, 0, 65_535));
        let mut mistakes = Vec::new();
        let trusted_proxies = self
            .trusted_proxies
            .parse()
            .unwrap_or_else(|mistake: BadProxy| {
                mistakes.push(format!("--trusted-proxies: {mistake}"));
                ProxyList::default()
            });
        NetworkSettings {
            connections: ConnectionLimits {
                connections: usize::try_from(connections).unwrap_or(usize::MAX),
                per_peer: usize::MAX,
                head: Duration::from_millis(head),
                keep_alive: Duration::from_millis(keep_alive),
            },
            proxy_port: proxy_port.map(|port| u16::try_from(port).unwrap_or_default()),
            trusted_proxies,
            mistakes,
        }
    }
}
