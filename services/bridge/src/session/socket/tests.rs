use super::*;
use tokio::io::AsyncWriteExt;

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
        Inbound::Text(text) => text.len(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn buffers_are_given_back_between_frames_only() {
    let (mut peer, io) = tokio::io::duplex(1 << 20);
    let mut socket = Socket::new(io, 1 << 20, None).await;
    peer.write_all(&frame(65_535)).await.unwrap();
    peer.write_all(&frame(65_535)).await.unwrap();
    socket.grown = true;
    assert_eq!(read(&mut socket).await, 65_535);
    // Half of the next frame is in tungstenite's buffer when a flush comes.
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
