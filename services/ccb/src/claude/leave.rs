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
use super::{complain, end, executions, wait_for_caller};
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
        End::Signal { code, keeps } => {
            if keeps {
                complain(&format!(
                    "the execution {id} continues; see it with: ccb attach {id}"
                ));
            }
            return code;
        }
        End::Left(reason) => format!("{reason}; the execution {id} continues"),
        End::Error(error) if is_full(&error) => server_full(client, None).await,
        End::Error(error @ Error::GaveUp { .. }) => format!(
            "{error}; the execution may still run; when the bridge is back, end it with: ccb \
             cancel {id}"
        ),
        End::Error(error) => {
            if matches!(error, Error::Rpc(_)) {
                // Mostly the execution was refused before any input was read.
                wait_for_caller();
            }
            end::of_error(&error)
        }
        End::NotStarted(None) => {
            let (sentence, ()) = tokio::join!(not_accepted(client), leave_execution(client, id));
            sentence
        }
        End::NotStarted(Some(status)) => {
            let (sentence, ()) =
                tokio::join!(not_started(client, &status), leave_execution(client, id));
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

/// Returns the sentence for an execution that stayed in the queue.
async fn not_started(client: &Client, waiting: &Status) -> String {
    match timeout(LEAVE_TIME, executions::holder(client, waiting)).await {
        Ok(Ok(Some(id))) => {
            let conversation = waiting.conversation.as_deref();
            format!(
                "the conversation {} is still in use by the execution {id}; end the program that \
                 uses it, run: ccb cancel {id}, or fork the session",
                conversation.unwrap_or_default()
            )
        }
        _ => {
            let sentence = server_full(client, Some(waiting)).await;
            format!(
                "{sentence}; the execution did not start in time and was cancelled; try again \
                 later, or raise CCB_START_SECONDS"
            )
        }
    }
}

/// Returns the sentence for an execution that could not start, with the numbers of the executions
/// that this client may see.
async fn server_full(client: &Client, waiting: Option<&Status>) -> String {
    match timeout(LEAVE_TIME, executions::counts(client, waiting)).await {
        Ok(Ok((running, queued))) => format!("server full ({running} running, {queued} queued)"),
        Ok(Err(_)) | Err(_) => "server full".to_owned(),
    }
}

/// Returns the sentence for an execution that the service did not accept in time. The connection to
/// the bridge exists, so the reason is mostly a claude-api that the bridge cannot reach.
async fn not_accepted(client: &Client) -> String {
    match timeout(LEAVE_TIME, executions::counts(client, None)).await {
        Ok(Ok((running, queued))) => format!(
            "the service did not accept the execution in time ({running} running, {queued} \
             queued); try again later"
        ),
        Ok(Err(_)) | Err(_) => "the bridge cannot reach claude-api, which runs executions; try \
                                again, or tell the operator"
            .to_owned(),
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
