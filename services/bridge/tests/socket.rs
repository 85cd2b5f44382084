//! The socket itself: bad frames, closes, slow and dead peers, the guard.

#![allow(clippy::unwrap_used, reason = "a panic is a test's failure")]

mod common;

use std::time::Duration;

use common::{Bridge, Client, Fake, SOON};
use futures::{SinkExt, StreamExt};
use protocol::State;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

async fn start(args: &[&str]) -> (Fake, Bridge) {
    let fake = Fake::start().await;
    let bridge = Bridge::start(fake.addr, args).await;
    (fake, bridge)
}

async fn refused(client: &mut Client, message: Message) -> Value {
    client.stream.send(message).await.unwrap();
    let error = client.recv().await;
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
    assert_eq!(client.call("ping", json!({})).await["result"], json!({}));
    assert_eq!(
        client.call("input", json!({})).await["error"]["code"],
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
        assert!(client.answer(request).await.get("result").is_some());
    }
    let lengths: Vec<_> = fake
        .world()
        .puts
        .iter()
        .map(|(_, b)| b.prompt.len())
        .collect();
    assert_eq!(lengths, [1, 80_001, 160_001, 240_001, 320_001, 400_001]);
    assert_eq!(client.call("ping", json!({})).await["result"], json!({}));
}

#[tokio::test]
async fn the_first_message_and_a_clean_close() {
    let (_fake, bridge) = start(&[]).await;
    bridge.connect().await;
    // The limits are known a moment after the start.
    let connected = loop {
        let url = format!("ws://{}/ws/mcp", bridge.addr);
        let (mut stream, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        let text = stream.next().await.unwrap().unwrap().into_text().unwrap();
        let connected: Value = serde_json::from_str(&text).unwrap();
        stream.close(None).await.unwrap();
        if !connected["params"]["limits"].is_null() {
            break connected["params"].clone();
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
    let _ = client.stream.feed(Message::text(big)).await;
    let (mut sink, mut stream) = client.stream.split();
    let flush = tokio::spawn(async move { sink.flush().await });
    let frame = tokio::time::timeout(SOON, stream.next()).await.unwrap();
    match frame {
        Some(Ok(Message::Close(Some(frame)))) => assert_eq!(u16::from(frame.code), 1009),
        other => panic!("{other:?}"),
    }
    flush.abort();
}

#[tokio::test]
async fn too_many_sessions() {
    let (_fake, bridge) = start(&["--sessions", "1"]).await;
    let first = bridge.connect().await;
    let url = format!("ws://{}/ws", bridge.addr);
    let (mut stream, _) = tokio_tungstenite::connect_async(&url).await.unwrap();
    let text = stream.next().await.unwrap().unwrap().into_text().unwrap();
    let error: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(error["error"]["code"], -32001);
    assert_eq!(error["id"], Value::Null);
    match stream.next().await {
        Some(Ok(Message::Close(Some(frame)))) => assert_eq!(u16::from(frame.code), 1013),
        other => panic!("{other:?}"),
    }
    drop(first);
    loop {
        let (mut stream, _) = tokio_tungstenite::connect_async(&url).await.unwrap();
        if stream
            .next()
            .await
            .unwrap()
            .unwrap()
            .to_string()
            .contains("connected")
        {
            break;
        }
    }
}

/// The status line and body of a raw request.
async fn raw(bridge: &Bridge, head: &str) -> String {
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
    let upgrade = "Connection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
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
        let answer = raw(
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
        "Host: bridge:8003",
        "Host: my.example\r\nOrigin: https://app.example",
        "Host: localhost\r\nOrigin: http://localhost",
    ] {
        let mut stream = TcpStream::connect(bridge.addr).await.unwrap();
        let head = format!("GET /ws HTTP/1.1\r\n{headers}\r\n{upgrade}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 101");
    }
    let plain = raw(
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
        .await;
    let id = answer["result"]["executionId"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    fake.state(id, State::Running);
    fake.write(id, &[b'x'; 100_000]);
    bridge.stop.cancel();
    assert_eq!(client.closed().await, 1012);
    assert!(client.frame().await.is_none(), "nothing after a close");
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
        let answer = client.call("execute", params.clone()).await;
        ids.push(answer["result"]["executionId"].as_str().unwrap().to_owned());
    }
    // Both sessions are gone; one execution is looked at within the grace.
    let mut other = bridge.connect().await;
    other.call("attach", json!({"executionId": ids[1]})).await;
    let first = ids[0].parse().unwrap();
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
    let sessions = async |n: u64| {
        let gauge = format!("bridge_sessions {n}");
        while !bridge
            .get("/metrics")
            .await
            .1
            .as_str()
            .unwrap()
            .contains(&gauge)
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    // It never reads, so it never answers a ping.
    let _silent = bridge.connect().await;
    sessions(1).await;
    tokio::time::timeout(SOON, sessions(0))
        .await
        .expect("the dead peer stayed");
    // It sends, but takes nothing.
    let id = fake.add(State::Running, &vec![b'x'; 20 << 20]);
    let mut stuck = bridge.connect().await;
    stuck.request("attach", json!({"executionId": id})).await;
    let gone = async {
        loop {
            let ping = json!({"jsonrpc": "2.0", "method": "ping"}).to_string();
            if stuck.stream.send(Message::text(ping)).await.is_err() {
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
    skipping
        .call("attach", json!({"executionId": id, "onSlow": "skip"}))
        .await;
    let mut waiting = bridge.connect().await;
    waiting.call("attach", json!({"executionId": id})).await;
    fake.write(id, &vec![b'y'; size]);
    // Skipping goes on though nobody reads; waiting reads no further than its buffers.
    let skipped = async {
        loop {
            let (_, page) = bridge.get("/metrics").await;
            let line = page
                .as_str()
                .unwrap()
                .lines()
                .find(|l| l.starts_with("bridge_skipped_bytes_total"));
            let count: usize = line.unwrap().split(' ').nth(1).unwrap().parse().unwrap();
            if count > size / 2 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, skipped)
        .await
        .expect("nothing was skipped");
    fake.end(id, State::Completed);
    let heard = skipping.all_of(id).await;
    assert!(!heard.gaps.is_empty());
    assert_eq!(heard.next as usize, size, "up to the last byte");
    let page = bridge.get("/metrics").await.1;
    let gaps = format!("\nbridge_gaps_sent_total {}\n", heard.gaps.len());
    assert!(page.as_str().unwrap().contains(&gaps), "{gaps}{page}");
    let heard = waiting.all_of(id).await;
    assert!(heard.gaps.is_empty() && heard.output.len() == size);
}

/// A raw connection that was upgraded.
async fn upgraded(bridge: &Bridge) -> TcpStream {
    let mut stream = TcpStream::connect(bridge.addr).await.unwrap();
    let head = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// The head of a masked frame of this length; the mask is zero.
fn head(first: u8, length: u64) -> Vec<u8> {
    let mut head = vec![first, 0x80 | 127];
    head.extend(length.to_be_bytes());
    head.extend([0; 4]);
    head
}

#[tokio::test]
async fn what_is_no_websocket_or_no_text_is_told_before_the_connection_ends() {
    let (_fake, bridge) = start(&[]).await;
    let mut reserved = head(0xF1, 5);
    reserved.extend(vec![b'x'; 4 << 20]);
    let mut no_text = head(0x81, 2);
    no_text.extend([0xFF; 2]);
    no_text.extend(vec![b'x'; 4 << 20]);
    for (bytes, code) in [(reserved, 1002u16), (no_text, 1007)] {
        let closed = async || {
            let stream = upgraded(&bridge).await;
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
            let code = code.to_be_bytes();
            assert!(got.windows(2).any(|w| w == code), "no close frame");
        };
        futures::future::join_all((0..10).map(|_| closed())).await;
    }
}

#[tokio::test]
async fn large_messages_wait_for_room_and_others_do_not() {
    let (_fake, bridge) = start(&["--inbound-bytes", "300000"]).await;
    let mut holder = upgraded(&bridge).await;
    holder.write_all(&head(0x81, 200_000)).await.unwrap();
    holder.write_all(&[b'x'; 150_000]).await.unwrap();
    let mut large = bridge.connect().await;
    let mut small = bridge.connect().await;
    charged(&bridge).await;
    let executed = large
        .request("execute", json!({"prompt": "x".repeat(200_000)}))
        .await;
    assert_eq!(small.call("ping", json!({})).await["result"], json!({}));
    let quiet = tokio::time::timeout(Duration::from_millis(200), large.stream.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    drop(holder);
    assert!(large.answer(executed).await["result"].is_object());
}

/// In the middle of a frame no pong can be sent (RFC 6455, section 5.4), so its bytes count.
#[tokio::test]
async fn a_slow_upload_is_a_sign_of_life() {
    let (_fake, bridge) = start(&["--ping-ms", "200"]).await;
    let mut stream = upgraded(&bridge).await;
    let ping = json!({"jsonrpc": "2.0", "id": "late", "method": "ping", "params": {}}).to_string();
    let mut message = ping.into_bytes();
    message.resize(200_000, b' ');
    stream.write_all(&head(0x81, 200_000)).await.unwrap();
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
    let (mut read, mut holder) = upgraded(&bridge).await.into_split();
    holder.write_all(&head(0x01, 100_000)).await.unwrap();
    holder.write_all(&[b'x'; 100_000]).await.unwrap();
    charged(&bridge).await;
    // A message that goes on, slowly.
    let feeding = tokio::spawn(async move {
        let mut more = head(0x00, 1);
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
    let answer = small.call("execute", json!({"prompt": "x"})).await;
    assert!(answer["result"].is_object(), "{answer}");
    let answer = large.answer(asked).await;
    assert!(answer["result"].is_object(), "{answer}");
    let mut got = Vec::new();
    let closed = tokio::time::timeout(SOON, read.read_to_end(&mut got)).await;
    assert!(closed.is_ok(), "the holder stayed");
    let code = 1013u16.to_be_bytes();
    assert!(got.windows(2).any(|w| w == code), "no close frame");
    feeding.abort();
}

/// Bytes of a message that have not arrived do not count.
#[tokio::test]
async fn clients_in_the_middle_of_a_message_take_no_more_than_they_have_sent() {
    let (_fake, bridge) = start(&[]).await;
    let mut holders = Vec::new();
    for (first, length, sent) in [(0x01, 10, 10), (0x81, 13 << 20, 100), (0x01, 13 << 20, 100)] {
        for _ in 0..25 {
            let mut holder = upgraded(&bridge).await;
            holder.write_all(&head(first, length)).await.unwrap();
            holder.write_all(&vec![b'x'; sent]).await.unwrap();
            holders.push(holder);
        }
    }
    let mut large = bridge.connect().await;
    let large = large.call("execute", json!({"prompt": "x".repeat(3 << 20)}));
    let answer = tokio::time::timeout(Duration::from_secs(10), large).await;
    let answer = answer.expect("a large message waits for those that were never sent");
    assert!(answer["result"].is_object(), "{answer}");
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
        let answer = raw(&bridge, &format!("{line}\r\n{rest}{key}\r\n")).await;
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
        let mut stream = TcpStream::connect(bridge.addr).await.unwrap();
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             {offered}\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
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
    let (mut read, mut holder) = upgraded(&bridge).await.into_split();
    holder.write_all(&head(0x01, 100_000)).await.unwrap();
    holder.write_all(&[b'x'; 100_000]).await.unwrap();
    charged(&bridge).await;
    let pings = async {
        while holder.write_all(&head(0x89, 0)).await.is_ok() {
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
    let code = 1013u16.to_be_bytes();
    assert!(got.windows(2).any(|w| w == code), "no close frame");
    // Its room is there again.
    let mut large = bridge.connect().await;
    let prompt = json!({"prompt": "x".repeat(200_000)});
    assert!(large.call("execute", prompt).await["result"].is_object());
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
