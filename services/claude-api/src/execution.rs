//! The life of one execution: one run of the Claude CLI for one prompt. This module does not depend
//! on HTTP; `http` and `service` call it.
//!
//! ```text
//!            permit, `running` on disk      stop walk
//!  queued ───────────────────────▶ running ◀────────▶ paused
//!     │                 acceptance, ▲│  ▲                │
//!     │            one with a permit││  │                │
//!     │ cancel                       │  └── resume ──────┤ cancel, deadline of the service's stop
//!     ▼                              ▼                   ▼
//!  cancelled       the CLI is reaped, its tree swept, its output drained: verdict
//! ```
//!
//! An execution whose permit (the right to run) is free when the request is accepted is recorded as
//! `running` immediately. This saves one of two writes to the disk. `phase` decides everything
//! between `running` and the verdict (the terminal state and its reason).
//!
//! One task (in `task`) owns an execution and is the only writer of its status. All other code
//! holds a [`Live`] and reads the status from its `watch` channel. Pause, resume, cancel and stop
//! reach the task through one shared value (in `wish`).

pub(crate) mod client_control;
mod control;
pub(crate) mod control_response;
pub(crate) mod ending;
pub mod input;
pub mod live;
pub(crate) mod lost;
pub(crate) mod machine;
pub(crate) mod owner;
pub(crate) mod phase;
pub mod policy;
pub(crate) mod progress;
pub(crate) mod prompt;
pub mod questions;
pub(crate) mod task;
pub(crate) mod trace;
pub mod verdict;
pub(crate) mod views;
pub(crate) mod wish;

pub use control::Control;
pub use live::Live;
