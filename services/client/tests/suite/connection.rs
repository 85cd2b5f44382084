//! Tests of [`Connection`], the low layer: frames, closes, pings and refusals.

use std::time::Duration;

use client::{
    Address, Close, ConnectError, Connection, ConnectionOptions, Frame, Message, ReadError,
};
use futures::{SinkExt, StreamExt};
use protocol::ExecutionId;
use protocol::message::{ClientMessage, Notification, Output, PingParams, ServerMessage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;

/// Connects to a server, and returns both ends.
async fn pair(options: &ConnectionOptions) -> (Connection, WebSocketStream<TcpStream>) {
    let (listener, address) = listen().await;
    let accept = async {
        let (stream, _) = listener.accept().await.unwrap();
        tokio_tungstenite::accept_async(stream).await.unwrap()
    };
    let (connection, server) = tokio::join!(Connection::connect(&address, options), accept);
    (connection.unwrap(), server)
}

async fn listen() -> (TcpListener, Address) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/ws", listener.local_addr().unwrap());
    (listener, url.parse().unwrap())
}

fn quiet() -> ConnectionOptions {
    ConnectionOptions {
        answer_pings: false,
        ..ConnectionOptions::default()
    }
}

#[tokio::test]
async fn messages_texts_and_frames_are_sent_unchanged() {
    let (mut connection, mut server) = pair(&ConnectionOptions::default()).await;
    let ping = ClientMessage::request(1, PingParams {});
    connection.send(&ping).await.unwrap();
    connection.send_text("{nonsense").await.unwrap();
    connection.send_binary(vec![0xff]).await.unwrap();
    connection
        .send_frame(Message::Ping("p".into()))
        .await
        .unwrap();
    for expected in [
        Message::text(ping.to_json()),
        Message::text("{nonsense"),
        Message::Binary(vec![0xff].into()),
        Message::Ping("p".into()),
    ] {
        assert_eq!(server.next().await.unwrap().unwrap(), expected);
    }
}

#[tokio::test]
async fn a_bad_message_does_not_end_the_connection() {
    let (mut connection, mut server) = pair(&ConnectionOptions::default()).await;
    let output = Output::new(ExecutionId::random(), 7, "x".to_owned());
    for frame in [
        Message::Ping("a".into()),
        Message::text("{nonsense"),
        Message::Binary(vec![1].into()),
        Message::text(output.to_message()),
    ] {
        server.send(frame).await.unwrap();
    }
    let bad = connection.next_message().await;
    assert!(matches!(bad, Err(ReadError::BadMessage(_))), "{bad:?}");
    assert_eq!(connection.next_message().await, Err(ReadError::Binary));
    let read = connection.next_message().await.unwrap();
    assert_eq!(read, ServerMessage::Output(output));
}

#[tokio::test]
async fn a_close_frame_is_read_with_its_code_and_reason_and_ends_the_connection() {
    let (mut connection, mut server) = pair(&ConnectionOptions::default()).await;
    let frame = tokio_tungstenite::tungstenite::protocol::CloseFrame {
        code: 1012.into(),
        reason: "restarting".into(),
    };
    server.close(Some(frame)).await.unwrap();
    let close = Close {
        code: 1012,
        reason: "restarting".to_owned(),
    };
    assert_eq!(connection.next().await, Err(ReadError::Closed(Some(close))));
    // The server reads the answer to its close frame, and ends the connection.
    let (end, _) = tokio::join!(connection.next(), async {
        while server.next().await.is_some() {}
        drop(server);
    });
    assert_eq!(end, Err(ReadError::Ended));
    assert!(connection.send_text("late").await.is_err());
}

#[tokio::test]
async fn a_frame_after_a_close_frame_is_an_error() {
    let (mut connection, mut server) = pair(&ConnectionOptions::default()).await;
    let close_1012_then_text = [0x88, 2, 0x03, 0xf4, 0x81, 2, b'{', b'}'];
    server
        .get_mut()
        .write_all(&close_1012_then_text)
        .await
        .unwrap();
    let closed = connection.next().await;
    assert!(
        matches!(closed, Err(ReadError::Closed(Some(_)))),
        "{closed:?}"
    );
    assert_eq!(connection.next().await, Err(ReadError::FrameAfterClose));
}

#[tokio::test]
async fn a_connection_that_ends_without_a_close_frame_is_not_closed() {
    let (mut connection, server) = pair(&ConnectionOptions::default()).await;
    drop(server);
    let end = connection.next().await;
    assert!(
        matches!(end, Err(ReadError::Ended | ReadError::Broken(_))),
        "{end:?}"
    );
}

#[tokio::test]
async fn requests_are_sent_whether_or_not_pings_are_answered() {
    for (options, answers) in [(ConnectionOptions::default(), true), (quiet(), false)] {
        let (mut connection, mut server) = pair(&options).await;
        for turn in ["1", "2"] {
            server.send(Message::Ping(turn.into())).await.unwrap();
            let ping = connection.next().await;
            assert_eq!(ping, Ok(Frame::Ping(turn.into())));
            server.send(Message::text("go")).await.unwrap();
            assert_eq!(connection.next().await, Ok(Frame::Text("go".into())));
            connection.send_text(turn).await.unwrap();
            if answers {
                let pong = server.next().await.unwrap().unwrap();
                assert_eq!(pong, Message::Pong(turn.into()));
            }
            let text = server.next().await.unwrap().unwrap();
            assert_eq!(text, Message::text(turn));
        }
    }
}

#[tokio::test]
async fn a_split_connection_reads_and_writes() {
    let (connection, mut server) = pair(&quiet()).await;
    let (mut writer, mut reader) = connection.split();
    server.send(Message::Ping("p".into())).await.unwrap();
    assert_eq!(reader.next().await, Ok(Frame::Ping("p".into())));
    writer.send_text("t").await.unwrap();
    assert_eq!(server.next().await.unwrap().unwrap(), Message::text("t"));
    writer.close(1000, "done").await.unwrap();
    let closed = server.next().await.unwrap().unwrap();
    assert!(matches!(closed, Message::Close(Some(frame)) if u16::from(frame.code) == 1000));
    let closed = tokio::join!(reader.next(), server.next()).0;
    assert!(
        matches!(
            closed,
            Err(ReadError::Closed(Some(Close { code: 1000, .. })))
        ),
        "{closed:?}"
    );
}

#[tokio::test]
async fn a_small_receive_buffer_blocks_the_server_sooner() {
    let mut sent = Vec::new();
    for receive_buffer_bytes in [Some(4096), None] {
        let options = ConnectionOptions {
            receive_buffer_bytes,
            read_buffer_bytes: 4096,
            ..ConnectionOptions::default()
        };
        let (_connection, mut server) = pair(&options).await;
        let mut count = 0_usize;
        let send = async {
            loop {
                server
                    .send(Message::text("x".repeat(16 * 1024)))
                    .await
                    .unwrap();
                count += 1;
            }
        };
        let _ = tokio::time::timeout(Duration::from_millis(500), send).await;
        sent.push(count);
    }
    assert!(
        sent[0] < sent[1],
        "{sent:?} messages before the server had to wait"
    );
}

#[tokio::test]
async fn a_refused_upgrade_is_an_error_with_status_headers_and_body() {
    let (listener, address) = listen().await;
    let options = ConnectionOptions {
        headers: vec![(
            http::header::ORIGIN,
            http::HeaderValue::from_static("http://elsewhere"),
        )],
        ..ConnectionOptions::default()
    };
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.unwrap());
        }
        let answer = "HTTP/1.1 403 Forbidden\r\nretry-after: 7\r\ncontent-length: 2\r\n\r\n{}";
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(request).unwrap()
    };
    let (refused, request) = tokio::join!(Connection::connect(&address, &options), serve);
    let Err(ConnectError::Refused(response)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(response.status(), 403);
    assert_eq!(response.headers()["retry-after"], "7");
    assert_eq!(response.body(), b"{}");
    assert!(
        request.to_lowercase().contains("origin: http://elsewhere"),
        "{request}"
    );
}

#[tokio::test]
async fn an_unused_port_is_an_io_error() {
    let (listener, address) = listen().await;
    drop(listener);
    let error = Connection::connect(&address, &ConnectionOptions::default()).await;
    assert!(matches!(error, Err(ConnectError::Io(_))), "{error:?}");
}
