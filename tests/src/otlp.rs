//! A receiver of spans over OTLP (HTTP, protobuf), as an OpenTelemetry Collector is one. It keeps
//! the spans and the raw bytes of each request, and can refuse or delay its answers.
//!
//! ```text
//! let receiver = Receiver::start(Answer::Accept).await;
//! // A service with --otlp-endpoint={receiver.endpoint()} runs something and stops.
//! let span = receiver.span("execution").await;
//! ```

mod span;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::harness::eventually;
pub use span::Span;

/// The time in which a span arrives after its end. A service sends a batch each second.
const ARRIVAL: Duration = Duration::from_secs(20);

/// How a receiver answers requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// With 200.
    Accept,
    /// With this status.
    Refuse(u16),
    /// Never.
    Hang,
}

/// What a receiver has received.
#[derive(Debug, Default)]
struct Received {
    spans: Vec<Span>,
    /// The heads and the bodies of all requests.
    raw: Vec<u8>,
    requests: usize,
}

/// A receiver of spans. Dropping it closes its port.
#[derive(Debug)]
pub struct Receiver {
    addr: SocketAddr,
    received: Arc<Mutex<Received>>,
    _server: AbortOnDropHandle<()>,
}

impl Receiver {
    /// Starts a receiver on a free port.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("bound");
        let received = Arc::<Mutex<Received>>::default();
        let router = Router::new()
            .route("/v1/traces", post(receive))
            .with_state((Arc::clone(&received), answer));
        let server = tokio::spawn(async move {
            // It runs until the receiver is dropped.
            let _ = axum::serve(listener, router).await;
        });
        Self {
            addr,
            received,
            _server: AbortOnDropHandle::new(server),
        }
    }

    /// Returns the URL for `--otlp-endpoint`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    fn received(&self) -> MutexGuard<'_, Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns all spans that have arrived.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        self.received().spans.clone()
    }

    /// Returns the heads and bodies of all requests, as bytes.
    #[must_use]
    pub fn raw(&self) -> Vec<u8> {
        self.received().raw.clone()
    }

    /// Returns the number of requests.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.received().requests
    }

    /// Waits for the one span that `wanted` accepts, and returns it. `what` describes it.
    ///
    /// # Panics
    /// If none arrives in time, or if there are several.
    pub async fn find(&self, what: &str, wanted: impl Fn(&Span) -> bool) -> Span {
        eventually(what, ARRIVAL, || {
            let found: Vec<_> = self.spans().into_iter().filter(|s| wanted(s)).collect();
            assert!(found.len() < 2, "{what}: {found:#?}");
            found.into_iter().next()
        })
        .await
    }
}

/// Takes one request of a service.
async fn receive(
    State((received, answer)): State<(Arc<Mutex<Received>>, Answer)>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let request = ExportTraceServiceRequest::decode(body.clone()).expect("a request of OTLP");
    {
        let mut received = received.lock().unwrap_or_else(PoisonError::into_inner);
        received.requests += 1;
        for (name, value) in &headers {
            received
                .raw
                .extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\n"].concat());
        }
        received.raw.extend_from_slice(&body);
        if answer == Answer::Accept {
            received.spans.extend(span::all(request));
        }
    }
    match answer {
        Answer::Accept => StatusCode::OK,
        Answer::Refuse(code) => StatusCode::from_u16(code).expect("a status"),
        Answer::Hang => std::future::pending().await,
    }
}
