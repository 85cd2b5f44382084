//! The settings of the bridge, read from flags or environment variables. All mistakes are reported
//! together, before the bridge listens (docs/protocol.md, "Settings").

mod network;
mod traces;

use std::time::Duration;

use addresses::ProxyList;
use clap::{Args, Parser, Subcommand};
use protocol::Limits;
use telemetry::log::Format as LogFormat;

use crate::upstream::{Times, silence};
use network::NetworkSettings;
pub use network::{ConnectionLimits, NetworkArgs};
pub use traces::TraceArgs;

// The headings of the options in the help text.
const SERVICE: &str = "Service";
const NETWORK: &str = "Network";
const SESSIONS: &str = "Sessions";
const MEMORY: &str = "Memory";
const CALLS: &str = "Calls to claude-api";
const MCP: &str = "MCP";

/// How long the head of a stream's HTTP answer may take to arrive (5 s). claude-api sends the head
/// immediately, so a later one means a dead connection.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "bridge",
    version,
    about,
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    /// The subcommand; `serve` if absent.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Settings of `serve` when no subcommand is given.
    #[command(flatten)]
    pub serve: Config,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve WebSocket sessions (the default)
    Serve(Box<Config>),
    /// Check that a running bridge is alive; exit code 0 if it is
    Healthcheck {
        /// URL to check; default http://127.0.0.1:PORT/health/live
        #[arg(long)]
        url: Option<String>,
        /// Port of the default URL
        #[arg(long, env = "BRIDGE_PORT", default_value_t = 8003, hide = true)]
        port: u16,
    },
}

/// All settings of `serve`.
#[derive(Debug, Clone, Args)]
#[allow(missing_docs, reason = "the help texts are the documentation")]
pub struct Config {
    /// IP address to listen on, or localhost
    #[arg(long, env = "BRIDGE_HOST", default_value = "127.0.0.1")]
    #[arg(help_heading = NETWORK)]
    pub host: String,
    /// Port to listen on; 0 picks a free one
    #[arg(long, env = "BRIDGE_PORT", default_value = "8003")]
    #[arg(help_heading = NETWORK)]
    pub port: String,
    /// Address of claude-api, http://HOST:PORT
    #[arg(
        long,
        env = "BRIDGE_CLAUDE_API_URL",
        default_value = "http://127.0.0.1:8002"
    )]
    #[arg(help_heading = NETWORK)]
    pub claude_api_url: String,
    /// Host names that clients may use, besides localhost, 127.0.0.1, ::1 and bridge
    /// (comma-separated)
    #[arg(long, env = "BRIDGE_ALLOWED_HOSTS", value_delimiter = ',')]
    #[arg(help_heading = NETWORK)]
    pub allowed_hosts: Vec<String>,
    /// Origins of web pages that may use the bridge, like `https://app.example` (comma-separated)
    #[arg(long, env = "BRIDGE_ALLOWED_ORIGINS", value_delimiter = ',')]
    #[arg(help_heading = NETWORK)]
    pub allowed_origins: Vec<String>,
    /// Connections, proxies, and clients of other machines.
    #[command(flatten)]
    pub network: NetworkArgs,
    /// The export of traces.
    #[command(flatten)]
    pub traces: TraceArgs,
    /// Log level: error, warn, info, debug, trace, or a filter of tracing
    #[arg(long, env = "BRIDGE_LOG_LEVEL", default_value = "info")]
    #[arg(help_heading = SERVICE)]
    pub log_level: String,
    /// Log format: json (one object per line) or pretty (for people)
    #[arg(long, env = "BRIDGE_LOG_FORMAT", default_value = "json")]
    #[arg(help_heading = SERVICE)]
    pub log_format: String,
    /// Most open WebSocket sessions; one more is refused
    #[arg(long, env = "BRIDGE_SESSIONS", default_value = "1000")]
    #[arg(help_heading = SESSIONS)]
    pub sessions: String,
    /// Most open WebSocket sessions of one principal; one more is refused. The MCP sessions and
    /// calls of one principal have limits in the same proportion. Without tokens there is no
    /// principal
    #[arg(long, env = "BRIDGE_SESSIONS_PER_PRINCIPAL", default_value = "250")]
    #[arg(help_heading = SESSIONS)]
    pub sessions_per_principal: String,
    /// Most frames of one session in a second, pings included. The bridge reads more of them later
    #[arg(long, env = "BRIDGE_FRAMES_PER_SECOND", default_value = "200")]
    #[arg(help_heading = SESSIONS)]
    pub frames_per_second: String,
    /// Most frames of one session at once, after a quiet time
    #[arg(long, env = "BRIDGE_FRAMES_BURST", default_value = "1000")]
    #[arg(help_heading = SESSIONS)]
    pub frames_burst: String,
    /// Longest message of a client, in bytes
    #[arg(long, env = "BRIDGE_MESSAGE_BYTES", default_value = "13631488")]
    #[arg(help_heading = SESSIONS)]
    pub message_bytes: String,
    /// Memory for messages being received and for executes and inputs that claude-api has not
    /// answered, in bytes. When it is spent, messages over 64 KiB wait, and the session with the
    /// oldest unfinished one is closed with code 1013
    #[arg(long, env = "BRIDGE_INBOUND_BYTES", default_value = "268435456")]
    #[arg(help_heading = MEMORY)]
    pub inbound_bytes: String,
    /// Memory for answers and output that clients have not read, in bytes; at most 4 MiB per
    /// session. When it is spent, the bridge stops reading from a session, and its views pause
    #[arg(long, env = "BRIDGE_OUTBOUND_BYTES", default_value = "268435456")]
    #[arg(help_heading = MEMORY)]
    pub outbound_bytes: String,
    /// Most executions that one session views at the same time; one more attach or execute is
    /// refused
    #[arg(long, env = "BRIDGE_VIEWS", default_value = "64")]
    #[arg(help_heading = SESSIONS)]
    pub views: String,
    /// Most simultaneous MCP calls that view an execution, and as many others; one more is refused
    #[arg(long, env = "BRIDGE_MCP_CALLS", default_value = "64")]
    #[arg(help_heading = MCP)]
    pub mcp_calls: String,
    /// Most open MCP sessions; one more ends the session that is idle longest, or gets 503 when all
    /// are in use
    #[arg(long, env = "BRIDGE_MCP_SESSIONS", default_value = "1000")]
    #[arg(help_heading = MCP)]
    pub mcp_sessions: String,
    /// Longest time between two progress notifications of an MCP call, in milliseconds
    #[arg(long, env = "BRIDGE_MCP_PROGRESS_MS", default_value = "15000")]
    #[arg(help_heading = MCP)]
    pub mcp_progress_ms: String,
    /// Most requests in one batch
    #[arg(long, env = "BRIDGE_BATCH", default_value = "50")]
    #[arg(help_heading = SESSIONS)]
    pub batch: String,
    /// Longest status object, in bytes
    #[arg(long, env = "BRIDGE_STATUS_BYTES", default_value = "65536")]
    #[arg(help_heading = SESSIONS)]
    pub status_bytes: String,
    /// Longest time between two status updates of an execution, in milliseconds; use the same value
    /// as for claude-api
    #[arg(long, env = "BRIDGE_HEARTBEAT_MS", default_value = "15000")]
    #[arg(help_heading = SESSIONS)]
    pub heartbeat_ms: String,
    /// Time between two pings to a client, in milliseconds; a client that misses two is dropped
    #[arg(long, env = "BRIDGE_PING_MS", default_value = "20000")]
    #[arg(help_heading = SESSIONS)]
    pub ping_ms: String,
    /// Most unsent output of a view with onSlow skip, in bytes; the view drops older output
    #[arg(long, env = "BRIDGE_SKIP_BYTES", default_value = "1048576")]
    #[arg(help_heading = MEMORY)]
    pub skip_bytes: String,
    /// Most unsent output of a view with onSlow skip, in lines; 0 is no limit
    #[arg(long, env = "BRIDGE_SKIP_LINES", default_value = "0")]
    #[arg(help_heading = MEMORY)]
    pub skip_lines: String,
    /// Time to close all sessions when the bridge stops, in milliseconds
    #[arg(long, env = "BRIDGE_SHUTDOWN_MS", default_value = "10000")]
    #[arg(help_heading = SERVICE)]
    pub shutdown_ms: String,
    /// How long an execute is retried before claude-api has accepted it, in milliseconds
    #[arg(long, env = "BRIDGE_ACCEPT_MS", default_value = "60000")]
    #[arg(help_heading = CALLS)]
    pub accept_ms: String,
    /// How long any other request to claude-api may take, in milliseconds
    #[arg(long, env = "BRIDGE_CALL_MS", default_value = "5000")]
    #[arg(help_heading = CALLS)]
    pub call_ms: String,
    /// Time without a viewer after a disconnect before onDisconnect cancel cancels, in milliseconds
    #[arg(long, env = "BRIDGE_DISCONNECT_GRACE_MS", default_value = "10000")]
    #[arg(help_heading = CALLS)]
    pub disconnect_grace_ms: String,
}

/// The settings of `serve` as typed values, after they were checked. [`Config::check`] creates
/// them.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The TCP port to listen on. 0 lets the kernel pick a free port.
    pub port: u16,
    /// The format of the log lines on stderr.
    pub log_format: LogFormat,
    /// The export of traces. `None` if none are exported.
    pub traces: Option<telemetry::Settings>,
    /// The limits that the bridge itself enforces. Fields that only claude-api enforces have
    /// default values here. The greeting of a session (`connected`) shows claude-api's own values
    /// for them.
    pub limits: Limits,
    /// The limits of the connections of clients.
    pub connections: ConnectionLimits,
    /// The proxies whose header `X-Forwarded-For` is believed.
    pub trusted_proxies: ProxyList,
    /// The TCP port for proxies on this machine. `None` if there is none.
    pub proxy_port: Option<u16>,
    /// The most executions that one session may view at the same time.
    pub views: usize,
    /// The limits of the MCP server on `/mcp`.
    pub mcp: Mcp,
    /// How long calls to claude-api may take, and how long its streams may be silent.
    pub times: Times,
    /// How long an execution started with `onDisconnect: "cancel"` keeps running without a viewer
    /// after its client disconnected. After that it is cancelled. With zero it is cancelled without
    /// a delay.
    pub disconnect_grace: Duration,
}

/// The limits of the MCP server on `/mcp`, which runs inside the bridge.
#[derive(Debug, Clone)]
pub struct Mcp {
    /// The most MCP tool calls that may view an execution at the same time. The same number applies
    /// separately to all other calls. A further call is refused.
    pub calls: usize,
    /// The most calls of one principal, of either kind.
    pub calls_per_principal: usize,
    /// The most open MCP sessions. A further one ends the session that is idle longest, or is
    /// refused with HTTP 503 (Service Unavailable) if all are in use.
    pub sessions: usize,
    /// The most open MCP sessions of one principal.
    pub sessions_per_principal: usize,
    /// The longest time between two progress notifications of one call. They show the MCP client
    /// that the call still runs.
    pub progress: Duration,
}

impl Config {
    /// Parses all settings and returns them as typed values.
    ///
    /// # Errors
    /// Returns one text for each wrong setting, so that the operator can correct all of them at
    /// once. The text names the setting and the values that are allowed.
    pub fn check(&self) -> Result<Settings, Vec<String>> {
        let mut mistakes = Vec::new();
        let mut number = |flag: &str, text: &str, least: u64, most: u64| match text.trim().parse() {
            Ok(n) if (least..=most).contains(&n) => n,
            _ => {
                mistakes.push(format!(
                    "--{flag} {text:?}: a whole number from {least} to {most} is needed"
                ));
                least
            }
        };
        const BYTES: u64 = 1 << 40;
        const DAY: u64 = 24 * 3600 * 1000;
        let port = number("port", &self.port, 0, 65_535);
        let limits = Limits {
            sessions: number("sessions", &self.sessions, 1, 1_000_000),
            sessions_per_principal: number(
                "sessions-per-principal",
                &self.sessions_per_principal,
                1,
                1_000_000,
            ),
            connections_per_peer: number(
                "connections-per-peer",
                &self.network.connections_per_peer,
                1,
                1_000_000,
            ),
            frames_per_second: number("frames-per-second", &self.frames_per_second, 1, 1_000_000),
            frames_burst: number("frames-burst", &self.frames_burst, 1, 1_000_000),
            message_bytes: number("message-bytes", &self.message_bytes, 1024, 1 << 30),
            inbound_bytes: number("inbound-bytes", &self.inbound_bytes, 1024, BYTES),
            outbound_bytes: number("outbound-bytes", &self.outbound_bytes, 1 << 20, BYTES),
            // The answer to a larger batch could exceed one message of 512 KiB.
            batch: number("batch", &self.batch, 1, 64),
            status_bytes: number("status-bytes", &self.status_bytes, 4096, 256 * 1024),
            heartbeat_ms: number("heartbeat-ms", &self.heartbeat_ms, 10, DAY),
            ping_ms: number("ping-ms", &self.ping_ms, 10, DAY),
            skip_bytes: number("skip-bytes", &self.skip_bytes, 1, BYTES),
            skip_lines: number("skip-lines", &self.skip_lines, 0, BYTES),
            shutdown_ms: number("shutdown-ms", &self.shutdown_ms, 0, DAY),
            ..Limits::default()
        };
        let network = self.network.check(limits.sessions, &mut number);
        let accept = number("accept-ms", &self.accept_ms, 1, DAY);
        let call = number("call-ms", &self.call_ms, 1, DAY);
        let views = number("views", &self.views, 1, 1_000_000);
        let mcp_calls = number("mcp-calls", &self.mcp_calls, 1, 1_000_000);
        let mcp_sessions = number("mcp-sessions", &self.mcp_sessions, 1, 1_000_000);
        let mcp_progress = number("mcp-progress-ms", &self.mcp_progress_ms, 10, DAY);
        let grace = number("disconnect-grace-ms", &self.disconnect_grace_ms, 0, DAY);
        if let Err(mistake) = protocol::guard::listen_address(&self.host) {
            mistakes.push(format!("--host {:?}: {mistake}", self.host));
        }
        let NetworkSettings {
            mut connections,
            proxy_port,
            trusted_proxies,
            mistakes: network_mistakes,
        } = network;
        mistakes.extend(network_mistakes);
        connections.per_peer = usize::try_from(limits.connections_per_peer).unwrap_or(usize::MAX);
        if proxy_port.is_some_and(|proxy_port| u64::from(proxy_port) == port && port != 0) {
            mistakes.push(format!(
                "--proxy-port {port} is also --port; give a different port"
            ));
        }
        if let Err(mistake) = check_upstream(&self.claude_api_url) {
            mistakes.push(mistake);
        }
        for origin in self.allowed_origins.iter().filter(|o| !o.trim().is_empty()) {
            let good = reqwest::Url::parse(origin).is_ok_and(|u| {
                matches!(u.scheme(), "http" | "https") && u.has_host() && u.path() == "/"
            });
            if !good {
                mistakes.push(format!(
                    "--allowed-origins {origin:?}: SCHEME://HOST[:PORT] is needed, \
                     like https://app.example"
                ));
            }
        }
        for host in self.allowed_hosts.iter().filter(|h| !h.trim().is_empty()) {
            if host.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control()) {
                mistakes.push(format!(
                    "--allowed-hosts {host:?}: a host name is needed, like bridge or bridge:8003"
                ));
            }
        }
        let log_format = telemetry::log::check(&self.log_level, &self.log_format, &mut mistakes);
        let traces = self.traces.check(&mut mistakes);
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let ms = Duration::from_millis;
        // One principal gets the same proportion of MCP as of WebSocket sessions.
        let (all, own) = (
            limits.sessions,
            limits.sessions_per_principal.min(limits.sessions),
        );
        let of_principal = |limit: u64| {
            let share = (limit.saturating_mul(own) / all).max(1);
            usize::try_from(share).unwrap_or(usize::MAX)
        };
        Ok(Settings {
            port: u16::try_from(port).unwrap_or_default(),
            log_format,
            traces,
            times: Times {
                call: ms(call),
                accept: ms(accept),
                // An attempt whose packets are lost must leave time for other attempts.
                attempt: ms((accept / 4).max(1)),
                head: HEAD_TIME
                    .min(ms(limits.heartbeat_ms * 2))
                    .max(HEAD_TIME / 5),
                silence: silence(ms(limits.heartbeat_ms)),
                stall: ms(limits.heartbeat_ms.clamp(100, 5_000)),
                heartbeat: ms(limits.heartbeat_ms),
            },
            connections,
            trusted_proxies,
            proxy_port,
            limits,
            views: usize::try_from(views).unwrap_or(usize::MAX),
            mcp: Mcp {
                calls: usize::try_from(mcp_calls).unwrap_or(usize::MAX),
                calls_per_principal: of_principal(mcp_calls),
                sessions: usize::try_from(mcp_sessions).unwrap_or(usize::MAX),
                sessions_per_principal: of_principal(mcp_sessions),
                progress: ms(mcp_progress),
            },
            disconnect_grace: ms(grace),
        })
    }
}

/// Checks the URL of claude-api, which must be `http://HOST:PORT` without a path, a query or a
/// password.
///
/// # Errors
/// Returns the text for the operator if the URL is malformed or not supported.
fn check_upstream(text: &str) -> Result<(), String> {
    let url = reqwest::Url::parse(text).ok();
    // A URL with a secret is not quoted, because mistakes are logged.
    if text.contains('@') {
        return Err(
            "--claude-api-url: a URL with a user or a password is not supported; use \
             http://HOST:PORT"
                .to_owned(),
        );
    }
    let good = url.is_some_and(|url| {
        let has_no_query = url.query().is_none() && url.fragment().is_none();
        // The URL parser drops control characters silently, but the text itself is logged.
        let is_printable = !text.contains(char::is_control);
        url.scheme() == "http"
            && url.has_host()
            && url.path() == "/"
            && has_no_query
            && is_printable
    });
    if good {
        return Ok(());
    }
    Err(format!(
        "--claude-api-url {text:?}: http://HOST:PORT is needed, without a path"
    ))
}

#[cfg(test)]
mod tests;
