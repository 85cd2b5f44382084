//! The rules of the MCP specification, for every protocol version that the server offers.
//!
//! The specification has an official conformance suite in TypeScript
//! (`modelcontextprotocol/conformance`). These tests check the rules of its server scenarios that
//! apply here, with requests written by hand, and the rules of the specification that it leaves
//! out. Every message of the server also has to fit the types of the official Python SDK.
//!
//! | scenario of the suite | here |
//! |---|---|
//! | `server-initialize`, `server-stateless` | [`versions`], [`messages`] |
//! | `server-session-lifecycle` | [`sessions`] |
//! | `dns-rebinding-protection` | [`sessions`]; foreign names also in `host_and_origin.rs` |
//! | `http-header-validation` | [`versions`] |
//! | `ping` | [`messages`] |
//! | `tools-list`, `tools-call-simple-text`, `-error`, `-with-progress` | [`calls`] |
//! | `json-schema-2020-12` | [`calls`] |
//! | `server-sse-multiple-streams` | [`calls`] |
//! | `resources-list`, `-read-text`, `-templates-read`, `caching` | [`resources`] |
//! | `sep-2164-resource-not-found` | [`resources`] |
//! | `tasks-lifecycle`, `-capability-negotiation`, `-wire-fields` | [`tasks`] |
//! | `tasks-request-state-removal`, `-request-headers`, `-dispatch-and-envelope` | [`tasks`] |
//!
//! The other scenarios do not apply, because the server has no such feature and declares none:
//!
//! - `logging-set-level`, `tools-call-with-logging`, `completion-complete`, `prompts-*`,
//!   `resources-subscribe`, `resources-unsubscribe`: [`messages`] checks that these are unknown
//! - `tools-call-sampling`, `tools-call-elicitation`, `elicitation-sep1034-defaults`,
//!   `elicitation-sep1330-enums`, `input-required-result-*`, `tasks-mrtr-input`,
//!   `tasks-mrtr-composition`: the server asks its client for nothing
//! - `tools-call-image`, `-audio`, `-embedded-resource`, `-mixed-content`, `resources-read-binary`:
//!   an answer is text
//! - `http-custom-header-server-validation`: no tool mirrors a parameter into a header
//! - `tasks-required-task-error`: no tool works as a task only
//! - `tasks-status-notifications`: they are optional, and the server sends none
//! - `server-sse-polling`: a stream cannot be resumed after its call; `wait` with an offset can
//!
//! One rule does not hold: version 2025-03-26 requires servers to accept JSON-RPC batches, and the
//! library `rmcp` 3.11 refuses them (`mcp_a_batch_is_refused_with_an_error` in [`messages`]). Later
//! versions have no batches.

mod calls;
mod messages;
mod resources;
mod sessions;
mod stdio;
mod tasks;
mod versions;
