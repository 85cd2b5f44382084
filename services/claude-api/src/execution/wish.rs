//! All controls of one execution, merged into one shared value. A queue of controls could be full;
//! a value cannot, so no control is lost.
//!
//! ```text
//!  Live::control ──▶ Wishes ──▶ the runner, immediately: the owner's loop may wait for a disk
//!                      │
//!                      └──▶ the owner's loop, which follows the newest wish after every step
//! ```
//!
//! A pause and a resume replace each other. An end replaces both and stays. A client's cancel also
//! replaces the service's stop: a cancel that was accepted before the terminal state decides that
//! state (docs/protocol.md, "Ends").

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::State;
use runner::Action;
use tokio::sync::watch;

use super::control::Control;

/// A reason to end an execution. The order of the variants is their precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EndWish {
    /// The service is stopping.
    Stop,
    /// A client cancelled it.
    Cancel,
}

/// The merged result of all controls of an execution so far: whether it is to be paused, and
/// whether it is to be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Wish {
    /// The number of controls so far. A waiting answer compares it with the revision that was acted
    /// on.
    pub(crate) revision: u64,
    /// Whether the process tree should be stopped with signals.
    pub(crate) paused: bool,
    /// The reason to end the execution. Once set, it never becomes `None` again.
    pub(crate) end: Option<EndWish>,
}

impl Wish {
    /// Merges a control into the wish.
    fn merge(&mut self, control: Control) {
        self.revision += 1;
        match control {
            Control::Pause => self.paused = true,
            Control::Resume => self.paused = false,
            Control::Stop => self.end = self.end.max(Some(EndWish::Stop)),
            Control::Cancel => self.end = self.end.max(Some(EndWish::Cancel)),
        }
    }

    /// Returns the command that makes a runner follow the wish.
    fn action(&self) -> Action {
        match (self.end, self.paused) {
            (Some(_), _) => Action::Terminate,
            (None, true) => Action::Pause,
            (None, false) => Action::Resume,
        }
    }
}

/// A function that sends a command to the runner without waiting. It returns false when the socket
/// was full.
pub(crate) type SendCommand = Box<dyn Fn(Action) -> bool + Send>;

/// The stage of an execution, as controls see it.
///
/// The stage decides how a control is sent and answered. A [`super::phase::Phase`] covers only the
/// run, from the start of the runner on, and decides which cause ended it.
enum Stage {
    /// The execution waits for its permit. A cancel ends it without a process.
    Queued,
    /// The execution has its permit, but no runner yet.
    Starting,
    /// A runner takes commands.
    Running(SendCommand),
    /// The CLI was reaped. No signal is needed any more, but a cancel still decides the state.
    Exited,
    /// The terminal status is decided.
    Ended,
}

/// The event that a control's answer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// No event: the control is answered immediately.
    Now,
    /// The first signal that the runner sends for the control with this revision.
    Signal(u64),
    /// The terminal status.
    End {
        /// Whether the control was merged. After the terminal status is decided, none is.
        accepted: bool,
    },
}

struct Inner {
    stage: Stage,
    /// The commands that the runner has not answered, oldest first, each with its revision. A
    /// command is added once the runner's socket accepted it, so the socket's buffer bounds the
    /// list. The runner answers in order, and no caller waits for room in the list.
    sent: VecDeque<(Action, u64)>,
    /// Whether the runner's socket refused the newest wish.
    unsent: bool,
    /// Whether the owner ends the tree, for example because of a deadline.
    terminates: bool,
    /// Whether the command for TERM was sent. It is the last command: a second TERM could make a
    /// CLI exit with its work undone.
    ending: bool,
}

/// The controls of one execution (pause, resume, cancel, stop), merged into one shared value. Any
/// number of controls costs the same memory, and a request that waits for an answer waits in its
/// own task.
pub(crate) struct Wishes {
    // Held briefly; no await happens inside. Commands are sent under the lock, to keep their order.
    inner: Mutex<Inner>,
    newest: watch::Sender<Wish>,
    /// The newest revision for which a signal was sent or was not needed.
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
    /// Creates the value of an execution without controls. `queued` means that the execution has no
    /// permit yet.
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

    /// Merges a control into the wish, and sends the command for it to the runner if there is one.
    /// Returns the event that the client's answer waits for.
    ///
    /// # Errors
    /// The state that does not allow the control: a queued execution has no process to pause.
    pub(crate) fn ask(&self, control: Control) -> Result<Answer, State> {
        let mut inner = self.lock();
        match (&inner.stage, control) {
            (Stage::Ended, _) => return Ok(Answer::End { accepted: false }),
            (Stage::Queued, Control::Pause) => return Err(State::Queued),
            (Stage::Queued, Control::Resume) => return Ok(Answer::Now),
            _ => {}
        }
        self.newest.send_modify(|wish| wish.merge(control));
        let wish = *self.newest.borrow();
        match &inner.stage {
            Stage::Queued if control == Control::Cancel => Ok(Answer::End { accepted: true }),
            Stage::Queued | Stage::Exited | Stage::Ended => Ok(Answer::Now),
            Stage::Starting => Ok(Answer::Signal(wish.revision)),
            Stage::Running(_) => {
                if !inner.ending {
                    inner.send(wish);
                } else if let Some((_, revision)) = inner.sent.back_mut() {
                    *revision = wish.revision;
                } else {
                    self.note_acted(wish.revision);
                }
                Ok(Answer::Signal(wish.revision))
            }
        }
    }

    /// Waits until the runner has sent the signal for the control with this revision, or no signal
    /// is needed. Cancel safe.
    pub(crate) async fn wait_until_acted(&self, revision: u64) {
        let mut acted = self.acted.subscribe();
        // The sender is `self`.
        let _ = acted.wait_for(|newest| *newest >= revision).await;
    }

    fn note_acted(&self, revision: u64) {
        self.acted.send_if_modified(|newest| {
            let newer = revision > *newest;
            *newest = revision.max(*newest);
            newer
        });
    }

    /// Returns a receiver of the newest wish.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Wish> {
        self.newest.subscribe()
    }

    /// Waits for a wish to end the execution that takes precedence over `least`; with `None`, for
    /// any. Cancel safe.
    pub(crate) async fn wait_for_end_above(&self, least: Option<EndWish>) -> Option<EndWish> {
        let mut newest = self.newest.subscribe();
        // The sender is `self`.
        let wish = newest.wait_for(|wish| wish.end > least).await;
        wish.ok().and_then(|wish| wish.end)
    }

    /// Moves the execution from the queue to its start. Returns false if a cancel arrived first: no
    /// process may start then.
    pub(crate) fn leave_queue(&self) -> bool {
        let mut inner = self.lock();
        if self.newest.borrow().end == Some(EndWish::Cancel) {
            return false;
        }
        inner.stage = Stage::Starting;
        true
    }

    /// Connects the runner, to which `send` sends commands, and sends the wish of controls that
    /// arrived before the start.
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

    /// Ends the process tree for a reason of the owner, such as a deadline.
    pub(crate) fn terminate(&self) {
        let mut inner = self.lock();
        inner.terminates = true;
        if !inner.ending {
            let wish = *self.newest.borrow();
            inner.send(wish);
        }
    }

    /// Returns whether the runner's socket refused the newest wish; [`Wishes::resend`] retries.
    pub(crate) fn is_unsent(&self) -> bool {
        self.lock().unsent
    }

    /// Sends the newest wish again if the runner's socket refused it.
    pub(crate) fn resend(&self) {
        let mut inner = self.lock();
        if inner.unsent {
            let wish = *self.newest.borrow();
            inner.send(wish);
        }
    }

    /// Notes that the runner sent the first signal of the oldest unanswered command of this kind.
    /// Earlier commands without an answer count as answered, too.
    pub(crate) fn signalled(&self, action: Action) {
        let mut inner = self.lock();
        let Some(at) = inner.sent.iter().position(|(sent, _)| *sent == action) else {
            return;
        };
        let newest = inner.sent.drain(..=at).map(|(_, revision)| revision).max();
        self.note_acted(newest.unwrap_or_default());
    }

    /// Notes that the CLI was reaped. The runner sweeps now and answers no more commands.
    pub(crate) fn exited(&self) {
        let mut inner = self.lock();
        inner.stage = Stage::Exited;
        inner.sent.clear();
        inner.unsent = false;
        self.note_acted(self.newest.borrow().revision);
    }

    /// Ends the controls, because the terminal status is being decided. Returns the reason to end
    /// the execution that was requested so far. Later controls change nothing.
    pub(crate) fn seal(&self) -> Option<EndWish> {
        let mut inner = self.lock();
        inner.stage = Stage::Ended;
        inner.sent.clear();
        inner.unsent = false;
        self.newest.borrow().end
    }

    /// Answers every control that still waits, after the terminal status was published.
    pub(crate) fn answer_all(&self) {
        self.note_acted(u64::MAX);
    }
}

impl Inner {
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
