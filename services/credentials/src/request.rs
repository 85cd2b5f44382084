//! The rules for requests of the sandbox: which are forwarded, and which of their headers and
//! bodies. Everything here is pure.
//!
//! - [`head`] accepts the one strict form of a head, so that no two readers can see two requests.
//! - [`endpoint`] lists the methods and paths that are forwarded.
//! - [`headers`] selects the headers that the API and the client get.
//! - [`body`] refuses members of a body that reach beyond the request.
//! - [`refusal`] is the answer to a request that is not forwarded.

pub mod body;
pub mod endpoint;
pub mod head;
pub mod headers;
pub mod refusal;
