//! The command line.

use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use client::Address;
use protocol::ExecutionId;

use crate::values;

const EXAMPLES: &str = "\
Examples:
  ccb exec \"What does this repository do?\"        the answer as it is generated, on stdout
  git diff | ccb exec --append-system-prompt \"Review this diff\"
                                                  the prompt from stdin
  ccb exec --workspace shop --model sonnet --max-turns 20 - < task.md
  ccb exec --detach \"a long task\"                 prints the id and leaves; it goes on
  ccb attach ID                                   all of its output so far, then what comes
  ccb status                                      the newest execution
  ccb cancel ID                                   ends it with everything it started
  ccb doctor                                      would a prompt run, and if not, what is to do

A lost connection is no end: ccb connects again by itself and goes on at the byte it reached.
Ctrl-C in `exec` cancels the execution and waits for its end; a second one leaves at once.
Ctrl-C in `attach` leaves; the execution goes on.

Exit codes: 0 completed, 1 or the CLI's own code failed, 64 wrong usage, 69 no bridge or not available,
75 interrupted (the service was stopped), 76 the output did not arrive whole, 77 not allowed,
124 timed out, 130 cancelled.

Environment: CCB_URL is the bridge's address when --url is not given.";

/// Runs prompts with the Claude CLI behind a bridge and streams the answers.
#[derive(Debug, Parser)]
#[command(name = "ccb", version, after_help = EXAMPLES, arg_required_else_help = false)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Address of the bridge (ws:// only; no TLS yet)
    #[arg(long, env = "CCB_URL", default_value = client::address::DEFAULT_URL, value_parser = values::address,
          global = true, value_name = "URL")]
    pub(crate) url: Address,
    /// Machine-readable: each message of the bridge (or the answer asked for) as one JSON line on stdout
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Only the output and errors: no state, no activity, no summary
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// How long to try to come back to a lost bridge, in seconds or like 5m
    #[arg(long, global = true, default_value = "2m", value_parser = values::duration, value_name = "TIME")]
    pub(crate) reconnect_for: Duration,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a prompt and stream its answer
    #[command(after_help = EXAMPLES)]
    Exec(Box<ExecArgs>),
    /// Stream the output of an execution, from its beginning or from an offset, also long after its end
    Attach(AttachArgs),
    /// Show one execution; without an id, the newest
    Status {
        /// The execution
        id: Option<ExecutionId>,
    },
    /// List executions, newest first
    List {
        /// How many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
        /// Only those created before this one
        #[arg(long, value_name = "ID")]
        before: Option<ExecutionId>,
    },
    /// Stop the whole process tree of an execution until it is resumed
    Pause {
        /// The execution
        id: ExecutionId,
    },
    /// Let a paused execution go on
    Resume {
        /// The execution
        id: ExecutionId,
    },
    /// End an execution with everything it started
    Cancel {
        /// The execution
        id: ExecutionId,
    },
    /// Serve MCP on stdin and stdout, for Claude Desktop, Cursor and other MCP clients (docs/mcp.md)
    Mcp,
    /// Check that a prompt would run now, and say what to do when not; exit code 0 only when it would
    Doctor(DoctorArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    /// The prompt; absent or `-`: read from stdin. One that begins with a dash goes after `--`
    pub(crate) prompt: Option<String>,
    /// Id to use (a UUID): the same id never runs twice, so a repeated command finds the same execution
    #[arg(long, value_name = "UUID")]
    pub(crate) id: Option<ExecutionId>,
    /// Model to use
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// Workspace: a name, made when missing
    #[arg(long, value_name = "NAME")]
    pub(crate) workspace: Option<String>,
    /// What comes on stdout
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// Replace the system prompt
    #[arg(long, value_name = "TEXT")]
    pub(crate) system_prompt: Option<String>,
    /// Add to the system prompt
    #[arg(long, value_name = "TEXT")]
    pub(crate) append_system_prompt: Option<String>,
    /// Tools that may run without asking, separated by commas, like `Read,Bash(git log:*)`; repeatable
    #[arg(long, value_name = "TOOLS")]
    pub(crate) allowed_tools: Vec<String>,
    /// Tools that may not run; repeatable
    #[arg(long, value_name = "TOOLS")]
    pub(crate) disallowed_tools: Vec<String>,
    /// Permission mode of the CLI, up to what the operator allows
    #[arg(long, value_name = "MODE")]
    pub(crate) permission_mode: Option<String>,
    /// Most turns of the model
    #[arg(long, value_name = "N")]
    pub(crate) max_turns: Option<u32>,
    /// Most money to spend
    #[arg(long, value_name = "USD")]
    pub(crate) max_budget_usd: Option<f64>,
    /// Go on in the conversation of an earlier execution (`ccb status ID` names it)
    #[arg(long, value_name = "ID")]
    pub(crate) conversation: Option<ExecutionId>,
    /// Lane: executions of one lane run one at a time, in order
    #[arg(long, value_name = "NAME")]
    pub(crate) lane: Option<String>,
    /// Environment variable for the execution, of those the operator allows; repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = values::pair)]
    pub(crate) env: Vec<(String, String)>,
    /// End it after this time without progress, in seconds or like 15m
    #[arg(long, value_name = "TIME", value_parser = values::seconds)]
    pub(crate) idle_timeout: Option<f64>,
    /// End it after this running time
    #[arg(long, value_name = "TIME", value_parser = values::seconds)]
    pub(crate) deadline: Option<f64>,
    /// Something to find again in the status; repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = values::pair)]
    pub(crate) metadata: Vec<(String, String)>,
    /// `commands` makes the CLI's /commands and @files work in the prompt
    #[arg(long, value_enum, default_value_t = PromptMode::Verbatim)]
    pub(crate) prompt_mode: PromptMode,
    /// Print the id once it is accepted and leave; it goes on
    #[arg(long)]
    pub(crate) detach: bool,
    /// What becomes of it when this program is gone
    #[arg(long, value_enum, default_value_t = OnDisconnect::Continue)]
    pub(crate) on_disconnect: OnDisconnect,
    /// What happens when stdout is read too slowly: wait for it, or skip the oldest and say so
    #[arg(long, value_enum, default_value_t = OnSlow::Wait)]
    pub(crate) on_slow: OnSlow,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Address of claude-api, when it can be reached from here. Without it and with the usual
    /// --url, http://127.0.0.1:8002 is tried
    #[arg(long, env = "CCB_CLAUDE_API_URL", value_name = "URL")]
    pub(crate) claude_api: Option<String>,
    /// What scripts/ccb found out about the engine and the containers, which cannot be seen from inside one
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
    /// The execution
    pub(crate) id: ExecutionId,
    /// Byte of the output to begin at
    #[arg(long, value_name = "N")]
    pub(crate) offset: Option<u64>,
    /// What happens when stdout is read too slowly: wait for it, or skip the oldest and say so
    #[arg(long, value_enum, default_value_t = OnSlow::Wait)]
    pub(crate) on_slow: OnSlow,
}

/// The command line's names for the values of a field (docs/protocol.md, "Body").
macro_rules! choice {
    ($name:ident = $of:ty { $($(#[$doc:meta])* $case:ident),* }) => {
        #[derive(Debug, Clone, Copy, ValueEnum)]
        pub(crate) enum $name { $($(#[$doc])* $case),* }

        impl From<$name> for $of {
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
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn prompts_may_look_like_anything_and_typos_are_no_prompts() {
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
