//! Configuration of claude-api from the command line and the environment: every setting is both a
//! flag and an environment variable. All mistakes are reported together, before the service
//! listens. No other module reads the environment.
//!
//! A constant that an operator may change is a setting here. The constants of the protocol are in
//! [`protocol::limits`]. Every other constant is beside the code that uses it.

mod answer_ceiling;
mod cli_options;
mod connections;
mod credentials;
mod hooks;
mod input;
mod limits;
mod metrics;
mod network;
pub mod parse_all;
mod permission_mode;
mod tools;
mod traces;
mod webhooks;

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use answer_ceiling::AnswerCeiling;
pub(crate) use answer_ceiling::{has_any_rule, has_rule, has_tool, rules};
pub use cli_options::CliOptionRefusal;
pub(crate) use cli_options::check_agents;
pub use connections::ConnectionArgs;
pub use credentials::{CredentialsArgs, CredentialsUrl};
pub use hooks::{Hook, HookArgs, HookMode, HookMoment, Hooks};
pub use input::{ControlRequest, InputArgs};
pub use limits::LimitArgs;
pub use metrics::MetricsArgs;
pub use network::NetworkArgs;
pub use permission_mode::PermissionMode;
pub use tools::{Permissions, ToolPolicy};
pub use traces::TraceArgs;
pub use webhooks::WebhookArgs;

/// The exit code of the process after a bad configuration (sysexits.h, `EX_USAGE`).
pub const EXIT_USAGE: u8 = 64;

/// Runs the Claude CLI in its own process tree and streams plain text over HTTP.
///
/// Every setting is a flag and an environment variable: `--spool-dir` is `CLAUDE_API_SPOOL_DIR`.
/// The CLI's own variables (ANTHROPIC_API_KEY, CLAUDE_CODE_OAUTH_TOKEN, ANTHROPIC_BASE_URL,
/// HTTPS_PROXY, ...) are passed on to the CLI by name.
#[derive(Debug, Parser)]
#[command(name = "claude-api", version, max_term_width = 120)]
pub struct Cli {
    /// The command; `serve` by default.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The service's settings.
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve HTTP (the default)
    Serve(Box<ServeArgs>),
    /// Check whether a running service has started; exit code 0 if it has
    Healthcheck(HealthcheckArgs),
    /// Run one CLI and its process tree (internal: started by the service itself)
    #[command(hide = true)]
    Runner,
}

/// Settings of `healthcheck`.
#[derive(Debug, Args)]
pub struct HealthcheckArgs {
    /// URL of the health page to read
    #[arg(long, default_value_t = default_health_url())]
    pub url: String,
}

/// Returns the URL that `healthcheck` reads by default: the startup page of the service on this
/// machine, at the port in `CLAUDE_API_PORT` or 8002.
fn default_health_url() -> String {
    #[expect(clippy::disallowed_methods, reason = "a default that --help shows")]
    let port = std::env::var("CLAUDE_API_PORT").unwrap_or_else(|_| "8002".to_owned());
    format!("http://127.0.0.1:{port}/health/startup")
}

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line
    Json,
    /// Text for people
    Pretty,
}

/// The parts of a workspace's own `CLAUDE.md` and `.claude/` that the CLI reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RepositorySettings {
    /// Neither of them
    None,
    /// The text of CLAUDE.md
    Instructions,
    /// CLAUDE.md, and the skills, commands, agents and settings. Hooks do not run, but settings can
    /// set environment variables
    Full,
}

/// The heading above the settings for folders in the text of `--help`.
const FOLDERS: &str = "Folders";
/// The heading above the settings for the Claude CLI in the text of `--help`.
const CLAUDE_CLI: &str = "Claude CLI";
/// The heading above the settings for the sandbox in the text of `--help`.
const SANDBOX: &str = "Sandbox";
/// The heading above the settings for the log in the text of `--help`.
const LOGS: &str = "Logs";

/// Settings of `serve`.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Service")]
pub struct ServeArgs {
    /// Address to listen on, or localhost. Any address but loopback needs --tokens-file,
    /// --published-on or --allow-unauthenticated
    #[arg(
        long,
        env = "CLAUDE_API_HOST",
        default_value = "127.0.0.1",
        value_parser = protocol::guard::listen_address
    )]
    pub host: IpAddr,
    /// Port to listen on; 0 picks a free one and logs it
    #[arg(long, env = "CLAUDE_API_PORT", default_value_t = 8002)]
    pub port: u16,
    /// Folder for the records and outputs of executions
    #[arg(
        long,
        env = "CLAUDE_API_SPOOL_DIR",
        default_value = "data/spool",
        help_heading = FOLDERS
    )]
    pub spool_dir: PathBuf,
    /// Folder whose subfolders are the workspaces
    #[arg(
        long,
        env = "CLAUDE_API_WORKSPACE_ROOT",
        default_value = "data/workspace",
        help_heading = FOLDERS
    )]
    pub workspace_root: PathBuf,
    /// Folder for the workspace `default`, instead of a subfolder of the workspace root
    #[arg(long, env = "CLAUDE_API_DEFAULT_WORKSPACE", help_heading = FOLDERS)]
    pub default_workspace: Option<PathBuf>,
    /// The Claude CLI: a path, or a name looked up in PATH
    #[arg(
        long,
        env = "CLAUDE_API_CLAUDE_BIN",
        default_value = "claude",
        help_heading = CLAUDE_CLI
    )]
    pub claude_bin: PathBuf,
    /// Version that the CLI must have; `any` allows every version
    #[arg(
        long,
        env = "CLAUDE_API_CLAUDE_VERSION",
        default_value = "2.1.329",
        help_heading = CLAUDE_CLI
    )]
    pub claude_version: String,
    /// More names that requests may use as Host, separated by commas (localhost, 127.0.0.1 and ::1
    /// always work)
    #[arg(long, env = "CLAUDE_API_ALLOWED_HOSTS", value_delimiter = ',')]
    pub allowed_hosts: Vec<String>,
    /// Origins whose pages may use this service, separated by commas, like `https://app.example`
    #[arg(long, env = "CLAUDE_API_ALLOWED_ORIGINS", value_delimiter = ',')]
    pub allowed_origins: Vec<String>,
    /// Names of environment variables that clients may set for an execution, separated by commas
    #[arg(
        long,
        env = "CLAUDE_API_ALLOWED_ENV",
        value_delimiter = ',',
        help_heading = CLAUDE_CLI
    )]
    pub allowed_env: Vec<String>,
    /// Names of more environment variables of the service to pass on to the CLI, separated by
    /// commas
    #[arg(
        long,
        env = "CLAUDE_API_PASS_ENV",
        value_delimiter = ',',
        help_heading = CLAUDE_CLI
    )]
    pub pass_env: Vec<String>,
    /// Parts of a workspace's own CLAUDE.md and .claude/ that the CLI reads; use `full` only for
    /// repositories that you trust
    #[arg(
        long,
        env = "CLAUDE_API_REPOSITORY_SETTINGS",
        value_enum,
        default_value = "instructions",
        help_heading = CLAUDE_CLI
    )]
    pub repository_settings: RepositorySettings,
    /// Sandbox each execution: it may use the system, its workspace, the workspace's home folder
    /// and the conversation's temporary folder, and reaches no other process. Complete on Linux
    /// 6.12 and later; true in the image
    #[arg(
        long,
        env = "CLAUDE_API_SANDBOX",
        value_name = "BOOL",
        default_value_t = false,
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = clap::ArgAction::Set,
        value_parser = clap::builder::BoolishValueParser::new(),
        help_heading = SANDBOX
    )]
    pub sandbox: bool,
    /// More paths that every execution may read and write in its sandbox, separated by commas:
    /// folders that you mounted, or /dev/shm for programs that share memory
    #[arg(
        long,
        env = "CLAUDE_API_SANDBOX_PATHS",
        value_delimiter = ',',
        value_parser = |text: &str| Ok::<PathBuf, std::convert::Infallible>(text.trim().into()),
        help_heading = SANDBOX
    )]
    sandbox_paths: Vec<PathBuf>,
    /// Log level: error, warn, info, debug or trace, also per module (`info,claude_api=debug`)
    #[arg(
        long,
        env = "CLAUDE_API_LOG_LEVEL",
        default_value = "info",
        help_heading = LOGS
    )]
    pub log_level: String,
    /// Format of log lines
    #[arg(
        long,
        env = "CLAUDE_API_LOG_FORMAT",
        value_enum,
        default_value = "json",
        help_heading = LOGS
    )]
    pub log_format: LogFormat,
    /// The addresses from which this service can be reached.
    #[command(flatten)]
    pub network: NetworkArgs,
    /// The connection with `credentials`, which holds the credential of the model.
    #[command(flatten)]
    pub credentials: CredentialsArgs,
    /// The permissions of the CLI's tools.
    #[command(flatten)]
    pub tools: tools::ToolArgs,
    /// The input of running executions, and the wait before a continuation.
    #[command(flatten)]
    pub input: InputArgs,
    /// The connections of clients.
    #[command(flatten)]
    pub connections: ConnectionArgs,
    /// The programs that run before and after each execution.
    #[command(flatten)]
    pub hooks: HookArgs,
    /// The page `/metrics`.
    #[command(flatten)]
    pub metrics: MetricsArgs,
    /// The export of traces.
    #[command(flatten)]
    pub traces: TraceArgs,
    /// The receivers of webhooks.
    #[command(flatten)]
    pub webhooks: WebhookArgs,
    /// The limits (docs/protocol.md, "Limits").
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// The checked settings of the service: the arguments of `serve`, and the values computed from
/// them.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The arguments as the operator gave them, except that a relative path of the CLI is made
    /// absolute.
    pub args: ServeArgs,
    /// The operator's rules for the CLI's tools: the defaults of an execution, and the most that a
    /// client may allow.
    pub tools: ToolPolicy,
    /// The control requests, such as `interrupt`, that clients may send to the stdin of a running
    /// CLI. `None` for the defaults.
    pub control_requests: Option<Vec<ControlRequest>>,
    /// The operator's programs that run before and after each execution.
    pub hooks: Hooks,
    /// The URL of `credentials`. `None` if the CLI gets the credential of this service's own
    /// environment.
    pub credentials: Option<CredentialsUrl>,
    /// The export of traces. `None` if none are exported.
    pub traces: Option<telemetry::Settings>,
    /// The limits in force (docs/protocol.md, "Limits"). A limit without a flag has its default
    /// value.
    pub limits: protocol::Limits,
}

impl ServeArgs {
    /// Returns the paths of `--sandbox-paths`, which every sandboxed execution may read and write
    /// besides its own folders. Empty paths are left out: an empty environment variable is parsed
    /// as one.
    pub(crate) fn sandbox_paths(&self) -> impl Iterator<Item = &PathBuf> {
        // `CLAUDE_API_SANDBOX_PATHS=` parses as one empty path.
        let paths = self.sandbox_paths.iter();
        paths.filter(|path| !path.as_os_str().is_empty())
    }
}

impl Settings {
    /// Checks the arguments of `serve` together and computes the settings from them. `mistakes` are
    /// the errors that the parser has found already; they are reported together with those found
    /// here.
    ///
    /// # Errors
    /// All mistakes, one text each, with the flag, the wrong value and the remedy.
    pub fn check(mut args: ServeArgs, mut mistakes: Vec<String>) -> Result<Self, Vec<String>> {
        // Executions start in their workspace, so a relative path would be resolved there. A bare
        // name is resolved in PATH.
        if args.claude_bin.components().count() > 1
            && let Ok(absolute) = std::path::absolute(&args.claude_bin)
        {
            args.claude_bin = absolute;
        }
        for (flag, path) in [
            ("--spool-dir", &args.spool_dir),
            ("--workspace-root", &args.workspace_root),
            ("--claude-bin", &args.claude_bin),
        ] {
            if path.as_os_str().is_empty() {
                mistakes.push(format!("{flag} is empty; give a path"));
            }
        }
        for name in &args.allowed_env {
            if protocol::body::env_name_is_forbidden(name) {
                mistakes.push(format!(
                    "--allowed-env has {name}, which no client may set; leave it out"
                ));
            }
        }
        for path in args.sandbox_paths().filter(|path| !path.is_absolute()) {
            mistakes.push(format!(
                "--sandbox-paths (CLAUDE_API_SANDBOX_PATHS) {}: give an absolute path",
                path.display()
            ));
        }
        for origin in &args.allowed_origins {
            if !protocol::guard::is_origin(origin) {
                mistakes.push(format!(
                    "--allowed-origins {origin:?} is no origin; write each one \
                     like https://app.example"
                ));
            }
        }
        if let Err(e) = args.log_level.parse::<tracing_subscriber::EnvFilter>() {
            mistakes.push(format!("--log-level {:?}: {e}", args.log_level));
        }
        let tools = match ToolPolicy::check(&args.tools) {
            Ok(tools) => tools,
            Err(more) => {
                mistakes.extend(more);
                ToolPolicy::default()
            }
        };
        let control_requests = match args.input.check() {
            Ok(allowed) => allowed,
            Err(more) => {
                mistakes.extend(more);
                None
            }
        };
        let hooks = args.hooks.check(&mut mistakes);
        let traces = args.traces.check(&mut mistakes);
        mistakes.extend(args.network.check(args.host));
        let other_ports = [Some(args.port), args.network.proxy_port];
        let credentials = args
            .credentials
            .check(other_ports.into_iter().flatten(), &mut mistakes);
        let limits = protocol::Limits {
            boxed: args.network.boxed,
            tokens: args.network.has_tokens(),
            connections_per_peer: args.connections.connections_per_peer,
            ..args.limits.limits()
        };
        mistakes.extend(limits::check(&limits));
        if mistakes.is_empty() {
            Ok(Self {
                args,
                tools,
                control_requests,
                hooks,
                credentials,
                traces,
                limits,
            })
        } else {
            Err(mistakes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_path_of_the_cli_becomes_absolute_and_a_bare_name_stays() {
        for (given, absolute) in [("bin/claude", true), ("./claude", true), ("claude", false)] {
            let cli = Cli::parse_from(["claude-api", &format!("--claude-bin={given}")]);
            let settings = Settings::check(cli.serve, Vec::new()).expect("good");
            assert_eq!(settings.args.claude_bin.is_absolute(), absolute, "{given}");
        }
    }
}
