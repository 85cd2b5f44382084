//! Everything about processes: one runner process per execution, and the side of it that lives in claude-api.
//!
//! ```text
//! claude-api ── control socket (JSON lines) ──▶ runner ── spawns, signals, reaps ──▶ the CLI ──▶ tools
//!     ▲  ▲                                                                             │
//!     │  └────────────────────── stdout, stderr: the CLI's own pipes ──────────────────┤
//!     └ stdin: our end stays here, the CLI's goes to the runner by SCM_RIGHTS ──────────▶
//! ```
//!
//! * [`main`] is the runner process. It is a child subreaper, so everything the CLI leaves behind becomes its child;
//!   when `waitpid` says ECHILD nothing of the execution is left, and only then it reports [`Event::Done`].
//! * [`Runners`] starts runners and kills what a dead one left; [`Handle`] is one of them.
//! * [`Sandbox`] is what the CLI and its tools may use.
//! * [`tree_cpu`] and [`sweep_stale`] look at process trees from outside.

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
pub use runner::{cannot_enter, main};
pub use sandbox::{Gap, Sandbox, gaps};
pub use stale::{StaleSweep, sweep_stale};
pub use usage::tree_cpu;
pub use wire::{Action, Event, Spec, Unkillable};
