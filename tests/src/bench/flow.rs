//! The throughput of large outputs through both hops, and the services' CPU time and memory for it.

use std::time::Instant;

use serde_json::json;

use super::{floor, memory::Watch, report::Report, wire::Wire};
use crate::harness::Stack;

/// User ticks a second (sysconf(_SC_CLK_TCK) is 100 on every Linux that this runs on).
const TICKS: f64 = 100.0;

/// Returns the CPU seconds that a process has used (proc_pid_stat(5): fields 14 and 15).
fn cpu_seconds(pid: i32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks = |at: usize| {
        fields
            .get(at)
            .and_then(|field| field.parse::<f64>().ok())
            .unwrap_or(0.0)
    };
    (ticks(11) + ticks(12)) / TICKS
}

/// The CPU seconds of claude-api, of the bridge, and of this client.
fn cpu(stack: &Stack) -> [f64; 3] {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    [stack.api.pid(), stack.bridge.pid(), own].map(cpu_seconds)
}

/// Prints the CPU time of the last flow by process.
fn spent(report: &mut Report, name: &str, stack: &Stack, before: [f64; 3], seconds: f64) {
    let after = cpu(stack);
    for (at, who) in ["claude-api", "bridge", "client"].into_iter().enumerate() {
        let share = (after[at] - before[at]) / seconds * 100.0;
        report.cost(
            &format!("  {name}: {who} on a core"),
            share,
            "%",
            None,
            None,
        );
    }
}

/// `events`: lines of one size, MB/s.
pub(super) async fn events(
    report: &mut Report,
    stack: &Stack,
    line: u64,
    total: u64,
) -> anyhow::Result<()> {
    let mut wire = Wire::open(stack.ws_addr(), false).await?;
    let before = cpu(stack);
    let began = Instant::now();
    wire.execute(
        &format!("{line} {total}"),
        json!({"format": "events", "model": "bench-lines"}),
    )
    .await?;
    let length = wire.drain().await?;
    let seconds = began.elapsed().as_secs_f64();
    let name = format!("events, lines of {line} B");
    let floor = report.value(floor::THROUGHPUT);
    report.rate(
        &name,
        floor::megabytes(length) / seconds,
        "MB/s",
        Some(100.0),
        floor,
    );
    spent(report, &name, stack, before, seconds);
    Ok(())
}

/// `text`: token lines of the stand-in, lines a second.
pub(super) async fn text(report: &mut Report, stack: &Stack, lines: u64) -> anyhow::Result<()> {
    let mut wire = Wire::open(stack.ws_addr(), false).await?;
    let before = cpu(stack);
    let began = Instant::now();
    wire.execute(&format!("@tokens {lines}"), json!({})).await?;
    wire.drain().await?;
    let seconds = began.elapsed().as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
    let rate = lines as f64 / seconds;
    report.rate("text, token lines", rate, "lines/s", Some(500_000.0), None);
    spent(report, "text", stack, before, seconds);
    let (count, bytes) = (lines / 4, 20);
    let began = Instant::now();
    wire.execute(&format!("@volume {count} {bytes}"), json!({}))
        .await?;
    wire.drain().await?;
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
    let rate = count as f64 / began.elapsed().as_secs_f64();
    report.rate(
        "text, token lines written in large pieces",
        rate,
        "lines/s",
        None,
        None,
    );
    Ok(())
}

/// Measures the peak memory of both services together during a large output.
pub(super) async fn memory(report: &mut Report, stack: &Stack, total: u64) -> anyhow::Result<()> {
    let watch = Watch::start(stack);
    let mut wire = Wire::open(stack.ws_addr(), false).await?;
    wire.execute(
        &format!("4096 {total}"),
        json!({"format": "events", "model": "bench-lines"}),
    )
    .await?;
    wire.drain().await?;
    let name = format!("memory of both while {} MiB pass", total >> 20);
    watch.stop().tell(report, &name, Some(64.0));
    Ok(())
}
