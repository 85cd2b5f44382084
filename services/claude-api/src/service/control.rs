//! Controls of executions on behalf of clients: pause, resume, and cancel, either now or when
//! nobody views the execution any more.

use std::sync::Arc;
use std::time::Duration;

use protocol::{Problem, ProblemType, Status};

use super::{Service, View, spool_unwritable};
use crate::execution::Control;
use crate::execution::live::{Live, SIGNAL_WAIT};
use crate::execution::views::Viewer;
use crate::execution::wish::Answer;

/// When a cancel takes effect.
#[derive(Debug, Clone)]
pub enum Cancel {
    /// Immediately.
    Now,
    /// Once no stream of the execution's output or status has been open for `after`. A new stream
    /// clears the cancel, unless it belongs to the viewer that left: its request may just be late.
    Unviewed {
        /// The time without an open stream after which the cancel takes effect.
        after: Duration,
        /// The viewer that left, as in the request header `viewer` (a bridge sends its session's
        /// id); `None` if the client gave no name.
        viewer: Option<Arc<str>>,
    },
}

impl Service {
    /// Cancels an execution, now or when nobody views it, and returns the present status. A cancel
    /// for later is on disk when this returns, so a restart does not lose it.
    ///
    /// # Errors
    /// `spool-unwritable` if the scheduled cancel could not be written to disk; the errors of
    /// [`Service::control`].
    pub async fn cancel(self: &Arc<Self>, view: &View, cancel: Cancel) -> Result<Status, Problem> {
        let (live, after, viewer) = match (view, cancel) {
            (View::Live(live), Cancel::Unviewed { after, viewer }) => (live, after, viewer),
            _ => return self.control(view, Control::Cancel).await,
        };
        if live.status.borrow().status.state.is_terminal() {
            return self.status(view).await;
        }
        self.cancel_unviewed(live, after, viewer);
        match live.views.record(&live.entry).await {
            Ok(()) => {}
            // The execution ended and was deleted meanwhile.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(
                    execution = %live.id,
                    %error,
                    "could not write a scheduled cancel to disk; answered with an error, and a \
                     restart forgets the cancel"
                );
                return Err(spool_unwritable());
            }
        }
        self.status(view).await
    }

    /// Starts a task that cancels a live execution once no stream of its output or status has been
    /// open for `after`. A stop of the service ends the task, so the caller also writes the cancel
    /// to disk.
    pub(super) fn cancel_unviewed(
        self: &Arc<Self>,
        live: &Live,
        after: Duration,
        viewer: Option<Viewer>,
    ) {
        let number = live.views.schedule(after, viewer);
        let (service, live) = (Arc::clone(self), live.clone());
        tokio::spawn(async move {
            let due = tokio::select! {
                // Neither a stop nor the end removes the note from the disk.
                () = service.stopping() => false,
                _ = live.ended() => false,
                due = live.views.due(number) => due,
            };
            if !due {
                return;
            }
            tracing::info!(execution = %live.id, "nobody views the execution; cancelling");
            let id = live.id;
            if let Err(problem) = service.control(&View::Live(live), Control::Cancel).await {
                tracing::error!(
                    execution = %id,
                    detail = problem.detail,
                    "could not cancel an execution that nobody views"
                );
            }
        });
    }

    /// Pauses, resumes or cancels an execution, and returns its status. For a running execution
    /// this waits until the first signal was sent, within 100 ms. For a queued execution that was
    /// cancelled, and for one whose end is being recorded, this waits for the recorded terminal
    /// status.
    ///
    /// # Errors
    /// `wrong-state` for the pause of a queued execution; the errors of [`Service::status`].
    pub async fn control(
        self: &Arc<Self>,
        view: &View,
        control: Control,
    ) -> Result<Status, Problem> {
        if let View::Ended(entry) = view
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
                // A late cancel is answered with the recorded end, and needs no note.
                let late = answer == Answer::End { accepted: false };
                if control == Control::Cancel && !late {
                    note_cancel(live).await;
                }
            };
            // Concurrent: neither the signal nor the disk waits for the other.
            tokio::join!(live.answered(answer), noted);
        }
        self.status(view).await
    }
}

/// Writes to disk that a client cancelled a live execution, before the client is answered. If the
/// service is killed before the end, the next start then neither runs nor continues the execution.
/// The wait for a slow disk ends when the answer is due. A failure is logged.
async fn note_cancel(live: &Live) {
    let note = async {
        let mut noted = Arc::clone(&live.is_cancel_noted).lock_owned().await;
        if *noted {
            return Ok(());
        }
        let entry = live.entry.clone();
        spool::blocking::run_io(move || {
            entry.note_cancel()?;
            *noted = true;
            Ok(())
        })
        .await
    };
    match tokio::time::timeout(SIGNAL_WAIT, note).await {
        Ok(Ok(())) => {}
        // The execution ended and was deleted meanwhile.
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {}
        Ok(Err(error)) => {
            let execution = live.id;
            tracing::warn!(
                %execution,
                %error,
                "could not write a cancel to disk; it takes effect now, but a kill of the service \
                 before the end would lose it"
            );
        }
        Err(_) => {
            let execution = live.id;
            tracing::warn!(
                %execution,
                "answered a cancel before it was on disk, because the disk is slow; a kill of the \
                 service before the write would lose the cancel"
            );
        }
    }
}
