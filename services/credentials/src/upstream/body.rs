//! The body of a request to the API.

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;

/// The body of a request to the API. An error cuts the request, so that the API never receives a
/// whole request.
pub type RequestBody = UnsyncBoxBody<Bytes, BodyError>;

/// The reason why the body of a request is cut.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// A piece of the body must not be forwarded.
    #[error("the body was refused")]
    Refused,
    /// The client's connection broke.
    #[error("the client's connection broke: {0}")]
    Client(#[from] hyper::Error),
}
