//! The baseline: a writer sends bytes over TCP to a relay, and that over TCP to a reader, on
//! loopback. This is the best that both hops can do on this machine.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;

use super::{
    cli::now,
    report::{Report, percentile},
};

const BUFFER: usize = 64 * 1024;
const STAMP_RATE: u32 = 50;
const STAMP_BYTES: usize = 8;

pub(super) const THROUGHPUT: &str = "floor: raw TCP twice";
pub(super) const DELAY_99: &str = "floor: delay over raw TCP twice, p99";

/// Starts a relay and returns its two ends: bytes written to the first are read from the second.
fn chain() -> std::io::Result<(TcpStream, TcpStream)> {
    let (inner, outer) = (
        TcpListener::bind("127.0.0.1:0")?,
        TcpListener::bind("127.0.0.1:0")?,
    );
    let writer = TcpStream::connect(inner.local_addr()?)?;
    let reader = TcpStream::connect(outer.local_addr()?)?;
    let (mut from, mut to) = (inner.accept()?.0, outer.accept()?.0);
    for stream in [&writer, &to] {
        stream.set_nodelay(true)?;
    }
    thread::spawn(move || {
        let mut buffer = vec![0; BUFFER];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if to.write_all(&buffer[..count]).is_err() {
                return;
            }
        }
    });
    Ok((writer, reader))
}

/// Measures the throughput in MB/s.
pub(super) async fn throughput(report: &mut Report, bytes: u64) -> anyhow::Result<()> {
    let rate = tokio::task::spawn_blocking(move || -> anyhow::Result<f64> {
        let (mut writer, mut reader) = chain()?;
        let began = Instant::now();
        let writes = thread::spawn(move || {
            let buffer = vec![b'x'; BUFFER];
            let mut left = bytes;
            while left > 0 && writer.write_all(&buffer).is_ok() {
                left = left.saturating_sub(BUFFER as u64);
            }
        });
        let mut buffer = vec![0; BUFFER];
        let mut total = 0_u64;
        while let count @ 1.. = reader.read(&mut buffer)? {
            total += count as u64;
        }
        writes.join().ok().context("the writer")?;
        Ok(megabytes(total) / began.elapsed().as_secs_f64())
    })
    .await??;
    report.rate(THROUGHPUT, rate, "MB/s", None, None);
    Ok(())
}

/// Measures the delay of small writes.
pub(super) async fn delay(report: &mut Report, time: Duration) -> anyhow::Result<()> {
    let mut delays = tokio::task::spawn_blocking(move || -> anyhow::Result<Vec<f64>> {
        let (mut writer, mut reader) = chain()?;
        let end = Instant::now() + time;
        thread::spawn(move || {
            while Instant::now() < end {
                thread::sleep(Duration::from_secs(1) / STAMP_RATE);
                if writer.write_all(&now().to_be_bytes()).is_err() {
                    return;
                }
            }
        });
        let mut delays = Vec::new();
        let mut stamp = [0; STAMP_BYTES];
        while reader.read_exact(&mut stamp).is_ok() {
            delays.push(milliseconds(
                now().saturating_sub(u64::from_be_bytes(stamp)),
            ));
        }
        Ok(delays)
    })
    .await??;
    report.cost(
        "floor: delay over raw TCP twice, p50",
        percentile(&mut delays, 0.5),
        "ms",
        None,
        None,
    );
    report.cost(DELAY_99, percentile(&mut delays, 0.99), "ms", None, None);
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
pub(super) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
pub(super) fn milliseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e6
}
