//! The limits that claude-api enforces (docs/protocol.md, "Limits"), as flags.

use clap::Args;
use protocol::Limits;

/// One flag for each limit. A flag that is not given has the default of docs/protocol.md, "Limits".
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Limits")]
#[allow(missing_docs, reason = "the help texts are the documentation")]
pub struct LimitArgs {
    /// Executions that run at once
    #[arg(long, env = "CLAUDE_API_RUNNING_EXECUTIONS", value_name = "N")]
    pub running_executions: Option<u64>,
    /// CLIs that start at once (default: 2 per core)
    #[arg(long, env = "CLAUDE_API_SIMULTANEOUS_STARTS", value_name = "N")]
    pub simultaneous_starts: Option<u64>,
    /// Executions that wait, in all
    #[arg(long, env = "CLAUDE_API_QUEUED", value_name = "N")]
    pub queued: Option<u64>,
    /// Executions that wait, in one lane
    #[arg(long, env = "CLAUDE_API_QUEUED_PER_LANE", value_name = "N")]
    pub queued_per_lane: Option<u64>,
    /// Longest prompt, bytes
    #[arg(long, env = "CLAUDE_API_PROMPT_BYTES", value_name = "N")]
    pub prompt_bytes: Option<u64>,
    /// Longest system prompt, bytes
    #[arg(long, env = "CLAUDE_API_SYSTEM_PROMPT_BYTES", value_name = "N")]
    pub system_prompt_bytes: Option<u64>,
    /// Memory for request bodies on their way in, all together, bytes
    #[arg(long, env = "CLAUDE_API_INBOUND_BYTES", value_name = "N")]
    pub inbound_bytes: Option<u64>,
    /// How often a follower hears of a silent execution, ms
    #[arg(long, env = "CLAUDE_API_HEARTBEAT_MS", value_name = "N")]
    pub heartbeat_ms: Option<u64>,
    /// How long output may come after the CLI's end, ms
    #[arg(long, env = "CLAUDE_API_DRAIN_MS", value_name = "N")]
    pub drain_ms: Option<u64>,
    /// How long the CLI may live after its last result, ms
    #[arg(long, env = "CLAUDE_API_LINGER_MS", value_name = "N")]
    pub linger_ms: Option<u64>,
    /// Between TERM and KILL, ms
    #[arg(long, env = "CLAUDE_API_KILL_MS", value_name = "N")]
    pub kill_ms: Option<u64>,
    /// Without progress for so long an execution is called stalled, ms
    #[arg(long, env = "CLAUDE_API_STALLED_MS", value_name = "N")]
    pub stalled_ms: Option<u64>,
    /// Without progress for so long it is ended, ms (below 330000 healthy runs die)
    #[arg(long, env = "CLAUDE_API_IDLE_TIMEOUT_MS", value_name = "N")]
    pub idle_timeout_ms: Option<u64>,
    /// Output kept of one execution, bytes
    #[arg(long, env = "CLAUDE_API_KEPT_BYTES", value_name = "N")]
    pub kept_bytes: Option<u64>,
    /// Output kept of one execution, lines, and at most a 32nd more (default: no limit)
    #[arg(long, env = "CLAUDE_API_KEPT_LINES", value_name = "N")]
    pub kept_lines: Option<u64>,
    /// Raw events kept of one execution, bytes
    #[arg(long, env = "CLAUDE_API_EVENTS_BYTES", value_name = "N")]
    pub events_bytes: Option<u64>,
    /// How long an ended execution is kept, ms
    #[arg(long, env = "CLAUDE_API_RETENTION_MS", value_name = "N")]
    pub retention_ms: Option<u64>,
    /// How much all ended executions may keep, bytes
    #[arg(long, env = "CLAUDE_API_RETENTION_BYTES", value_name = "N")]
    pub retention_bytes: Option<u64>,
    /// How long a stop may take, ms
    #[arg(long, env = "CLAUDE_API_SHUTDOWN_MS", value_name = "N")]
    pub shutdown_ms: Option<u64>,
}

impl LimitArgs {
    /// The limits in force.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let Self {
            running_executions,
            simultaneous_starts,
            queued,
            queued_per_lane,
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
            (queued, &mut limits.queued),
            (queued_per_lane, &mut limits.queued_per_lane),
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

/// What is wrong with these limits.
pub(super) fn check(limits: &Limits) -> Vec<String> {
    let mut mistakes = Vec::new();
    for (flag, value) in [
        ("--running-executions", limits.running_executions),
        ("--simultaneous-starts", limits.simultaneous_starts),
        ("--queued", limits.queued),
        ("--queued-per-lane", limits.queued_per_lane),
        ("--prompt-bytes", limits.prompt_bytes),
        ("--heartbeat-ms", limits.heartbeat_ms),
        ("--stalled-ms", limits.stalled_ms),
        ("--idle-timeout-ms", limits.idle_timeout_ms),
    ] {
        if value == 0 {
            mistakes.push(format!("{flag} is 0; give at least 1"));
        }
    }
    if limits.prompt_bytes > 9 << 20 {
        mistakes.push("--prompt-bytes is over 9 MiB, which the CLI refuses".to_owned());
    }
    if limits.stalled_ms > limits.idle_timeout_ms {
        mistakes.push(format!(
            "--stalled-ms {} is above --idle-timeout-ms {}; an execution is called stalled before it is ended",
            limits.stalled_ms, limits.idle_timeout_ms
        ));
    }
    if limits.kill_ms >= limits.shutdown_ms {
        mistakes.push(format!(
            "--kill-ms {} leaves no time within --shutdown-ms {}",
            limits.kill_ms, limits.shutdown_ms
        ));
    }
    mistakes
}
