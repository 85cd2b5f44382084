//! Compares `ccb-claude` with a WebSocket client that does the same: the time from the start of the
//! process to the first byte, and the delay of a line.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use super::{
    cli::{now, written_at},
    floor::milliseconds,
    report::{Report, percentile},
    wire::{Came, Wire},
};
use crate::harness::{Stack, binary};

/// The length of a line, in bytes.
const LINE_BYTES: u64 = 80;
/// The number of lines per second.
const RATE: u64 = 200;
/// The number of lines before the measurement, so that the start of the CLI is not measured.
const WARM: usize = 100;

/// A running `ccb-claude` whose stdout is read.
struct Remote {
    child: Child,
    out: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
}

impl Remote {
    /// Starts `ccb-claude` with one message, and ends its input.
    async fn start(stack: &Stack, folder: &Path, model: &str, text: &str) -> anyhow::Result<Self> {
        let mut child = Command::new(binary("ccb-claude"))
            .args([
                "--output-format",
                "stream-json",
                "--input-format",
                "stream-json",
            ])
            .args(["--verbose", "--model", model])
            .env("CCB_URL", format!("ws://{}/ws", stack.ws_addr()))
            .env("HOME", folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let message = json!({"type": "user", "message": {"role": "user", "content": text}});
        let mut stdin = child.stdin.take().context("a pipe")?;
        stdin.write_all(format!("{message}\n").as_bytes()).await?;
        let out = child.stdout.take().context("a pipe")?;
        let out = BufReader::new(out).lines();
        Ok(Self { child, out })
    }

    /// Waits for the end, which must be a success.
    async fn end(mut self) -> anyhow::Result<()> {
        while self.out.next_line().await?.is_some() {}
        let status = self.child.wait().await?;
        ensure!(status.success(), "ccb-claude ended with {status}");
        Ok(())
    }
}

/// Measures how much later the first byte arrives through `ccb-claude`, whose process starts with
/// each execution, than through an open session.
pub(super) async fn first_byte(
    report: &mut Report,
    stack: &Stack,
    folder: &Path,
    count: usize,
) -> anyhow::Result<()> {
    let (mut through, mut direct) = (Vec::new(), Vec::new());
    let mut wire = Wire::open(stack.ws_addr(), true).await?;
    for _ in 0..count {
        let began = Instant::now();
        let mut remote = Remote::start(stack, folder, "stand-in", "@say hello").await?;
        ensure!(remote.out.next_line().await?.is_some(), "no output");
        through.push(began.elapsed().as_secs_f64() * 1e3);
        remote.end().await?;

        let began = Instant::now();
        wire.execute("@say hello", json!({"format": "events"}))
            .await?;
        let Came::Output { .. } = wire.next().await? else {
            anyhow::bail!("no output")
        };
        direct.push(began.elapsed().as_secs_f64() * 1e3);
        wire.drain().await?;
    }
    let added = percentile(&mut through, 0.5) - percentile(&mut direct, 0.5);
    report.cost(
        "first byte, added by ccb-claude, p50",
        added,
        "ms",
        Some(30.0),
        None,
    );
    Ok(())
}

/// Measures how much later a line arrives at the reader of `ccb-claude` than at a session.
pub(super) async fn lines(
    report: &mut Report,
    stack: &Stack,
    folder: &Path,
    time: Duration,
) -> anyhow::Result<()> {
    let total = LINE_BYTES * RATE * time.as_secs().max(1) + LINE_BYTES * WARM as u64;
    let prompt = format!("{LINE_BYTES} {} {total}", LINE_BYTES * RATE);
    let mut direct = Vec::new();
    let mut wire = Wire::open(stack.ws_addr(), true).await?;
    let fields = json!({"format": "events", "model": "bench-paced"});
    wire.execute(&prompt, fields).await?;
    loop {
        match wire.next().await? {
            Came::Output { text, .. } => {
                let at = now();
                direct
                    .extend(written_at(&text).map(|stamp| milliseconds(at.saturating_sub(stamp))));
            }
            Came::End(end) => {
                ensure!(
                    end.state == "completed",
                    "the execution ended {}",
                    end.state
                );
                break;
            }
        }
    }
    let mut through = Vec::new();
    let mut remote = Remote::start(stack, folder, "bench-paced", &prompt).await?;
    while let Some(line) = remote.out.next_line().await? {
        let at = now();
        // In a message of the bridge, the quotes of a line are escaped.
        let escaped = line.replace('"', "\\\"");
        through.extend(written_at(&escaped).map(|stamp| milliseconds(at.saturating_sub(stamp))));
    }
    remote.end().await?;
    let median = |delays: &mut Vec<f64>| {
        let mut later = delays.split_off(delays.len().min(WARM));
        ensure!(!later.is_empty(), "no line was measured");
        Ok(percentile(&mut later, 0.5))
    };
    let (through, direct) = (median(&mut through)?, median(&mut direct)?);
    report.cost("delay of a line, a session, p50", direct, "ms", None, None);
    report.cost(
        "delay of a line, added by ccb-claude, p50",
        through - direct,
        "ms",
        Some(0.2),
        None,
    );
    Ok(())
}
