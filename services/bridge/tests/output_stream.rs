//! The upstream output stream against a simple model: whatever becomes of its connections, its bytes are the
//! output's, each once and in order, and what was freed is told with numbers.

#![allow(clippy::unwrap_used, reason = "a panic is a test's failure")]

use std::collections::VecDeque;
use std::time::Duration;

use bridge::upstream::output::{Output, Read};
use bridge::upstream::{Times, Upstream};
use proptest::prelude::*;
use protocol::{ExecutionId, Problem, ProblemType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// In bytes; four to a number, so that no place looks like another.
const OUTPUT: usize = 40_000;

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
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        1 => Just(Fate::Closed),
        1 => prop::sample::select(vec![500, 502, 503]).prop_map(Fate::Code),
        4 => (0..OUTPUT / 2).prop_map(Fate::Cut),
        1 => (0..OUTPUT / 2).prop_map(Fate::Ended),
        2 => (1..OUTPUT).prop_map(Fate::Freed),
    ]
}

fn output() -> Vec<u8> {
    (0..OUTPUT as u32 / 4).flat_map(u32::to_be_bytes).collect()
}

/// Serves the output by hand, a fate a connection; when there is none left, to the end.
async fn serve(listener: TcpListener, mut fates: VecDeque<Fate>) {
    let output = output();
    let mut kept = 0;
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        while let Some(offset) = asked(&mut stream).await {
            let fate = fates.pop_front();
            if let Some(Fate::Freed(bytes)) = fate {
                kept = output.len().min(kept + bytes);
            }
            if offset < kept {
                let problem =
                    Problem::new(ProblemType::OffsetNotKept, "gone").with("keptFrom", kept);
                let body = serde_json::to_string(&problem).unwrap();
                let head = "HTTP/1.1 410 Gone\r\ncontent-type: application/problem+json";
                let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                stream.write_all(answer.as_bytes()).await.unwrap();
                continue;
            }
            let rest = &output[offset..];
            match fate {
                Some(Fate::Closed) => break,
                Some(Fate::Code(code)) => {
                    let answer = format!("HTTP/1.1 {code} No\r\ncontent-length: 0\r\n\r\n");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
                Some(Fate::Cut(bytes)) => {
                    let bytes = bytes.min(rest.len());
                    let (whole, half) = rest[..bytes].split_at(bytes / 2);
                    chunks(&mut stream, whole).await;
                    let size = format!("{:x}\r\n", half.len() + 1);
                    stream.write_all(size.as_bytes()).await.unwrap();
                    stream.write_all(half).await.unwrap();
                    break;
                }
                Some(Fate::Ended(bytes)) => {
                    chunks(&mut stream, &rest[..bytes.min(rest.len())]).await;
                    stream.write_all(b"0\r\n\r\n").await.unwrap();
                }
                Some(Fate::Freed(_)) | None => {
                    chunks(&mut stream, rest).await;
                    stream.write_all(b"0\r\n\r\n").await.unwrap();
                }
            }
        }
    }
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

async fn chunks(stream: &mut TcpStream, bytes: &[u8]) {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    for chunk in bytes.chunks(3333) {
        let size = format!("{:x}\r\n", chunk.len());
        stream.write_all(size.as_bytes()).await.unwrap();
        stream.write_all(chunk).await.unwrap();
        stream.write_all(b"\r\n").await.unwrap();
    }
}

async fn read_whole(fates: Vec<Fate>) -> Result<(), TestCaseError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(serve(listener, fates.into()));
    let minute = Duration::from_secs(60);
    let times = Times {
        call: minute,
        accept: minute,
        attempt: minute,
        head: minute,
        silence: minute,
        stall: minute,
        heartbeat: minute,
    };
    let upstream = Upstream::new(&base, times).unwrap();
    let mut stream = Output::new(upstream, ExecutionId::random(), 0);
    let expected = output();
    let mut at = 0;
    stream.open();
    loop {
        let read = tokio::time::timeout(minute, stream.next()).await;
        match read.map_err(|_| TestCaseError::fail(format!("it stands still at {at}")))? {
            Read::Bytes(bytes) => {
                let end = at + bytes.len();
                prop_assert!(end <= expected.len(), "{} bytes at {}", bytes.len(), at);
                prop_assert!(bytes == expected[at..end], "other bytes at {}", at);
                at = end;
            }
            // The viewer knows from the status that there is more.
            Read::End if at < expected.len() => stream.open_later(),
            Read::End => break,
            Read::Freed(kept) => {
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
            Read::Unreachable => {}
            Read::Gone => prop_assert!(false, "gone at {}", at),
        }
    }
    prop_assert_eq!(at, expected.len());
    server.abort();
    Ok(())
}

proptest! {
    // Each fault costs a tenth of a second: many streams side by side, few cases.
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 50, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_byte_comes_once_and_in_order(streams in prop::collection::vec(prop::collection::vec(fate(), 0..6), 20)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            futures::future::try_join_all(streams.into_iter().map(read_whole)).await.map(|_| ())
        })?;
    }
}
