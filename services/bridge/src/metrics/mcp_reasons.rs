//! The labels for requests to `/mcp` that the MCP library itself refuses with an HTTP error. No
//! other path has them.

/// All reasons of this module, for the list of series in `/metrics`.
pub(crate) const REASONS: [&str; 4] = [BAD_REQUEST, MEDIA_TYPE, NOT_FOUND, SERVER_ERROR];

/// The label for a malformed request to `/mcp`.
pub(crate) const BAD_REQUEST: &str = "mcp_bad_request";
/// The label for a request to `/mcp` whose media type, or accepted media type, is not supported.
pub(crate) const MEDIA_TYPE: &str = "mcp_media_type";
/// The label for a request that names an unknown MCP session.
pub(crate) const NOT_FOUND: &str = "mcp_not_found";
/// The label for a request on which the MCP server failed.
pub(crate) const SERVER_ERROR: &str = "mcp_server_error";
