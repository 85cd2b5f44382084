//! Controls that clients apply to executions: pause, resume, and cancel. A cancel takes effect now,
//! or when nobody views the execution any more.

use std::sync::Arc;
use std::time::Duration;

use protocol::{Problem, ProblemType};

use super::visible_status::VisibleStatus;
use super::{FoundExecution, Service, spool_unwritable};
use crate::access::Caller;
use crate::execution::Control;
use crate::execution::live::{Live, SIGNAL_WAIT};
use crate::execution::views::Viewer;
use crate::execution::wish::AnswerAfter;

/// When the cancel of an execution takes effect.
#[derive(Debug, Clone)]
pub enum Cancel {
    /// The cancel takes effect immediately.
    Now,
    /// Once no client has had a stream of the execution's output or status open for `after`. A new
    /// stream withdraws the cancel, unless it belongs to the viewer that left: its request may just
    /// be late.
    Unviewed {
        /// How long no stream must have been open.
        after: Duration,
        /// The client that left, as it names itself in the request header `viewer` (a bridge sends
        /// the id of its session). `None` if it gave no name.
        viewer: Option<Arc<str>>,
    },
}

impl Service {
    /// Cancels an execution now, or schedules its cancel for when nobody views it. Returns the
    /// present status. A scheduled cancel is on disk when this returns, so a restart does not lose
    /// it. Has no effect on an execution that has ended.
    ///
    /// # Errors
    /// 507 `spool-unwritable` if a scheduled cancel could not be written to disk, and the errors of
    /// [`Service::control`].
    pub(crate) async fn cancel(
        self: &Arc<Self>,
        caller: &Caller,
        view: &FoundExecution,
        cancel: Cancel,
    ) -> Result<VisibleStatus, Problem> {
        let (live, after, viewer) = match (view, cancel) {
            (FoundExecution::Live(live), Cancel::Unviewed { after, viewer }) => {
                (live, after, viewer)
            }
            _ => return self.control(caller, view, Control::Cancel).await,
        };
        if live.status.borrow().status.state.is_terminal() {
            return self.status(caller, view).await;
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
        self.status(caller, view).await
    }

    /// Starts a task that cancels a live execution once no client has had a stream of its output or
    /// status open for `after`. `viewer` is the client that left: its own late streams do not
    /// withdraw the cancel. A stop of the service ends the task, so the caller also writes the
    /// cancel to disk.
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
            let view = FoundExecution::Live(live);
            if let Err(problem) = service.apply(&view, Control::Cancel).await {
                tracing::error!(
                    execution = %id,
                    detail = problem.detail,
                    "could not cancel an execution that nobody views"
                );
            }
        });
    }

    /// Pauses, resumes or cancels an execution as [`Self::apply`] does, and returns its status as
    /// the client may see it.
    ///
    /// # Errors
    /// The errors of [`Self::apply`] and of [`Service::status`].
    pub(crate) async fn control(
        self: &Arc<Self>,
        caller: &Caller,
        view: &FoundExecution,
        control: Control,
    ) -> Result<VisibleStatus, Problem> {
        self.apply(view, control).await?;
        self.status(caller, view).await
    }

    /// Pauses, resumes or cancels an execution.
    ///
    /// A control of a running execution returns once the first signal was sent to its processes,
    /// after at most 100 ms; the new state may follow a moment later. The cancel of a queued
    /// execution, and any control of one that is ending, returns once the terminal status is
    /// recorded. A control that changes nothing, such as the pause of an ended execution, succeeds.
    ///
    /// # Errors
    /// 409 `wrong-state` for the pause of a queued execution, which has no process; 500 `internal`
    /// for an execution that was not recovered.
    pub(super) async fn apply(
        self: &Arc<Self>,
        view: &FoundExecution,
        control: Control,
    ) -> Result<(), Problem> {
        if let FoundExecution::Ended(entry) = view
            && !entry.is_terminal()
        {
            return Err(Problem::new(
                ProblemType::Internal,
                "the execution was not recovered; the log of claude-api says why",
            ));
        }
        if let FoundExecution::Live(live) = view {
            let answer = live.wishes.apply(control).map_err(|state| {
                Problem::new(
                    ProblemType::WrongState,
                    "a queued execution has no process to pause; cancel it, or wait until it runs",
                )
                .with("state", state.as_str())
            })?;
            let noted = async {
                // A late cancel is answered with the recorded end, and needs no note.
                let late = answer == AnswerAfter::End { accepted: false };
                if control == Control::Cancel && !late {
                    note_cancel(live).await;
                }
            };
            // Concurrent: neither the signal nor the disk waits for the other.
            tokio::join!(live.answered(answer), noted);
        }
        Ok(())
    }
}

/// Writes to disk that a client cancelled a live execution, before the client is answered. If the
/// service is killed before the execution ends, its next start then neither runs nor continues it.
/// The wait for a slow disk ends when the answer is due. A failure is logged, and the cancel still
/// takes effect.
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
