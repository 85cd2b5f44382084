//! A stand-in for the Claude CLI: takes its flags, reads its stdin, writes its event lines, and does what
//! the prompt's directives say (see [`script`]). Without directives it answers a short text.
//!
//! Shapes and order of the lines are those of `claude` 2.1.329, taken from its output against the scripted
//! model. It starts in a millisecond and needs no model.
//!
//! Like the real one it
//! * refuses an unknown flag (code 1, text on stderr), a blank prompt, a `--session-id` that is in use and
//!   a `--resume` that it does not know (it keeps a file per session in its configuration directory);
//! * answers each `user` line as a turn, with a `result` of its own, and ends at the end of stdin;
//! * exits with 143 on SIGTERM (unless `@ignore-term`);
//! * takes a prompt that starts with `/` as a local command, unless `client_composed` is true.
//!
//! Unlike the real one it appends a line `PID SESSION` to `spawns.log` in its configuration directory
//! (`$CLAUDE_CONFIG_DIR`, or `$HOME/.claude`) at each start, so that starts can be counted, and every
//! process it leaves behind carries the session id in its arguments, so that it can be found.
//!
//! What cannot be said in a prompt is said by the model's name: `--model=never-read-stdin` never reads.

pub mod flags;
mod lines;
mod output;
mod processes;
mod run;
pub mod script;
mod session;
mod turn;

pub use run::main;

/// What `--version` prints.
pub const VERSION: &str = "2.1.329 (Claude Code)";
