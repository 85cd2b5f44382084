//! The commands that clients and the service's shutdown can send to an execution: pause, resume,
//! cancel and stop.

/// A command to a queued or running execution, sent by a client or by the shutdown of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Suspends all processes of the execution with SIGSTOP. `Resume` lets them continue.
    Pause,
    /// Continues the suspended processes with SIGCONT. Has no effect on an execution that is not
    /// paused.
    Resume,
    /// Ends the execution at a client's request. Its terminal state is `cancelled`.
    Cancel,
    /// Ends the execution because the service shuts down. Its terminal state is usually
    /// `interrupted`, so that a later execution can continue it.
    Stop,
}
