//! The log of claude-api and bridge, and the spans that they export over OTLP (OpenTelemetry
//! Protocol).
//!
//! - [`log`]: the set-up of the log on stderr.
//! - [`TraceArgs`]: the arguments of a service, and [`Settings`], their checked values: where spans
//!   are sent, and how many of them.
//! - [`Tracer`]: starts spans. A tracer that is off starts spans that record nothing and allocate
//!   nothing.
//! - [`Span`]: one timed step, which is queued for the export when it ends.
//! - [`Counters`]: the exported and the dropped spans, for `/metrics`.
//!
//! Only the attributes that a caller sets are exported. No log line becomes part of a span, so a
//! new log line cannot export a secret.
//!
//! The feature `spans` has all but the log. `credentials` exports no spans and goes without it, so
//! that the process with the credential has no second HTTP client.

#[cfg(feature = "spans")]
mod args;
#[cfg(feature = "spans")]
mod counters;
#[cfg(feature = "spans")]
mod export;
pub mod log;
#[cfg(feature = "spans")]
mod sampler;
#[cfg(feature = "spans")]
mod settings;
#[cfg(feature = "spans")]
mod span;
#[cfg(feature = "spans")]
mod tracer;

#[cfg(feature = "spans")]
pub use self::{
    args::{TraceArgs, TraceVariables},
    counters::Counters,
    settings::Settings,
    span::{Kind, Span},
    tracer::{StartError, Tracer},
};
