//! The MCP server (Model Context Protocol) of cc-bridge. MCP clients, such as Claude Desktop, use
//! it to run prompts and read executions as tools, resources and tasks.
//!
//! The server reaches the bridge only through the crate `client`, over the same WebSocket as every
//! other client. Output, states and refusals are therefore the same as over WebSocket.
//!
//! - [`Server`]: the MCP methods; one value for each MCP session
//! - [`stdio::serve`]: one session on stdin and stdout (`ccb mcp`)
//! - [`http::Service`]: streamable HTTP, for the path `/mcp` of the bridge
//!
//! ```text
//! MCP client ──stdio──▶ ccb mcp ──WebSocket──▶ bridge ──▶ claude-api
//! MCP client ──HTTP───▶ bridge /mcp ──WebSocket over loopback──▶ the same bridge
//! ```
//!
//! The server stores nothing. An MCP task is an execution of claude-api, and its id is the
//! execution's id.

mod arguments;
mod caller;
mod elicitation;
mod failure;
pub mod http;
pub mod message;
mod methods;
mod owner_counts;
mod progress;
mod questions;
mod requests;
mod resources;
mod results;
mod run;
mod running_calls;
mod server;
mod settings;
mod slots;
pub mod stdio;
mod tasks;
mod text;
mod tools;
mod views;

pub use failure::REASONS;
pub use server::Server;
pub use settings::{OnRefusal, Settings};
