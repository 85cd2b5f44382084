//! Measures what clients that stop reading cost the services and other clients, and checks that
//! they miss nothing (F9).

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use anyhow::ensure;
use serde_json::json;
use tokio::task::JoinSet;

use super::{
    cli::{now, written_at},
    floor::{megabytes, milliseconds},
    memory::Watch,
    report::{Report, percentile},
    wire::{Came, End, Wire, content},
};
use crate::harness::Stack;

/// The rate of all readers together in bytes a second: far below what two cores carry, so the delay
/// is not that of a queue.
const RATE: u64 = 40_000_000;
const LINE_BYTES: u64 = 16 * 1024;
/// The most memory that both services may gain, in MiB (docs/protocol.md, "Invariants", number 6).
const MEMORY: f64 = 64.0;
/// The limit for the additional delay of lines because of clients that do not read.
const TIMES: f64 = 2.0;

/// How much of it.
#[derive(Debug, Clone, Copy)]
pub struct Slow {
    /// Clients that read, each an execution of its own.
    pub readers: usize,
    /// Clients that attach to one of these and stop reading.
    pub laggards: usize,
    /// Output of all executions, in bytes.
    pub bytes: u64,
}

/// Measures the readers alone; returns the p99 of their lines in ms.
pub(super) async fn alone(report: &mut Report, stack: &Stack, size: Slow) -> anyhow::Result<f64> {
    let watch = Watch::start(stack);
    let mut readers = Readers::start(stack, size).await?;
    readers.measure();
    let mut delays = readers.finish().await?;
    let name = format!(
        "delay of a line, {} readers of {:.0} MB/s in all",
        size.readers,
        megabytes(RATE)
    );
    let (half, most) = (percentile(&mut delays, 0.5), percentile(&mut delays, 0.99));
    report.cost(&format!("{name}, p50"), half, "ms", None, None);
    report.cost(&format!("{name}, p99"), most, "ms", None, None);
    let name = format!("memory of both, {} readers", size.readers);
    watch.stop().tell(report, &name, None);
    Ok(most)
}

/// Measures the readers together with laggards, which resume reading when the readers are done.
/// `alone`: the result of [`alone`].
pub(super) async fn beside(
    report: &mut Report,
    stack: &Stack,
    size: Slow,
    alone: f64,
) -> anyhow::Result<()> {
    let watch = Watch::start(stack);
    let mut readers = Readers::start(stack, size).await?;
    let mut laggards = Vec::with_capacity(size.laggards);
    for number in 0..size.laggards {
        let mut wire = Wire::open(stack.ws_addr(), true).await?;
        wire.attach(&readers.ids[number % readers.ids.len()])
            .await?;
        laggards.push(wire);
    }
    readers.measure();
    let mut delays = readers.finish().await?;
    let name = format!("  beside {} that do not read", size.laggards);
    let half = percentile(&mut delays, 0.5);
    report.cost(&format!("{name}, p50"), half, "ms", None, None);
    let most = percentile(&mut delays, 0.99);
    let target = Some(alone * TIMES);
    report.cost(&format!("{name}, p99"), most, "ms", target, None);
    let name = format!(
        "memory of both, {} do not read {:.0} MB",
        size.laggards,
        megabytes(size.bytes)
    );
    watch.stop().tell(report, &name, Some(MEMORY));
    later(report, stack, laggards).await
}

/// Lets the laggards read, and checks that they get every byte.
async fn later(report: &mut Report, stack: &Stack, laggards: Vec<Wire>) -> anyhow::Result<()> {
    let watch = Watch::start(stack);
    let count = laggards.len();
    let began = Instant::now();
    let mut all = JoinSet::new();
    for wire in laggards {
        all.spawn(whole(wire));
    }
    let mut bytes = 0;
    while let Some(done) = all.join_next().await {
        bytes += done??;
    }
    let rate = megabytes(bytes) / began.elapsed().as_secs_f64();
    let name = format!("all {count} of them catch up, nothing is missing");
    report.rate(&name, rate, "MB/s", None, None);
    watch.stop().tell(report, "memory of both then", None);
    Ok(())
}

/// Reads to the end, checks that the output is complete, and returns its length.
async fn whole(mut wire: Wire) -> anyhow::Result<u64> {
    let mut crc = crc32fast::Hasher::new();
    let mut length = 0;
    loop {
        match wire.next().await? {
            Came::Output { offset, text } => {
                ensure!(offset == length, "{offset} follows {length}");
                let content = content(&text);
                crc.update(content.as_bytes());
                length += content.len() as u64;
            }
            Came::End(end) => {
                ensure!(end.state == "completed", "it ended {}", end.state);
                ensure!(length == end.length, "{length} of {} bytes", end.length);
                let crc = format!("{:08x}", crc.finalize());
                ensure!(end.crc32.as_deref() == Some(&crc), "the bytes are others");
                return Ok(length);
            }
        }
    }
}

/// The clients that read.
struct Readers {
    ids: Vec<String>,
    tasks: JoinSet<anyhow::Result<Vec<f64>>>,
    /// Lines written before this time do not count.
    since: Arc<AtomicU64>,
}

impl Readers {
    async fn start(stack: &Stack, size: Slow) -> anyhow::Result<Self> {
        let mut readers = Self {
            ids: Vec::new(),
            tasks: JoinSet::new(),
            since: Arc::new(AtomicU64::new(u64::MAX)),
        };
        let each = size.readers.max(1) as u64;
        let prompt = format!("{LINE_BYTES} {} {}", RATE / each, size.bytes / each);
        for _ in 0..size.readers {
            let id = uuid::Uuid::new_v4().to_string();
            let mut wire = Wire::open(stack.ws_addr(), false).await?;
            let fields = json!({"format": "events", "model": "bench-paced", "executionId": id});
            wire.execute(&prompt, fields).await?;
            // The first output says that it is accepted and runs.
            wire.next().await?;
            readers.ids.push(id);
            readers.tasks.spawn(read(wire, readers.since.clone()));
        }
        Ok(readers)
    }

    /// Begins to count delays.
    fn measure(&mut self) {
        self.since.store(now(), Ordering::SeqCst);
    }

    /// Waits for all readers to end; returns the delays in ms.
    async fn finish(mut self) -> anyhow::Result<Vec<f64>> {
        let mut delays = Vec::new();
        while let Some(done) = self.tasks.join_next().await {
            delays.extend(done??);
        }
        ensure!(!delays.is_empty(), "no line came in time");
        Ok(delays)
    }
}

async fn read(mut wire: Wire, since: Arc<AtomicU64>) -> anyhow::Result<Vec<f64>> {
    let mut delays = Vec::new();
    loop {
        match wire.next().await? {
            Came::Output { text, .. } => {
                let (at, since) = (now(), since.load(Ordering::SeqCst));
                let counted = written_at(&text).filter(|written| *written >= since);
                delays.extend(counted.map(|written| milliseconds(at.saturating_sub(written))));
            }
            Came::End(End { state, .. }) => {
                ensure!(state == "completed", "it ended {state}");
                return Ok(delays);
            }
        }
    }
}
