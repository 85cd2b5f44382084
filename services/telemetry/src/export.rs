//! The task that sends ended spans to the receiver, in batches.

use std::collections::HashMap;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_otlp::{Protocol, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::counters::Counters;
use crate::settings::Settings;
use crate::tracer::StartError;

/// The most spans in one request to the receiver.
pub(crate) const BATCH_SPANS: usize = 512;
/// The longest time that a span waits for others of its batch.
const BATCH_TIME: Duration = Duration::from_secs(1);
/// The longest time of one request, with its retries.
pub(crate) const REQUEST_TIME: Duration = Duration::from_secs(5);
/// The pause after a failed request. Without it, a receiver that refuses connections would cost a
/// request for each span.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);
/// The shortest time between two warnings about spans that were dropped.
const WARNING_PAUSE: Duration = Duration::from_secs(60);

/// The export of one service's spans.
pub(crate) struct Export {
    exporter: SpanExporter,
    counters: Counters,
    /// When the last warning was logged. `None` before the first.
    warned: Option<Instant>,
    /// The number of dropped spans at the last warning.
    reported: u64,
}

impl Export {
    /// Creates the export of the service `name`. Opens no connection.
    ///
    /// # Errors
    /// The HTTP client or the exporter cannot be created.
    pub(crate) fn new(
        name: &'static str,
        settings: Settings,
        counters: Counters,
    ) -> Result<Self, StartError> {
        let Settings {
            url,
            headers,
            ratio: _,
        } = settings;
        let mut defaults = http::HeaderMap::new();
        defaults.extend(headers);
        let client = reqwest::Client::builder()
            .http1_only()
            // The operator's HTTP_PROXY is for the CLI, and a redirect would take the headers
            // along.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .default_headers(defaults)
            .timeout(REQUEST_TIME)
            .build()?;
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_endpoint(url)
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(REQUEST_TIME)
            .with_headers(HashMap::new())
            .with_retry_policy(RetryPolicy::recommended())
            .build()?;
        // Not `Resource::builder`, which reads the environment.
        let resource = Resource::builder_empty().with_attributes([
            KeyValue::new("service.name", name),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.namespace", "cc-bridge"),
        ]);
        exporter.set_resource(&resource.build());
        Ok(Self {
            exporter,
            counters,
            warned: None,
            reported: 0,
        })
    }

    /// Sends the spans of `queue` in batches until `stop` is cancelled and the queue is empty. A
    /// batch that cannot be sent is dropped and counted. Dropping the future loses what is queued.
    pub(crate) async fn run(
        mut self,
        mut queue: mpsc::Receiver<SpanData>,
        stop: CancellationToken,
    ) {
        let mut batch = Vec::new();
        loop {
            let is_open = self.collect(&mut queue, &stop, &mut batch).await;
            if !batch.is_empty() {
                let sent = self.send(std::mem::take(&mut batch)).await;
                self.warn();
                if !sent && !stop.is_cancelled() {
                    let pause = sleep(FAILURE_PAUSE);
                    let _ = stop.run_until_cancelled(pause).await;
                }
            } else if !is_open {
                return;
            }
        }
    }

    /// Collects a batch: waits for a span, then for others, at most [`BATCH_TIME`]. After a stop it
    /// takes only what is queued. Returns false if no span can follow.
    async fn collect(
        &self,
        queue: &mut mpsc::Receiver<SpanData>,
        stop: &CancellationToken,
        batch: &mut Vec<SpanData>,
    ) -> bool {
        let first = stop.run_until_cancelled(queue.recv_many(batch, BATCH_SPANS));
        match first.await {
            None => queue.close(),
            Some(0) => return false,
            Some(_) => {
                let end = Instant::now() + BATCH_TIME;
                let fill = async {
                    while batch.len() < BATCH_SPANS {
                        let room = BATCH_SPANS - batch.len();
                        if queue.recv_many(batch, room).await == 0 {
                            break;
                        }
                    }
                };
                let _ = tokio::time::timeout_at(end, stop.run_until_cancelled(fill)).await;
            }
        }
        while batch.len() < BATCH_SPANS {
            let Ok(span) = queue.try_recv() else { break };
            batch.push(span);
        }
        !(queue.is_closed() && queue.is_empty())
    }

    /// Sends one batch, and counts its spans as exported or dropped. Returns whether the receiver
    /// accepted it.
    async fn send(&mut self, batch: Vec<SpanData>) -> bool {
        let spans = batch.len() as u64;
        let sent = timeout(REQUEST_TIME, self.exporter.export(batch)).await;
        let is_accepted = matches!(sent, Ok(Ok(())));
        if is_accepted {
            self.counters.exported.inc_by(spans);
        } else {
            self.counters.export_failed.inc_by(spans);
        }
        is_accepted
    }

    /// Logs a warning if spans were dropped since the last one, at most once a minute.
    fn warn(&mut self) {
        let dropped = self.counters.dropped();
        let is_early = self
            .warned
            .is_some_and(|warned| warned.elapsed() < WARNING_PAUSE);
        if dropped == self.reported || is_early {
            return;
        }
        tracing::warn!(
            dropped = dropped - self.reported,
            "dropped spans: the receiver of --otlp-endpoint is away, is slow or refuses them"
        );
        self.warned = Some(Instant::now());
        self.reported = dropped;
    }
}
