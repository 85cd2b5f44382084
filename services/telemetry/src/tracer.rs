//! The tracer of a service, which starts spans and queues them for the export.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::InstrumentationScope;
use opentelemetry_otlp::ExporterBuildError;
use opentelemetry_sdk::trace::SpanData;
use protocol::TraceContext;
use rand::RngCore;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::counters::Counters;
use crate::export::Export;
use crate::sampler::Sampler;
use crate::settings::Settings;
use crate::span::{Kind, Span};

/// The maximum number of spans that wait for the export.
///
/// - When is a place taken? When a span ends, and never before. The export of a batch releases it.
/// - Who waits for whom? Nobody waits. A span without a place is dropped and counted.
/// - What bounds the other direction? One request is sent at a time, with at most
///   [`crate::export::BATCH_SPANS`] spans, and takes at most [`crate::export::REQUEST_TIME`].
///
/// A span has about 1 KiB, so a receiver that is away costs 2 MiB.
const QUEUE_SPANS: usize = 2048;
/// The longest time that a stop waits for the export of the last spans.
const FLUSH_TIME: Duration = Duration::from_secs(2);

/// The reason why the export could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The HTTP client could not be created.
    #[error("the HTTP client for traces could not be created: {0}")]
    Client(#[from] reqwest::Error),
    /// The exporter refused its settings.
    #[error("the exporter of traces could not be created: {0}")]
    Exporter(#[from] ExporterBuildError),
    /// There is no Tokio runtime.
    #[error("the export of traces needs a Tokio runtime: {0}")]
    Runtime(#[from] tokio::runtime::TryCurrentError),
}

/// Starts the spans of one service. Clones share the queue and the export. The default is off: it
/// records nothing.
#[derive(Debug, Clone, Default)]
pub struct Tracer(Option<Arc<Shared>>);

/// The queue of ended spans, and the decision which traces are recorded.
#[derive(Debug)]
pub(crate) struct Shared {
    spans: mpsc::Sender<SpanData>,
    counters: Counters,
    sampler: Sampler,
    /// The name and the version of the program, which every span has.
    pub(crate) scope: InstrumentationScope,
    /// Cancelled when the service stops: the export then sends what is queued, and ends.
    stop: CancellationToken,
    /// The task of the export. The lock is held only while the task is taken out, never across an
    /// await.
    export: Mutex<Option<JoinHandle<()>>>,
}

impl Shared {
    /// Queues an ended span for the export. Never blocks: without room the span is dropped and
    /// counted.
    pub(crate) fn queue(&self, span: SpanData) {
        if self.spans.try_send(span).is_err() {
            self.counters.queue_full.inc();
        }
    }
}

impl Tracer {
    /// Starts the export of the service `name` in a task of the present Tokio runtime. No
    /// connection is opened before the first span has ended. `counters` counts the spans.
    ///
    /// # Errors
    /// The HTTP client or the exporter cannot be created, or there is no runtime. No error depends
    /// on the receiver, which may be away.
    pub fn start(
        name: &'static str,
        settings: Settings,
        counters: Counters,
    ) -> Result<Self, StartError> {
        let runtime = Handle::try_current()?;
        let (spans, queue) = mpsc::channel(QUEUE_SPANS);
        let stop = CancellationToken::new();
        let sampler = Sampler::new(settings.ratio);
        let export = Export::new(name, settings, counters.clone())?;
        let task = runtime.spawn(export.run(queue, stop.clone()));
        let scope = InstrumentationScope::builder(name)
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        Ok(Self(Some(Arc::new(Shared {
            spans,
            counters,
            sampler,
            scope,
            stop,
            export: Mutex::new(Some(task)),
        }))))
    }

    /// Returns whether spans are exported.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Starts a span with this name. It is a child of `parent`, or begins a trace. A span of a
    /// trace that is not recorded, and every span of a tracer that is off, passes the parent's
    /// context on. `name` is called only for a span that is recorded, and must return one of a few
    /// names.
    #[must_use]
    pub fn span(
        &self,
        kind: Kind,
        parent: Option<&TraceContext>,
        name: impl FnOnce() -> String,
    ) -> Span {
        let Some(shared) = &self.0 else {
            return Span::unrecorded(parent.cloned());
        };
        let context = match parent {
            Some(parent) if !parent.is_sampled() => return Span::unrecorded(Some(parent.clone())),
            Some(parent) => Some(parent.with_span(random_id())),
            None => self.root(random_id(), random_id()),
        };
        match context {
            Some(context) if context.is_sampled() => {
                Span::start(shared, name(), kind, context, parent)
            }
            other => Span::unrecorded(other),
        }
    }

    /// Starts a span whose context the caller has chosen with [`Self::context`].
    #[must_use]
    pub fn span_with(
        &self,
        kind: Kind,
        parent: Option<&TraceContext>,
        context: TraceContext,
        name: impl FnOnce() -> String,
    ) -> Span {
        match &self.0 {
            Some(shared) if context.is_sampled() => {
                Span::start(shared, name(), kind, context, parent)
            }
            _ => Span::unrecorded(Some(context)),
        }
    }

    /// Returns the context of a span with this id, without starting it. It is a child of `parent`,
    /// or begins the trace `trace_id`. A tracer that is off returns the parent's context, because
    /// its own span would never be exported.
    #[must_use]
    pub fn context(
        &self,
        trace_id: [u8; 16],
        span_id: [u8; 8],
        parent: Option<&TraceContext>,
    ) -> Option<TraceContext> {
        match parent {
            Some(parent) if self.is_on() && parent.is_sampled() => Some(parent.with_span(span_id)),
            Some(parent) => Some(parent.clone()),
            None => self.root(trace_id, span_id),
        }
    }

    /// Returns the context of a trace that begins here. `None` if the tracer is off, or an id is
    /// zero.
    fn root(&self, trace_id: [u8; 16], span_id: [u8; 8]) -> Option<TraceContext> {
        let sampler = self.0.as_ref()?.sampler;
        TraceContext::root(trace_id, span_id, sampler.records(trace_id))
    }

    /// Ends the export: sends the queued spans, and waits for that at most 2 s. The rest is lost.
    /// Later spans are dropped and counted. A second call returns at once.
    pub async fn shutdown(&self) {
        let Some(shared) = &self.0 else { return };
        shared.stop.cancel();
        let export = shared
            .export
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(mut export) = export else { return };
        if tokio::time::timeout(FLUSH_TIME, &mut export).await.is_err() {
            export.abort();
            tracing::warn!("the last spans were not exported within 2 s; exiting without them");
        }
    }
}

/// Returns a random id that is not zero.
fn random_id<const N: usize>() -> [u8; N] {
    let mut id = [0; N];
    while id == [0; N] {
        rand::rng().fill_bytes(&mut id);
    }
    id
}

#[cfg(test)]
mod tests;
