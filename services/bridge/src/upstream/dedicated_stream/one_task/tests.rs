use std::pin::pin;
use std::sync::atomic::AtomicUsize;

use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

type Answer = OneTask<Connection<TokioIo<DuplexStream>, Empty<Bytes>>, Incoming>;

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

/// Returns an answer whose head has arrived, and the server's end of its connection.
async fn answer() -> (Answer, DuplexStream) {
    let (client, mut server) = duplex(64 * 1024);
    let (mut sender, mut connection) = http1::handshake(TokioIo::new(client)).await.unwrap();
    let request = http::Request::get("/").body(Empty::new()).unwrap();
    let sent = sender.send_request(request);
    let head = async {
        let mut request = [0; 1024];
        assert!(server.read(&mut request).await.unwrap() > 0);
        server.write_all(HEAD).await.unwrap();
        std::future::pending::<()>().await;
    };
    let answer = tokio::select! {
        answer = sent => answer.unwrap(),
        ended = &mut connection => panic!("{ended:?}"),
        () = head => unreachable!(),
    };
    (OneTask::new(Some(connection), answer.into_body()), server)
}

/// Counts wake-ups.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_chunk_wakes_the_reader_once() {
    let (mut answer, mut server) = answer().await;
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut context = Context::from_waker(&waker);
    for round in 1..=20 {
        let mut chunk = pin!(answer.chunk());
        assert!(chunk.as_mut().poll(&mut context).is_pending());
        server.write_all(b"3\r\nabc\r\n").await.unwrap();
        assert_eq!(count.0.load(Ordering::SeqCst), round);
        let Poll::Ready(Ok(Some(bytes))) = chunk.poll(&mut context) else {
            panic!("the chunk has arrived");
        };
        assert_eq!(bytes, "abc");
        assert_eq!(count.0.load(Ordering::SeqCst), round, "it woke itself");
    }
}

#[tokio::test]
async fn all_bytes_arrive_and_then_the_end() {
    let (mut answer, mut server) = answer().await;
    let sender = async move {
        for byte in 0..200_u32 {
            let bytes = [byte as u8].repeat(1000);
            server.write_all(b"3e8\r\n").await.unwrap();
            server.write_all(&bytes).await.unwrap();
            server.write_all(b"\r\n").await.unwrap();
        }
        server.write_all(b"0\r\nx-end: y\r\n\r\n").await.unwrap();
        server
    };
    let reader = async {
        let mut all = Vec::new();
        while let Some(bytes) = answer.chunk().await.unwrap() {
            all.extend_from_slice(&bytes);
        }
        all
    };
    let (_server, all) = tokio::join!(sender, reader);
    let expected: Vec<_> = (0..200_u8).flat_map(|byte| [byte].repeat(1000)).collect();
    assert!(all == expected, "{} bytes", all.len());
}

#[tokio::test]
async fn a_connection_that_ends_early_is_an_error() {
    let (mut answer, mut server) = answer().await;
    server.write_all(b"3\r\nabc\r\n5\r\nde").await.unwrap();
    drop(server);
    let mut all = Vec::new();
    let error = loop {
        match answer.chunk().await {
            Ok(Some(bytes)) => all.extend_from_slice(&bytes),
            Ok(None) => panic!("the body has no end"),
            Err(error) => break error,
        }
    };
    assert_eq!(all, b"abcde");
    assert!(!error.to_string().is_empty());
}
