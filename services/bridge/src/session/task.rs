//! The parts of a session's task that do I/O: waiting for the next wakeup, performing the actions
//! of the machine, and ending the session.

pub(super) mod calls;
mod close;
pub(super) mod greeting;
mod list;
mod perform;
pub mod refuse;
mod wait;
