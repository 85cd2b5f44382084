//! The server on stdin and stdout.

mod lines;

use std::time::Duration;

use rmcp::ServiceExt;
use rmcp::service::ServerInitializeError;

use crate::requests::Requests;
use crate::{Server, Settings};
use lines::Lines;

/// How long cancels may take that the client sent just before it left.
const CANCEL_TIME: Duration = Duration::from_secs(10);

/// The session could not begin.
#[derive(Debug, thiserror::Error)]
#[error("no MCP session: {0}")]
pub struct Error(Box<ServerInitializeError>);

/// Serves one MCP session on stdin and stdout, until stdin is closed. Running calls are abandoned
/// then. Their executions continue, except for those whose call was cancelled or had
/// `onDisconnect: "cancel"`.
///
/// # Errors
/// The client broke the protocol before the session began.
pub async fn serve(settings: Settings) -> Result<(), Error> {
    let server = Server::new(settings);
    let calls = server.calls();
    let lines = Lines::new(tokio::io::stdin(), tokio::io::stdout(), Requests::default());
    let session = match server.serve(lines).await {
        Ok(session) => session,
        // A client may look at `server/discover` only, and closing stdin is how it leaves.
        Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
        Err(error) => return Err(Error(Box::new(error))),
    };
    if let Err(error) = session.waiting().await {
        tracing::warn!(%error, "the MCP session ended in an error");
    }
    calls.close();
    if tokio::time::timeout(CANCEL_TIME, calls.wait())
        .await
        .is_err()
    {
        tracing::warn!("a cancel did not reach the bridge in time");
    }
    Ok(())
}
