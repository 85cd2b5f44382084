use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::*;
use crate::session::wire::liveness::HOLDING_PINGS;

/// Returns a masked text frame (the mask is zero).
fn frame(length: u16) -> Vec<u8> {
    let mut frame = vec![0x81, 0x80 | 126];
    frame.extend(length.to_be_bytes());
    frame.extend([0; 4]);
    frame.resize(8 + usize::from(length), b'x');
    frame
}

async fn read(socket: &mut Socket<tokio::io::DuplexStream>) -> usize {
    match std::future::poll_fn(|cx| socket.poll_read(cx)).await {
        Received::Text(text) => text.len(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn buffers_are_released_only_between_frames() {
    let (mut peer, io) = tokio::io::duplex(1 << 20);
    let mut socket = Socket::new(io, 1 << 20, None, None).await;
    peer.write_all(&frame(65_535)).await.unwrap();
    peer.write_all(&frame(65_535)).await.unwrap();
    socket.has_large_buffers = true;
    assert_eq!(read(&mut socket).await, 65_535);
    // Half of the next frame is in tungstenite's buffer at the time of a flush.
    let next = frame(300);
    peer.write_all(&next[..100]).await.unwrap();
    assert_eq!(read(&mut socket).await, 65_535);
    let more = std::future::poll_fn(|cx| Poll::Ready(socket.poll_read(cx))).await;
    assert!(more.is_pending() && !socket.stream.get_ref().is_boundary());
    socket.is_unflushed = true;
    std::future::poll_fn(|cx| socket.poll_flush(cx))
        .await
        .unwrap();
    assert!(socket.has_large_buffers, "not in the middle of a frame");
    peer.write_all(&next[100..]).await.unwrap();
    assert_eq!(read(&mut socket).await, 300);
    std::future::poll_fn(|cx| socket.poll_flush(cx))
        .await
        .unwrap();
    assert!(!socket.has_large_buffers);
    peer.write_all(&frame(200)).await.unwrap();
    assert_eq!(read(&mut socket).await, 200);
}

#[tokio::test]
async fn buffers_are_released_after_a_large_answer_and_after_output() {
    let (_peer, io) = tokio::io::duplex(1 << 20);
    let mut socket = Socket::new(io, 1 << 20, None, None).await;
    let flush = async |socket: &mut Socket<tokio::io::DuplexStream>| {
        std::future::poll_fn(|cx| socket.poll_room(cx))
            .await
            .unwrap();
        std::future::poll_fn(|cx| socket.poll_flush(cx))
            .await
            .unwrap();
    };
    socket.queue("x".repeat(100_000));
    std::future::poll_fn(|cx| socket.poll_room(cx))
        .await
        .unwrap();
    assert!(socket.has_large_buffers, "a large answer was sent");
    flush(&mut socket).await;
    assert!(!socket.has_large_buffers && !socket.has_grown_write_buffer);
    // The buffer of smaller output is released at the next ping.
    socket.queue("x".repeat(30_000));
    flush(&mut socket).await;
    assert!(socket.has_grown_write_buffer && !socket.has_large_buffers);
    assert_eq!(socket.pulse().unwrap(), Pulse::Alive);
    assert!(!socket.has_grown_write_buffer);
}

#[tokio::test]
async fn an_unfinished_message_holds_its_room_for_a_limited_time() {
    let budget = crate::budget::inbound::InboundBudget::new(300_000, Duration::ZERO);
    let (mut peer, io) = tokio::io::duplex(1 << 20);
    let inbound = MessageCharge::new(budget, 300_000);
    let mut socket = Socket::new(io, 300_000, Some(inbound), None).await;
    let mut head = vec![0x81, 0x80 | 127];
    head.extend(200_000_u64.to_be_bytes());
    head.extend([0; 4]);
    peer.write_all(&head).await.unwrap();
    peer.write_all(&[b'x'; 100_000]).await.unwrap();
    let mut pulses = 0;
    loop {
        // The message arrives byte by byte.
        peer.write_all(b"x").await.unwrap();
        let read = std::future::poll_fn(|cx| Poll::Ready(socket.poll_read(cx))).await;
        assert!(read.is_pending());
        pulses += 1;
        match socket.pulse().unwrap() {
            Pulse::Alive => assert!(pulses < HOLDING_PINGS),
            end => break assert_eq!((end, pulses), (Pulse::Starved, HOLDING_PINGS)),
        }
    }
}
