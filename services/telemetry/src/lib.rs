//! The log of claude-api and bridge, and the spans that they export over OTLP (OpenTelemetry
//! Protocol).
//!
//! - [`log`]: the set-up of the log on stderr, for claude-api and bridge.
//! - [`Settings`]: where spans are sent, and how many of them.
//! - [`Tracer`]: starts spans. A tracer that is off starts spans that record nothing and allocate
//!   nothing.
//! - [`Span`]: one timed step, which is queued for the export when it ends.
//! - [`Counters`]: the exported and the dropped spans, for `/metrics`.
//!
//! Only the attributes that a caller sets are exported. No log line becomes part of a span, so a
//! new log line cannot export a secret.

mod counters;
mod export;
pub mod log;
mod sampler;
mod settings;
mod span;
mod tracer;

pub use counters::Counters;
pub use settings::{Given, Settings};
pub use span::{Kind, Span};
pub use tracer::{StartError, Tracer};
