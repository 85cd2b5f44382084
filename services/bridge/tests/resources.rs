//! Tests of each bounded resource of the bridge: hostile clients exhaust the resource, while the
//! small request, control and stream of a well-behaved client work as usual.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod common;

use std::time::Duration;

use cc_tests::ws::raw;
use common::fake::Fault;
use common::{Bridge, Client, Fake};
use protocol::{ExecutionId, State};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The maximum time of a request of the well-behaved client: far more than a request takes on a
/// busy machine, and less than the time limits of hostile clients.
const USUAL: Duration = Duration::from_secs(8);

/// The well-behaved client, with a running execution.
struct Witness {
    fake: Fake,
    client: Client,
    id: ExecutionId,
    written: u64,
}

impl Witness {
    async fn start(args: &[&str]) -> (Fake, Bridge, Self) {
        let fake = Fake::start().await;
        let bridge = Bridge::start(fake.addr, args).await;
        let mut client = bridge.connect().await;
        let id: ExecutionId = client.start("witness").await.parse().unwrap();
        fake.state(id, State::Running);
        let witness = Self {
            fake: fake.clone(),
            client,
            id,
            written: 0,
        };
        (fake, bridge, witness)
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        let call = self.client.call(method, params);
        let answer = tokio::time::timeout(USUAL, call).await;
        let answer = answer.unwrap_or_else(|_| panic!("{method} was delayed"));
        answer.unwrap()
    }

    /// Checks a small request, two controls and the stream.
    async fn works(&mut self) {
        assert_eq!(self.call("ping", json!({})).await, json!({}));
        for kind in ["PAUSE", "RESUME"] {
            let params = json!({"type": kind, "executionId": self.id});
            let answer = self.call("control", params).await;
            assert!(answer.is_object(), "{answer}");
        }
        let page = vec![b'w'; 300_000];
        self.written += page.len() as u64;
        self.fake.write(self.id, &page);
        let streamed = self.client.wait_output(self.id, self.written);
        let streamed = tokio::time::timeout(USUAL, streamed).await;
        assert!(streamed.is_ok(), "the stream was delayed");
        assert!(self.client.gaps(self.id).is_empty());
    }

    /// Checks an execute with a prompt of this size.
    async fn executes(&mut self, bytes: usize) {
        let params = json!({"prompt": "x".repeat(bytes)});
        let answer = self.call("execute", params).await;
        assert!(answer.is_object(), "{answer}");
    }
}

/// Returns the value of one of the bridge's metrics.
async fn metric(bridge: &Bridge, name: &str) -> u64 {
    let page = bridge.get("/metrics").await.1;
    let mut lines = page.as_str().unwrap().lines();
    let line = lines.find_map(|l| l.strip_prefix(&format!("bridge_{name} ")));
    line.unwrap().parse().unwrap()
}

async fn until_metric(bridge: &Bridge, name: &str, condition: impl Fn(u64) -> bool) {
    let wait = async {
        while !condition(metric(bridge, name).await) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let wait = tokio::time::timeout(common::SOON, wait).await;
    assert!(wait.is_ok(), "the condition on {name} never held");
}

/// Sends a message of a client that does not read. Returns false if the send blocks, because the
/// bridge has stopped reading from this session.
async fn send(client: &mut Client, message: &Value) -> bool {
    let text = message.to_string();
    let sent = client.try_send_text(&text);
    let sent = tokio::time::timeout(Duration::from_millis(300), sent).await;
    matches!(sent, Ok(Ok(())))
}

/// Connects a client that sends requests and never reads.
async fn flood(bridge: &Bridge, count: u64, method: &str, params: &Value) -> Client {
    let mut client = bridge.connect_deaf().await;
    for id in 0..count {
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        if !send(&mut client, &request).await {
            break;
        }
    }
    client
}

/// Adds an execution whose status is almost as large as the limit.
fn large_status(fake: &Fake) -> ExecutionId {
    let id = fake.add(State::Completed, b"");
    fake.set(id, |e| e.status.stderr_tail = "\u{1}".repeat(10_000));
    id
}

/// `inboundBytes`: unfinished messages and fragments.
#[tokio::test]
async fn unfinished_large_messages_do_not_delay_others() {
    let args = [
        "--inbound-bytes",
        "4000000",
        "--message-bytes",
        "1000000",
        "--ping-ms",
        "2000",
    ];
    for fragments in [false, true] {
        let (_fake, bridge, mut witness) = Witness::start(&args).await;
        let mut holders = Vec::new();
        for _ in 0..10 {
            let mut holder = raw::upgraded(bridge.addr).await.unwrap();
            let sent = vec![b'x'; 600_000];
            let head = if fragments {
                raw::frame_head(raw::FIRST_FRAGMENT, 600_000)
            } else {
                raw::frame_head(raw::TEXT, 900_000)
            };
            holder.write_all(&head).await.unwrap();
            // The bridge does not read messages without memory.
            let sending = tokio::time::timeout(Duration::from_millis(300), holder.write_all(&sent));
            let _ = sending.await;
            holders.push(holder);
        }
        until_metric(&bridge, "inbound_bytes", |n| n > 1_000_000).await;
        witness.works().await;
        witness.executes(1_000).await;
        // The oldest message is evicted.
        witness.executes(500_000).await;
        assert!(metric(&bridge, "inbound_bytes").await <= 4_000_000);
    }
}

/// `outboundBytes`: answers.
#[tokio::test]
async fn unread_answers_do_not_delay_others() {
    let args = ["--outbound-bytes", "2097152", "--sessions", "20"];
    let (fake, bridge, mut witness) = Witness::start(&args).await;
    let id = large_status(&fake);
    let params = json!({"executionId": id});
    let resume = json!({"type": "RESUME", "executionId": id});
    let mut floods = Vec::new();
    for _ in 0..4 {
        floods.push(flood(&bridge, 300, "status", &params).await);
        floods.push(flood(&bridge, 300, "control", &resume).await);
    }
    witness.works().await;
    witness.executes(1_000).await;
    // Answers are charged before they are received from claude-api.
    assert!(metric(&bridge, "outbound_bytes").await <= 2_097_152 + 4 * 65_536);
}

/// `outboundBytes`: output.
#[tokio::test]
async fn unread_views_do_not_delay_others() {
    let args = ["--outbound-bytes", "1048576", "--sessions", "20"];
    let (fake, bridge, mut witness) = Witness::start(&args).await;
    let ids: Vec<_> = (0..30)
        .map(|_| fake.add(State::Running, &[b'x'; 400_000]))
        .collect();
    let mut views = Vec::new();
    for on_slow in ["wait", "skip", "wait", "skip"] {
        let mut client = bridge.connect_deaf().await;
        for id in &ids {
            let params = json!({"executionId": id, "onSlow": on_slow});
            client.request("attach", params).await;
        }
        views.push(client);
    }
    until_metric(&bridge, "viewers", |n| n == 1 + 4 * 30).await;
    until_metric(&bridge, "outbound_bytes", |n| n >= 400_000).await;
    witness.works().await;
    for id in &ids {
        fake.write(*id, &[b'y'; 400_000]);
    }
    witness.works().await;
    witness.executes(1_000).await;
    // Each view may have read one more chunk when the memory ran out.
    let used = metric(&bridge, "outbound_bytes").await;
    assert!(used <= 1_048_576 + 4 * 30 * 65_536 / 2, "{used}");
    // A client that reads later receives everything, in order.
    for id in &ids {
        fake.end(*id, State::Completed);
    }
    let client = views.swap_remove(0);
    client.read(true);
    for id in &ids {
        client.wait_terminal(id).await;
        assert_eq!(client.received(id), 800_000);
        assert!(client.gaps(id).is_empty());
    }
}

/// `outboundBytes`: views of one session hold a part of a character, while other clients use the
/// memory.
#[tokio::test]
async fn characters_in_two_parts_are_sent_while_memory_is_short() {
    let args = ["--outbound-bytes", "1048576", "--sessions", "20"];
    let (fake, bridge, _witness) = Witness::start(&args).await;
    let large: Vec<_> = (0..30)
        .map(|_| fake.add(State::Running, &[b'x'; 400_000]))
        .collect();
    let mut hogs = Vec::new();
    for _ in 0..2 {
        let mut client = bridge.connect_deaf().await;
        for id in &large {
            client.request("attach", json!({"executionId": id})).await;
        }
        hogs.push(client);
    }
    until_metric(&bridge, "outbound_bytes", |n| n >= 524_288).await;
    let ids: Vec<_> = (0..6).map(|_| fake.add(State::Running, b"")).collect();
    let mut client = bridge.connect().await;
    for id in &ids {
        client.request("attach", json!({"executionId": id})).await;
    }
    let (first, second) = "x\u{20ac}".as_bytes().split_at(3);
    for id in &ids {
        fake.write(*id, first);
    }
    let reads = async {
        for id in &ids {
            client.wait_output(id, 1).await;
        }
        for id in &ids {
            fake.write(*id, second);
            fake.end(*id, State::Completed);
        }
        for id in &ids {
            assert_eq!(client.wait_terminal(id).await.0, "x\u{20ac}".as_bytes());
        }
    };
    let reads = tokio::time::timeout(USUAL, reads).await;
    reads.expect("the streams were delayed");
}

/// The memory of lists.
#[tokio::test]
async fn unread_lists_do_not_delay_others() {
    let (fake, bridge, mut witness) = Witness::start(&[]).await;
    for _ in 0..100 {
        large_status(&fake);
    }
    let mut floods = Vec::new();
    for _ in 0..10 {
        floods.push(flood(&bridge, 20, "list", &json!({"limit": 1000})).await);
    }
    witness.works().await;
    let page = witness.call("list", json!({"limit": 1000})).await;
    assert!(page["next"].is_string(), "{page}");
}

/// The memory of batches until their last answer.
#[tokio::test]
async fn unanswered_batches_do_not_delay_others() {
    let (fake, bridge, mut witness) = Witness::start(&["--outbound-bytes", "2097152"]).await;
    let id = large_status(&fake);
    fake.change(|w| w.faults.extend(vec![Fault::Hang; 10]));
    let entry = |n: u64, method: &str, params: Value| {
        let version = "2.0";
        json!({"jsonrpc": version, "id": n, "method": method, "params": params})
    };
    let mut holders = Vec::new();
    for _ in 0..10 {
        let mut holder = bridge.connect_deaf().await;
        for round in 0..40 {
            let mut batch = vec![entry(round * 50, "execute", json!({"prompt": "x"}))];
            let status = |n| entry(round * 50 + n, "status", json!({"executionId": id}));
            batch.extend((1..40).map(status));
            if !send(&mut holder, &Value::from(batch)).await {
                break;
            }
        }
        holders.push(holder);
    }
    fake.until(|w| w.puts.len() > 10).await;
    witness.works().await;
    witness.executes(1_000).await;
}

/// The limits on sessions and on refused sessions.
#[tokio::test]
async fn sessions_at_the_limit_do_not_delay_others() {
    let (_fake, bridge, mut witness) = Witness::start(&["--sessions", "20"]).await;
    let mut open = Vec::new();
    for _ in 0..350 {
        open.push(raw::upgraded(bridge.addr).await.unwrap());
    }
    witness.works().await;
    witness.executes(1_000).await;
    // One more session is refused with -32001, or with 503 when there are too many refusals.
    let mut more = raw::upgraded(bridge.addr).await.unwrap();
    let mut answer = [0; 12];
    let read = tokio::time::timeout(USUAL, more.read_exact(&mut answer)).await;
    read.expect("no answer").unwrap();
    assert!(&answer == b"HTTP/1.1 101" || &answer == b"HTTP/1.1 503");
    drop(open);
    until_metric(&bridge, "sessions", |n| n == 1).await;
    bridge.connect().await;
}

/// The limit on connections: heads that never end.
#[tokio::test]
async fn handshakes_that_never_end_do_not_delay_others() {
    let (_fake, bridge, mut witness) =
        Witness::start(&["--sessions", "20", "--connections", "500"]).await;
    let mut open = Vec::new();
    for _ in 0..600 {
        let mut stream = TcpStream::connect(bridge.addr).await.unwrap();
        stream
            .write_all(b"GET /ws HTTP/1.1\r\nHost: lo")
            .await
            .unwrap();
        open.push(stream);
    }
    witness.works().await;
    let connected = tokio::time::timeout(USUAL, bridge.connect()).await;
    connected.expect("a handshake was delayed");
    // The oldest connection was closed for the new one.
    let mut end = Vec::new();
    let read = tokio::time::timeout(USUAL, open[0].read_to_end(&mut end)).await;
    assert!(read.is_ok(), "the oldest connection was not closed");
    // A head has a time limit of 10 s.
    let last = open.last_mut().unwrap();
    let read = tokio::time::timeout(Duration::from_secs(15), last.read_to_end(&mut end)).await;
    assert!(read.is_ok(), "the head has no time limit");
}

/// The limit on connections: idle connections.
#[tokio::test]
async fn idle_connections_do_not_delay_others() {
    let args = [
        "--sessions",
        "20",
        "--connections",
        "500",
        "--keep-alive-ms",
        "12000",
    ];
    let (_fake, bridge, mut witness) = Witness::start(&args).await;
    let request = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut open = Vec::new();
    for _ in 0..600 {
        let mut stream = TcpStream::connect(bridge.addr).await.unwrap();
        stream.write_all(request).await.unwrap();
        open.push(stream);
    }
    witness.works().await;
    let live = tokio::time::timeout(USUAL, bridge.get("/health/live")).await;
    assert_eq!(live.expect("a request was delayed").0, 200);
    let last = open.last_mut().unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), last.read_to_end(&mut answer)).await;
    assert!(
        read.is_ok_and(|r| r.is_ok()),
        "an idle connection was not closed"
    );
    assert!(answer.starts_with(b"HTTP/1.1 200"));
}

/// Calls in flight: attaches and statuses that claude-api does not answer.
#[tokio::test]
async fn hanging_attaches_and_statuses_do_not_delay_others() {
    let (fake, bridge, mut witness) = Witness::start(&["--call-ms", "60000"]).await;
    let id = fake.add(State::Running, b"");
    fake.change(|w| w.stuck.push(id));
    let params = json!({"executionId": id});
    let mut floods = Vec::new();
    for _ in 0..5 {
        floods.push(flood(&bridge, 300, "attach", &params).await);
        floods.push(flood(&bridge, 300, "status", &params).await);
    }
    witness.works().await;
    witness.executes(1_000).await;
    let answer = witness
        .call("status", json!({"executionId": witness.id}))
        .await;
    assert!(answer.is_object(), "{answer}");
}

/// `inboundBytes`: executes that claude-api does not accept.
#[tokio::test]
async fn hanging_executes_do_not_delay_others() {
    let (fake, bridge, mut witness) = Witness::start(&["--inbound-bytes", "8000000"]).await;
    fake.change(|w| w.faults.extend(vec![Fault::Hang; 4]));
    let mut floods = Vec::new();
    for _ in 0..4 {
        for bytes in [1_000_000, 60_000] {
            let params = json!({"prompt": "x".repeat(bytes)});
            floods.push(flood(&bridge, 20, "execute", &params).await);
        }
    }
    fake.until(|w| w.puts.len() > 4).await;
    witness.works().await;
    assert!(metric(&bridge, "inbound_bytes").await <= 8_000_000);
}

/// `inboundBytes`: input that claude-api does not accept.
#[tokio::test]
async fn hanging_inputs_do_not_delay_others() {
    let args = ["--inbound-bytes", "8000000", "--call-ms", "60000"];
    let (fake, bridge, mut witness) = Witness::start(&args).await;
    let id = fake.add(State::Running, b"");
    let mut floods = Vec::new();
    for bytes in [1_000_000, 60_000, 10] {
        let data = "x".repeat(bytes);
        let params = json!({"executionId": id, "offset": 0, "data": data});
        floods.push(flood(&bridge, 50, "input", &params).await);
    }
    witness.works().await;
    witness.executes(1_000).await;
    assert!(metric(&bridge, "inbound_bytes").await <= 8_000_000);
}
