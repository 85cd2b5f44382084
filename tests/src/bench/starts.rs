//! Short executions: the time to the first byte without the CLI's own start, and their throughput.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::task::JoinSet;

use super::{
    cli,
    report::{Report, percentile},
    wire::{Came, Wire},
};
use crate::harness::Stack;

const PROMPT: &str = "@say hello";
const AT_ONCE: usize = 8;

/// Measures the CLI alone: from its start to its first text, in ms.
fn alone(folder: &Path) -> anyhow::Result<f64> {
    let began = Instant::now();
    let mut child = Command::new(folder.join(cli::NAME))
        .args([
            "-p",
            "--input-format=stream-json",
            "--output-format=stream-json",
            "--verbose",
        ])
        .env("CLAUDE_CONFIG_DIR", folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let message = json!({"type": "user", "message": {"role": "user", "content": PROMPT}});
    if let Some(mut stdin) = child.stdin.take() {
        writeln!(stdin, "{message}")?;
    }
    let mut took = None;
    for line in child
        .stdout
        .take()
        .map(BufReader::new)
        .into_iter()
        .flat_map(BufRead::lines)
    {
        if line?.contains("text_delta") && took.is_none() {
            took = Some(began.elapsed().as_secs_f64() * 1e3);
        }
    }
    child.wait()?;
    took.ok_or_else(|| anyhow::anyhow!("the CLI said nothing"))
}

/// Measures the time from the execute to the first output, without the CLI's own time.
pub(super) async fn first_byte(
    report: &mut Report,
    stack: &Stack,
    folder: &Path,
    count: usize,
) -> anyhow::Result<()> {
    let mut own = Vec::new();
    let mut through = Vec::new();
    let mut wire = Wire::open(stack.ws_addr(), true).await?;
    for _ in 0..count {
        let began = Instant::now();
        wire.execute(PROMPT, json!({})).await?;
        let Came::Output { .. } = wire.next().await? else {
            anyhow::bail!("no output")
        };
        through.push(began.elapsed().as_secs_f64() * 1e3);
        wire.drain().await?;
        let folder = folder.to_owned();
        own.push(tokio::task::spawn_blocking(move || alone(&folder)).await??);
    }
    let own_half = percentile(&mut own, 0.5);
    report.cost("first byte, the CLI alone, p50", own_half, "ms", None, None);
    report.cost(
        "first byte beyond the CLI's own start, p50",
        percentile(&mut through, 0.5) - own_half,
        "ms",
        Some(10.0),
        None,
    );
    report.cost(
        "first byte beyond the CLI's own start, p99",
        percentile(&mut through, 0.99) - own_half,
        "ms",
        None,
        None,
    );
    Ok(())
}

/// Measures eight sessions, each of which runs one execution after the other.
pub(super) async fn eight_at_once(
    report: &mut Report,
    stack: &Stack,
    time: Duration,
) -> anyhow::Result<()> {
    let mut all = JoinSet::new();
    let began = Instant::now();
    for _ in 0..AT_ONCE {
        let mut wire = Wire::open(stack.ws_addr(), true).await?;
        all.spawn(async move {
            let mut done = 0_u32;
            while began.elapsed() < time {
                wire.execute(PROMPT, json!({})).await?;
                wire.drain().await?;
                done += 1;
            }
            anyhow::Ok(done)
        });
    }
    let mut done = 0_u32;
    while let Some(count) = all.join_next().await {
        done += count??;
    }
    report.rate(
        "executions, 8 at once",
        f64::from(done) / began.elapsed().as_secs_f64(),
        "/s",
        None,
        None,
    );
    Ok(())
}
