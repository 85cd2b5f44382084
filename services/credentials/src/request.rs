//! The rules for requests of the sandbox: which are forwarded, and which of their headers and
//! bodies. Everything here is pure.
//!
//! - [`head`] accepts the one strict form of a head, so that no two readers can see two requests.
//! - [`endpoint`] is the list of what is forwarded.
//! - [`headers`] is what the API gets of the headers.
//! - [`body`] refuses members of a body that reach beyond the request.
//! - [`refusal`] is the answer to a request that is not forwarded.

pub mod body;
pub mod endpoint;
pub mod head;
pub mod headers;
pub mod refusal;
