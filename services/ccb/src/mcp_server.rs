//! The command `ccb mcp`: an MCP server on stdin and stdout.

use mcp::{Settings, stdio};

use crate::args::Common;
use crate::exit::{self, Exit};
use crate::{complain, exec};

/// Serves MCP until the client closes stdin, and returns the exit code. The bridge need not be
/// reachable at the start, because each call connects by itself.
pub(crate) async fn run(common: &Common) -> Exit {
    let settings = Settings {
        client: exec::options(common),
        ..Settings::new(common.url.as_str())
    };
    match stdio::serve(settings).await {
        Ok(()) => exit::OK,
        Err(error) => {
            complain(&error.to_string());
            exit::PROTOCOL
        }
    }
}
