//! The MCP server on stdin and stdout, as the command `ccb mcp` runs it for one client.

mod lines;

use std::time::Duration;

use rmcp::ServiceExt;
use rmcp::service::ServerInitializeError;

use crate::requests::Requests;
use crate::{Server, Settings};
use lines::Lines;

/// The maximum time that `ccb mcp` waits after stdin is closed, so that cancels which the client
/// sent just before reach the bridge.
const CANCEL_TIME: Duration = Duration::from_secs(10);

/// The error of an MCP session that could not begin, because the client broke the MCP protocol.
#[derive(Debug, thiserror::Error)]
#[error("the MCP session could not begin: {0}")]
pub struct Error(Box<ServerInitializeError>);

/// Serves one MCP session on stdin and stdout until stdin is closed, and then ends the running
/// calls. The executions continue, except those whose call was cancelled or had
/// `onDisconnect: "cancel"`.
///
/// # Errors
/// The client broke the MCP protocol before the session began.
pub async fn serve(settings: Settings) -> Result<(), Error> {
    let server = Server::new(settings);
    let calls = server.calls();
    let lines = Lines::new(tokio::io::stdin(), tokio::io::stdout(), Requests::default());
    let session = match Box::pin(server.serve(lines)).await {
        Ok(session) => session,
        // A client may send only `server/discover` and then close stdin.
        Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
        Err(error) => return Err(Error(Box::new(error))),
    };
    if let Err(error) = session.waiting().await {
        tracing::warn!(
            %error,
            "the MCP session on stdin and stdout failed; exiting once its calls have ended"
        );
    }
    calls.close();
    if tokio::time::timeout(CANCEL_TIME, calls.wait())
        .await
        .is_err()
    {
        tracing::warn!(
            "gave up waiting for running MCP calls after 10 s; the bridge may not have received \
             their cancels, so their executions may continue"
        );
    }
    Ok(())
}
