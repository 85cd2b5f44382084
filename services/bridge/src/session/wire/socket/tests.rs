use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::*;
use crate::session::wire::liveness::HOLDING_PINGS;

/// A masked text frame (the mask is zero).
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
async fn buffers_are_released_between_frames_only() {
    let (mut peer, io) = tokio::io::duplex(1 << 20);
    let mut socket = Socket::new(io, 1 << 20, None, None).await;
    peer.write_all(&frame(65_535)).await.unwrap();
    peer.write_all(&frame(65_535)).await.unwrap();
    socket.grown = true;
    assert_eq!(read(&mut socket).await, 65_535);
    // Half of the next frame is in tungstenite's buffer at the time of a flush.
    let next = frame(300);
    peer.write_all(&next[..100]).await.unwrap();
    assert_eq!(read(&mut socket).await, 65_535);
    let more = std::future::poll_fn(|cx| Poll::Ready(socket.poll_read(cx))).await;
    assert!(more.is_pending() && !socket.stream.get_ref().is_boundary());
    socket.unflushed = true;
    std::future::poll_fn(|cx| socket.poll_flush(cx))
        .await
        .unwrap();
    assert!(socket.grown, "not in the middle of a frame");
    peer.write_all(&next[100..]).await.unwrap();
    assert_eq!(read(&mut socket).await, 300);
    std::future::poll_fn(|cx| socket.poll_flush(cx))
        .await
        .unwrap();
    assert!(!socket.grown);
    peer.write_all(&frame(200)).await.unwrap();
    assert_eq!(read(&mut socket).await, 200);
}

#[tokio::test]
async fn buffers_are_released_after_large_answers_and_after_output() {
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
    assert!(socket.grown, "a large one went");
    flush(&mut socket).await;
    assert!(!socket.grown && !socket.stretched);
    // The buffer of repeated output is released once nothing was sent for a while.
    socket.queue("x".repeat(30_000));
    flush(&mut socket).await;
    assert!(socket.stretched && !socket.grown);
    assert_eq!(socket.pulse().unwrap(), Pulse::Alive);
    assert!(!socket.stretched);
}

#[tokio::test]
async fn an_unfinished_message_holds_its_room_for_a_while_only() {
    let budget = crate::budget::inbound::Inbound::new(300_000, Duration::ZERO);
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
