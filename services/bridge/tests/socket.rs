//! The socket itself: bad frames, closes, slow and dead peers, the guard.

#![allow(clippy::unwrap_used, reason = "a panic is a test's failure")]

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

async fn refused(client: &mut Client, message: Message) -> Value {
    client.send_frame(message).await;
    let error = client.wait_loose().await;
    assert_eq!(error["id"], Value::Null);
    error["error"]["code"].clone()
}

#[tokio::test]
async fn bad_frames_leave_the_session_alive() {
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
async fn requests_around_large_messages_are_all_answered() {
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
async fn the_first_message_and_a_clean_close() {
    let (_fake, bridge) = start(&[]).await;
    bridge.connect().await;
    let options = Options {
        path: "/ws/mcp".into(),
        ..Options::default()
    };
    // The limits are known a moment after the start.
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
async fn too_big_is_1009_and_seen() {
    let (_fake, bridge) = start(&["--message-bytes", "2000"]).await;
    let mut client = bridge.connect().await;
    let big = "x".repeat(5_000_000);
    // The bridge reads on for a while, so the send may end or break.
    let _ = client.try_send_text(&big).await;
    assert_eq!(client.wait_closed().await, 1009);
}

#[tokio::test]
async fn too_many_sessions() {
    let (_fake, bridge) = start(&["--sessions", "1"]).await;
    let first = bridge.connect().await;
    let refused = Client::try_connect(bridge.addr, Options::default());
    let refused = refused.await.unwrap();
    let error = refused.wait_loose().await;
    assert_eq!(error["error"]["code"], -32001);
    assert_eq!(error["id"], Value::Null);
    assert_eq!(refused.wait_closed().await, 1013);
    drop(first);
    sessions(&bridge, 0).await;
    bridge.connect().await;
}

/// Waits until so many sessions are open.
async fn sessions(bridge: &Bridge, count: u64) {
    let gauge = format!("bridge_sessions {count}\n");
    until(&gauge, SOON, async || {
        let (_, page) = bridge.get("/metrics").await;
        page.as_str().unwrap().contains(&gauge).then_some(())
    })
    .await;
}

/// The status line and body of a raw request.
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
    // The client checks that nothing follows the close.
    assert_eq!(client.wait_closed().await, 1012);
    tokio::time::timeout(SOON, &mut bridge.done)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(fake.world().cancels.is_empty());
}

#[tokio::test]
async fn on_disconnect_cancel() {
    let (fake, bridge) = start(&["--disconnect-grace-ms", "200"]).await;
    let params = json!({"prompt": "x", "onDisconnect": "cancel"});
    let mut ids = Vec::new();
    for _ in 0..2 {
        let mut client = bridge.connect().await;
        let answer = client.call("execute", params.clone()).await.unwrap();
        ids.push(id_of(&answer));
    }
    // Both sessions are gone; one execution is looked at within the grace.
    let mut other = bridge.connect().await;
    other.attach(ids[1], None).await.unwrap();
    let first = ids[0];
    fake.until(|w| w.cancels.contains(&first)).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(fake.world().cancels, [first]);
    // A plain disconnect is no cancel, and an execute sent just before it is handed over all the
    // same.
    let mut client = bridge.connect().await;
    client
        .request("execute", json!({"prompt": "fire and forget"}))
        .await;
    drop(client);
    fake.until(|w| w.puts.iter().any(|(_, b)| b.prompt == "fire and forget"))
        .await;
}

#[tokio::test]
async fn a_dead_peer_and_a_stuck_one_are_dropped() {
    let (fake, bridge) = start(&["--ping-ms", "100"]).await;
    // It never reads, so it never answers a ping.
    let _silent = bridge.connect_deaf().await;
    sessions(&bridge, 1).await;
    sessions(&bridge, 0).await;
    // It sends, but takes nothing.
    let id = fake.add(State::Running, &vec![b'x'; 20 << 20]);
    let mut stuck = bridge.connect_deaf().await;
    stuck.request("attach", json!({"executionId": id})).await;
    let gone = async {
        loop {
            let ping = json!({"jsonrpc": "2.0", "method": "ping"}).to_string();
            if stuck.try_send_text(&ping).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, gone)
        .await
        .expect("the stuck peer stayed");
}

#[tokio::test]
async fn a_slow_client_skips_or_waits_and_control_does_not() {
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
    // Skipping goes on though nobody reads; waiting reads no further than its buffers.
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
async fn what_is_no_websocket_or_no_text_is_told_before_the_connection_ends() {
    let (_fake, bridge) = start(&[]).await;
    let mut reserved = raw::frame_head(0xF1, 5);
    reserved.extend(vec![b'x'; 4 << 20]);
    let mut no_text = raw::frame_head(raw::TEXT, 2);
    no_text.extend([0xFF; 2]);
    no_text.extend(vec![b'x'; 4 << 20]);
    for (bytes, code) in [(reserved, 1002u16), (no_text, 1007)] {
        let closed = async || {
            let stream = raw::upgraded(bridge.addr).await.unwrap();
            let (mut read, mut write) = stream.into_split();
            // The bridge need not take all of it.
            let writing = async {
                let _ = write.write_all(&bytes).await;
                std::future::pending::<()>().await;
            };
            let mut got = Vec::new();
            let reading = tokio::time::timeout(SOON, read.read_to_end(&mut got));
            tokio::select! {
                end = reading => assert!(end.is_ok_and(|end| end.is_ok()), "{code}: a reset"),
                () = writing => {}
            }
            assert!(raw::has_close(&got, code), "no close frame");
        };
        futures::future::join_all((0..10).map(|_| closed())).await;
    }
}

#[tokio::test]
async fn large_messages_wait_for_room_and_others_do_not() {
    let (_fake, bridge) = start(&["--inbound-bytes", "300000"]).await;
    let mut holder = raw::upgraded(bridge.addr).await.unwrap();
    holder
        .write_all(&raw::frame_head(raw::TEXT, 200_000))
        .await
        .unwrap();
    holder.write_all(&[b'x'; 150_000]).await.unwrap();
    let mut large = bridge.connect().await;
    let mut small = bridge.connect().await;
    charged(&bridge).await;
    let executed = large
        .request("execute", json!({"prompt": "x".repeat(200_000)}))
        .await;
    assert_eq!(small.call("ping", json!({})).await.unwrap(), json!({}));
    // Nothing comes meanwhile.
    let before = large.transcript();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(large.transcript(), before);
    drop(holder);
    assert!(large.answer(executed).await.unwrap().is_object());
}

/// In the middle of a frame no pong can be sent (RFC 6455, section 5.4), so its bytes count.
#[tokio::test]
async fn a_slow_upload_is_a_sign_of_life() {
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
        stream.write_all(part).await.expect("it was cut");
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    let answered = async {
        let (mut got, mut part) = (Vec::new(), [0; 4096]);
        while !got.windows(6).any(|w| w == br#""late""#) {
            let count = stream.read(&mut part).await.expect("it was cut");
            assert!(count > 0, "it was closed");
            got.extend_from_slice(&part[..count]);
        }
    };
    tokio::time::timeout(SOON, answered).await.unwrap();
}

/// The slow holder is closed, not the message that waits for it.
#[tokio::test]
async fn the_oldest_holder_of_a_message_in_the_making_makes_room_for_one_that_waits() {
    let (_fake, bridge) = start(&["--inbound-bytes", "300000", "--ping-ms", "2000"]).await;
    let (mut read, mut holder) = raw::upgraded(bridge.addr).await.unwrap().into_split();
    holder
        .write_all(&raw::frame_head(raw::FIRST_FRAGMENT, 100_000))
        .await
        .unwrap();
    holder.write_all(&[b'x'; 100_000]).await.unwrap();
    charged(&bridge).await;
    // A message that goes on, slowly.
    let feeding = tokio::spawn(async move {
        let mut more = raw::frame_head(raw::FRAGMENT, 1);
        more.push(b'x');
        while holder.write_all(&more).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let mut large = bridge.connect().await;
    let prompt = json!({"prompt": "x".repeat(250_000)});
    let asked = large.request("execute", prompt).await;
    // While that one waits, others have what is theirs.
    let mut small = bridge.connect().await;
    let answer = small.call("execute", json!({"prompt": "x"})).await.unwrap();
    assert!(answer.is_object(), "{answer}");
    let answer = large.answer(asked).await.unwrap();
    assert!(answer.is_object(), "{answer}");
    let mut got = Vec::new();
    let closed = tokio::time::timeout(SOON, read.read_to_end(&mut got)).await;
    assert!(closed.is_ok(), "the holder stayed");
    assert!(raw::has_close(&got, 1013), "no close frame");
    feeding.abort();
}

/// Bytes of a message that have not arrived do not count.
#[tokio::test]
async fn clients_in_the_middle_of_a_message_take_no_more_than_they_have_sent() {
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
    let answer = answer.expect("a large message waits for those that were never sent");
    assert!(answer.unwrap().is_object());
}

#[tokio::test]
async fn only_a_whole_handshake_of_http_1_1_gets_an_upgrade() {
    let (_fake, bridge) = start(&[]).await;
    let rest = "Host: localhost\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\n";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (line, key, status, text) in [
        ("HEAD /ws HTTP/1.1", key, "HTTP/1.1 405", ""),
        ("POST /ws HTTP/1.1", key, "HTTP/1.1 405", "GET only"),
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
            "no body",
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

/// Pings between the fragments of a message are signs of life, but they bring it no further.
#[tokio::test]
async fn a_message_whose_rest_never_comes_holds_its_room_for_two_pings_only() {
    let (_fake, bridge) = start(&["--inbound-bytes", "300000", "--ping-ms", "200"]).await;
    let (mut read, mut holder) = raw::upgraded(bridge.addr).await.unwrap().into_split();
    holder
        .write_all(&raw::frame_head(raw::FIRST_FRAGMENT, 100_000))
        .await
        .unwrap();
    holder.write_all(&[b'x'; 100_000]).await.unwrap();
    charged(&bridge).await;
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
    let mut got = Vec::new();
    let closed = tokio::time::timeout(SOON, read.read_to_end(&mut got));
    tokio::select! {
        end = closed => assert!(end.is_ok(), "it holds its room for ever"),
        () = pings => {}
    }
    assert!(raw::has_close(&got, 1013), "no close frame");
    // Its room is there again.
    let mut large = bridge.connect().await;
    let prompt = json!({"prompt": "x".repeat(200_000)});
    assert!(large.call("execute", prompt).await.unwrap().is_object());
}

/// Waits until a large message has taken its part of the inbound budget.
async fn charged(bridge: &Bridge) {
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
        .expect("it is never charged");
}
