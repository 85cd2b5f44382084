//! The limits that claude-api enforces (docs/protocol.md, "Limits"), as flags of the command line.

use clap::Args;
use protocol::Limits;

/// The longest prompt that the Claude CLI accepts, in bytes (9 MiB). A higher limit would accept
/// prompts that then fail in the CLI.
const CLI_PROMPT_BYTES: u64 = 9 << 20;

/// The flags for limits, one each. The defaults are those of docs/protocol.md, "Limits".
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Limits")]
#[allow(missing_docs, reason = "the help texts are the documentation")]
pub struct LimitArgs {
    /// Maximum executions that run at the same time
    #[arg(long, env = "CLAUDE_API_RUNNING_EXECUTIONS", value_name = "N")]
    pub running_executions: Option<u64>,
    /// Maximum CLIs that start at the same time (default: 2 per core)
    #[arg(long, env = "CLAUDE_API_SIMULTANEOUS_STARTS", value_name = "N")]
    pub simultaneous_starts: Option<u64>,
    /// Maximum executions that wait for a person and do not count as running; a further one keeps
    /// its place among the running ones. Each keeps its CLI in memory
    #[arg(long, env = "CLAUDE_API_WAITING_EXECUTIONS", value_name = "N")]
    pub waiting_executions: Option<u64>,
    /// Maximum executions in the queue
    #[arg(long, env = "CLAUDE_API_QUEUED", value_name = "N")]
    pub queued: Option<u64>,
    /// Maximum executions of one lane in the queue
    #[arg(long, env = "CLAUDE_API_QUEUED_PER_LANE", value_name = "N")]
    pub queued_per_lane: Option<u64>,
    /// Maximum executions of one principal in the queue, if there is a token file
    #[arg(long, env = "CLAUDE_API_QUEUED_PER_PRINCIPAL", value_name = "N")]
    pub queued_per_principal: Option<u64>,
    /// Maximum length of a prompt, bytes
    #[arg(long, env = "CLAUDE_API_PROMPT_BYTES", value_name = "N")]
    pub prompt_bytes: Option<u64>,
    /// Maximum length of a system prompt, bytes
    #[arg(long, env = "CLAUDE_API_SYSTEM_PROMPT_BYTES", value_name = "N")]
    pub system_prompt_bytes: Option<u64>,
    /// Total memory for request bodies that are being received, bytes
    #[arg(long, env = "CLAUDE_API_INBOUND_BYTES", value_name = "N")]
    pub inbound_bytes: Option<u64>,
    /// Interval at which a follow stream repeats an unchanged status, ms
    #[arg(long, env = "CLAUDE_API_HEARTBEAT_MS", value_name = "N")]
    pub heartbeat_ms: Option<u64>,
    /// Time for output that arrives after the CLI has ended, ms
    #[arg(long, env = "CLAUDE_API_DRAIN_MS", value_name = "N")]
    pub drain_ms: Option<u64>,
    /// Time for the CLI to exit after its last result, ms
    #[arg(long, env = "CLAUDE_API_LINGER_MS", value_name = "N")]
    pub linger_ms: Option<u64>,
    /// Time between SIGTERM and SIGKILL, ms
    #[arg(long, env = "CLAUDE_API_KILL_MS", value_name = "N")]
    pub kill_ms: Option<u64>,
    /// Time without progress after which an execution is marked as stalled, ms
    #[arg(long, env = "CLAUDE_API_STALLED_MS", value_name = "N")]
    pub stalled_ms: Option<u64>,
    /// Time without progress after which an execution is ended, ms (below 330000 this also ends
    /// healthy executions)
    #[arg(long, env = "CLAUDE_API_IDLE_TIMEOUT_MS", value_name = "N")]
    pub idle_timeout_ms: Option<u64>,
    /// Maximum output kept per execution, bytes
    #[arg(long, env = "CLAUDE_API_KEPT_BYTES", value_name = "N")]
    pub kept_bytes: Option<u64>,
    /// Maximum output kept per execution, lines; up to a 32nd more may be kept (default: no limit)
    #[arg(long, env = "CLAUDE_API_KEPT_LINES", value_name = "N")]
    pub kept_lines: Option<u64>,
    /// Maximum raw events kept per execution, bytes
    #[arg(long, env = "CLAUDE_API_EVENTS_BYTES", value_name = "N")]
    pub events_bytes: Option<u64>,
    /// Time for which an ended execution is kept, ms
    #[arg(long, env = "CLAUDE_API_RETENTION_MS", value_name = "N")]
    pub retention_ms: Option<u64>,
    /// Maximum disk space of all ended executions together, bytes
    #[arg(long, env = "CLAUDE_API_RETENTION_BYTES", value_name = "N")]
    pub retention_bytes: Option<u64>,
    /// Time limit for stopping the service, ms
    #[arg(long, env = "CLAUDE_API_SHUTDOWN_MS", value_name = "N")]
    pub shutdown_ms: Option<u64>,
}

impl LimitArgs {
    /// Returns the limits in force. A limit whose flag is not given has its default value.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let Self {
            running_executions,
            simultaneous_starts,
            waiting_executions,
            queued,
            queued_per_lane,
            queued_per_principal,
            prompt_bytes,
            system_prompt_bytes,
            inbound_bytes,
            heartbeat_ms,
            drain_ms,
            linger_ms,
            kill_ms,
            stalled_ms,
            idle_timeout_ms,
            kept_bytes,
            kept_lines,
            events_bytes,
            retention_ms,
            retention_bytes,
            shutdown_ms,
        } = self;
        let mut limits = Limits::default();
        for (given, limit) in [
            (running_executions, &mut limits.running_executions),
            (simultaneous_starts, &mut limits.simultaneous_starts),
            (waiting_executions, &mut limits.waiting_executions),
            (queued, &mut limits.queued),
            (queued_per_lane, &mut limits.queued_per_lane),
            (queued_per_principal, &mut limits.queued_per_principal),
            (prompt_bytes, &mut limits.prompt_bytes),
            (system_prompt_bytes, &mut limits.system_prompt_bytes),
            (inbound_bytes, &mut limits.inbound_bytes),
            (heartbeat_ms, &mut limits.heartbeat_ms),
            (drain_ms, &mut limits.drain_ms),
            (linger_ms, &mut limits.linger_ms),
            (kill_ms, &mut limits.kill_ms),
            (stalled_ms, &mut limits.stalled_ms),
            (idle_timeout_ms, &mut limits.idle_timeout_ms),
            (kept_bytes, &mut limits.kept_bytes),
            (kept_lines, &mut limits.kept_lines),
            (events_bytes, &mut limits.events_bytes),
            (retention_ms, &mut limits.retention_ms),
            (retention_bytes, &mut limits.retention_bytes),
            (shutdown_ms, &mut limits.shutdown_ms),
        ] {
            if let Some(given) = given {
                *limit = *given;
            }
        }
        limits
    }
}

/// Checks the limits against each other. Returns one text for each mistake: a 0 where at least 1 is
/// needed, a prompt that the CLI would refuse, or two limits that contradict each other.
pub(super) fn check(limits: &Limits) -> Vec<String> {
    let mut mistakes = Vec::new();
    for (flag, value) in [
        ("--running-executions", limits.running_executions),
        ("--simultaneous-starts", limits.simultaneous_starts),
        ("--queued", limits.queued),
        ("--queued-per-lane", limits.queued_per_lane),
        ("--queued-per-principal", limits.queued_per_principal),
        ("--prompt-bytes", limits.prompt_bytes),
        ("--heartbeat-ms", limits.heartbeat_ms),
        ("--stalled-ms", limits.stalled_ms),
        ("--idle-timeout-ms", limits.idle_timeout_ms),
    ] {
        if value == 0 {
            mistakes.push(format!("{flag} is 0; give at least 1"));
        }
    }
    if limits.prompt_bytes > CLI_PROMPT_BYTES {
        mistakes.push(format!(
            "--prompt-bytes {} is over 9 MiB, which the CLI refuses; give at most \
             {CLI_PROMPT_BYTES}",
            limits.prompt_bytes
        ));
    }
    if limits.stalled_ms > limits.idle_timeout_ms {
        mistakes.push(format!(
            "--stalled-ms {} is above --idle-timeout-ms {}; give at most that, \
             because an execution is marked as stalled before it is ended",
            limits.stalled_ms, limits.idle_timeout_ms
        ));
    }
    if limits.kill_ms >= limits.shutdown_ms {
        mistakes.push(format!(
            "--kill-ms {} is not below --shutdown-ms {}; leave time to record the ends",
            limits.kill_ms, limits.shutdown_ms
        ));
    }
    mistakes
}
