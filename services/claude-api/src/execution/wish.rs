//! All commands to one execution (pause, resume, cancel, stop), merged into one shared value. A
//! queue of commands could be full; a value cannot, so no command is lost.
//!
//! ```text
//!  Live::control ──▶ Wishes ──▶ the runner, immediately: the owner's loop may wait for a disk
//!                      │
//!                      └──▶ the owner's loop, which follows the newest wish after every step
//! ```
//!
//! A pause and a resume replace each other. A cancel or stop replaces both and stays. A client's
//! cancel also replaces the service's stop, because a cancel that was accepted before the terminal
//! state decides that state (docs/protocol.md, "Ends").

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::State;
use runner::Action;
use tokio::sync::watch;

use super::control::Control;

/// A request to end an execution. A later variant takes precedence over an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EndWish {
    /// The service is shutting down.
    Stop,
    /// A client cancelled the execution.
    Cancel,
}

/// The merged result of all commands (pause, resume, cancel, stop) to an execution so far: whether
/// its process tree should be suspended, and whether it should be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Wish {
    /// The number of commands so far. The answer to a command waits until the runner has acted on a
    /// revision that is at least as high.
    pub(crate) revision: u64,
    /// Whether the process tree should be suspended with SIGSTOP.
    pub(crate) paused: bool,
    /// The request to end the execution. `None` if there is none. It is never taken back.
    pub(crate) end: Option<EndWish>,
}

impl Wish {
    /// Merges a command into the value. A pause and a resume replace each other; an end stays.
    fn merge(&mut self, control: Control) {
        self.revision += 1;
        match control {
            Control::Pause => self.paused = true,
            Control::Resume => self.paused = false,
            Control::Stop => self.end = self.end.max(Some(EndWish::Stop)),
            Control::Cancel => self.end = self.end.max(Some(EndWish::Cancel)),
        }
    }

    /// Returns the command that makes the runner bring the process tree into the requested state.
    fn action(&self) -> Action {
        match (self.end, self.paused) {
            (Some(_), _) => Action::Terminate,
            (None, true) => Action::Pause,
            (None, false) => Action::Resume,
        }
    }
}

/// A function that sends a command to the runner without waiting. It returns false if the runner's
/// socket was full, so that the command was not sent.
pub(crate) type SendCommand = Box<dyn Fn(Action) -> bool + Send>;

/// How far an execution is, as far as this matters for commands of clients.
///
/// The stage decides how a command is sent and answered. The [`super::phase::Phase`] of a run
/// begins only with the start of the runner, and decides which cause ended the run.
enum Stage {
    /// The execution waits for its permit (the right to run). A cancel ends it without any process.
    Queued,
    /// The execution has its permit, but its runner is not connected yet. Commands are kept for it.
    Starting,
    /// The runner takes commands, which this function sends.
    Running(SendCommand),
    /// The CLI was reaped. No signal is needed any more, but a cancel still decides the terminal
    /// state.
    Exited,
    /// The terminal status is decided. Commands change nothing.
    Ended,
}

/// The event that a client's answer to a command waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnswerAfter {
    /// No event. The command is answered immediately.
    Nothing,
    /// The first signal that the runner sends because of the command with this revision.
    Signal(u64),
    /// The terminal status of the execution.
    End {
        /// Whether the command had an effect. False if the terminal status was already decided.
        accepted: bool,
    },
}

/// The state of the commands to an execution, other than the merged value.
struct Inner {
    /// How far the execution is, which decides what a command does.
    stage: Stage,
    /// The commands that the runner has not answered, oldest first, each with its revision. A
    /// command is added once the runner's socket has accepted it, so the socket's buffer bounds the
    /// list. The runner answers in order.
    sent: VecDeque<(Action, u64)>,
    /// Whether the runner's socket was full for the newest command, so that it must be sent again.
    unsent: bool,
    /// Whether the execution's task ends the process tree, for example because of a deadline.
    terminates: bool,
    /// Whether the command to end the process tree was sent. No command follows it, because a
    /// second SIGTERM could make a CLI exit with its work undone.
    ending: bool,
}

/// The commands to one execution (pause, resume, cancel, stop), merged into one shared value. Any
/// number of commands needs the same memory, and a request that waits for its answer waits in its
/// own task.
pub(crate) struct Wishes {
    // Held briefly; no await happens inside. Commands are sent under the lock, to keep their order.
    inner: Mutex<Inner>,
    /// The merged value. The execution's task is woken when it changes.
    newest: watch::Sender<Wish>,
    /// The highest revision for which the runner has sent a signal, or for which no signal was
    /// needed.
    acted: watch::Sender<u64>,
}

impl fmt::Debug for Wishes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let newest = *self.newest.borrow();
        f.debug_struct("Wishes")
            .field("newest", &newest)
            .finish_non_exhaustive()
    }
}

impl Wishes {
    /// Creates the value for an execution to which no command was sent. `queued` means that the
    /// execution has no permit (right to run) yet.
    pub(crate) fn new(queued: bool) -> Self {
        let stage = if queued {
            Stage::Queued
        } else {
            Stage::Starting
        };
        Self {
            inner: Mutex::new(Inner {
                stage,
                sent: VecDeque::new(),
                unsent: false,
                terminates: false,
                ending: false,
            }),
            newest: watch::Sender::new(Wish::default()),
            acted: watch::Sender::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Merges a client's command into the value, and sends the resulting command to the runner if
    /// there is one. Never waits. Returns what the client's answer must wait for.
    ///
    /// # Errors
    /// The state that does not allow the command. Only a pause of a queued execution is refused,
    /// because it has no process.
    pub(crate) fn apply(&self, control: Control) -> Result<AnswerAfter, State> {
        let mut inner = self.lock();
        match (&inner.stage, control) {
            (Stage::Ended, _) => return Ok(AnswerAfter::End { accepted: false }),
            (Stage::Queued, Control::Pause) => return Err(State::Queued),
            (Stage::Queued, Control::Resume) => return Ok(AnswerAfter::Nothing),
            _ => {}
        }
        self.newest.send_modify(|wish| wish.merge(control));
        let wish = *self.newest.borrow();
        match &inner.stage {
            Stage::Queued if control == Control::Cancel => Ok(AnswerAfter::End { accepted: true }),
            Stage::Queued | Stage::Exited | Stage::Ended => Ok(AnswerAfter::Nothing),
            Stage::Starting => Ok(AnswerAfter::Signal(wish.revision)),
            Stage::Running(_) => {
                if !inner.ending {
                    inner.send(wish);
                } else if let Some((_, revision)) = inner.sent.back_mut() {
                    *revision = wish.revision;
                } else {
                    self.note_acted(wish.revision);
                }
                Ok(AnswerAfter::Signal(wish.revision))
            }
        }
    }

    /// Waits until the runner has sent the signal for the command with this revision, or no signal
    /// is needed. Cancel safe.
    pub(crate) async fn wait_until_acted(&self, revision: u64) {
        let mut acted = self.acted.subscribe();
        // The sender is `self`.
        let _ = acted.wait_for(|newest| *newest >= revision).await;
    }

    /// Wakes the answers that wait for this revision or a lower one.
    fn note_acted(&self, revision: u64) {
        self.acted.send_if_modified(|newest| {
            let newer = revision > *newest;
            *newest = revision.max(*newest);
            newer
        });
    }

    /// Returns a receiver of the merged value, which sees every change.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Wish> {
        self.newest.subscribe()
    }

    /// Waits for a request to end the execution that takes precedence over `least`, and returns it.
    /// With `None`, any request counts. Cancel safe.
    pub(crate) async fn wait_for_end_above(&self, least: Option<EndWish>) -> Option<EndWish> {
        let mut newest = self.newest.subscribe();
        // The sender is `self`.
        let wish = newest.wait_for(|wish| wish.end > least).await;
        wish.ok().and_then(|wish| wish.end)
    }

    /// Moves the execution from the queue to its start, and returns true. Returns false if a
    /// client's cancel arrived first; no process may be started then.
    pub(crate) fn leave_queue(&self) -> bool {
        let mut inner = self.lock();
        if self.newest.borrow().end == Some(EndWish::Cancel) {
            return false;
        }
        inner.stage = Stage::Starting;
        true
    }

    /// Connects the runner, to which `send` sends commands. Commands that arrived before the start
    /// are sent now, merged into one.
    pub(crate) fn run(&self, send: SendCommand) {
        let mut inner = self.lock();
        inner.stage = Stage::Running(send);
        let wish = *self.newest.borrow();
        if wish.action() == Action::Resume {
            self.note_acted(wish.revision);
        } else {
            inner.send(wish);
        }
    }

    /// Orders the runner to end the process tree, for a reason of the execution's task such as a
    /// deadline. Has no effect if this was ordered before.
    pub(crate) fn terminate(&self) {
        let mut inner = self.lock();
        inner.terminates = true;
        if !inner.ending {
            let wish = *self.newest.borrow();
            inner.send(wish);
        }
    }

    /// Returns whether the runner's socket was full for the newest command. [`Wishes::resend`] then
    /// sends it again.
    pub(crate) fn is_unsent(&self) -> bool {
        self.lock().unsent
    }

    /// Sends the newest command again if the runner's socket was full before.
    pub(crate) fn resend(&self) {
        let mut inner = self.lock();
        if inner.unsent {
            let wish = *self.newest.borrow();
            inner.send(wish);
        }
    }

    /// Records that the runner sent the first signal of its oldest unanswered command of this kind.
    /// That command and all earlier ones are answered.
    pub(crate) fn signalled(&self, action: Action) {
        let mut inner = self.lock();
        let Some(at) = inner.sent.iter().position(|(sent, _)| *sent == action) else {
            return;
        };
        let newest = inner.sent.drain(..=at).map(|(_, revision)| revision).max();
        self.note_acted(newest.unwrap_or_default());
    }

    /// Records that the CLI was reaped. From now on, no command is sent to the runner, and clients
    /// that wait for a signal get their answers.
    pub(crate) fn exited(&self) {
        let mut inner = self.lock();
        inner.stage = Stage::Exited;
        inner.sent.clear();
        inner.unsent = false;
        self.note_acted(self.newest.borrow().revision);
    }

    /// Closes the value, because the terminal status is being decided. Returns the request to end
    /// the execution so far; `None` if there was none. Later commands change nothing.
    pub(crate) fn seal(&self) -> Option<EndWish> {
        let mut inner = self.lock();
        inner.stage = Stage::Ended;
        inner.sent.clear();
        inner.unsent = false;
        self.newest.borrow().end
    }

    /// Lets all clients that still wait for a signal get their answers, after the terminal status
    /// was published.
    pub(crate) fn answer_all(&self) {
        self.note_acted(u64::MAX);
    }
}

impl Inner {
    /// Sends the command for the merged value to the runner. A full socket is noted, so that it is
    /// sent again.
    fn send(&mut self, wish: Wish) {
        if let Stage::Running(send) = &self.stage {
            let action = if self.terminates {
                Action::Terminate
            } else {
                wish.action()
            };
            self.unsent = !send(action);
            if !self.unsent {
                self.ending = action == Action::Terminate;
                self.sent.push_back((action, wish.revision));
            }
        }
    }
}

#[cfg(test)]
mod tests;
