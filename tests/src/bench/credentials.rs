//! The service `credentials` between a client and a fake API: the delay that it adds to each event,
//! and its memory while much passes.

mod setup;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::floor::milliseconds;
use super::report::{Report, percentile};
use crate::harness::processes;
use setup::{GRANT, Setup};

/// The rate of events, that of a fast model.
const EVENT_PERIOD: Duration = Duration::from_millis(20);
/// The most delay that the service may add to an event, at the median.
const ADDED_MS: f64 = 0.2;
/// The most memory that a stream of any length may take, in MiB.
const MEMORY_MIB: f64 = 8.0;
/// The bytes of a write.
const PIECE: usize = 256 * 1024;

/// Measures the delay of events without and with the service.
pub(super) async fn delay(
    report: &mut Report,
    folder: &Path,
    time: Duration,
) -> anyhow::Result<()> {
    let setup = Setup::start(folder).await?;
    let direct = events(&setup.api, setup.api.local_addr()?, time).await?;
    let through = events(&setup.api, setup.service.addr(), time).await?;
    let [mut direct, mut through] = [direct, through];
    let [floor, value] = [&mut direct, &mut through].map(|delays| percentile(delays, 0.5));
    report.cost(
        "credentials: delay of an event, p50",
        value,
        "ms",
        None,
        Some(floor),
    );
    let added = value - floor;
    report.cost("  added by credentials", added, "ms", Some(ADDED_MS), None);
    let [floor, value] = [&mut direct, &mut through].map(|delays| percentile(delays, 0.99));
    report.cost(
        "credentials: delay of an event, p99",
        value,
        "ms",
        None,
        Some(floor),
    );
    Ok(())
}

/// Sends events from the API to a client of `addr`. Returns the delay of each in milliseconds.
async fn events(api: &TcpListener, addr: SocketAddr, time: Duration) -> anyhow::Result<Vec<f64>> {
    let sent: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let times = Arc::clone(&sent);
    let serve = async move {
        let mut stream = accept(api).await?;
        stream.write_all(HEAD).await?;
        let end = Instant::now() + time;
        while Instant::now() < end {
            tokio::time::sleep(EVENT_PERIOD).await;
            let event = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\
                         \"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"word\"}}\n\n";
            let chunk = format!("{:x}\r\n{event}\r\n", event.len());
            times
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(Instant::now());
            stream.write_all(chunk.as_bytes()).await?;
        }
        stream.write_all(b"0\r\n\r\n").await?;
        stream.shutdown().await
    };
    let read = async {
        let mut stream = TcpStream::connect(addr).await?;
        stream.write_all(head("{}".len()).as_bytes()).await?;
        stream.write_all(b"{}").await?;
        let mut lines = BufReader::new(stream).lines();
        let mut received = Vec::new();
        while let Some(line) = lines.next_line().await? {
            if line.starts_with("data:") {
                received.push(Instant::now());
            }
        }
        std::io::Result::Ok(received)
    };
    let (served, received) = tokio::join!(serve, read);
    served.context("the fake API")?;
    let received = received.context("the client")?;
    let sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
    anyhow::ensure!(
        sent.len() == received.len(),
        "{} of {}",
        received.len(),
        sent.len()
    );
    let delays = sent.iter().zip(received).map(|(sent, received)| {
        let nanoseconds = received.duration_since(*sent).as_nanos();
        milliseconds(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    });
    Ok(delays.collect())
}

/// The head of a stream of events.
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
    Transfer-Encoding: chunked\r\n\r\n";

/// Returns the head of a request with a body of this length.
fn head(length: usize) -> String {
    format!(
        "POST /v1/messages HTTP/1.1\r\nHost: bench\r\nX-Api-Key: {GRANT}\r\n\
         Content-Length: {length}\r\n\r\n"
    )
}

/// Accepts a connection and reads the head of its request.
async fn accept(api: &TcpListener) -> std::io::Result<TcpStream> {
    let (mut stream, _) = api.accept().await?;
    stream.set_nodelay(true)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(stream)
}

/// Measures the memory and the rate while `bytes` pass in each direction.
pub(super) async fn memory(report: &mut Report, folder: &Path, bytes: u64) -> anyhow::Result<()> {
    let setup = Setup::start(folder).await?;
    let bytes = usize::try_from(bytes)?;
    let pid = setup.service.pid();
    let before = processes::resident_bytes(pid).context("the service is gone")?;
    let length = bytes + "{\"a\":\"\"}".len();
    let serve = async {
        let mut stream = accept(&setup.api).await?;
        let mut buffer = vec![0; PIECE];
        let mut left = length;
        while left > 0 {
            let count = stream.read(&mut buffer).await?;
            anyhow::ensure!(count > 0, "the body ended {left} bytes too early");
            left -= count;
        }
        stream.write_all(HEAD).await?;
        let text = "x".repeat(PIECE);
        let event = format!("data: {{\"type\":\"content_block_delta\",\"text\":\"{text}\"}}\n\n");
        let chunk = format!("{:x}\r\n{event}\r\n", event.len());
        for _ in 0..bytes / PIECE {
            stream.write_all(chunk.as_bytes()).await?;
        }
        stream.write_all(b"0\r\n\r\n").await?;
        anyhow::Ok(())
    };
    let client = async {
        let mut stream = TcpStream::connect(setup.service.addr()).await?;
        let began = Instant::now();
        stream.write_all(head(length).as_bytes()).await?;
        stream.write_all(b"{\"a\":\"").await?;
        let piece = vec![b'x'; PIECE];
        for _ in 0..bytes / PIECE {
            stream.write_all(&piece).await?;
        }
        stream.write_all(&vec![b'x'; bytes % PIECE]).await?;
        stream.write_all(b"\"}").await?;
        let up = began.elapsed();
        let mut buffer = vec![0; PIECE];
        let mut received = 0;
        loop {
            match stream.read(&mut buffer).await? {
                0 => break,
                count => received += count,
            }
        }
        anyhow::ensure!(
            received >= bytes / PIECE * PIECE,
            "{received} bytes arrived"
        );
        anyhow::Ok((up, began.elapsed() - up))
    };
    let (served, times) = tokio::join!(serve, client);
    served.context("the fake API")?;
    let (up, down) = times.context("the client")?;
    let peak = processes::peak_bytes(pid).context("the service is gone")?;
    let added = megabytes(usize::try_from(peak.saturating_sub(before))?) / 1.048_576;
    let name = format!(
        "credentials: memory for {:.0} MB each way",
        megabytes(bytes)
    );
    report.cost(&name, added, "MiB", Some(MEMORY_MIB), None);
    report.rate(
        "  body",
        megabytes(bytes) / up.as_secs_f64(),
        "MB/s",
        None,
        None,
    );
    report.rate(
        "  answer",
        megabytes(bytes) / down.as_secs_f64(),
        "MB/s",
        None,
        None,
    );
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}
