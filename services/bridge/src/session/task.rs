//! The parts of a session's task that do I/O. They wait for the next event, perform the actions
//! that the machine has decided on, and close the session at its end.

pub(super) mod calls;
mod close;
pub(super) mod greeting;
mod list;
mod perform;
pub mod refuse;
mod wait;
