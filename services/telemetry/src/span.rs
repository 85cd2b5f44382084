//! A span: one timed step of a trace.

use std::sync::Arc;
use std::time::SystemTime;

use opentelemetry::trace::{
    Event, Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use protocol::TraceContext;

use crate::tracer::Shared;

/// The role of a span in a call between two programs (OpenTelemetry, "SpanKind").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The program answers a request.
    Server,
    /// The program sends a request and waits for the answer.
    Client,
    /// The program works on its own.
    Internal,
}

/// One timed step of a trace. Dropping it ends it and queues it for the export, so that a step that
/// is cancelled is exported too. The queue never blocks; without room the span is dropped and
/// counted.
///
/// A span of a trace that is not recorded has a context only. It ignores its attributes.
#[derive(Debug, Default)]
pub struct Span {
    context: Option<TraceContext>,
    recording: Option<Recording>,
}

/// The data of a span that is recorded, and its queue.
#[derive(Debug)]
struct Recording {
    data: Box<SpanData>,
    /// The end, if it is not the time at which the span is dropped.
    end: Option<SystemTime>,
    shared: Arc<Shared>,
}

impl Span {
    /// Returns a span that records nothing. It passes `context` on unchanged.
    #[must_use]
    pub fn unrecorded(context: Option<TraceContext>) -> Self {
        Self {
            context,
            recording: None,
        }
    }

    /// Starts a recorded span. `context` is its own, and `parent` that of its parent.
    pub(crate) fn start(
        shared: &Arc<Shared>,
        name: String,
        kind: Kind,
        context: TraceContext,
        parent: Option<&TraceContext>,
    ) -> Self {
        let data = SpanData {
            span_context: exported(&context),
            parent_span_id: parent.map_or(SpanId::INVALID, |parent| {
                SpanId::from_bytes(parent.span_id())
            }),
            parent_span_is_remote: parent.is_some() && kind == Kind::Server,
            span_kind: match kind {
                Kind::Server => SpanKind::Server,
                Kind::Client => SpanKind::Client,
                Kind::Internal => SpanKind::Internal,
            },
            name: name.into(),
            start_time: SystemTime::now(),
            end_time: SystemTime::UNIX_EPOCH,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: shared.scope.clone(),
        };
        Self {
            context: Some(context),
            recording: Some(Recording {
                data: Box::new(data),
                end: None,
                shared: Arc::clone(shared),
            }),
        }
    }

    /// Returns the context for the next span of the trace, and for requests to other programs.
    /// `None` if there is no trace.
    #[must_use]
    pub fn context(&self) -> Option<&TraceContext> {
        self.context.as_ref()
    }

    /// Returns whether the span is exported at its end. If not, a caller can skip the work for its
    /// attributes.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.recording.is_some()
    }

    /// Sets an attribute. The value is exported unchanged. So it must not be a secret, and its
    /// length must have a small bound.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(recording) = &mut self.recording {
            recording.data.attributes.push(KeyValue::new(name, value));
        }
    }

    /// Adds an event at a time.
    pub fn event(&mut self, name: &'static str, at: SystemTime) {
        if let Some(recording) = &mut self.recording {
            let event = Event::new(name, at, Vec::new(), 0);
            recording.data.events.events.push(event);
        }
    }

    /// Adds a link to another span, which is related but is not the parent.
    pub fn link(&mut self, other: &TraceContext) {
        if let Some(recording) = &mut self.recording {
            let link = Link::with_context(exported(other));
            recording.data.links.links.push(link);
        }
    }

    /// Marks the span as failed, with the reason as a word for programs.
    pub fn fail(&mut self, reason: impl Into<std::borrow::Cow<'static, str>>) {
        if let Some(recording) = &mut self.recording {
            recording.data.status = Status::error(reason);
        }
    }

    /// Replaces the time at which the span began.
    pub fn began_at(&mut self, at: SystemTime) {
        if let Some(recording) = &mut self.recording {
            recording.data.start_time = at;
        }
    }

    /// Ends the span at this time, and queues it for the export.
    pub fn end_at(mut self, at: SystemTime) {
        if let Some(recording) = &mut self.recording {
            recording.end = Some(at);
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(Recording {
            mut data,
            end,
            shared,
        }) = self.recording.take()
        {
            let end = end.unwrap_or_else(SystemTime::now);
            // The wall clock may have been set back meanwhile.
            data.end_time = end.max(data.start_time);
            shared.queue(*data);
        }
    }
}

/// Converts a context to the exporter's type.
fn exported(context: &TraceContext) -> SpanContext {
    let state = context.tracestate().and_then(|text| text.parse().ok());
    SpanContext::new(
        TraceId::from_bytes(context.trace_id()),
        SpanId::from_bytes(context.span_id()),
        TraceFlags::SAMPLED,
        false,
        state.unwrap_or(TraceState::NONE),
    )
}
