//! Access: tokens, roles, principals, shares, tickets and budgets (docs/protocol.md, "Access").
//!
//! I7: no client acts on or sees the executions of another principal, or takes its part of the
//! queue. A secret is nowhere but with the client that has it.

mod api;
mod attempts;
mod budgets;
pub(crate) mod hostile;
mod metrics;
mod principals;
mod reload;
mod secrets;
mod session_tokens;
mod sessions;
mod shares;
mod tickets;
mod timing;
