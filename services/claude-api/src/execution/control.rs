//! What can be asked of an execution.

/// What a client, or the service's stop, wants of an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Stop its process tree.
    Pause,
    /// Let it go on.
    Resume,
    /// End it.
    Cancel,
    /// End it because the service is stopping.
    Stop,
}
