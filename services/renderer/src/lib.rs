//! The Claude CLI's stdout turned into text (docs/protocol.md, "Output text"), facts for the status
//! (docs/protocol.md, "Status object") and activity (docs/protocol.md, "Progress").
//!
//! Everything here is pure: bytes go in, text and [`Fact`]s come out; nothing is read, written or
//! timed. Two state machines share the work:
//!
//! ```text
//!   stdout bytes ──▶ Lines ──▶ one event ──▶ Answer  (which text is new)      ──▶ Rendered.text
//!                                       └──▶ Tools, activity, retries, result ──▶ Rendered.facts
//!   stdout bytes ──▶ EventsOutput ──▶ valid UTF-8 + patches
//! ```
//!
//! * [`Renderer`] serves both output formats: `Renderer::new(true)` for `text`,
//!   `Renderer::new(false)` for `events`, where only facts are wanted and token lines are passed
//!   over unparsed.
//! * [`EventsOutput`] makes the output of format `events`; `spool::EventsReader` undoes it for
//!   `/events`.
//!
//! How the CLI behaves was captured from the pinned binary; the captures are in `tests/fixtures`.

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
pub use facts::{Activity, Fact, Outcome, Rendered, RunningTool};
pub use lines::{LONGEST_LINE_BYTES, LONGEST_NOISE_BYTES};
pub use renderer::Renderer;
