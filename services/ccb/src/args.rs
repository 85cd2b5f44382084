//! The command line arguments of `ccb`.

mod access;
mod help;
mod question;
mod webhook;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use client::Address;
use protocol::ExecutionId;

use crate::access::Access;
use crate::values;
pub(crate) use access::{NewTokenArgs, ShareArgs, TokenArgs, TokenCommand};
pub(crate) use question::{AnswerArgs, DecisionArg, QuestionsArgs};
pub(crate) use webhook::{SecretCommand, VerifyArgs, WebhookArgs, WebhookCommand};

/// The headings that group the options in the help texts, in the order in which `exec --help` shows
/// them.
mod heading {
    pub(super) const EXECUTION: &str = "Execution";
    pub(super) const MODEL: &str = "Model";
    pub(super) const PERMISSIONS: &str = "Permissions";
    pub(super) const LIMITS: &str = "Limits";
    pub(super) const OUTPUT: &str = "Output";
    pub(super) const CONNECTION: &str = "Connection";
}

/// Runs prompts with the Claude CLI through a bridge, and streams the answers.
#[derive(Debug, Parser)]
#[command(name = "ccb", version, after_help = help::CCB, arg_required_else_help = false)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Print machine-readable JSON on stdout: one line for each message of the bridge, or the
    /// answer as one line
    #[arg(long, global = true, help_heading = heading::OUTPUT)]
    pub(crate) json: bool,
    /// Print only output and errors: no state, activity or summary
    #[arg(short, long, global = true, help_heading = heading::OUTPUT)]
    pub(crate) quiet: bool,
    /// Address of the bridge: ws://HOST:PORT/ws, or wss:// with TLS
    #[arg(
        long,
        env = "CCB_URL",
        default_value = client::address::DEFAULT_URL,
        value_parser = values::address,
        global = true,
        value_name = "URL",
        help_heading = heading::CONNECTION
    )]
    pub(crate) url: Address,
    /// File with the token, which only its owner may access (chmod 600)
    #[arg(
        long,
        env = "CCB_TOKEN_FILE",
        global = true,
        value_name = "FILE",
        help_heading = heading::CONNECTION
    )]
    pub(crate) token_file: Option<PathBuf>,
    /// PEM file with certificates to trust for wss://, in addition to those of this machine
    #[arg(
        long,
        env = "CCB_CA",
        global = true,
        value_name = "FILE",
        help_heading = heading::CONNECTION
    )]
    pub(crate) ca: Option<PathBuf>,
    /// The token and the certificates, once main has read their files
    #[arg(skip)]
    pub(crate) access: Access,
    /// Time after which to give up reconnecting to a lost bridge, in seconds or like 5m
    #[arg(
        long,
        global = true,
        default_value = "2m",
        value_parser = values::duration,
        value_name = "TIME",
        help_heading = heading::CONNECTION
    )]
    pub(crate) reconnect_for: Duration,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a prompt and stream its answer
    #[command(after_help = help::EXEC)]
    Exec(Box<ExecArgs>),
    /// Stream the output of a running or ended execution, from its beginning or an offset
    #[command(after_help = help::ATTACH)]
    Attach(AttachArgs),
    /// Show one execution; without an id, the newest
    Status {
        /// Id of the execution
        id: Option<ExecutionId>,
    },
    /// List executions, newest first
    List {
        /// Maximum number of executions
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
        /// List only executions that were created before this one
        #[arg(long, value_name = "ID")]
        before: Option<ExecutionId>,
    },
    /// Stop the whole process tree of an execution until it is resumed
    Pause {
        /// Id of the execution
        id: ExecutionId,
    },
    /// Let a paused execution continue
    Resume {
        /// Id of the execution
        id: ExecutionId,
    },
    /// End an execution with every process it started
    Cancel {
        /// Id of the execution
        id: ExecutionId,
    },
    /// Show the open questions of one execution, or the oldest 16 of each
    #[command(after_help = help::QUESTIONS)]
    Questions(QuestionsArgs),
    /// Answer a question of an execution
    #[command(after_help = help::ANSWER)]
    Answer(Box<AnswerArgs>),
    /// Make a token that opens one execution for somebody who has no token
    #[command(after_help = help::SHARE)]
    Share(ShareArgs),
    /// Make tokens for the users of a service
    #[command(after_help = help::TOKEN)]
    Token(TokenArgs),
    /// Check webhooks, and make secrets for them
    #[command(after_help = help::WEBHOOK)]
    Webhook(WebhookArgs),
    /// Serve MCP on stdin and stdout, for Claude Desktop, Cursor and other clients (docs/mcp.md)
    Mcp,
    /// Check whether a prompt would run; if not, say how to fix it
    #[command(after_help = help::DOCTOR)]
    Doctor(DoctorArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    /// Prompt; absent or `-`: read from stdin. A prompt that begins with a dash goes after `--`
    pub(crate) prompt: Option<String>,
    /// Id of the execution (a UUID). An id never runs twice: a repeated command follows the same
    /// execution
    #[arg(long, value_name = "UUID", help_heading = heading::EXECUTION)]
    pub(crate) id: Option<ExecutionId>,
    /// Workspace (the folder where the CLI works), by name; created when missing
    #[arg(long, value_name = "NAME", help_heading = heading::EXECUTION)]
    pub(crate) workspace: Option<String>,
    /// Lane: the executions of a lane run one at a time, in order
    #[arg(long, value_name = "NAME", help_heading = heading::EXECUTION)]
    pub(crate) lane: Option<String>,
    /// Continue an earlier conversation, by the conversation id that `ccb status` shows
    #[arg(long, value_name = "ID", help_heading = heading::EXECUTION)]
    pub(crate) conversation: Option<ExecutionId>,
    /// Environment variable for the execution, if the operator allows it; repeatable
    #[arg(
        long,
        value_name = "NAME=VALUE",
        value_parser = values::pair,
        help_heading = heading::EXECUTION
    )]
    pub(crate) env: Vec<(String, String)>,
    /// Metadata returned in the status; repeatable
    #[arg(
        long,
        value_name = "NAME=VALUE",
        value_parser = values::pair,
        help_heading = heading::EXECUTION
    )]
    pub(crate) metadata: Vec<(String, String)>,
    /// Trace to which the execution belongs (W3C Trace Context); a malformed one is ignored
    #[arg(
        long,
        env = "TRACEPARENT",
        value_name = "TEXT",
        help_heading = heading::EXECUTION
    )]
    pub(crate) traceparent: Option<String>,
    /// Data of tracing systems for that trace
    #[arg(
        long,
        env = "TRACESTATE",
        value_name = "TEXT",
        help_heading = heading::EXECUTION
    )]
    pub(crate) tracestate: Option<String>,
    /// Report the end of the execution to this https:// URL, if the operator allows its host; other
    /// events follow after a blank: `URL ended,stalled`
    #[arg(
        long,
        value_name = "URL [EVENTS]",
        value_parser = values::webhook,
        help_heading = heading::EXECUTION
    )]
    pub(crate) webhook: Option<protocol::Webhook>,
    /// Print the id once the execution is accepted, then exit; the execution continues
    #[arg(long, help_heading = heading::EXECUTION)]
    pub(crate) detach: bool,
    /// What happens to the execution when ccb disconnects
    #[arg(
        long,
        value_enum,
        default_value_t = OnDisconnect::Continue,
        help_heading = heading::EXECUTION
    )]
    pub(crate) on_disconnect: OnDisconnect,
    /// Model
    #[arg(long, help_heading = heading::MODEL)]
    pub(crate) model: Option<String>,
    /// Replace the system prompt
    #[arg(long, value_name = "TEXT", help_heading = heading::MODEL)]
    pub(crate) system_prompt: Option<String>,
    /// Append to the system prompt
    #[arg(long, value_name = "TEXT", help_heading = heading::MODEL)]
    pub(crate) append_system_prompt: Option<String>,
    /// How the CLI reads the prompt; `commands` enables its /commands and @files
    #[arg(
        long,
        value_enum,
        default_value_t = PromptMode::Verbatim,
        help_heading = heading::MODEL
    )]
    pub(crate) prompt_mode: PromptMode,
    /// Tools that may run without asking, separated by commas; repeatable. Like
    /// `Read,Bash(git log:*)`
    #[arg(long, value_name = "TOOLS", help_heading = heading::PERMISSIONS)]
    pub(crate) allowed_tools: Vec<String>,
    /// Tools that may not run, separated by commas; repeatable
    #[arg(long, value_name = "TOOLS", help_heading = heading::PERMISSIONS)]
    pub(crate) disallowed_tools: Vec<String>,
    /// Permission mode of the CLI, up to what the operator allows
    #[arg(long, value_name = "MODE", help_heading = heading::PERMISSIONS)]
    pub(crate) permission_mode: Option<String>,
    /// Ask on the terminal whenever the CLI needs a permission; without a terminal, print how to
    /// answer
    #[arg(long, help_heading = heading::PERMISSIONS)]
    pub(crate) ask: bool,
    /// Running time after which an unanswered question is denied, in seconds or like 15m; `never`
    /// waits without a limit. The default is an hour
    #[arg(
        long,
        value_name = "TIME",
        value_parser = values::question_seconds,
        requires = "ask",
        help_heading = heading::PERMISSIONS
    )]
    pub(crate) question_timeout: Option<f64>,
    /// Maximum model turns
    #[arg(long, value_name = "N", help_heading = heading::LIMITS)]
    pub(crate) max_turns: Option<u32>,
    /// Budget in US dollars
    #[arg(long, value_name = "USD", help_heading = heading::LIMITS)]
    pub(crate) max_budget_usd: Option<f64>,
    /// End the execution after this time without progress, in seconds or like 15m
    #[arg(
        long,
        value_name = "TIME",
        value_parser = values::seconds,
        help_heading = heading::LIMITS
    )]
    pub(crate) idle_timeout: Option<f64>,
    /// End the execution after this running time, in seconds or like 15m
    #[arg(
        long,
        value_name = "TIME",
        value_parser = values::seconds,
        help_heading = heading::LIMITS
    )]
    pub(crate) deadline: Option<f64>,
    /// Form of the output on stdout
    #[arg(long, value_enum, default_value_t = Format::Text, help_heading = heading::OUTPUT)]
    pub(crate) format: Format,
    /// What happens when stdout is read too slowly: wait for its reader, or skip the oldest output
    /// and report it
    #[arg(long, value_enum, default_value_t = OnSlow::Wait, help_heading = heading::OUTPUT)]
    pub(crate) on_slow: OnSlow,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Address of claude-api (http:// or https://), if this machine can reach it. Without this
    /// option, and with the default --url, http://127.0.0.1:8002 is tried
    #[arg(
        long,
        env = "CCB_CLAUDE_API_URL",
        value_name = "URL",
        help_heading = heading::CONNECTION
    )]
    pub(crate) claude_api: Option<String>,
    /// Findings of scripts/ccb about the engine and the containers, which no process inside a
    /// container can see
    #[arg(
        long,
        env = "CCB_DOCTOR_FACTS",
        hide = true,
        hide_env_values = true,
        default_value = ""
    )]
    pub(crate) facts: String,
}

#[derive(Debug, Args)]
pub(crate) struct AttachArgs {
    /// Id of the execution
    pub(crate) id: ExecutionId,
    /// Byte offset in the output to begin at
    #[arg(long, value_name = "N", help_heading = heading::OUTPUT)]
    pub(crate) offset: Option<u64>,
    /// Ask its open questions on the terminal, and those that follow
    #[arg(long, help_heading = heading::PERMISSIONS)]
    pub(crate) ask: bool,
    /// What happens when stdout is read too slowly: wait for its reader, or skip the oldest output
    /// and report it
    #[arg(long, value_enum, default_value_t = OnSlow::Wait, help_heading = heading::OUTPUT)]
    pub(crate) on_slow: OnSlow,
}

/// Defines the enum of an option's values from the enum of a protocol field, so that the command
/// line accepts the same values as the protocol (docs/protocol.md, "Body").
macro_rules! choice {
    ($name:ident = $wire:ty { $($(#[$doc:meta])* $case:ident),* }) => {
        #[derive(Debug, Clone, Copy, ValueEnum)]
        pub(crate) enum $name { $($(#[$doc])* $case),* }

        impl From<$name> for $wire {
            fn from(choice: $name) -> Self {
                match choice { $($name::$case => Self::$case),* }
            }
        }
    };
}

choice!(
    Format = protocol::Format {
        /// The answer as it is generated
        Text,
        /// The CLI's own JSON lines
        Events
    }
);
choice!(PromptMode = protocol::PromptMode { Verbatim, Commands });
choice!(OnDisconnect = protocol::rpc::OnDisconnect { Continue, Cancel });
choice!(OnSlow = protocol::rpc::OnSlow { Wait, Skip });

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_has_no_clap_mistakes() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_prompt_after_the_double_dash_is_verbatim_and_a_misspelled_option_is_an_error() {
        assert!(Cli::try_parse_from(["ccb", "exec", "--modle", "x"]).is_err());
        for prompt in ["--help me", "/compact", "@file", "-"] {
            let cli = Cli::try_parse_from(["ccb", "exec", "--", prompt]).unwrap();
            let Command::Exec(args) = cli.command else {
                panic!()
            };
            assert_eq!(args.prompt.as_deref(), Some(prompt));
        }
    }
}
