//! Pause, resume and cancel, as clients ask for them.

use std::sync::Arc;

use protocol::{Problem, ProblemType, Status};

use super::{Service, View};
use crate::execution::Control;
use crate::execution::live::{Live, SIGNAL_WAIT};
use crate::execution::task::blocking;
use crate::execution::wish::Answer;

impl Service {
    /// Passes a control on and answers the status: of a running execution once the first signal was
    /// sent, within 100 ms; of a queued one that was cancelled, and of one whose end is being
    /// recorded, the terminal status once it is recorded.
    ///
    /// # Errors
    /// `wrong-state` for the pause of a queued execution; what [`Service::status`] may say.
    pub async fn control(
        self: &Arc<Self>,
        view: &View,
        control: Control,
    ) -> Result<Status, Problem> {
        if let View::Past(entry) = view
            && !entry.is_terminal()
        {
            return Err(Problem::new(
                ProblemType::Internal,
                "the execution was not recovered; the log of claude-api says why",
            ));
        }
        if let View::Live(live) = view {
            let answer = live.wishes.ask(control).map_err(|state| {
                Problem::new(
                    ProblemType::WrongState,
                    "a queued execution has no process to pause; cancel it, or wait until it runs",
                )
                .with("state", state.as_str())
            })?;
            let noted = async {
                // One that came too late is answered with the end as it is.
                let late = answer == Answer::End { accepted: false };
                if control == Control::Cancel && !late {
                    note_cancel(live).await;
                }
            };
            // Both at once: neither the signal nor the disk waits for the other.
            tokio::join!(live.answered(answer), noted);
        }
        self.status(view).await
    }
}

/// Has a cancel on disk before it is answered: after a kill behind the answer the execution must neither run again nor go on.
/// Where the disk takes longer than an answer may, it is not waited for.
async fn note_cancel(live: &Live) {
    let entry = live.entry.clone();
    let noted = blocking(move || entry.note_cancel());
    match tokio::time::timeout(SIGNAL_WAIT, noted).await {
        Ok(Ok(())) => {}
        // It ended and was deleted meanwhile.
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {}
        Ok(Err(error)) => {
            tracing::warn!(execution = %live.id, %error, "a kill before the end would lose this cancel");
        }
        Err(_) => {
            tracing::warn!(execution = %live.id, "the disk is slow: a cancel was answered before it was on disk");
        }
    }
}
