//! The spans of a request of OTLP, as tests compare them.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use crate::hex;

/// One span. Ids are in lower-case hex digits, as in a `traceparent`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The service that recorded it.
    pub service: String,
    /// Its name.
    pub name: String,
    /// The id of its trace.
    pub trace: String,
    /// Its own id.
    pub id: String,
    /// The id of its parent; empty for the first span of a trace.
    pub parent: String,
    /// The `tracestate`.
    pub state: String,
    /// Its attributes as text.
    pub attributes: BTreeMap<String, String>,
    /// The names of its events, in order.
    pub events: Vec<String>,
    /// The ids of the spans to which it links.
    pub links: Vec<String>,
    /// Whether its status is an error.
    pub failed: bool,
    /// The beginning and the end, in nanoseconds since 1970.
    pub time: (u64, u64),
}

impl Span {
    /// Returns the `traceparent` of a child of this span, which is recorded.
    #[must_use]
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace, self.id)
    }

    /// Returns an attribute, or an empty text.
    #[must_use]
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

/// Returns all spans of a request.
pub(super) fn all(request: ExportTraceServiceRequest) -> Vec<Span> {
    let mut spans = Vec::new();
    for resource in request.resource_spans {
        let of_resource = resource.resource.map(|r| r.attributes).unwrap_or_default();
        let service = texts(of_resource)
            .remove("service.name")
            .unwrap_or_default();
        for span in resource.scope_spans.into_iter().flat_map(|s| s.spans) {
            let is_error = |code| code == StatusCode::Error as i32;
            spans.push(Span {
                service: service.clone(),
                name: span.name,
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                state: span.trace_state,
                attributes: texts(span.attributes),
                events: span.events.into_iter().map(|event| event.name).collect(),
                links: span.links.iter().map(|link| hex(&link.span_id)).collect(),
                failed: span.status.is_some_and(|status| is_error(status.code)),
                time: (span.start_time_unix_nano, span.end_time_unix_nano),
            });
        }
    }
    spans
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Option<AnyValue>| match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        Some(Value::BoolValue(value)) => value.to_string(),
        other => format!("{other:?}"),
    };
    let pairs = attributes.into_iter();
    pairs.map(|pair| (pair.key, text(pair.value))).collect()
}
