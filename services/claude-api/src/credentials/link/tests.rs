use std::sync::Arc;
use std::time::Duration;

use addresses::HostAddresses;
use grants::{CredentialKind, GrantHash, Registration};
use prometheus_client::registry::Registry;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::*;
use crate::config::CredentialsUrl;
use crate::credentials::peer_rule::PeerRule;
use crate::metrics::ModelRequests;

/// The timing of these tests. A silence is far longer than a beat, so that a slow machine does not
/// lose a connection whose peer is alive.
const TIMING: Timing = Timing {
    beat: Duration::from_millis(50),
    silence: Duration::from_secs(6),
};
/// The timeout of a wait, far longer than any step of these tests takes.
const SOON: Duration = Duration::from_secs(30);

/// Returns the state before the first connection.
fn shared() -> Arc<Shared> {
    let rule = PeerRule {
        own: None,
        host: HostAddresses::new("127.0.0.1", Duration::from_secs(1)),
    };
    let url = CredentialsUrl::parse("http://127.0.0.1:9").unwrap();
    let metrics = ModelRequests::register(&mut Registry::default());
    Arc::new(Shared::new(url, rule, TIMING, metrics))
}

/// Registers the grant of an execution, with this principal.
fn register(shared: &Shared, execution: &str, principal: Option<String>) {
    let registration = Registration {
        execution_id: execution.to_owned(),
        hash: GrantHash::of(execution),
        principal,
        max_cost_usd: None,
        spent_usd: 0.0,
    };
    shared.with(|table| drop(table.insert(registration)));
}

/// The side of `credentials` of a connection.
struct Peer {
    lines: Lines,
    writer: OwnedWriteHalf,
}

impl Peer {
    /// Connects and says hello.
    async fn connect(shared: &Arc<Shared>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        let stranger = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let shared = Arc::clone(shared);
        let stream = far.unwrap().0;
        tokio::spawn(async move { run(stream, &shared, stranger).await });
        let (reader, writer) = near.unwrap().into_split();
        let lines = FramedRead::new(reader, LinesCodec::new_with_max_length(LINE_BYTES - 1));
        let mut peer = Self { lines, writer };
        peer.say(&Report::Hello {
            version: VERSION,
            credential: CredentialState::Present {
                kind: CredentialKind::ApiKey,
                fingerprint: "one".to_owned(),
            },
            upstream: "https://api.example".to_owned(),
        })
        .await;
        assert_eq!(peer.order().await, Some(Order::Hello { version: VERSION }));
        peer
    }

    async fn say(&mut self, report: &Report) {
        let line = to_line(report);
        self.writer.write_all(line.as_bytes()).await.unwrap();
    }

    /// Returns the next order, with beats. `None` at the end of the connection.
    async fn order(&mut self) -> Option<Order> {
        let line = timeout(SOON, self.lines.next()).await.expect("a line");
        Some(parse(line?.ok()?.as_bytes()).unwrap())
    }

    /// Returns the executions whose grants are sent before the first `synced`.
    async fn grants(&mut self) -> Vec<String> {
        let mut executions = Vec::new();
        loop {
            match self.order().await.expect("an order") {
                Order::Grant(registration) => executions.push(registration.execution_id),
                Order::Synced => return executions,
                _ => {}
            }
        }
    }
}

/// Waits until the connection has ended. Returns the reason.
async fn lost(shared: &Shared) -> String {
    let mut known = shared.known.subscribe();
    let known = timeout(SOON, known.wait_for(|known| !known.is_connected)).await;
    let mishap = known.expect("the connection ends").unwrap().mishap.clone();
    mishap.expect("a reason")
}

#[tokio::test]
async fn a_silent_peer_is_dropped_and_the_next_connection_gets_every_grant_again() {
    let shared = shared();
    register(&shared, "one", None);
    let mut peer = Peer::connect(&shared).await;
    assert_eq!(peer.grants().await, ["one"]);
    // Beats keep the connection for longer than a silence.
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < TIMING.silence * 5 / 4 {
        assert_eq!(peer.order().await, Some(Order::Beat));
        peer.say(&Report::Beat).await;
    }
    assert!(shared.known.borrow().is_connected);
    // The peer still reads, and its socket stays open.
    let last_word = tokio::time::Instant::now();
    let dropped = async {
        while let Some(order) = peer.order().await {
            assert_eq!(order, Order::Beat);
        }
    };
    let dropped = timeout(SOON, dropped).await;
    dropped.expect("the silent peer is dropped");
    assert!(last_word.elapsed() >= TIMING.silence);
    let expected = format!("sent nothing for {:?}", TIMING.silence);
    let reason = lost(&shared).await;
    assert!(reason.contains(&expected), "{reason}");
    register(&shared, "two", None);
    let mut next = Peer::connect(&shared).await;
    let mut executions = next.grants().await;
    executions.sort();
    assert_eq!(executions, ["one", "two"]);
}

#[tokio::test]
async fn a_peer_that_reads_nothing_is_dropped_although_it_beats() {
    let shared = shared();
    let Peer { lines, mut writer } = Peer::connect(&shared).await;
    // More than the buffers of both sockets hold.
    for number in 0..200 {
        let principal = "x".repeat(LINE_BYTES / 2);
        register(&shared, &number.to_string(), Some(principal));
    }
    let beats = async {
        let beat = to_line(&Report::Beat);
        while writer.write_all(beat.as_bytes()).await.is_ok() {
            tokio::time::sleep(TIMING.beat).await;
        }
    };
    let reason = tokio::select! {
        reason = lost(&shared) => reason,
        () = beats => lost(&shared).await,
    };
    let expected = format!("read nothing for {:?}", TIMING.silence);
    assert!(reason.contains(&expected), "{reason}");
    let mut rest = Vec::new();
    let mut lines = lines.into_inner();
    let read = lines.read_to_end(&mut rest);
    // A reset is an end, too.
    let _ = timeout(SOON, read).await.expect("the connection is closed");
}
