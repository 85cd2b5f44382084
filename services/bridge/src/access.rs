//! The credentials of clients, and claude-api's judgement of them (docs/protocol.md, "Access").
//!
//! The bridge has no tokens of its own. It asks claude-api to whom a credential belongs, and passes
//! the credential on with every call of the client.
//!
//! - [`credential`]: a secret that a client sent
//! - [`judge`]: the questions to claude-api and their answers, which are cached for a short time
//! - [`judgement`]: what claude-api says about a credential
//! - [`session_lease`]: keeps the token of a ticket valid while its session is open
//! - [`grant`]: the permission of a client to use the bridge, which ends with its token

pub mod credential;
pub mod grant;
pub mod judge;
pub mod judgement;
pub mod session_lease;
