//! The upstream output stream against a simple model: whatever becomes of its connections, its
//! bytes are the output's, each once and in order, and what was freed is told with numbers.

#![allow(clippy::unwrap_used, reason = "a panic is a test's failure")]

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

/// In bytes; four to a number, so that no place looks like another.
const OUTPUT: usize = 40_000;
/// After this a head is given up, and a stream that stands still is cut.
const SHORT: Duration = Duration::from_millis(400);

/// What becomes of one connection.
#[derive(Debug, Clone)]
enum Fate {
    /// Closed before an answer.
    Closed,
    /// Answered with this code, in nobody's format.
    Code(u16),
    /// So many bytes, then it breaks in the middle of a chunk.
    Cut(usize),
    /// So many bytes, then a clean end, too early.
    Ended(usize),
    /// So many bytes are freed before it is answered.
    Freed(usize),
    /// So many bytes, then it is reset.
    Reset(usize),
    /// So many bytes, then nothing, and it stays open.
    Stalled(usize),
    /// Not even a head.
    Silent,
    /// The execution is not known any more, from now on.
    Gone,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        1 => Just(Fate::Closed),
        1 => prop::sample::select(vec![500, 502, 503]).prop_map(Fate::Code),
        4 => (0..OUTPUT / 2).prop_map(Fate::Cut),
        1 => (0..OUTPUT / 2).prop_map(Fate::Ended),
        2 => (1..OUTPUT).prop_map(Fate::Freed),
        2 => (0..OUTPUT / 2).prop_map(Fate::Reset),
        1 => (0..OUTPUT / 2).prop_map(Fate::Stalled),
        1 => Just(Fate::Silent),
    ]
}

/// Faults, and whether nobody knows the execution at last.
fn script() -> impl Strategy<Value = (Vec<Fate>, Option<Fate>)> {
    let gone = prop_oneof![4 => Just(None), 1 => Just(Some(Fate::Gone))];
    (prop::collection::vec(fate(), 0..6), gone)
}

fn output() -> Vec<u8> {
    (0..OUTPUT as u32 / 4).flat_map(u32::to_be_bytes).collect()
}

/// The server's side, shared with whoever checks.
struct Server {
    output: Vec<u8>,
    fates: VecDeque<Fate>,
    kept: usize,
    /// What the execution has said so far: it lives, and says more from connection to connection.
    said: usize,
    gone: Arc<AtomicBool>,
}

impl Server {
    /// Serves the output by hand, a fate a connection; when there is none left, to the end.
    async fn serve(mut self, listener: TcpListener) {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            // A client that has cut a stream that stalled is gone in the middle of it.
            let _ = self.connection(&mut stream).await;
        }
    }

    async fn connection(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        while let Some(offset) = asked(stream).await {
            let fate = self.fates.pop_front();
            self.said = match fate {
                Some(_) => self.output.len().min(self.said + OUTPUT / 8),
                None => self.output.len(),
            };
            match fate {
                Some(Fate::Freed(bytes)) => self.kept = self.said.min(self.kept + bytes),
                Some(Fate::Gone) => self.gone.store(true, Ordering::SeqCst),
                _ => {}
            }
            if self.gone.load(Ordering::SeqCst) {
                let problem = Problem::new(ProblemType::NotFound, "nobody knows it");
                refuse(stream, "404 Not Found", &problem).await?;
                continue;
            }
            if offset < self.kept {
                let problem =
                    Problem::new(ProblemType::OffsetNotKept, "gone").with("keptFrom", self.kept);
                refuse(stream, "410 Gone", &problem).await?;
                continue;
            }
            let rest = &self.output[offset..self.said];
            let part = |bytes: usize| &rest[..bytes.min(rest.len())];
            match fate {
                Some(Fate::Closed) => break,
                Some(Fate::Code(code)) => {
                    let answer = format!("HTTP/1.1 {code} No\r\ncontent-length: 0\r\n\r\n");
                    stream.write_all(answer.as_bytes()).await?;
                }
                Some(Fate::Cut(bytes)) => {
                    let (whole, half) = part(bytes).split_at(part(bytes).len() / 2);
                    chunks(stream, whole).await?;
                    let size = format!("{:x}\r\n", half.len() + 1);
                    stream.write_all(size.as_bytes()).await?;
                    stream.write_all(half).await?;
                    break;
                }
                Some(Fate::Reset(bytes)) => {
                    chunks(stream, part(bytes)).await?;
                    stream.set_zero_linger()?;
                    break;
                }
                Some(Fate::Stalled(bytes)) => {
                    chunks(stream, part(bytes)).await?;
                    stream.read_u8().await?;
                }
                Some(Fate::Silent) => drop(stream.read_u8().await?),
                Some(Fate::Ended(_) | Fate::Freed(_) | Fate::Gone) | None => {
                    let bytes = match fate {
                        Some(Fate::Ended(bytes)) => bytes,
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

/// The offset that a request asks for; `None` when there is no more request.
async fn asked(stream: &mut TcpStream) -> Option<usize> {
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

async fn read_whole((fates, last): (Vec<Fate>, Option<Fate>)) -> Result<(), TestCaseError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let gone = Arc::new(AtomicBool::new(false));
    let server = Server {
        output: output(),
        fates: fates.into_iter().chain(last).collect(),
        kept: 0,
        said: 0,
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
            // The viewer knows from the status that there is more.
            _ = check.tick() => { stream.cut_if_stalled(); continue }
            () = tokio::time::sleep_until(end) => {
                return Err(TestCaseError::fail(format!("it stands still at {at}")));
            }
        };
        match read {
            OutputItem::Bytes(bytes) => {
                let end = at + bytes.len();
                prop_assert!(end <= expected.len(), "{} bytes at {}", bytes.len(), at);
                prop_assert!(bytes == expected[at..end], "other bytes at {}", at);
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
    // Each fault costs a tenth of a second: many streams side by side, few cases.
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 10, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_byte_comes_once_and_in_order(streams in prop::collection::vec(script(), 20)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            futures::future::try_join_all(streams.into_iter().map(read_whole)).await.map(|_| ())
        })?;
    }
}
