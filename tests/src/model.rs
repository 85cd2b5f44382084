//! The scripted model: a small server that speaks the Messages API, so that the real CLI runs
//! offline.
//!
//! The prompt alone decides the answer:
//!
//! 1. The model runs a `python3 -c ...` command unchanged through the CLI's Bash tool, and answers
//!    with the tool's output.
//! 2. It runs plain Python code (`print(42*17)`, one line or several) as `python3 -c '...'` in the
//!    same way.
//! 3. It follows the directives of a prompt (lines that start with `@`, see [`script`]) in order.
//! 4. It answers any other prompt with a short text that names the prompt's length.
//!
//! The prompt is the last user message of the request that is not a tool's result, without the
//! CLI's `<system-reminder>` blocks. The model computes nothing: only a tool that really ran can
//! add a computed value to an answer.
//!
//! `@fail`, `@cut` and `@usage-limit` count the requests of one conversation (the CLI's session id
//! in `metadata.user_id`) with one prompt. So they also count retries, and executions do not affect
//! each other.

pub mod play;
pub mod python;
pub mod request;
pub mod script;
pub mod server;
pub mod wire;

pub use server::{Config, router, serve};
