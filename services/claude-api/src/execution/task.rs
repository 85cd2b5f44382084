//! The task of one execution, which is the only writer of its status. The task waits for the permit
//! (the right to run), starts the CLI and copies its output into the spool. It obeys commands and
//! time limits, and ends with the terminal status.

mod output;
mod run;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use protocol::{State, Status};

use super::ending::{self, Ended};
use super::owner::Owner;
use super::wish::EndWish;
use crate::registry::Ticket;

/// The longest sleep while an execution waits for a wall-clock time (`notBefore`). Then the clock
/// is read again, because it may have been set and the machine may have been suspended.
const CLOCK_INTERVAL: Duration = Duration::from_secs(30);

impl Owner {
    /// Runs the execution from its acceptance to its end, and returns the terminal status, which
    /// the caller writes to disk. The future must not be dropped before it completes, or the end
    /// would be lost.
    pub(crate) async fn drive(&mut self, ticket: &mut Ticket) -> Ended {
        // An execution that had its permit at its acceptance was accepted as running.
        let running = self.publish.borrow().status.state == State::Running;
        let permitted = running || self.wait(ticket).await;
        let mut status = Status::clone(&self.publish.borrow().status);
        status.not_before = None;
        if permitted {
            Box::pin(run::run(self, status, ticket)).await
        } else {
            ending::cancelled_in_queue(self, status)
        }
    }

    /// Waits in the queue for the permit (the right to run). Returns true with the permit, and
    /// false if a client's cancel arrived first. A stop of the service does not end the wait: the
    /// execution stays queued for the next start.
    async fn wait(&mut self, ticket: &mut Ticket) -> bool {
        let mut not_before = self.publish.borrow().status.not_before;
        loop {
            tokio::select! {
                // A cancel that arrived before the permit wins: no process starts.
                biased;
                _ = self.wishes.wait_for_end_above(Some(EndWish::Stop)) => return false,
                () = until(not_before) => {
                    not_before = None;
                    self.publish.send_modify(|published| {
                        Arc::make_mut(&mut published.status).not_before = None;
                    });
                    ticket.unpark();
                }
                () = ticket.permit() => return self.wishes.leave_queue(),
            }
        }
    }
}

/// Waits until the wall clock shows `time`; waits forever if it is `None`. Cancel safe.
async fn until(time: Option<Timestamp>) {
    let Some(time) = time else {
        return std::future::pending().await;
    };
    loop {
        let left = time.duration_since(Timestamp::now());
        let Ok(left) = Duration::try_from(left) else {
            return;
        };
        if left.is_zero() {
            return;
        }
        // The wall clock may be set, and the runtime's clock stops while the machine is suspended.
        tokio::time::sleep(left.min(CLOCK_INTERVAL)).await;
    }
}
