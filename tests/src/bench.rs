//! Measures both hops with the stand-in CLI, next to a baseline that only moves bytes, in one run.
//!
//! All processes share one machine's cores, also the client, the CLI and the baseline's threads.
//! The figures describe the whole path on that machine, not one service alone.

mod agent_sdk;
mod cli;
mod credentials;
mod delay;
mod floor;
mod flow;
mod idle;
mod memory;
mod report;
mod slow;
mod starts;
mod wire;

pub use cli::{is_cli, main as cli_main};
pub use report::{Figure, Report};
pub use slow::Slow;

use std::{path::Path, time::Duration};

use anyhow::Context;

use crate::harness::{Stack, StackOptions};

/// The limit of concurrent executions, above the need of any part.
const AT_ONCE: usize = 128;
const SESSIONS: usize = 1100;
/// The timeout for slow clients, longer than the default: a closed client would cost less.
const PING_MS: usize = 300_000;

/// The size of each measurement.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Bytes of an `events` stream.
    pub events_bytes: u64,
    /// Token lines of a `text` answer.
    pub token_lines: u64,
    /// Bytes that pass while memory is watched.
    pub memory_bytes: u64,
    /// How long lines come while their delay is measured, for each count of sessions.
    pub delay: Duration,
    /// Executions whose first byte is timed.
    pub starts: usize,
    /// How long executions are run eight at once.
    pub eight: Duration,
    /// Clients that stop reading.
    pub slow: Slow,
    /// Sessions that do nothing.
    pub idle: usize,
}

impl Size {
    /// What the targets are about.
    #[must_use]
    pub fn full() -> Self {
        Self {
            events_bytes: 512 << 20,
            token_lines: 2_000_000,
            memory_bytes: 1 << 30,
            delay: Duration::from_secs(8),
            starts: 60,
            eight: Duration::from_secs(8),
            slow: Slow {
                readers: 10,
                laggards: 100,
                bytes: 1_000_000_000,
            },
            idle: 1000,
        }
    }

    /// Returns a tenth of the full size, for a smoke test.
    #[must_use]
    pub fn quick() -> Self {
        Self {
            events_bytes: 32 << 20,
            token_lines: 100_000,
            memory_bytes: 64 << 20,
            delay: Duration::from_secs(1),
            starts: 10,
            eight: Duration::from_secs(1),
            slow: Slow {
                readers: 10,
                laggards: 20,
                bytes: 60_000_000,
            },
            idle: 100,
        }
    }
}

/// A part of the bench that can run alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Bytes and token lines a second through both hops.
    Flow,
    /// Delays of lines, first bytes, executions a second.
    Delay,
    /// Memory while much passes.
    Memory,
    /// Clients that stop reading.
    Slow,
    /// Clients that do nothing.
    Idle,
    /// The service `credentials`, before a fake API.
    Credentials,
    /// `ccb-claude`, which an Agent SDK starts.
    AgentSdk,
}

/// Runs the parts in `only` one after the other, or all parts if it is empty, and calls `say` with
/// each figure.
///
/// # Errors
/// The failure of a measurement.
pub async fn run(
    size: Size,
    only: &[Part],
    say: impl Fn(&str) + 'static,
) -> anyhow::Result<Report> {
    let folder = tempfile::tempdir().context("a folder for the CLI's name")?;
    let wanted = |part| only.is_empty() || only.contains(&part);
    let mut report = Report::new(say);
    if wanted(Part::Flow) {
        floor::throughput(&mut report, size.events_bytes).await?;
    }
    if wanted(Part::Delay) {
        floor::delay(&mut report, size.delay.min(Duration::from_secs(3))).await?;
    }
    if wanted(Part::Flow) {
        let stack = start(folder.path()).await?;
        flow::events(&mut report, &stack, 80, size.events_bytes / 2).await?;
        flow::events(&mut report, &stack, 4096, size.events_bytes).await?;
        flow::text(&mut report, &stack, size.token_lines).await?;
    }
    if wanted(Part::Delay) {
        let stack = start(folder.path()).await?;
        for sessions in [1, 10, 100] {
            delay::lines(&mut report, &stack, sessions, size.delay).await?;
        }
        starts::first_byte(&mut report, &stack, folder.path(), size.starts).await?;
        starts::eight_at_once(&mut report, &stack, size.eight).await?;
    }
    if wanted(Part::Memory) {
        let stack = start(folder.path()).await?;
        flow::memory(&mut report, &stack, size.memory_bytes).await?;
    }
    if wanted(Part::Slow) {
        let stack = start(folder.path()).await?;
        let alone = slow::alone(&mut report, &stack, size.slow).await?;
        drop(stack);
        let stack = start(folder.path()).await?;
        slow::beside(&mut report, &stack, size.slow, alone).await?;
    }
    if wanted(Part::Idle) {
        let stack = start(folder.path()).await?;
        idle::sessions(&mut report, &stack, size.idle).await?;
    }
    if wanted(Part::Credentials) {
        credentials::delay(&mut report, folder.path(), size.delay).await?;
        credentials::memory(&mut report, folder.path(), size.memory_bytes).await?;
    }
    if wanted(Part::AgentSdk) {
        let stack = start(folder.path()).await?;
        agent_sdk::first_byte(&mut report, &stack, folder.path(), size.starts).await?;
        agent_sdk::lines(&mut report, &stack, folder.path(), size.delay).await?;
    }
    Ok(report)
}

/// Starts fresh services. Their CLI is this program under another name, which acts as the stand-in
/// or writes exact lines.
async fn start(folder: &Path) -> anyhow::Result<Stack> {
    let claude = folder.join(cli::NAME);
    if !claude.exists() {
        std::os::unix::fs::symlink(std::env::current_exe()?, &claude)?;
    }
    let mut options = StackOptions::default()
        .api(format!("--running-executions={AT_ONCE}"))
        .api(format!("--simultaneous-starts={AT_ONCE}"))
        .bridge(format!("--sessions={SESSIONS}"))
        .bridge(format!("--ping-ms={PING_MS}"));
    options.claude_bin = Some(claude);
    Ok(Stack::with(options).await)
}
