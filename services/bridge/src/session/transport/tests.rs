use super::*;
use tokio::io::AsyncReadExt;

#[tokio::test]
async fn no_read_crosses_a_frame() {
    let mut bytes = Vec::new();
    let mut ends = Vec::new();
    for (length, masked) in [
        (0usize, true),
        (5, false),
        (125, true),
        (126, true),
        (3000, true),
        (70_000, false),
    ] {
        let mask = if masked { 0x80 } else { 0 };
        bytes.push(0x81);
        match length {
            0..126 => bytes.push(mask | length as u8),
            126..65_536 => {
                bytes.push(mask | 126);
                bytes.extend((length as u16).to_be_bytes());
            }
            _ => {
                bytes.push(mask | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        bytes.extend(vec![7; if masked { 4 } else { 0 } + length]);
        ends.push(bytes.len());
    }
    let mut transport = Transport::new(&bytes[..], None);
    let (mut got, mut boundaries) = (Vec::new(), Vec::new());
    let mut buf = [0; 4096];
    loop {
        let count = transport.read(&mut buf).await.unwrap();
        if count == 0 {
            break;
        }
        got.extend_from_slice(&buf[..count]);
        if transport.is_boundary() {
            boundaries.push(got.len());
        }
    }
    assert!(got == bytes);
    assert_eq!(boundaries, ends);
}

#[tokio::test]
async fn between_the_fragments_of_a_message_is_no_boundary() {
    // Two fragments with a ping between them, the second one the last; then a message of one frame.
    let frames: [&[u8]; 4] = [&[0x01, 1, 7], &[0x89, 0], &[0x80, 1, 7], &[0x81, 0]];
    let bytes = frames.concat();
    let mut transport = Transport::new(&bytes[..], None);
    let mut boundaries = Vec::new();
    for frame in frames {
        let mut buf = vec![0; frame.len()];
        transport.read_exact(&mut buf).await.unwrap();
        assert_eq!(buf, frame);
        boundaries.push(transport.is_boundary());
    }
    assert_eq!(boundaries, [false, false, true, true]);
}

/// A head of a masked text frame; `first` is its first byte.
fn head(first: u8, length: u64) -> Vec<u8> {
    let mut head = vec![first, 0x80 | 127];
    head.extend(length.to_be_bytes());
    head.extend([0; 4]);
    head
}

async fn reads(transport: &mut Transport<tokio::io::DuplexStream>, bytes: &[u8]) -> bool {
    let mut buf = vec![0; bytes.len()];
    std::future::poll_fn(|cx| {
        let mut buf = ReadBuf::new(&mut buf);
        Poll::Ready(Pin::new(&mut *transport).poll_read(cx, &mut buf).is_ready())
    })
    .await
}

#[tokio::test]
async fn a_large_message_waits_for_room_and_a_small_one_does_not() {
    use tokio::io::AsyncWriteExt;
    let budget = Arc::new(Semaphore::new(300_000));
    let mut ends = Vec::new();
    let mut open = |first: u8, length: u64| {
        let (peer, io) = tokio::io::duplex(1 << 20);
        ends.push((peer, head(first, length)));
        let inbound = Inbound::new(budget.clone(), 300_000, 250_000);
        Transport::new(io, Some(inbound))
    };
    let mut large = open(0x81, 200_000);
    let mut second = open(0x81, 200_000);
    let mut fragment = open(0x01, 1);
    let mut small = open(0x81, 60_000);
    let mut ping = open(0x89, 10);
    for (peer, head) in &mut ends {
        peer.write_all(head).await.unwrap();
        peer.write_all(b"payload").await.unwrap();
    }
    let all = [
        &mut large,
        &mut second,
        &mut fragment,
        &mut small,
        &mut ping,
    ];
    let mut got = Vec::new();
    for transport in all {
        let mut head = [0; 14];
        transport.read_exact(&mut head).await.unwrap();
        got.push(reads(transport, b"payload").await);
    }
    assert_eq!(got, [true, false, false, true, true]);
    assert!(second.waits_for_room() && !large.waits_for_room());
    drop(large.take_charge());
    assert!(reads(&mut second, b"payload").await && !second.waits_for_room());
    // The whole message that a fragment may become is more than what is left.
    assert!(!reads(&mut fragment, b"payload").await);
    drop(second);
    assert!(reads(&mut fragment, b"payload").await);
}
