//! A stand-in for the Claude CLI: it accepts the CLI's flags, reads its stdin, writes its event
//! lines, and follows the prompt's directives (see [`script`]). Without directives it answers a
//! short text.
//!
//! The lines have the shapes and the order of `claude` 2.1.329, from its output against the
//! scripted model. The stand-in starts in a millisecond and needs no model.
//!
//! Like the real CLI it
//! * refuses an unknown flag (code 1, text on stderr), a blank prompt, a `--session-id` that is in
//!   use, and an unknown `--resume` (it keeps a file per session in its configuration directory);
//! * answers each `user` line as a turn with its own `result`, and ends at the end of stdin;
//! * asks for a permission with a `control_request` and waits (`@ask`), if it was started with
//!   `--permission-prompt-tool=stdio`, and calls hooks and MCP servers of its client (`@hook`,
//!   `@mcp`);
//! * answers control requests of its client, such as `initialize` and `interrupt`;
//! * reports the state of the session if `CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS` or
//!   `CLAUDE_CODE_SDK_READS_SESSION_STATE` is 1;
//! * exits with 143 on SIGTERM (unless `@ignore-term`);
//! * treats a prompt that starts with `/` as a local command, unless `client_composed` is true.
//!
//! Unlike the real CLI it appends a line `PID SESSION` to `spawns.log` in its configuration
//! directory (`$CLAUDE_CONFIG_DIR`, or `$HOME/.claude`) at each start, so tests can count starts.
//! Every process that it leaves behind has the session id in its arguments, so tests can find it.
//!
//! The model's name selects behaviour before the prompt: `--model=never-read-stdin` never reads.
//! `--model=recorded` appends all bytes of stdin and stdout to the files `recorded/SESSION.stdin`
//! and `recorded/SESSION.stdout` in its configuration directory.

mod ask;
mod control;
pub mod flags;
mod lines;
mod output;
mod processes;
mod requests;
mod run;
pub mod script;
mod session;
mod stdin;
mod turn;

pub use run::main;

/// The output of `--version`.
pub const VERSION: &str = "2.1.329 (Claude Code)";
