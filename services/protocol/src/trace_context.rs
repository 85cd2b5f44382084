//! The trace context, which joins the spans of several programs to one trace (W3C Trace Context,
//! Level 1 and 2). Clients send it as HTTP headers or as fields of a body, and the CLI gets it as
//! environment variables. The texts are the same everywhere.
//!
//! A malformed `traceparent` is ignored, and so is a malformed `tracestate`, as W3C Trace Context
//! says (section 4.3). A client with a broken tracer can therefore still run executions.

mod state;

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

/// The name of the header and of the body's field with the ids of the trace and of the parent.
pub const TRACEPARENT: &str = "traceparent";
/// The name of the header and of the body's field with the data of tracing systems.
pub const TRACESTATE: &str = "tracestate";
/// The environment variable with the text of `traceparent` (OpenTelemetry, "Environment Variables
/// as Context Propagation Carriers").
pub const TRACEPARENT_VARIABLE: &str = "TRACEPARENT";
/// The environment variable with the text of `tracestate`.
pub const TRACESTATE_VARIABLE: &str = "TRACESTATE";

/// The length of a `traceparent` of version 00, in bytes. Later versions are at least as long.
const LENGTH: usize = 55;
/// The flag of a trace whose spans are recorded (W3C Trace Context, section 3.2.2.5).
const SAMPLED: u8 = 0x01;
/// The flags that are passed on: sampled, and random trace id (Level 2). Others have no meaning
/// yet, and the specification asks for zeros.
const KNOWN_FLAGS: u8 = 0x03;

/// The position in a trace: the trace, the span to which the next one is a child, and whether the
/// trace is recorded. A clone shares the text of `tracestate`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Texts", into = "Texts")]
pub struct TraceContext {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    flags: u8,
    state: Option<Arc<str>>,
}

impl TraceContext {
    /// Creates the context of a trace's first span. `sampled` decides whether the trace is
    /// recorded. Returns `None` if an id is zero, which no valid id is.
    #[must_use]
    pub fn root(trace_id: [u8; 16], span_id: [u8; 8], sampled: bool) -> Option<Self> {
        let is_valid = trace_id != [0; 16] && span_id != [0; 8];
        is_valid.then_some(Self {
            trace_id,
            span_id,
            flags: if sampled { SAMPLED } else { 0 },
            state: None,
        })
    }

    /// Parses the texts of `traceparent` and `tracestate`. Returns `None` for a malformed
    /// `traceparent`. A malformed `tracestate` is left out. A later version of the format is read
    /// as version 00 (W3C Trace Context, section 4.3).
    #[must_use]
    pub fn parse(traceparent: &str, tracestate: Option<&str>) -> Option<Self> {
        let text = traceparent.trim_matches([' ', '\t']).as_bytes();
        let (fixed, rest) = text.split_at_checked(LENGTH)?;
        let [version] = hex(fixed.get(..2)?)?;
        let is_long = match version {
            0x00 => rest.is_empty(),
            0xff => false,
            _ => rest.first().is_none_or(|next| *next == b'-'),
        };
        let has_dashes = [2, 35, 52].iter().all(|at| fixed[*at] == b'-');
        if !(is_long && has_dashes) {
            return None;
        }
        let [flags] = hex(&fixed[53..55])?;
        let (trace_id, span_id) = (hex(&fixed[3..35])?, hex(&fixed[36..52])?);
        let root = Self::root(trace_id, span_id, false)?;
        Some(Self {
            flags: flags & KNOWN_FLAGS,
            state: tracestate.and_then(state::checked),
            ..root
        })
    }

    /// Reads the context from the headers of an HTTP request. Returns `None` if `traceparent` is
    /// missing, malformed or there twice. Several `tracestate` headers are joined.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let mut parents = headers.get_all(TRACEPARENT).iter();
        let (Some(parent), None) = (parents.next(), parents.next()) else {
            return None;
        };
        let states = headers.get_all(TRACESTATE).iter();
        let states: Result<Vec<_>, _> = states.map(HeaderValue::to_str).collect();
        let state = states.unwrap_or_default().join(",");
        Self::parse(parent.to_str().ok()?, Some(&state))
    }

    /// Sets the headers of an HTTP request to this context, and removes those of another context.
    pub fn set_headers(&self, headers: &mut HeaderMap) {
        headers.remove(TRACESTATE);
        let texts = [
            (TRACEPARENT, Some(self.traceparent())),
            (TRACESTATE, self.tracestate().map(str::to_owned)),
        ];
        for (name, text) in texts {
            // Both texts are printable ASCII, so the conversion does not fail.
            if let Some(value) = text.and_then(|text| HeaderValue::try_from(text).ok()) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
    }

    /// Returns the context of another span of the same trace.
    #[must_use]
    pub fn with_span(&self, span_id: [u8; 8]) -> Self {
        Self {
            span_id,
            ..self.clone()
        }
    }

    /// Returns the text of `traceparent`, in version 00.
    #[must_use]
    pub fn traceparent(&self) -> String {
        let encode = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
        let (trace, span) = (encode(&self.trace_id), encode(&self.span_id));
        format!("00-{trace}-{span}-{:02x}", self.flags)
    }

    /// Returns the text of `tracestate` as it was received, or `None` if there was none.
    #[must_use]
    pub fn tracestate(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// Returns the environment variables that carry this context, as names and values.
    #[must_use]
    pub fn variables(&self) -> Vec<(String, String)> {
        let mut variables = vec![(TRACEPARENT_VARIABLE.to_owned(), self.traceparent())];
        if let Some(state) = self.tracestate() {
            variables.push((TRACESTATE_VARIABLE.to_owned(), state.to_owned()));
        }
        variables
    }

    /// Returns the id of the trace.
    #[must_use]
    pub fn trace_id(&self) -> [u8; 16] {
        self.trace_id
    }

    /// Returns the id of the span.
    #[must_use]
    pub fn span_id(&self) -> [u8; 8] {
        self.span_id
    }

    /// Returns whether the spans of the trace are recorded.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }
}

/// Decodes lower-case hexadecimal digits. Returns `None` for other characters, and for another
/// length.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    // HEXLOWER accepts no upper case, as the specification asks.
    let bytes = data_encoding::HEXLOWER.decode(digits).ok()?;
    bytes.try_into().ok()
}

/// The texts of a context, as its JSON on disk has them.
#[derive(Serialize, Deserialize)]
struct Texts {
    traceparent: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tracestate: Option<String>,
}

impl From<TraceContext> for Texts {
    fn from(context: TraceContext) -> Self {
        Self {
            traceparent: context.traceparent(),
            tracestate: context.tracestate().map(str::to_owned),
        }
    }
}

impl TryFrom<Texts> for TraceContext {
    type Error = &'static str;

    fn try_from(texts: Texts) -> Result<Self, Self::Error> {
        Self::parse(&texts.traceparent, texts.tracestate.as_deref())
            .ok_or("the traceparent is malformed")
    }
}

#[cfg(test)]
mod tests;
