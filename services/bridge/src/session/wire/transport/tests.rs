use std::time::Duration;

use tokio::io::AsyncReadExt;

use super::*;
use crate::budget::inbound::{FREE_BYTES, InboundBudget};

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
async fn no_boundary_lies_between_the_fragments_of_a_message() {
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

/// Returns the head of a masked frame. `first`: its first byte.
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

/// A message is charged for the bytes that have arrived, not for its announced length.
#[tokio::test]
async fn a_message_is_charged_as_it_grows_and_a_small_one_not_at_all() {
    use tokio::io::AsyncWriteExt;
    let budget = InboundBudget::new(300_000, Duration::from_secs(3600));
    let open = async |first: u8, length: u64, sent: usize| {
        let (mut peer, io) = tokio::io::duplex(1 << 20);
        peer.write_all(&head(first, length)).await.unwrap();
        peer.write_all(&vec![b'x'; sent]).await.unwrap();
        let mut transport = Transport::new(io, Some(MessageCharge::new(budget.clone(), 250_000)));
        let mut head = [0; 14];
        transport.read_exact(&mut head).await.unwrap();
        (peer, transport)
    };
    // Whole, the first of several fragments, and a ping.
    for (first, length) in [(0x81, 60_000), (0x81, 200_000), (0x01, 60_000), (0x89, 10)] {
        let (_peer, mut transport) = open(first, length, 10).await;
        assert!(reads(&mut transport, &[0; 10]).await);
        assert_eq!((budget.used(), transport.holds_budget()), (0, false));
    }
    let (_peer, mut large) = open(0x81, 200_000, 200_000).await;
    let mut buf = vec![0; 100_000];
    large.read_exact(&mut buf).await.unwrap();
    assert_eq!(budget.used(), 131_072);
    let (_peer, mut second) = open(0x81, 200_000, 200_000).await;
    second
        .read_exact(&mut buf[..FREE_BYTES as usize])
        .await
        .unwrap();
    assert!(!reads(&mut second, &[0; 1]).await && second.waits_for_budget());
    large.read_exact(&mut buf).await.unwrap();
    assert_eq!(budget.used(), 200_000);
    let charge = large.take_charge();
    assert!(!reads(&mut second, &[0; 1]).await);
    drop(charge);
    assert!(reads(&mut second, &[0; 1]).await && !second.waits_for_budget());
    drop(second);
    assert_eq!(budget.used(), 0);
}
