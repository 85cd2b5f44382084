//! The life of one execution, which its owner leads: waits for its permit, starts the CLI, pumps its output into the spool, obeys controls and
//! timers, and ends it with a verdict. Its only writer.

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

/// How often one that waits for a time looks at the clock.
const CLOCK_LOOK: Duration = Duration::from_secs(30);

impl Owner {
    /// Owns the execution from acceptance to its end, which the caller records. Never cancelled: dropping it would lose the
    /// end.
    pub(crate) async fn own(&mut self, ticket: &mut Ticket) -> Ended {
        // One that may run at its acceptance was accepted as running.
        let running = self.publish.borrow().status.state == State::Running;
        let permitted = running || self.wait(ticket).await;
        let mut status = Status::clone(&self.publish.borrow().status);
        status.not_before = None;
        if permitted {
            run::run(self, status, ticket).await
        } else {
            ending::cancelled_in_queue(self, status)
        }
    }

    /// Waits in the queue. False: cancelled there. A stop of the service leaves it queued for the next start.
    async fn wait(&mut self, ticket: &mut Ticket) -> bool {
        let mut not_before = self.publish.borrow().status.not_before;
        loop {
            tokio::select! {
                // A cancel that is there when the permit comes wins: no process then.
                biased;
                _ = self.wishes.end_above(Some(EndWish::Stop)) => return false,
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

/// Until the wall clock shows this time; for ever without one. Cancel safe.
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
        // The wall clock may be set, and stands for the runtime while the machine sleeps.
        tokio::time::sleep(left.min(CLOCK_LOOK)).await;
    }
}
