//! The modules that both programs of this crate use, and the whole of the second one.
//!
//! - `ccb` is the command line client. Its modules are in `main.rs`.
//! - `ccb-claude` speaks like the Claude CLI, for programs that start `claude` ([`claude`]).

pub mod access;
pub mod claude;
pub mod terminal_text;
