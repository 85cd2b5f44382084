//! Tests of `wss://`: trusted and other certificates, and reading and writing at the same time.

use std::time::Duration;

use cc_tests::tls::Authority;
use client::{
    Client, Connection, ConnectionOptions, Error, Event, ExecuteParams, Frame, Message, Options,
    OutputCheck, Roots, TlsError,
};
use futures::{SinkExt, StreamExt};
use protocol::Secret;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::fake::{Fake, Fault, Plan};
use crate::front::Front;

fn options(roots: Roots) -> Options {
    Options {
        token: Some("ccb_secret".parse::<Secret>().unwrap()),
        roots,
        first_delay: Duration::from_millis(5),
        max_delay: Duration::from_millis(20),
        give_up: Duration::from_secs(5),
        ..Options::default()
    }
}

fn trusted(authority: &Authority) -> Roots {
    Roots::with_pem(authority.pem.as_bytes()).unwrap()
}

/// Connects to a server with TLS, and returns why that fails.
async fn refused(host: &str, front: &Front, roots: Roots) -> TlsError {
    let url = format!("wss://{host}:{}/ws", front.address.port());
    match Client::connect(&url, options(roots)).await {
        Err(Error::Tls { error, .. }) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_run_over_tls_is_complete_after_disconnects() {
    let text = "0123456789abcdef".repeat(64 * 1024);
    let plan = Plan {
        chunk: 32 * 1024,
        ..Plan::of(&text).faults(&[Fault::Cut(100_000), Fault::Close(1, 1012), Fault::None])
    };
    let fake = Fake::start(plan).await;
    let authority = Authority::new();
    for host in ["127.0.0.1", "localhost"] {
        let tls = authority.server(&["localhost", "127.0.0.1"], |_| {});
        let front = Front::start(fake.address, vec![], Some(tls)).await;
        let url = format!("https://{host}:{}", front.address.port());
        let client = Client::connect(&url, options(trusted(&authority)))
            .await
            .unwrap();
        let mut run = client.execute(ExecuteParams::prompt("p")).unwrap();
        let mut bytes = Vec::new();
        while let Some(event) = run.next().await.unwrap() {
            match event {
                Event::Output { bytes: some, .. } => bytes.extend(some),
                Event::Terminal { verdict, .. } => assert_eq!(verdict, OutputCheck::Verified),
                _ => {}
            }
        }
        assert!(bytes == text.as_bytes(), "{} bytes", bytes.len());
        client.close().await;
        assert!(front.heads()[0].contains("ccb_secret"));
    }
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused_before_the_token_is_sent() {
    let fake = Fake::start(Plan::of("x")).await;
    let authority = Authority::new();
    let tls = authority.server(&["127.0.0.1"], |_| {});
    let front = Front::start(fake.address, vec![], Some(tls)).await;
    for roots in [Roots::default(), trusted(&Authority::new())] {
        let error = refused("127.0.0.1", &front, roots).await;
        assert!(error.to_string().contains("--ca FILE"), "{error}");
    }
    assert_eq!(front.heads(), Vec::<String>::new());
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let fake = Fake::start(Plan::of("x")).await;
    let authority = Authority::new();
    let tls = authority.server(&["bridge.example", "other.example"], |_| {});
    let front = Front::start(fake.address, vec![], Some(tls)).await;
    for host in ["127.0.0.1", "localhost"] {
        let error = refused(host, &front, trusted(&authority)).await;
        let expected = TlsError::OtherName {
            host: host.to_owned(),
            names: "bridge.example, other.example".to_owned(),
        };
        assert_eq!(error, expected);
    }
}

#[tokio::test]
async fn an_expired_certificate_and_one_of_an_authority_are_refused() {
    let fake = Fake::start(Plan::of("x")).await;
    let authority = Authority::new();
    let expired = authority.server(&["127.0.0.1"], |params| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    let of_authority = authority.server(&["127.0.0.1"], |params| {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    });
    for (tls, expected) in [
        (expired, TlsError::NotValidNow),
        (of_authority, TlsError::OfAuthority),
    ] {
        let front = Front::start(fake.address, vec![], Some(tls)).await;
        let error = refused("127.0.0.1", &front, trusted(&authority)).await;
        assert_eq!(error, expected);
    }
}

#[tokio::test]
async fn a_server_without_tls_at_the_port_is_named_as_such() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("wss://{}/ws", listener.local_addr().unwrap());
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let answer = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut stream, answer)
            .await
            .unwrap();
        stream
    };
    let roots = trusted(&Authority::new());
    let (error, _stream) = tokio::join!(Client::connect(&url, options(roots)), serve);
    let Err(Error::Tls { error, .. }) = error else {
        panic!("{error:?}");
    };
    assert_eq!(error, TlsError::NotTls);
}

/// The address has the wrong scheme the other way round.
#[tokio::test]
async fn a_server_with_tls_at_the_port_of_a_ws_address_is_named_as_such() {
    let tls = Authority::new().server(&["127.0.0.1"], |_| {});
    let fake = Fake::start(Plan::of("x")).await;
    let front = Front::start(fake.address, vec![], Some(tls)).await;
    let url = format!("ws://{}/ws", front.address);
    let error = Client::connect(&url, options(Roots::default())).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("wss://"), "{error}");
}

/// Both ends write more than the sockets hold before either reads. A connection that cannot read
/// while it writes would hang.
#[tokio::test]
async fn a_tls_connection_reads_while_it_writes() {
    let authority = Authority::new();
    let acceptor = TlsAcceptor::from(authority.server(&["127.0.0.1"], |_| {}));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("wss://{}/ws", listener.local_addr().unwrap());
    let text = "x".repeat(32 * 1024 * 1024);
    let expected = text.clone();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let stream = acceptor.accept(stream).await.unwrap();
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        socket.send(Message::text(text)).await.unwrap();
        let mut bytes = 0;
        while let Some(Ok(Message::Binary(part))) = socket.next().await {
            bytes += part.len();
        }
        bytes
    });
    let options = ConnectionOptions {
        roots: trusted(&authority),
        answer_pings: false,
        ..ConnectionOptions::default()
    };
    let connection = Connection::connect(&address.parse().unwrap(), &options)
        .await
        .unwrap();
    let (mut writer, mut reader) = connection.split();
    let write = async {
        for _ in 0..32 {
            let part = Message::Binary(vec![b'y'; 1024 * 1024].into());
            writer.send_frame(part).await.unwrap();
        }
        writer.close(1000, "").await.unwrap();
    };
    let work = async { tokio::join!(write, reader.next()) };
    let (_, received) = tokio::time::timeout(Duration::from_secs(60), work)
        .await
        .expect("the connection hangs");
    assert!(received == Ok(Frame::Text(expected.into())));
    assert_eq!(server.await.unwrap(), 32 * 1024 * 1024);
}
