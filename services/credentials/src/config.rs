//! The settings, from flags and environment variables. All mistakes are reported together, before
//! the service listens.

mod environment;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use grants::Timing;
use telemetry::log::Format as LogFormat;

use crate::prices::Prices;
use crate::request::body::Field;
use crate::upstream::tls;
use crate::webhooks::{Sender, WebhookArgs};
pub use environment::{ModelAccess, Variables};

/// The maximum of a setting that is a duration, in milliseconds: a week.
const WEEK_MS: u64 = 7 * 24 * 3600 * 1000;

// The headings of the options in the help text.
const SERVICE: &str = "Service";
const NETWORK: &str = "Network";
const API: &str = "The model's API";

/// The command line. The credential and the address of the API come from the CLI's own variables
/// for them. They are never arguments, because every process of the machine can read those.
#[derive(Debug, Parser)]
#[command(
    name = "credentials",
    version,
    about,
    args_conflicts_with_subcommands = true,
    after_help = "Variables of the model's API: ANTHROPIC_API_KEY, CLAUDE_CODE_OAUTH_TOKEN or \
                  ANTHROPIC_AUTH_TOKEN, or the name of a file in one of these with _FILE; \
                  ANTHROPIC_BASE_URL, ANTHROPIC_CUSTOM_HEADERS, HTTPS_PROXY, NO_PROXY"
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
    /// Serve requests of the sandbox (the default)
    Serve(Box<Config>),
    /// Check that the service on this machine is alive; exit code 0 if it is
    Healthcheck {
        /// Address to check
        #[arg(long, env = "CREDENTIALS_HOST", default_value = "127.0.0.1")]
        host: String,
        /// Port to check
        #[arg(long, env = "CREDENTIALS_PORT", default_value_t = 8005)]
        port: u16,
        /// After a success, keep checking for a minute; for the healthcheck of a container
        #[arg(long)]
        watch: bool,
    },
}

/// All flags of `serve`.
#[derive(Debug, Clone, Args)]
#[allow(missing_docs, reason = "the help texts are the documentation")]
pub struct Config {
    /// IP address to listen on, or localhost. Only the network of the sandbox may reach it
    #[arg(long, env = "CREDENTIALS_HOST", default_value = "127.0.0.1")]
    #[arg(help_heading = NETWORK)]
    pub host: String,
    /// Port to listen on; 0 picks a free one
    #[arg(long, env = "CREDENTIALS_PORT", default_value = "8005")]
    #[arg(help_heading = NETWORK)]
    pub port: String,
    /// Control port of claude-api, HOST:PORT
    #[arg(
        long,
        env = "CREDENTIALS_CLAUDE_API",
        default_value = "claude-api:8006"
    )]
    #[arg(help_heading = NETWORK)]
    pub claude_api: String,
    /// Body members that executions may use although they reach beyond one request: container,
    /// mcp_servers, file_id (comma-separated)
    #[arg(long, env = "CREDENTIALS_ALLOW_BODY_FIELDS", value_delimiter = ',')]
    #[arg(help_heading = API)]
    pub allow_body_fields: Vec<String>,
    /// Price list that replaces the built-in one, a TOML file
    #[arg(long, env = "CREDENTIALS_PRICES", value_name = "FILE")]
    #[arg(help_heading = API)]
    pub prices: Option<PathBuf>,
    /// PEM file with certificates to trust for the API, in addition to those of this machine
    #[arg(long, env = "NODE_EXTRA_CA_CERTS", value_name = "FILE")]
    #[arg(help_heading = API)]
    pub upstream_ca: Option<PathBuf>,
    /// Time without a success at the API, in milliseconds, after which a request that costs nothing
    /// checks the credential; 0 turns this check off
    #[arg(long, env = "CREDENTIALS_CHECK_MS", default_value = "3600000")]
    #[arg(help_heading = API)]
    pub check_ms: String,
    /// Time for open requests to end when the service stops, in milliseconds
    #[arg(long, env = "CREDENTIALS_SHUTDOWN_MS", default_value = "8000")]
    #[arg(help_heading = SERVICE)]
    pub shutdown_ms: String,
    /// Log level: error, warn, info, debug, trace, or a filter of tracing
    #[arg(long, env = "CREDENTIALS_LOG_LEVEL", default_value = "info")]
    #[arg(help_heading = SERVICE)]
    pub log_level: String,
    /// Log format: json (one object per line) or pretty (for people)
    #[arg(long, env = "CREDENTIALS_LOG_FORMAT", default_value = "json")]
    #[arg(help_heading = SERVICE)]
    pub log_format: String,
    #[command(flatten)]
    pub webhooks: WebhookArgs,
}

/// The checked settings.
#[derive(Debug)]
pub struct Settings {
    /// The address to listen on.
    pub host: IpAddr,
    /// The port to listen on. 0 picks a free one.
    pub port: u16,
    /// The host and port of claude-api's control port.
    pub claude_api: String,
    /// The members that bodies may have although they reach beyond one request.
    pub allowed: BTreeSet<Field>,
    /// The price list.
    pub prices: Prices,
    /// The credential, and the connector to the API.
    pub access: ModelAccess,
    /// The time without a success after which the credential is checked. `None` turns this check
    /// off.
    pub check: Option<Duration>,
    /// The time for open requests to end when the service stops.
    pub shutdown_time: Duration,
    /// The format of the log.
    pub log_format: LogFormat,
    /// The sender of webhooks.
    pub webhooks: Sender,
    /// The timing of the control connection. No flag sets it, because claude-api has the same.
    pub timing: Timing,
}

impl Config {
    /// Checks all settings. `variables` is the environment of the process. Reads files.
    ///
    /// # Errors
    /// One text for each mistake, for the operator. No text has a secret.
    pub fn check(&self, variables: &Variables) -> Result<Settings, Vec<String>> {
        let mut mistakes = Vec::new();
        let mut number = |flag: &str, text: &str, most: u64| match text.trim().parse() {
            Ok(number) if number <= most => number,
            _ => {
                mistakes.push(format!(
                    "--{flag} {text:?}: a whole number from 0 to {most} is needed"
                ));
                0
            }
        };
        let port = number("port", &self.port, 65_535);
        let check_ms = number("check-ms", &self.check_ms, WEEK_MS);
        let shutdown_ms = number("shutdown-ms", &self.shutdown_ms, WEEK_MS);
        let host = protocol::guard::listen_address(&self.host).map_err(|mistake| {
            mistakes.push(format!("--host {:?}: {mistake}", self.host));
        });
        if !is_host_and_port(&self.claude_api) {
            mistakes.push(format!(
                "--claude-api {:?}: HOST:PORT is needed, like claude-api:8006",
                self.claude_api
            ));
        }
        let mut allowed = BTreeSet::new();
        let fields = self.allow_body_fields.iter().map(|field| field.trim());
        for field in fields.filter(|field| !field.is_empty()) {
            match field.parse() {
                Ok(field) => drop(allowed.insert(field)),
                Err(error) => mistakes.push(format!("--allow-body-fields {field:?}: {error}")),
            }
        }
        let prices = match &self.prices {
            None => Prices::default(),
            Some(path) => Prices::read(path).unwrap_or_else(|mistake| {
                mistakes.push(format!("--prices {}: {mistake}", path.display()));
                Prices::default()
            }),
        };
        let access = ModelAccess::new(variables, self.upstream_ca.as_deref());
        let access = access.map_err(|more| mistakes.extend(more));
        let log_format = telemetry::log::check(&self.log_level, &self.log_format, &mut mistakes);
        mistakes.extend(self.webhooks.check());
        let webhooks = tls::settings(self.webhooks.webhook_ca.as_deref())
            .map(|tls| Sender::new(&self.webhooks, tls))
            .map_err(|error| mistakes.push(format!("--webhook-ca: {error}")));
        let (true, Ok(host), Ok(access), Ok(webhooks)) =
            (mistakes.is_empty(), host, access, webhooks)
        else {
            return Err(mistakes);
        };
        Ok(Settings {
            host,
            port: u16::try_from(port).unwrap_or_default(),
            claude_api: self.claude_api.trim().to_owned(),
            allowed,
            prices,
            access,
            check: (check_ms > 0).then(|| Duration::from_millis(check_ms)),
            shutdown_time: Duration::from_millis(shutdown_ms),
            log_format,
            webhooks,
            timing: Timing::default(),
        })
    }
}

/// Returns whether a text is a host and a port, separated by a colon.
fn is_host_and_port(text: &str) -> bool {
    let parts = text.trim().rsplit_once(':');
    parts.is_some_and(|(host, port)| {
        let is_host = !host.is_empty()
            && !host.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control());
        is_host && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

#[cfg(test)]
mod tests;
