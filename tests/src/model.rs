//! The scripted model: a small server that speaks the Messages API, so that the real CLI runs offline.
//!
//! What it answers is decided by the prompt alone:
//!
//! 1. A `python3 -c ...` command is run through the CLI's Bash tool as it stands, and answered with the
//!    tool's output.
//! 2. Plain Python code (`print(42*17)`, one line or several) is run as `python3 -c '...'` the same way.
//! 3. A prompt with directives (lines that start with `@`, see [`script`]) does what they say, in order.
//! 4. Anything else is answered with a short text that names the prompt's length.
//!
//! The prompt is the last user message of the request that is not a tool's result; the CLI's
//! `<system-reminder>` blocks are no part of it. Nothing is computed here: an answer with a computed value
//! can only come from a tool that really ran.
//!
//! `@fail`, `@cut` and `@usage-limit` count the requests of one conversation (the CLI's session id in
//! `metadata.user_id`) with one prompt, so that retries are seen and executions do not disturb each other.

pub mod play;
pub mod python;
pub mod request;
pub mod script;
pub mod server;
pub mod wire;

pub use server::{Config, router, serve};
