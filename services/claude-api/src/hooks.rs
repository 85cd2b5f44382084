//! Hooks: programs of the operator that the service runs before and after each execution.
//!
//! ```text
//!  `running` recorded ─▶ before hook ─▶ CLI ─▶ terminal status recorded, published ─▶ lane free
//!                           │                                   │
//!                           │ failed and required               └─▶ after hook (a service task)
//!                           ▼
//!               failed, hook_refused: no CLI
//! ```
//!
//! - The before hook runs in the task of its execution ([`crate::execution`]). Only that execution
//!   waits for it. A cancel or the deadline of the execution kills the hook immediately. A stop of
//!   the service kills it when the service's time for running executions is over.
//! - The after hook is a task of the service (`service/after_hooks.rs`). No client and no execution
//!   waits for it.
//!
//! Each hook runs through a runner, so none of its processes is left when [`call`] returns.

mod call;

pub(crate) use call::{Ended, Failure, call};
