//! The labels for requests to `/mcp` that the MCP library refuses itself, with an HTTP error and
//! before any tool is called.

/// All reasons of this module, for the list of series in `/metrics`.
pub(crate) const REASONS: [&str; 4] = [BAD_REQUEST, MEDIA_TYPE, NOT_FOUND, SERVER_ERROR];

/// The request is malformed.
pub(crate) const BAD_REQUEST: &str = "mcp_bad_request";
/// The media type of the request or of the accepted answer is not supported.
pub(crate) const MEDIA_TYPE: &str = "mcp_media_type";
/// There is no such MCP session.
pub(crate) const NOT_FOUND: &str = "mcp_not_found";
/// The MCP server failed.
pub(crate) const SERVER_ERROR: &str = "mcp_server_error";
