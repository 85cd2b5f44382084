//! Configuration: every setting by flag and by environment, every mistake reported at once, before
//! anything is bound. Nothing else reads the environment.

mod connections;
mod hooks;
mod input;
mod limits;
mod network;
pub mod parse_all;
mod tools;

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use connections::ConnectionArgs;
pub use hooks::{Hook, HookArgs, HookMode, HookMoment, Hooks};
pub use input::{ControlRequest, InputArgs};
pub use limits::LimitArgs;
pub use network::NetworkArgs;
pub use tools::{PermissionMode, Permissions, ToolPolicy};

/// The exit code of a bad configuration (sysexits.h, `EX_USAGE`).
pub const EXIT_USAGE: u8 = 64;

/// Runs the Claude CLI in its own process tree and streams plain text over HTTP.
///
/// Every setting is a flag and an environment variable: `--spool-dir` is `CLAUDE_API_SPOOL_DIR`. What the CLI itself knows
/// (ANTHROPIC_API_KEY, CLAUDE_CODE_OAUTH_TOKEN, ANTHROPIC_BASE_URL, HTTPS_PROXY, ...) is passed on to it by name.
#[derive(Debug, Parser)]
#[command(name = "claude-api", version, max_term_width = 120)]
pub struct Cli {
    /// What to do; `serve` when left out.
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
    /// Ask a running service whether it has started; exit code 0 when it has
    Healthcheck(HealthcheckArgs),
    /// Run one CLI and its process tree (internal: started by the service itself)
    #[command(hide = true)]
    Runner,
}

/// Settings of `healthcheck`.
#[derive(Debug, Args)]
pub struct HealthcheckArgs {
    /// What to ask
    #[arg(long, default_value_t = default_health_url())]
    pub url: String,
}

fn default_health_url() -> String {
    #[expect(clippy::disallowed_methods, reason = "a default that --help shows")]
    let port = std::env::var("CLAUDE_API_PORT").unwrap_or_else(|_| "8002".to_owned());
    format!("http://127.0.0.1:{port}/health/startup")
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line
    Json,
    /// For people
    Pretty,
}

/// The parts of a workspace's own `CLAUDE.md` and `.claude/` that the CLI reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RepositorySettings {
    /// Nothing
    None,
    /// The text of CLAUDE.md
    Instructions,
    /// Also its skills, commands, agents and settings. Its hooks do not run, but its settings can
    /// set variables
    Full,
}

/// Settings of `serve`.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Service")]
pub struct ServeArgs {
    /// Address to listen on, or localhost; 0.0.0.0 opens it to the network, without any
    /// authentication of its own
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
    /// Where executions are kept
    #[arg(long, env = "CLAUDE_API_SPOOL_DIR", default_value = "data/spool")]
    pub spool_dir: PathBuf,
    /// The folder whose subfolders are the workspaces
    #[arg(
        long,
        env = "CLAUDE_API_WORKSPACE_ROOT",
        default_value = "data/workspace"
    )]
    pub workspace_root: PathBuf,
    /// A folder of its own for the workspace `default`, in place of the one below the root
    #[arg(long, env = "CLAUDE_API_DEFAULT_WORKSPACE")]
    pub default_workspace: Option<PathBuf>,
    /// The Claude CLI: a path, or a name looked up in PATH
    #[arg(long, env = "CLAUDE_API_CLAUDE_BIN", default_value = "claude")]
    pub claude_bin: PathBuf,
    /// The version the CLI must have; `any` takes every one
    #[arg(long, env = "CLAUDE_API_CLAUDE_VERSION", default_value = "2.1.329")]
    pub claude_version: String,
    /// More names that requests may use as Host, by comma (localhost, 127.0.0.1 and ::1 always work)
    #[arg(long, env = "CLAUDE_API_ALLOWED_HOSTS", value_delimiter = ',')]
    pub allowed_hosts: Vec<String>,
    /// Origins whose pages may use this service, by comma, like `https://app.example`
    #[arg(long, env = "CLAUDE_API_ALLOWED_ORIGINS", value_delimiter = ',')]
    pub allowed_origins: Vec<String>,
    /// Names of environment variables that clients may set for an execution, by comma
    #[arg(long, env = "CLAUDE_API_ALLOWED_ENV", value_delimiter = ',')]
    pub allowed_env: Vec<String>,
    /// More of the service's own environment that the CLI gets, by comma
    #[arg(long, env = "CLAUDE_API_PASS_ENV", value_delimiter = ',')]
    pub pass_env: Vec<String>,
    /// The parts of a workspace's own CLAUDE.md and .claude that the CLI reads; `full` is for
    /// repositories that you trust
    #[arg(
        long,
        env = "CLAUDE_API_REPOSITORY_SETTINGS",
        value_enum,
        default_value = "instructions"
    )]
    pub repository_settings: RepositorySettings,
    /// Sandbox each execution: it may use the system, its workspace, a home of that workspace and a
    /// temporary folder of its conversation, and reaches no other process. Whole on Linux 6.12 and
    /// later; true in the image
    #[arg(
        long,
        env = "CLAUDE_API_SANDBOX",
        value_name = "BOOL",
        default_value_t = false,
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = clap::ArgAction::Set,
        value_parser = clap::builder::BoolishValueParser::new()
    )]
    pub sandbox: bool,
    /// More paths that every execution may read and write in its sandbox, by comma: folders that you
    /// mounted, or /dev/shm for programs that share memory
    #[arg(
        long,
        env = "CLAUDE_API_SANDBOX_PATHS",
        value_delimiter = ',',
        value_parser = |text: &str| Ok::<PathBuf, std::convert::Infallible>(text.trim().into())
    )]
    sandbox_paths: Vec<PathBuf>,
    /// error, warn, info, debug or trace, also per module (`info,claude_api=debug`)
    #[arg(long, env = "CLAUDE_API_LOG_LEVEL", default_value = "info")]
    pub log_level: String,
    /// How log lines look
    #[arg(
        long,
        env = "CLAUDE_API_LOG_FORMAT",
        value_enum,
        default_value = "json"
    )]
    pub log_format: LogFormat,
    /// Who can reach this service.
    #[command(flatten)]
    pub network: NetworkArgs,
    /// What the CLI's tools may do.
    #[command(flatten)]
    pub tools: tools::ToolArgs,
    /// What may reach the CLI's stdin.
    #[command(flatten)]
    pub input: InputArgs,
    /// Connections of clients.
    #[command(flatten)]
    pub connections: ConnectionArgs,
    /// Programs that run before and after each execution.
    #[command(flatten)]
    pub hooks: HookArgs,
    /// Limits (docs/protocol.md, "Limits").
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// What `serve` runs with: checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The arguments as given.
    pub args: ServeArgs,
    /// What the CLI's tools may do.
    pub tools: ToolPolicy,
    /// The control requests that clients may send.
    pub control_requests: Vec<ControlRequest>,
    /// The programs that run before and after each execution.
    pub hooks: Hooks,
    /// The limits in force.
    pub limits: protocol::Limits,
}

impl ServeArgs {
    /// The paths that sandboxed executions may use beside their own.
    pub(crate) fn sandbox_paths(&self) -> impl Iterator<Item = &PathBuf> {
        // `CLAUDE_API_SANDBOX_PATHS=` is no path.
        let named = |path: &&PathBuf| !path.as_os_str().is_empty();
        self.sandbox_paths.iter().filter(named)
    }
}

impl Settings {
    /// Checks the arguments; `mistakes` are those found before.
    ///
    /// # Errors
    /// Every mistake, one text each.
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
                    "--allowed-env names {name}, which no client may set"
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
                    "--allowed-origins {origin:?} is no origin; name each one, \
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
                Vec::new()
            }
        };
        let hooks = args.hooks.check(&mut mistakes);
        mistakes.extend(args.network.check());
        let limits = protocol::Limits {
            boxed: args.network.boxed,
            ..args.limits.limits()
        };
        mistakes.extend(limits::check(&limits));
        if mistakes.is_empty() {
            Ok(Self {
                args,
                tools,
                control_requests,
                hooks,
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
    fn a_relative_cli_is_not_looked_for_in_the_workspace() {
        for (given, absolute) in [("bin/claude", true), ("./claude", true), ("claude", false)] {
            let cli = Cli::parse_from(["claude-api", &format!("--claude-bin={given}")]);
            let settings = Settings::check(cli.serve, Vec::new()).expect("good");
            assert_eq!(settings.args.claude_bin.is_absolute(), absolute, "{given}");
        }
    }
}
