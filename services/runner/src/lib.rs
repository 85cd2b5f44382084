//! Starts, signals and reaps the processes of executions (the CLI and its tools). Each execution
//! has one runner process, below which all its processes run. The other part of this crate runs in
//! claude-api and controls the runners.
//!
//! ```text
//! claude-api ── control socket (JSON lines) ──▶ runner ── spawns, signals, reaps ──▶ CLI ──▶ tools
//!     │  ▲                                                                            │  ▲
//!     │  └───────────────── stdout, stderr: pipes of the CLI ─────────────────────────┘  │
//!     └──────────────────── stdin: the CLI's end is passed to the runner by SCM_RIGHTS ──┘
//! ```
//!
//! * [`main`] is the runner process. It is a child subreaper, so orphans of the CLI become its
//!   children. It reports [`Event::Done`] once waitpid(2) returns ECHILD, which means that no
//!   process of the execution is left.
//! * [`Runners`] starts runners, and kills the processes that a dead runner left. [`Handle`] is the
//!   connection to one runner.
//! * [`Spec`] is the program to run, and [`Sandbox`] lists the files and shared memory that it may
//!   use.
//! * [`tree_cpu`] measures the CPU time of a process tree. [`sweep_stale`] kills a tree that an
//!   earlier run of claude-api left.

mod parent;
mod process;
mod runner;
mod sandbox;
mod stale;
mod stop;
mod sweep;
mod usage;
mod wire;

pub use parent::{
    CommandSender, Drained, Events, Handle, Runners, Stderr, Stdin, Stdout, init_parent,
};
pub use process::boot_id;
pub use runner::{explain_inaccessible, main};
pub use sandbox::{MissingProtection, Sandbox, missing_protections};
pub use stale::{StaleSweep, sweep_stale};
pub use usage::tree_cpu;
pub use wire::{Action, Event, Spec, Unkillable};
