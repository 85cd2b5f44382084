//! Access: tokens, roles, principals, shares, tickets and budgets (docs/protocol.md, "Access").
//!
//! I7: no client acts on, sees or slows the executions of another principal, and no secret is
//! anywhere but with the client that has it.

mod api;
mod attempts;
mod budgets;
mod hostile;
mod principals;
mod reload;
mod secrets;
mod shares;
mod tickets;
mod timing;
