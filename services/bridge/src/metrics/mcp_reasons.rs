//! The reasons for which the MCP library refuses a request to `/mcp` with an HTTP error, as label
//! values in `/metrics`. Requests to other paths never have them.

/// All reasons of this module. `/metrics` shows each of them from the start.
pub(crate) const REASONS: [&str; 4] = [BAD_REQUEST, MEDIA_TYPE, NOT_FOUND, SERVER_ERROR];

/// The reason for a malformed request to `/mcp`: an HTTP client error (4xx) other than those below.
pub(crate) const BAD_REQUEST: &str = "mcp_bad_request";
/// The reason for a request to `/mcp` whose `Content-Type` or `Accept` the MCP server does not
/// support (HTTP 415 or 406).
pub(crate) const MEDIA_TYPE: &str = "mcp_media_type";
/// The reason for a request to `/mcp` that names an unknown MCP session (HTTP 404).
pub(crate) const NOT_FOUND: &str = "mcp_not_found";
/// The reason for a request to `/mcp` on which the MCP server itself failed (HTTP 5xx).
pub(crate) const SERVER_ERROR: &str = "mcp_server_error";
