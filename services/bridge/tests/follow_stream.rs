//! Property test of the upstream stream of statuses against a simple model, with faults on its
//! connections. Statuses never go back, the first status of each connection is marked, a silence
//! is reported, and the terminal status is yielded once, as the last.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

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

/// The number of statuses before the terminal one. `outputBytes` is the number of a status, and
/// `durationMs` the number of its connection.
const STATUSES: u64 = 20;
/// The timeout for a head or a line.
const SHORT: Duration = Duration::from_secs(1);

/// The fault of one connection. A number counts the complete statuses before the fault.
#[derive(Debug, Clone)]
enum Fault {
    /// The connection is closed before an answer.
    Closed,
    /// The answer has this code and no body.
    Code(u16),
    /// The stream ends cleanly, but too early.
    Ended(u64),
    /// The connection ends in the middle of a status.
    Cut(u64),
    /// The connection is reset.
    Reset(u64),
    /// The connection stays open without further bytes; with 0 there is only a head.
    Stalled(u64),
    /// The connection stays open without a head.
    Silent,
    /// A line is not a status.
    Noise(u64),
}

/// The end of the execution, after all faults.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    /// The terminal status.
    Terminal,
    /// The execution is unknown.
    Gone,
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        1 => Just(Fault::Closed),
        1 => prop::sample::select(vec![500, 502, 503]).prop_map(Fault::Code),
        2 => (0..4_u64).prop_map(Fault::Ended),
        2 => (0..4_u64).prop_map(Fault::Cut),
        2 => (0..4_u64).prop_map(Fault::Reset),
        1 => (0..4_u64).prop_map(Fault::Stalled),
        1 => Just(Fault::Silent),
        1 => (0..4_u64).prop_map(Fault::Noise),
    ]
}

fn script() -> impl Strategy<Value = (Vec<Fault>, End)> {
    let end = prop_oneof![4 => Just(End::Terminal), 1 => Just(End::Gone)];
    (prop::collection::vec(fault(), 0..6), end)
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
    faults: VecDeque<Fault>,
    end: End,
    /// The number of the present status.
    now: u64,
    /// The number of requests for a status so far.
    connections: u64,
}

impl Server {
    /// Serves one fault per connection, and then the end.
    async fn serve(mut self, listener: TcpListener) {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            // The client may give up the connection, so errors are ignored.
            let _ = self.connection(&mut stream).await;
        }
    }

    async fn connection(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        while read_request(stream).await {
            self.connections += 1;
            let Some(fault) = self.faults.pop_front() else {
                return self.finish(stream).await;
            };
            let count = match fault {
                Fault::Closed => return Ok(()),
                Fault::Silent => return stream.read_u8().await.map(drop),
                Fault::Code(code) => {
                    let answer = format!("HTTP/1.1 {code} No\r\ncontent-length: 0\r\n\r\n");
                    stream.write_all(answer.as_bytes()).await?;
                    continue;
                }
                Fault::Ended(count)
                | Fault::Cut(count)
                | Fault::Reset(count)
                | Fault::Stalled(count)
                | Fault::Noise(count) => count,
            };
            head(stream).await?;
            self.send_statuses(stream, count).await?;
            match fault {
                Fault::Cut(_) => {
                    let next = line(self.id, self.connections, self.now);
                    chunk(stream, &next[..next.len() / 2]).await?;
                    return Ok(());
                }
                Fault::Reset(_) => return stream.set_zero_linger(),
                Fault::Stalled(_) => return stream.read_u8().await.map(drop),
                Fault::Noise(_) => {
                    chunk(stream, b"{\"state\":\n").await?;
                    return stream.read_u8().await.map(drop);
                }
                _ => stream.write_all(b"0\r\n\r\n").await?,
            }
        }
        Ok(())
    }

    /// Sends the present status and then changes, without the terminal one.
    async fn send_statuses(&mut self, stream: &mut TcpStream, count: u64) -> io::Result<()> {
        for sent in 0..count {
            if sent > 0 {
                self.now = (STATUSES - 1).min(self.now + 1);
            }
            chunk(stream, &line(self.id, self.connections, self.now)).await?;
        }
        // The status changes between two connections.
        self.now = (STATUSES - 1).min(self.now + 1);
        Ok(())
    }

    /// Serves the end of the execution.
    async fn finish(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        if self.end == End::Gone {
            let body = Problem::new(ProblemType::NotFound, "no such execution");
            let body = serde_json::to_string(&body).unwrap();
            let head = "HTTP/1.1 404 Not Found\r\ncontent-type: application/problem+json";
            let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            return stream.write_all(answer.as_bytes()).await;
        }
        head(stream).await?;
        self.send_statuses(stream, 3).await?;
        chunk(stream, &line(self.id, self.connections, STATUSES)).await?;
        stream.write_all(b"0\r\n\r\n").await
    }
}

/// Reads a request for statuses. Returns false at the end of the connection.
async fn read_request(stream: &mut TcpStream) -> bool {
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

async fn follow_whole((faults, end): (Vec<Fault>, End)) -> Result<(), TestCaseError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let id = ExecutionId::random();
    let stalls = faults
        .iter()
        .any(|fault| matches!(fault, Fault::Stalled(_)));
    let server = Server {
        id,
        faults: faults.into(),
        end,
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
        let item = tokio::time::timeout(minute, follow.next()).await;
        match item.map_err(|_| TestCaseError::fail(format!("no item after status {at}")))? {
            FollowItem::Status(status, first) => {
                prop_assert_eq!(status.execution_id, id);
                prop_assert!(
                    status.output_bytes >= at,
                    "status {} after status {}",
                    status.output_bytes,
                    at
                );
                prop_assert_eq!(
                    first,
                    status.duration_ms != connection,
                    "wrong mark after status {}",
                    at
                );
                connection = status.duration_ms;
                at = status.output_bytes;
                if status.state.is_terminal() {
                    prop_assert_eq!((at, end), (STATUSES, End::Terminal));
                    break;
                }
            }
            FollowItem::Unreachable(_) => unreachable = true,
            FollowItem::Gone => {
                prop_assert_eq!(end, End::Gone);
                break;
            }
        }
    }
    prop_assert!(unreachable || !stalls, "a silence was not reported");
    // The timeout is long enough for another request and its answer.
    let more = tokio::time::timeout(SHORT, follow.next()).await;
    prop_assert!(more.is_err(), "an item after the end: {:?}", more);
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
    fn no_status_goes_back_and_the_terminal_one_is_yielded_once(
        streams in prop::collection::vec(script(), 20),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            futures::future::try_join_all(streams.into_iter().map(follow_whole)).await.map(|_| ())
        })?;
    }
}
