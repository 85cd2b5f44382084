//! The durable queue of webhook events.
//!
//! ```text
//! acceptance ─▶ Subscription ─┐
//! stall ──────▶ stalled ──────┤
//! questions ──▶ question ─────┤
//! end ────────▶ ended ────────┤
//!                             ▼
//!                  ledger of the execution ◀── settle ──┐
//!                (memory, and a file of the spool)      │
//!                             │                         │
//!                             └─▶ Due ─▶ Flight ─▶ Courier
//! ```
//!
//! Each execution with a webhook has one ledger, which is a file in a folder of its own. Neither
//! retention nor a client's DELETE of the execution ends a delivery: the ledger exists until every
//! event was delivered or given up, at most a day after the event.
//!
//! A crash at any point neither loses nor doubles an event, because its id follows from the
//! execution, the kind of the event and its number:
//!
//! 1. The ledger is on disk before the execution is accepted. A start removes a ledger whose
//!    execution does not exist.
//! 2. The end of the execution is recorded.
//! 3. The event `ended` is written to the ledger, before the end is published. A start adds it to
//!    each ledger whose execution has ended without it.
//! 4. The event is sent. If its result is not written, a start sends the event again with the same
//!    id, by which the receiver recognises it.
//! 5. The counts are added to the terminal status, and the ledger is removed.
//!
//! An event `stalled` or `question` is written when the stall is noticed or the execution begins to
//! wait for a person. A crash before that write loses it: the execution is then interrupted, which
//! `ended` reports.
//!
//! Bounds: at most 4096 ledgers, of which one principal may have 1024 (see `table`). A further
//! execution with a webhook is refused; nobody waits. Each ledger has at most one event of each
//! kind that is not settled. `Places` bounds the deliveries in progress.

mod courier;
mod flight;
mod ledger;
mod places;
mod queue;
mod retry;
mod store;
mod subscription;
mod table;

pub(crate) use courier::{Courier, Post};
pub(crate) use flight::{Due, Flight};
pub(crate) use queue::Webhooks;
pub(crate) use subscription::Subscription;
#[cfg(test)]
pub(crate) use table::LEDGERS_MAX;

#[cfg(test)]
mod tests;
