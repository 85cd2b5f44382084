//! The command `ccb mcp`, an MCP server on stdin and stdout for one MCP client.

use mcp::{Settings, stdio};

use crate::args::Common;
use crate::exit::{self, Exit};
use crate::{complain, exec};

/// Serves MCP until the client closes stdin, and returns the exit code of `ccb`. The bridge need
/// not be reachable at the start, because each tool call opens its own connection.
pub(crate) async fn run(common: &Common) -> Exit {
    let settings = Settings {
        client: exec::options(common),
        ..Settings::new(common.url.as_str())
    };
    match Box::pin(stdio::serve(settings)).await {
        Ok(()) => exit::OK,
        Err(error) => {
            complain(&error.to_string());
            exit::PROTOCOL
        }
    }
}
