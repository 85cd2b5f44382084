//! The upstream stream of statuses against a simple model: whatever becomes of its connections, an
//! execution never goes back, the first status of each connection is marked, a silence is told, and
//! the terminal one is told once, as the last.

#![allow(clippy::unwrap_used, reason = "a panic is a test's failure")]

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bridge::upstream::follow::{FollowItem, FollowStream};
use bridge::upstream::{Times, Upstream};
use jiff::Timestamp;
use proptest::prelude::*;
use protocol::{ExecutionId, Problem, ProblemType, State, Status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Statuses that are not terminal; one is told apart from another by its `outputBytes`, its
/// connection by `durationMs`.
const STATUSES: u64 = 20;
/// After this a head or a line is given up.
const SHORT: Duration = Duration::from_secs(1);

/// What becomes of one connection.
#[derive(Debug, Clone)]
enum Fate {
    /// Closed before an answer.
    Closed,
    /// Answered with this code, in nobody's format.
    Code(u16),
    /// So many statuses, then a clean end, too early.
    Ended(u64),
    /// So many statuses and a part of the next, then it breaks.
    Cut(u64),
    /// So many statuses, then it is reset.
    Reset(u64),
    /// So many statuses, then nothing, and it stays open; with 0 there is a head alone.
    Stalled(u64),
    /// Not even a head.
    Silent,
    /// So many statuses, then a line that is none.
    Noise(u64),
}

/// How it ends when no fate is left.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Last {
    Terminal,
    /// Nobody knows it any more.
    Gone,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        1 => Just(Fate::Closed),
        1 => prop::sample::select(vec![500, 502, 503]).prop_map(Fate::Code),
        2 => (0..4_u64).prop_map(Fate::Ended),
        2 => (0..4_u64).prop_map(Fate::Cut),
        2 => (0..4_u64).prop_map(Fate::Reset),
        1 => (0..4_u64).prop_map(Fate::Stalled),
        1 => Just(Fate::Silent),
        1 => (0..4_u64).prop_map(Fate::Noise),
    ]
}

fn script() -> impl Strategy<Value = (Vec<Fate>, Last)> {
    let last = prop_oneof![4 => Just(Last::Terminal), 1 => Just(Last::Gone)];
    (prop::collection::vec(fate(), 0..6), last)
}

fn line(id: ExecutionId, connection: u64, number: u64) -> Vec<u8> {
    let mut status = Status::queued(id, Timestamp::UNIX_EPOCH, "w".into());
    status.state = match number {
        0 => State::Queued,
        STATUSES => State::Completed,
        _ => State::Running,
    };
    status.output_bytes = number;
    status.duration_ms = Some(connection);
    let mut line = serde_json::to_vec(&status).unwrap();
    line.push(b'\n');
    line
}

struct Server {
    id: ExecutionId,
    fates: VecDeque<Fate>,
    last: Last,
    /// The present status.
    now: u64,
    /// Those that were asked for a status so far.
    connections: u64,
}

impl Server {
    /// A fate a connection; when there is none left, to the end.
    async fn serve(mut self, listener: TcpListener) {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            // A client that has given it up is gone in the middle of it.
            let _ = self.connection(&mut stream).await;
        }
    }

    async fn connection(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        while asked(stream).await {
            self.connections += 1;
            let Some(fate) = self.fates.pop_front() else {
                return self.finish(stream).await;
            };
            let count = match fate {
                Fate::Closed => return Ok(()),
                Fate::Silent => return stream.read_u8().await.map(drop),
                Fate::Code(code) => {
                    let answer = format!("HTTP/1.1 {code} No\r\ncontent-length: 0\r\n\r\n");
                    stream.write_all(answer.as_bytes()).await?;
                    continue;
                }
                Fate::Ended(count)
                | Fate::Cut(count)
                | Fate::Reset(count)
                | Fate::Stalled(count)
                | Fate::Noise(count) => count,
            };
            head(stream).await?;
            self.tell(stream, count).await?;
            match fate {
                Fate::Cut(_) => {
                    let next = line(self.id, self.connections, self.now);
                    chunk(stream, &next[..next.len() / 2]).await?;
                    return Ok(());
                }
                Fate::Reset(_) => return stream.set_zero_linger(),
                Fate::Stalled(_) => return stream.read_u8().await.map(drop),
                Fate::Noise(_) => {
                    chunk(stream, b"{\"state\":\n").await?;
                    return stream.read_u8().await.map(drop);
                }
                _ => stream.write_all(b"0\r\n\r\n").await?,
            }
        }
        Ok(())
    }

    /// The present status first, then each change; never the terminal one.
    async fn tell(&mut self, stream: &mut TcpStream, count: u64) -> io::Result<()> {
        for told in 0..count {
            if told > 0 {
                self.now = (STATUSES - 1).min(self.now + 1);
            }
            chunk(stream, &line(self.id, self.connections, self.now)).await?;
        }
        // It goes on while nobody listens.
        self.now = (STATUSES - 1).min(self.now + 1);
        Ok(())
    }

    async fn finish(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        if self.last == Last::Gone {
            let body = Problem::new(ProblemType::NotFound, "nobody knows it");
            let body = serde_json::to_string(&body).unwrap();
            let head = "HTTP/1.1 404 Not Found\r\ncontent-type: application/problem+json";
            let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            return stream.write_all(answer.as_bytes()).await;
        }
        head(stream).await?;
        self.tell(stream, 3).await?;
        chunk(stream, &line(self.id, self.connections, STATUSES)).await?;
        stream.write_all(b"0\r\n\r\n").await
    }
}

/// Whether there is one more request.
async fn asked(stream: &mut TcpStream) -> bool {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return false,
        }
    }
    assert!(String::from_utf8(head).unwrap().contains("?follow=true "));
    true
}

async fn head(stream: &mut TcpStream) -> io::Result<()> {
    let kind = "content-type: application/x-ndjson\r\ntransfer-encoding: chunked";
    let head = format!("HTTP/1.1 200 OK\r\n{kind}\r\n\r\n");
    stream.write_all(head.as_bytes()).await
}

async fn chunk(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    let size = format!("{:x}\r\n", bytes.len());
    stream.write_all(size.as_bytes()).await?;
    stream.write_all(bytes).await?;
    stream.write_all(b"\r\n").await
}

async fn follow_whole((fates, last): (Vec<Fate>, Last)) -> Result<(), TestCaseError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let id = ExecutionId::random();
    let stalls = fates.iter().any(|fate| matches!(fate, Fate::Stalled(_)));
    let server = Server {
        id,
        fates: fates.into(),
        last,
        now: 0,
        connections: 0,
    };
    let server = tokio::spawn(server.serve(listener));
    let minute = Duration::from_secs(60);
    let times = Times {
        call: minute,
        accept: minute,
        attempt: minute,
        head: SHORT,
        silence: SHORT,
        stall: minute,
        heartbeat: minute,
    };
    let mut follow = FollowStream::new(Upstream::new(&base, times).unwrap(), id);
    let (mut at, mut connection, mut unreachable) = (0, None, false);
    loop {
        let heard = tokio::time::timeout(minute, follow.next()).await;
        match heard.map_err(|_| TestCaseError::fail(format!("it stands still at {at}")))? {
            FollowItem::Status(status, first) => {
                prop_assert_eq!(status.execution_id, id);
                prop_assert!(
                    status.output_bytes >= at,
                    "back to {} from {}",
                    status.output_bytes,
                    at
                );
                prop_assert_eq!(first, status.duration_ms != connection, "a mark at {}", at);
                connection = status.duration_ms;
                at = status.output_bytes;
                if status.state.is_terminal() {
                    prop_assert_eq!((at, last), (STATUSES, Last::Terminal));
                    break;
                }
            }
            FollowItem::Unreachable(_) => unreachable = true,
            FollowItem::Gone => {
                prop_assert_eq!(last, Last::Gone);
                break;
            }
        }
    }
    prop_assert!(unreachable || !stalls, "a silence was not told");
    // Long enough to ask again, and be answered.
    let more = tokio::time::timeout(SHORT, follow.next()).await;
    prop_assert!(more.is_err(), "something behind the end: {:?}", more);
    server.abort();
    Ok(())
}

proptest! {
    // Each fault costs a tenth of a second: many streams side by side, few cases.
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 10, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_status_goes_back_and_the_terminal_one_is_told_once(streams in prop::collection::vec(script(), 20)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            futures::future::try_join_all(streams.into_iter().map(follow_whole)).await.map(|_| ())
        })?;
    }
}
