//! The life of one execution: one run of the Claude CLI for one prompt. Knows nothing of HTTP.
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
//! An execution that has its permit when it is accepted is recorded as running immediately: that is
//! one wait for the disk, not two. `phase` decides everything between `running` and the verdict.
//!
//! One task (in `task`) owns an execution and is its only writer. All others hold a [`Live`] and
//! read the status from its `watch`. Controls reach the task through one shared value (in `wish`).

mod control;
pub(crate) mod ending;
pub mod input;
pub mod live;
pub(crate) mod lost;
pub(crate) mod machine;
pub(crate) mod owner;
pub(crate) mod phase;
pub mod policy;
pub(crate) mod progress;
pub(crate) mod task;
pub mod verdict;
pub(crate) mod views;
pub(crate) mod wish;

pub use control::Control;
pub use live::Live;
