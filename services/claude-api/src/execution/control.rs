//! The controls of an execution: pause, resume, cancel and stop.

/// A request to an execution, from a client or from the service's stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Stops the process tree with signals; the tree can be resumed.
    Pause,
    /// Lets the process tree run again.
    Resume,
    /// Ends the execution.
    Cancel,
    /// Ends the execution because the service is stopping.
    Stop,
}
