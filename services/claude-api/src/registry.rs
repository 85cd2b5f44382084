//! What exists and who may start: the queue with its permits, and what is recorded of an execution.

mod admission;
pub mod record;

pub use admission::{Admission, Full, Place, Ticket};
