//! Tests of the WebSocket: bad frames, closes, slow and dead peers, handshakes and the guard.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod common;

use std::time::Duration;

use cc_tests::harness::until;
use cc_tests::ws::{Client, Message, Options, raw};
use common::{Bridge, Fake, SOON, id_of};
use protocol::State;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn start(args: &[&str]) -> (Fake, Bridge) {
    let fake = Fake::start().await;
    let bridge = Bridge::start(fake.addr, args).await;
    (fake, bridge)
}

/// Sends a frame that is refused, and returns the error code.
async fn refused(client: &mut Client, message: Message) -> Value {
    client.send_frame(message).await;
    let error = client.wait_without_id().await;
    assert_eq!(error["id"], Value::Null);
    error["error"]["code"].clone()
}

#[tokio::test]
async fn bad_frames_are_refused_and_the_session_continues() {
    let (_fake, bridge) = start(&[]).await;
    let mut client = bridge.connect().await;
    for (message, code) in [
        (Message::binary(vec![1, 2, 3]), -32600),
        (Message::text("nonsense"), -32700),
        (
            Message::text(
                r#"{"jsonrpc":"2.0","id":1,"method":"execute","params":{"prompt":"\ud83d"}}"#,
            ),
            -32700,
        ),
        (Message::text("[]"), -32600),
        (Message::text("7"), -32600),
    ] {
        assert_eq!(refused(&mut client, message).await, code);
    }
    assert_eq!(client.call("ping", json!({})).await.unwrap(), json!({}));
    assert_eq!(
        client.call("input", json!({})).await.unwrap_err()["code"],
        -32602
    );
}

#[tokio::test]
async fn large_and_small_messages_are_all_answered_in_order() {
    let (fake, bridge) = start(&[]).await;
    let mut client = bridge.connect().await;
    let mut requests = Vec::new();
    for n in 0..6 {
        let prompt = "é".repeat(n * 40_000) + "x";
        requests.push(client.request("execute", json!({"prompt": prompt})).await);
        requests.push(client.request("ping", json!({})).await);
    }
    for request in requests {
        assert!(client.answer(request).await.is_ok());
    }
    let lengths: Vec<_> = fake
        .world()
        .puts
        .iter()
        .map(|(_, b)| b.prompt.len())
        .collect();
    assert_eq!(lengths, [1, 80_001, 160_001, 240_001, 320_001, 400_001]);
    assert_eq!(client.call("ping", json!({})).await.unwrap(), json!({}));
}

#[tokio::test]
async fn the_first_message_is_connected_and_a_close_is_answered() {
    let (_fake, bridge) = start(&[]).await;
    bridge.connect().await;
    let options = Options {
        path: "/ws/mcp".into(),
        ..Options::default()
    };
    // The bridge reads the limits a moment after its start.
    let connected = loop {
        let client = Client::connect_with(bridge.addr, options.clone()).await;
        let connected = client.connected();
        client.finish().await;
        if !connected["limits"].is_null() {
            break connected;
        }
    };
    assert_eq!(connected["protocol"], 1);
    assert!(connected["sessionId"].is_string() && connected["capabilities"].is_object());
    assert_eq!(connected["limits"]["messageBytes"], 13 << 20);
}

#[tokio::test]
async fn a_message_over_the_limit_is_closed_with_1009() {
    let (_fake, bridge) = start(&["--message-bytes", "2000"]).await;
    let mut client = bridge.connect().await;
    let big = "x".repeat(5_000_000);
    // The bridge reads the rest for a while, so the send may succeed or fail.
    let _ = client.try_send_text(&big).await;
    assert_eq!(client.wait_closed().await, 1009);
}

#[tokio::test]
async fn a_session_over_the_limit_is_refused_and_closed_with_1013() {
    let (_fake, bridge) = start(&["--sessions", "1"]).await;
    let first = bridge.connect().await;
    let refused = Client::try_connect(bridge.addr, Options::default());
    let refused = refused.await.unwrap();
    let error = refused.wait_without_id().await;
    assert_eq!(error["error"]["code"], -32001);
    assert_eq!(error["id"], Value::Null);
    assert_eq!(refused.wait_closed().await, 1013);
    drop(first);
    until_sessions(&bridge, 0).await;
    bridge.connect().await;
}

/// Waits until this number of sessions is open.
async fn until_sessions(bridge: &Bridge, count: u64) {
    let gauge = format!("bridge_sessions {count}\n");
    until(&gauge, SOON, async || {
        let (_, page) = bridge.get("/metrics").await;
        page.as_str().unwrap().contains(&gauge).then_some(())
    })
    .await;
}

/// Sends a raw request, and returns the whole answer.
async fn whole_answer(bridge: &Bridge, head: &str) -> String {
    let mut stream = TcpStream::connect(bridge.addr).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(SOON, stream.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn foreign_hosts_and_origins_get_no_upgrade() {
    let (_fake, bridge) = start(&[
        "--allowed-hosts",
        "my.example",
        "--allowed-origins",
        "https://app.example",
    ])
    .await;
    let upgrade = raw::UPGRADE;
    for (path, headers, kind) in [
        ("/ws", "Host: evil.example", "foreign-host"),
        (
            "/ws",
            "Host: localhost\r\nOrigin: http://localhost:3000",
            "foreign-origin",
        ),
        (
            "/ws/mcp",
            "Host: localhost\r\nOrigin: null",
            "foreign-origin",
        ),
        ("/metrics", "Host: evil.example", "foreign-host"),
        ("/nowhere", "Host: evil.example", "foreign-host"),
    ] {
        let answer = whole_answer(
            &bridge,
            &format!("GET {path} HTTP/1.1\r\n{headers}\r\n{upgrade}\r\n"),
        )
        .await;
        assert!(
            answer.starts_with("HTTP/1.1 403") && answer.contains(kind),
            "{answer}"
        );
    }
    for headers in [
        "Host: bridge:8003\r\n",
        "Host: my.example\r\nOrigin: https://app.example\r\n",
        "Host: localhost\r\nOrigin: http://localhost\r\n",
    ] {
        let stream = raw::upgraded_with(bridge.addr, headers).await;
        let head = raw::head(&mut stream.unwrap()).await.unwrap();
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    }
    let plain = whole_answer(
        &bridge,
        "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(plain.starts_with("HTTP/1.1 426"), "{plain}");
    assert_eq!(bridge.get("/nowhere").await.0, 404);
}

#[tokio::test]
async fn a_stop_closes_with_1012_and_cancels_nothing() {
    let (fake, mut bridge) = start(&["--disconnect-grace-ms", "0"]).await;
    let mut client = bridge.connect().await;
    let answer = client
        .call("execute", json!({"prompt": "x", "onDisconnect": "cancel"}))
        .await
        .unwrap();
    let id = id_of(&answer);
    fake.state(id, State::Running);
    fake.write(id, &[b'x'; 100_000]);
    bridge.stop.cancel();
    // The client checks that no frame follows the close.
    assert_eq!(client.wait_closed().await, 1012);
    tokio::time::timeout(SOON, &mut bridge.done)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(fake.world().cancels.is_empty());
}

#[tokio::test]
async fn on_disconnect_cancel_cancels_an_execution_that_no_client_views() {
    let (fake, bridge) = start(&["--disconnect-grace-ms", "200"]).await;
    let params = json!({"prompt": "x", "onDisconnect": "cancel"});
    let mut ids = Vec::new();
    for _ in 0..2 {
        let mut client = bridge.connect().await;
        let answer = client.call("execute", params.clone()).await.unwrap();
        ids.push(id_of(&answer));
    }
    // Both sessions have ended; another client views one of the executions within the grace.
    let mut other = bridge.connect().await;
    other.attach(ids[1], None).await.unwrap();
    let first = ids[0];
    fake.until(|w| w.cancels.contains(&first)).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(fake.world().cancels, [first]);
    // A disconnect alone is not a cancel: an execute sent just before it still reaches claude-api.
    let mut client = bridge.connect().await;
    client
        .request("execute", json!({"prompt": "fire and forget"}))
        .await;
    drop(client);
    fake.until(|w| w.puts.iter().any(|(_, b)| b.prompt == "fire and forget"))
        .await;
}

#[tokio::test]
async fn a_peer_that_answers_no_pings_or_does_not_read_is_dropped() {
    let (fake, bridge) = start(&["--ping-ms", "100"]).await;
    // This peer never reads, so it never answers a ping.
    let _silent = bridge.connect_deaf().await;
    until_sessions(&bridge, 1).await;
    until_sessions(&bridge, 0).await;
    // This peer sends, but does not read.
    let id = fake.add(State::Running, &vec![b'x'; 20 << 20]);
    let mut stuck = bridge.connect_deaf().await;
    stuck.request("attach", json!({"executionId": id})).await;
    let dropped = async {
        loop {
            let ping = json!({"jsonrpc": "2.0", "method": "ping"}).to_string();
            if stuck.try_send_text(&ping).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, dropped)
        .await
        .expect("the stuck peer was not dropped");
}

#[tokio::test]
async fn the_view_of_a_slow_client_skips_or_waits() {
    let (fake, bridge) = start(&["--skip-bytes", "100000"]).await;
    let size = 30 << 20;
    let id = fake.add(State::Running, b"");
    let mut skipping = bridge.connect().await;
    let params = json!({"executionId": id, "onSlow": "skip"});
    skipping.call("attach", params).await.unwrap();
    let mut waiting = bridge.connect().await;
    waiting.attach(id, None).await.unwrap();
    for client in [&skipping, &waiting] {
        client.read(false);
    }
    fake.write(id, &vec![b'y'; size]);
    // Without a reader, the skipping view continues, and the waiting view stops at full buffers.
    until("skipped output", SOON, async || {
        let (_, page) = bridge.get("/metrics").await;
        let line = page
            .as_str()
            .unwrap()
            .lines()
            .find(|l| l.starts_with("bridge_skipped_bytes_total"));
        let count: usize = line.unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        (count > size / 2).then_some(())
    })
    .await;
    fake.end(id, State::Completed);
    skipping.read(true);
    let (_, end) = skipping.wait_terminal(id).await;
    // The client checks that output and gaps reach up to the last byte.
    assert_eq!(end["outputBytes"], size);
    assert!(!skipping.gaps(id).is_empty());
    let page = bridge.get("/metrics").await.1;
    let gaps = format!("\nbridge_gaps_sent_total {}\n", skipping.gaps(id).len());
    assert!(page.as_str().unwrap().contains(&gaps), "{gaps}{page}");
    waiting.read(true);
    let (output, _) = waiting.wait_terminal(id).await;
    assert!(waiting.gaps(id).is_empty() && output.len() == size);
}

#[tokio::test]
async fn invalid_websocket_or_text_is_closed_with_its_code() {
    let (_fake, bridge) = start(&[]).await;
    let mut reserved = raw::frame_head(0xF1, 5);
    reserved.extend(vec![b'x'; 4 << 20]);
    let mut not_utf8 = raw::frame_head(raw::TEXT, 2);
    not_utf8.extend([0xFF; 2]);
    not_utf8.extend(vec![b'x'; 4 << 20]);
    for (bytes, code) in [(reserved, 1002u16), (not_utf8, 1007)] {
        let closed = async || {
            let stream = raw::upgraded(bridge.addr).await.unwrap();
            let (mut read, mut write) = stream.into_split();
            // The bridge need not read all bytes.
            let writing = async {
                let _ = write.write_all(&bytes).await;
                std::future::pending::<()>().await;
            };
            let mut received = Vec::new();
            let reading = tokio::time::timeout(SOON, read.read_to_end(&mut received));
            tokio::select! {
                end = reading => assert!(end.is_ok_and(|end| end.is_ok()), "{code}: a reset"),
                () = writing => {}
            }
            assert!(raw::has_close(&received, code), "no close frame");
        };
        futures::future::join_all((0..10).map(|_| closed())).await;
    }
}

#[tokio::test]
async fn a_large_message_waits_for_memory_and_small_ones_do_not() {
    let (_fake, bridge) = start(&["--inbound-bytes", "300000"]).await;
    let mut holder = raw::upgraded(bridge.addr).await.unwrap();
    holder
        .write_all(&raw::frame_head(raw::TEXT, 200_000))
        .await
        .unwrap();
    holder.write_all(&[b'x'; 150_000]).await.unwrap();
    let mut large = bridge.connect().await;
    let mut small = bridge.connect().await;
    until_charged(&bridge).await;
    let executed = large
        .request("execute", json!({"prompt": "x".repeat(200_000)}))
        .await;
    assert_eq!(small.call("ping", json!({})).await.unwrap(), json!({}));
    // The large message gets no answer meanwhile.
    let transcript = large.transcript();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(large.transcript(), transcript);
    drop(holder);
    assert!(large.answer(executed).await.unwrap().is_object());
}

/// A client cannot send a pong in the middle of a frame (RFC 6455, section 5.4), so the bytes of
/// the frame count as an answer.
#[tokio::test]
async fn a_client_that_uploads_slowly_is_not_dropped() {
    let (_fake, bridge) = start(&["--ping-ms", "200"]).await;
    let mut stream = raw::upgraded(bridge.addr).await.unwrap();
    let ping = json!({"jsonrpc": "2.0", "id": "late", "method": "ping", "params": {}}).to_string();
    let mut message = ping.into_bytes();
    message.resize(200_000, b' ');
    stream
        .write_all(&raw::frame_head(raw::TEXT, 200_000))
        .await
        .unwrap();
    for part in message.chunks(4096) {
        stream
            .write_all(part)
            .await
            .expect("the upload was disconnected");
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    let answered = async {
        let (mut received, mut part) = (Vec::new(), [0; 4096]);
        while !received.windows(6).any(|w| w == br#""late""#) {
            let count = stream
                .read(&mut part)
                .await
                .expect("the upload was disconnected");
            assert!(count > 0, "the upload was closed");
            received.extend_from_slice(&part[..count]);
        }
    };
    tokio::time::timeout(SOON, answered).await.unwrap();
}

/// The slow sender is closed, not the message that waits for memory.
#[tokio::test]
async fn the_oldest_unfinished_message_is_evicted_for_a_waiting_one() {
    let (_fake, bridge) = start(&["--inbound-bytes", "300000", "--ping-ms", "2000"]).await;
    let (mut read, mut holder) = raw::upgraded(bridge.addr).await.unwrap().into_split();
    holder
        .write_all(&raw::frame_head(raw::FIRST_FRAGMENT, 100_000))
        .await
        .unwrap();
    holder.write_all(&[b'x'; 100_000]).await.unwrap();
    until_charged(&bridge).await;
    // The rest of the message arrives slowly.
    let feeding = tokio::spawn(async move {
        let mut more = raw::frame_head(raw::FRAGMENT, 1);
        more.push(b'x');
        while holder.write_all(&more).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let mut large = bridge.connect().await;
    let prompt = json!({"prompt": "x".repeat(250_000)});
    let request = large.request("execute", prompt).await;
    // While the large message waits, small ones are answered.
    let mut small = bridge.connect().await;
    let answer = small.call("execute", json!({"prompt": "x"})).await.unwrap();
    assert!(answer.is_object(), "{answer}");
    let answer = large.answer(request).await.unwrap();
    assert!(answer.is_object(), "{answer}");
    let mut received = Vec::new();
    let closed = tokio::time::timeout(SOON, read.read_to_end(&mut received)).await;
    assert!(closed.is_ok(), "the slow sender was not closed");
    assert!(raw::has_close(&received, 1013), "no close frame");
    feeding.abort();
}

/// Bytes of a message that have not arrived do not count.
#[tokio::test]
async fn an_unfinished_message_is_charged_only_for_its_received_bytes() {
    let (_fake, bridge) = start(&[]).await;
    let mut holders = Vec::new();
    for (first, length, sent) in [
        (raw::FIRST_FRAGMENT, 10, 10),
        (raw::TEXT, 13 << 20, 100),
        (raw::FIRST_FRAGMENT, 13 << 20, 100),
    ] {
        for _ in 0..25 {
            let mut holder = raw::upgraded(bridge.addr).await.unwrap();
            holder
                .write_all(&raw::frame_head(first, length))
                .await
                .unwrap();
            holder.write_all(&vec![b'x'; sent]).await.unwrap();
            holders.push(holder);
        }
    }
    let mut large = bridge.connect().await;
    let large = large.call("execute", json!({"prompt": "x".repeat(3 << 20)}));
    let answer = tokio::time::timeout(Duration::from_secs(10), large).await;
    let answer = answer.expect("a large message waits for bytes that were never sent");
    assert!(answer.unwrap().is_object());
}

#[tokio::test]
async fn only_a_valid_handshake_of_http_1_1_is_upgraded() {
    let (_fake, bridge) = start(&[]).await;
    let rest = "Host: localhost\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\n";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (line, key, status, text) in [
        ("HEAD /ws HTTP/1.1", key, "HTTP/1.1 405", ""),
        ("POST /ws HTTP/1.1", key, "HTTP/1.1 405", "accepts only GET"),
        (
            "GET /ws HTTP/1.0",
            key,
            "HTTP/1.0 426",
            "proxy_http_version 1.1",
        ),
        (
            "GET /ws/mcp HTTP/1.0",
            key,
            "HTTP/1.0 426",
            "proxy_http_version 1.1",
        ),
        ("GET /ws HTTP/1.1", "", "HTTP/1.1 400", "Sec-WebSocket-Key"),
        (
            "GET /ws HTTP/1.1",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nContent-Length: 0\r\n",
            "HTTP/1.1 400",
            "the handshake has a body",
        ),
        (
            "GET /ws HTTP/1.1",
            "Sec-WebSocket-Key: x\r\n",
            "HTTP/1.1 400",
            "base64",
        ),
        (
            "GET /ws HTTP/1.1",
            "Sec-WebSocket-Key: c2hvcnQ=\r\n",
            "HTTP/1.1 400",
            "16 bytes",
        ),
        (
            "GET /ws HTTP/1.1",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==\r\n",
            "HTTP/1.1 400",
            "16 bytes",
        ),
        (
            "GET /ws HTTP/1.1",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            "HTTP/1.1 400",
            "Sec-WebSocket-Key",
        ),
    ] {
        let answer = whole_answer(&bridge, &format!("{line}\r\n{rest}{key}\r\n")).await;
        assert!(answer.starts_with(status), "{line} {key}: {answer}");
        assert!(answer.contains(text), "{line} {key}: {answer}");
        let upgrade = answer
            .to_ascii_lowercase()
            .contains("\r\nupgrade: websocket\r\n");
        assert_eq!(upgrade, status.ends_with("426"), "{answer}");
    }
    let page = bridge.get("/metrics").await.1;
    assert!(
        page.as_str()
            .unwrap()
            .contains("bridge_sessions_opened_total 0\n")
    );
}

#[tokio::test]
async fn the_known_subprotocol_is_selected_and_others_are_ignored() {
    let (_fake, bridge) = start(&[]).await;
    for (offered, selected) in [
        ("", None),
        ("Sec-WebSocket-Protocol: jsonrpc\r\n", None),
        ("Sec-WebSocket-Protocol: mcp, CCB.V1\r\n", None),
        ("Sec-WebSocket-Protocol: ccb.v1\r\n", Some("ccb.v1")),
        (
            "Sec-WebSocket-Protocol: jsonrpc,ccb.v1, x\r\n",
            Some("ccb.v1"),
        ),
        (
            "Sec-WebSocket-Protocol: jsonrpc\r\nSec-WebSocket-Protocol: ccb.v1\r\n",
            Some("ccb.v1"),
        ),
    ] {
        let headers = format!("Host: localhost\r\n{offered}");
        let stream = raw::upgraded_with(bridge.addr, &headers).await;
        let head = raw::head(&mut stream.unwrap()).await.unwrap();
        let head = head.to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 101"), "{head}");
        let line = head
            .lines()
            .find_map(|l| l.strip_prefix("sec-websocket-protocol: "));
        assert_eq!(line, selected, "{offered}: {head}");
    }
}

/// Pings between the fragments of a message keep the session, but not the memory of the message.
#[tokio::test]
async fn a_message_that_never_ends_is_evicted_after_two_pings() {
    let (_fake, bridge) = start(&["--inbound-bytes", "300000", "--ping-ms", "200"]).await;
    let (mut read, mut holder) = raw::upgraded(bridge.addr).await.unwrap().into_split();
    holder
        .write_all(&raw::frame_head(raw::FIRST_FRAGMENT, 100_000))
        .await
        .unwrap();
    holder.write_all(&[b'x'; 100_000]).await.unwrap();
    until_charged(&bridge).await;
    let pings = async {
        while holder
            .write_all(&raw::frame_head(raw::PING, 0))
            .await
            .is_ok()
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        std::future::pending::<()>().await;
    };
    let mut received = Vec::new();
    let closed = tokio::time::timeout(SOON, read.read_to_end(&mut received));
    tokio::select! {
        end = closed => assert!(end.is_ok(), "the message keeps its memory"),
        () = pings => {}
    }
    assert!(raw::has_close(&received, 1013), "no close frame");
    // Its memory is free again.
    let mut large = bridge.connect().await;
    let prompt = json!({"prompt": "x".repeat(200_000)});
    assert!(large.call("execute", prompt).await.unwrap().is_object());
}

/// Waits until a part of the inbound memory is in use.
async fn until_charged(bridge: &Bridge) {
    let gauge = async {
        let free = "bridge_inbound_bytes 0\n";
        while bridge
            .get("/metrics")
            .await
            .1
            .as_str()
            .unwrap()
            .contains(free)
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, gauge)
        .await
        .expect("the message is never charged");
}
