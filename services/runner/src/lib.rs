//! Starts, signals and cleans up the processes of executions: one runner process per execution, and
//! the part that runs in claude-api and controls the runners.
//!
//! ```text
//! claude-api ── control socket (JSON lines) ──▶ runner ── spawns, signals, reaps ──▶ CLI ──▶ tools
//!     │  ▲                                                                            │  ▲
//!     │  └───────────────── stdout, stderr: pipes of the CLI ─────────────────────────┘  │
//!     └──────────────────── stdin: the CLI's end is passed to the runner by SCM_RIGHTS ──┘
//! ```
//!
//! * [`main`] is the runner process. It is a child subreaper, so orphans of the CLI become its
//!   children. It reports [`Event::Done`] once `waitpid` returns ECHILD: then no process of the
//!   execution is left.
//! * [`Runners`] starts runners and kills the orphans of dead ones; [`Handle`] is one runner.
//! * [`Sandbox`] lists the resources that the CLI and its tools may use.
//! * [`tree_cpu`] and [`sweep_stale`] inspect process trees from outside.

mod parent;
mod process;
mod runner;
mod sandbox;
mod stale;
mod stop;
mod sweep;
mod usage;
mod wire;

pub use parent::{Control, Drained, Events, Handle, Runners, Stderr, Stdin, Stdout, init_parent};
pub use process::boot_id;
pub use runner::{explain_inaccessible, main};
pub use sandbox::{MissingProtection, Sandbox, missing_protections};
pub use stale::{StaleSweep, sweep_stale};
pub use usage::tree_cpu;
pub use wire::{Action, Event, Spec, Unkillable};
