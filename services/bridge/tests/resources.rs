//! For each resource of the bridge: clients that do the worst at it, while another client's small
//! request, control and stream work as usual.

#![allow(clippy::unwrap_used, reason = "a panic is a test's failure")]

mod common;

use std::time::Duration;

use cc_tests::ws::raw;
use common::fake::Fault;
use common::{Bridge, Client, Fake};
use protocol::{ExecutionId, State};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Far more than a request takes on a busy machine, and less than the time limits that hostile
/// clients could use up.
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
        let answer = answer.unwrap_or_else(|_| panic!("{method} was held up"));
        answer.unwrap()
    }

    /// A small request, a control, an execute and a stream.
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
        assert!(streamed.is_ok(), "the stream was held up");
        assert!(self.client.gaps(self.id).is_empty());
    }

    async fn executes(&mut self, bytes: usize) {
        let params = json!({"prompt": "x".repeat(bytes)});
        let answer = self.call("execute", params).await;
        assert!(answer.is_object(), "{answer}");
    }
}

/// The value of one of the bridge's numbers.
async fn number(bridge: &Bridge, name: &str) -> u64 {
    let page = bridge.get("/metrics").await.1;
    let mut lines = page.as_str().unwrap().lines();
    let line = lines.find_map(|l| l.strip_prefix(&format!("bridge_{name} ")));
    line.unwrap().parse().unwrap()
}

async fn until_number(bridge: &Bridge, name: &str, good: impl Fn(u64) -> bool) {
    let wait = async {
        while !good(number(bridge, name).await) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let wait = tokio::time::timeout(common::SOON, wait).await;
    assert!(wait.is_ok(), "{name} never came to be so");
}

/// Sends a message of a client that does not read. Says whether the session took it: one that the
/// bridge reads no further takes no more.
async fn send(client: &mut Client, message: &Value) -> bool {
    let text = message.to_string();
    let sent = client.try_send_text(&text);
    let sent = tokio::time::timeout(Duration::from_millis(300), sent).await;
    matches!(sent, Ok(Ok(())))
}

/// A client that asks and never reads.
async fn flood(bridge: &Bridge, count: u64, method: &str, params: &Value) -> Client {
    let mut client = bridge.connect_deaf().await;
    for id in 0..count {
        let ask = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        if !send(&mut client, &ask).await {
            break;
        }
    }
    client
}

/// One execution whose status is nearly as large as one may be.
fn large_status(fake: &Fake) -> ExecutionId {
    let id = fake.add(State::Completed, b"");
    fake.set(id, |e| e.status.stderr_tail = "\u{1}".repeat(10_000));
    id
}

/// `inboundBytes`, whole messages and fragments.
#[tokio::test]
async fn large_messages_half_sent() {
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
            // Messages without room are not read.
            let sending = tokio::time::timeout(Duration::from_millis(300), holder.write_all(&sent));
            let _ = sending.await;
            holders.push(holder);
        }
        until_number(&bridge, "inbound_bytes", |n| n > 1_000_000).await;
        witness.works().await;
        witness.executes(1_000).await;
        // The oldest message is evicted.
        witness.executes(500_000).await;
        assert!(number(&bridge, "inbound_bytes").await <= 4_000_000);
    }
}

/// `outboundBytes`, answers.
#[tokio::test]
async fn answers_never_read() {
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
    // Answers under way are charged before they exist.
    assert!(number(&bridge, "outbound_bytes").await <= 2_097_152 + 4 * 65_536);
}

/// `outboundBytes`, output.
#[tokio::test]
async fn views_never_read() {
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
    until_number(&bridge, "viewers", |n| n == 1 + 4 * 30).await;
    until_number(&bridge, "outbound_bytes", |n| n >= 400_000).await;
    witness.works().await;
    for id in &ids {
        fake.write(*id, &[b'y'; 400_000]);
    }
    witness.works().await;
    witness.executes(1_000).await;
    // Each view may have taken a chunk when the last of the room went.
    let used = number(&bridge, "outbound_bytes").await;
    assert!(used <= 1_048_576 + 4 * 30 * 65_536 / 2, "{used}");
    // A client that reads in the end gets everything, in order.
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

/// `outboundBytes`: views of one session that have a part of a character, when others have taken
/// the room.
#[tokio::test]
async fn characters_in_two_parts_when_room_is_short() {
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
    until_number(&bridge, "outbound_bytes", |n| n >= 524_288).await;
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
    reads.expect("the streams were held up");
}

/// Memory of lists while claude-api is asked, and their turns.
#[tokio::test]
async fn lists_never_read() {
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

/// Memory of batches until their last answer.
#[tokio::test]
async fn batches_that_are_never_answered() {
    let (fake, bridge, mut witness) = Witness::start(&["--outbound-bytes", "2097152"]).await;
    let id = large_status(&fake);
    fake.change(|w| w.faults.extend(vec![Fault::Hang; 10]));
    let entry = |n: u64, method: &str, params: Value| json!({"jsonrpc": "2.0", "id": n, "method": method, "params": params});
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

/// Places for sessions, and for their refusals.
#[tokio::test]
async fn all_places_for_sessions_taken() {
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
    until_number(&bridge, "sessions", |n| n == 1).await;
    bridge.connect().await;
}

/// Connections in all: heads that never end.
#[tokio::test]
async fn handshakes_that_never_end() {
    let (_fake, bridge, mut witness) = Witness::start(&["--sessions", "20"]).await;
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
    connected.expect("a handshake was held up");
    // The oldest made room.
    let mut end = Vec::new();
    let read = tokio::time::timeout(USUAL, open[0].read_to_end(&mut end)).await;
    assert!(read.is_ok(), "the oldest connection stayed");
    // The newest has its 10 s, and no more.
    let last = open.last_mut().unwrap();
    let read = tokio::time::timeout(Duration::from_secs(15), last.read_to_end(&mut end)).await;
    assert!(read.is_ok(), "a head may take for ever");
}

/// Connections in all: idle ones.
#[tokio::test]
async fn connections_that_stay_idle() {
    let (_fake, bridge, mut witness) = Witness::start(&["--sessions", "20"]).await;
    let ask = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut open = Vec::new();
    for _ in 0..600 {
        let mut stream = TcpStream::connect(bridge.addr).await.unwrap();
        stream.write_all(ask).await.unwrap();
        open.push(stream);
    }
    witness.works().await;
    let live = tokio::time::timeout(USUAL, bridge.get("/health/live")).await;
    assert_eq!(live.expect("a request was held up").0, 200);
    let last = open.last_mut().unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(65), last.read_to_end(&mut answer)).await;
    assert!(read.is_ok_and(|r| r.is_ok()), "an idle connection stayed");
    assert!(answer.starts_with(b"HTTP/1.1 200"));
}

/// Calls under way: attaches and statuses of an execution that claude-api does not answer for.
#[tokio::test]
async fn attaches_and_statuses_that_hang() {
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
async fn executes_that_hang() {
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
    assert!(number(&bridge, "inbound_bytes").await <= 8_000_000);
}

/// `inboundBytes`: input that claude-api does not take.
#[tokio::test]
async fn inputs_that_hang() {
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
    assert!(number(&bridge, "inbound_bytes").await <= 8_000_000);
}
