//! Turns the stdout of the Claude CLI, which is one JSON event per line, into the text of the
//! answer (docs/protocol.md, "Output text"), facts for the status (docs/protocol.md, "Status
//! object") and the current activity (docs/protocol.md, "Progress").
//!
//! The crate is pure: it turns bytes into text and [`Fact`]s, without I/O and without a clock. It
//! has two state machines:
//!
//! ```text
//!   stdout bytes ──▶ Lines ──▶ one event ──▶ Answer  (finds new text)         ──▶ Rendered.text
//!                                       └──▶ Tools, activity, retries, result ──▶ Rendered.facts
//!   stdout bytes ──▶ EventsOutput ──▶ valid UTF-8 + patches
//! ```
//!
//! * [`Renderer`] serves both output formats: `Renderer::new(true)` for `text`, and
//!   `Renderer::new(false)` for `events`, which needs only facts and skips token lines unparsed.
//! * [`EventsOutput`] produces the output of format `events`; `spool::EventsReader` restores the
//!   original bytes for `/events`.
//!
//! The CLI's behaviour was captured from the pinned binary; the captures are in `tests/fixtures`.

mod activity;
mod answer;
mod compared_text;
mod denials;
mod event;
mod events_output;
mod facts;
mod lines;
mod outcome;
mod renderer;
mod repeat;
mod salvage;
mod sanitise;
mod tools;
mod wtf8;

pub use events_output::EventsOutput;
pub use facts::{Activity, Fact, Outcome, Rendered, RunningTool, SessionState};
pub use lines::{LONGEST_LINE_BYTES, LONGEST_NOISE_BYTES};
pub use renderer::Renderer;
