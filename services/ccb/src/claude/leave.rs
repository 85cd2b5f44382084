//! The last steps of `ccb-claude` after the relay: messages on stderr, and the cancellation of an
//! execution that still runs.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use client::{Client, Error};
use protocol::rpc::code;
use protocol::{ExecutionId, Status};
use tokio::time::timeout;

use super::relay::{End, cancel};
use super::{complain, end, executions};
use crate::terminal_text;

/// The time limit to cancel an execution that this program leaves, and to count the others. The sum
/// of this limit and the default time limit for the start is below the 60 s of the Agent SDKs.
const LEAVE_TIME: Duration = Duration::from_secs(4);

/// Reports the end of the relay on stderr, and cancels an execution that still runs. Returns the
/// exit code.
pub(super) async fn leave(end: End, client: &Arc<Client>, id: ExecutionId) -> u8 {
    let sentence = match end {
        End::Ended(status) => {
            let (code, sentence) = end::of_status(&status);
            print_stderr(&status.stderr_tail);
            if let Some(sentence) = sentence {
                complain(&sentence);
            }
            return code;
        }
        End::Signal(code) => return code,
        End::Left(reason) => format!("{reason}; the execution {id} continues"),
        End::Error(error) if is_full(&error) => server_full(client, None).await,
        End::Error(error) => end::of_error(&error),
        End::NotStarted(None) => {
            leave_execution(client, id).await;
            "the service did not accept the execution in time; try again later".to_owned()
        }
        End::NotStarted(Some(status)) => {
            let (sentence, ()) = tokio::join!(
                server_full(client, Some(&status)),
                leave_execution(client, id)
            );
            sentence
        }
        End::Failed(reason) => {
            leave_execution(client, id).await;
            reason
        }
    };
    complain(&sentence);
    end::FAILED
}

fn is_full(error: &Error) -> bool {
    matches!(error, Error::Rpc(error) if error.code == code::QUEUE_FULL
        && error.reason() == "queue_full")
}

/// Returns the sentence for an execution that could not start, with the numbers of the executions
/// that this client may see.
async fn server_full(client: &Client, waiting: Option<&Status>) -> String {
    match timeout(LEAVE_TIME, executions::counts(client, waiting)).await {
        Ok(Ok((running, queued))) => format!("server full ({running} running, {queued} queued)"),
        Ok(Err(_)) | Err(_) => "server full".to_owned(),
    }
}

/// Cancels the execution, and waits for the answer of the bridge for a limited time.
async fn leave_execution(client: &Arc<Client>, id: ExecutionId) {
    let _ = timeout(LEAVE_TIME, cancel(Arc::clone(client), id)).await;
}

/// Prints what the CLI wrote to stderr.
fn print_stderr(text: &str) {
    let mut stderr = io::stderr();
    let text = if stderr.is_terminal() {
        terminal_text::plain(text)
    } else {
        text.to_owned()
    };
    let end = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    let _ = write!(stderr, "{text}{end}");
}
