//! The page with the OpenAPI document of this service.

use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::query::NoQuery;

/// The path of the document. It needs no token, because the document has no secret and a client
/// reads it to learn how to send one.
pub(super) const PATH: &str = "/openapi.json";

/// `GET /openapi.json`: answers with the OpenAPI document. The first call builds it; it then stays
/// in memory (about 200 KiB). The response holds no copy of it.
pub(super) async fn openapi(_: NoQuery) -> Response {
    let kind = [(header::CONTENT_TYPE, descriptions::OPENAPI_TYPE)];
    (kind, descriptions::openapi_json()).into_response()
}
