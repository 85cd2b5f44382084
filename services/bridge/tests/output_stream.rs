//! Property test of the upstream output stream against a simple model, with faults on its
//! connections. Every byte of the output is yielded once and in order, and freed bytes are reported
//! with their offset.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bridge::upstream::output::{OutputItem, OutputStream};
use bridge::upstream::{Times, Upstream};
use proptest::prelude::*;
use protocol::{ExecutionId, Problem, ProblemType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The length of the output in bytes: consecutive numbers of 4 bytes, so that no two parts are
/// equal.
const OUTPUT: usize = 40_000;
/// The timeout for a head, and the silence after which a stalled stream is cut.
const SHORT: Duration = Duration::from_millis(400);

/// The fault of one connection. A number counts the bytes before the fault.
#[derive(Debug, Clone)]
enum Fault {
    /// The connection is closed before an answer.
    Closed,
    /// The answer has this code and no body.
    Code(u16),
    /// The connection ends in the middle of a chunk.
    Cut(usize),
    /// The stream ends cleanly, but too early.
    Ended(usize),
    /// This number of bytes is freed before the answer.
    Freed(usize),
    /// The connection is reset.
    Reset(usize),
    /// The connection stays open without further bytes.
    Stalled(usize),
    /// The connection stays open without a head.
    Silent,
    /// The execution is unknown from now on.
    Gone,
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        1 => Just(Fault::Closed),
        1 => prop::sample::select(vec![500, 502, 503]).prop_map(Fault::Code),
        4 => (0..OUTPUT / 2).prop_map(Fault::Cut),
        1 => (0..OUTPUT / 2).prop_map(Fault::Ended),
        2 => (1..OUTPUT).prop_map(Fault::Freed),
        2 => (0..OUTPUT / 2).prop_map(Fault::Reset),
        1 => (0..OUTPUT / 2).prop_map(Fault::Stalled),
        1 => Just(Fault::Silent),
    ]
}

/// Faults, and whether the execution is unknown after them.
fn script() -> impl Strategy<Value = (Vec<Fault>, Option<Fault>)> {
    let gone = prop_oneof![4 => Just(None), 1 => Just(Some(Fault::Gone))];
    (prop::collection::vec(fault(), 0..6), gone)
}

fn output() -> Vec<u8> {
    (0..OUTPUT as u32 / 4).flat_map(u32::to_be_bytes).collect()
}

/// The server of one stream.
struct Server {
    output: Vec<u8>,
    faults: VecDeque<Fault>,
    kept: usize,
    /// The number of bytes written so far: the execution writes more between connections.
    written: usize,
    /// Whether the execution is unknown; shared with the test.
    gone: Arc<AtomicBool>,
}

impl Server {
    /// Serves one fault per connection, and then the output to its end.
    async fn serve(mut self, listener: TcpListener) {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            // The client cuts a stalled stream, so errors are ignored.
            let _ = self.connection(&mut stream).await;
        }
    }

    async fn connection(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        while let Some(offset) = read_request(stream).await {
            let fault = self.faults.pop_front();
            self.written = match fault {
                Some(_) => self.output.len().min(self.written + OUTPUT / 8),
                None => self.output.len(),
            };
            match fault {
                Some(Fault::Freed(bytes)) => self.kept = self.written.min(self.kept + bytes),
                Some(Fault::Gone) => self.gone.store(true, Ordering::SeqCst),
                _ => {}
            }
            if self.gone.load(Ordering::SeqCst) {
                let problem = Problem::new(ProblemType::NotFound, "no such execution");
                refuse(stream, "404 Not Found", &problem).await?;
                continue;
            }
            if offset < self.kept {
                let problem =
                    Problem::new(ProblemType::OffsetNotKept, "gone").with("keptFrom", self.kept);
                refuse(stream, "410 Gone", &problem).await?;
                continue;
            }
            let rest = &self.output[offset..self.written];
            let part = |bytes: usize| &rest[..bytes.min(rest.len())];
            match fault {
                Some(Fault::Closed) => break,
                Some(Fault::Code(code)) => {
                    let answer = format!("HTTP/1.1 {code} No\r\ncontent-length: 0\r\n\r\n");
                    stream.write_all(answer.as_bytes()).await?;
                }
                Some(Fault::Cut(bytes)) => {
                    let (whole, half) = part(bytes).split_at(part(bytes).len() / 2);
                    chunks(stream, whole).await?;
                    let size = format!("{:x}\r\n", half.len() + 1);
                    stream.write_all(size.as_bytes()).await?;
                    stream.write_all(half).await?;
                    break;
                }
                Some(Fault::Reset(bytes)) => {
                    chunks(stream, part(bytes)).await?;
                    stream.set_zero_linger()?;
                    break;
                }
                Some(Fault::Stalled(bytes)) => {
                    chunks(stream, part(bytes)).await?;
                    stream.read_u8().await?;
                }
                Some(Fault::Silent) => drop(stream.read_u8().await?),
                Some(Fault::Ended(_) | Fault::Freed(_) | Fault::Gone) | None => {
                    let bytes = match fault {
                        Some(Fault::Ended(bytes)) => bytes,
                        _ => rest.len(),
                    };
                    chunks(stream, part(bytes)).await?;
                    stream.write_all(b"0\r\n\r\n").await?;
                }
            }
        }
        Ok(())
    }
}

async fn refuse(stream: &mut TcpStream, code: &str, problem: &Problem) -> io::Result<()> {
    let body = serde_json::to_string(problem).unwrap();
    let head = format!("HTTP/1.1 {code}\r\ncontent-type: application/problem+json");
    let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await
}

/// Reads a request, and returns its offset. `None` at the end of the connection.
async fn read_request(stream: &mut TcpStream) -> Option<usize> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let (_, rest) = head.split_once("/output?offset=").unwrap();
    Some(rest.split_once(' ').unwrap().0.parse().unwrap())
}

async fn chunks(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    for chunk in bytes.chunks(3333) {
        let size = format!("{:x}\r\n", chunk.len());
        stream.write_all(size.as_bytes()).await?;
        stream.write_all(chunk).await?;
        stream.write_all(b"\r\n").await?;
    }
    Ok(())
}

async fn read_whole((faults, last): (Vec<Fault>, Option<Fault>)) -> Result<(), TestCaseError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let gone = Arc::new(AtomicBool::new(false));
    let server = Server {
        output: output(),
        faults: faults.into_iter().chain(last).collect(),
        kept: 0,
        written: 0,
        gone: Arc::clone(&gone),
    };
    let server = tokio::spawn(server.serve(listener));
    let minute = Duration::from_secs(60);
    let times = Times {
        call: minute,
        accept: minute,
        attempt: minute,
        head: SHORT,
        silence: minute,
        stall: SHORT,
        heartbeat: minute,
    };
    let upstream = Upstream::new(&base, times).unwrap();
    let mut stream = OutputStream::new(upstream, ExecutionId::random(), 0);
    let expected = output();
    let mut at = 0;
    let mut check = tokio::time::interval(SHORT / 4);
    let end = tokio::time::Instant::now() + minute;
    stream.open();
    loop {
        let read = tokio::select! {
            biased;
            read = stream.next() => read,
            // A viewer knows from the status that there is more output.
            _ = check.tick() => { stream.cut_if_stalled(); continue }
            () = tokio::time::sleep_until(end) => {
                return Err(TestCaseError::fail(format!("no item after byte {at}")));
            }
        };
        match read {
            OutputItem::Bytes(bytes) => {
                let end = at + bytes.len();
                prop_assert!(end <= expected.len(), "{} bytes at {}", bytes.len(), at);
                prop_assert!(bytes == expected[at..end], "wrong bytes at {}", at);
                at = end;
            }
            OutputItem::End if at < expected.len() => stream.open_later(),
            OutputItem::End => break,
            OutputItem::Freed(kept) => {
                let kept = usize::try_from(kept).unwrap();
                prop_assert!(
                    kept > at && kept <= expected.len(),
                    "{} freed at {}",
                    kept,
                    at
                );
                at = kept;
                stream.jump(kept as u64);
                stream.open();
            }
            OutputItem::Unreachable => {}
            OutputItem::Gone => {
                prop_assert!(gone.load(Ordering::SeqCst), "gone at {}", at);
                break;
            }
        }
    }
    prop_assert!(at == expected.len() || gone.load(Ordering::SeqCst));
    server.abort();
    Ok(())
}

proptest! {
    // Each fault takes a tenth of a second, so each case has many concurrent streams.
    #![proptest_config(ProptestConfig {
        cases: 6,
        max_shrink_iters: 10,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]
    #[test]
    fn every_byte_is_yielded_once_and_in_order(streams in prop::collection::vec(script(), 20)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            futures::future::try_join_all(streams.into_iter().map(read_whole)).await.map(|_| ())
        })?;
    }
}
