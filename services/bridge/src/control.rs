//! The controls that a client sends and claude-api carries out.

/// A signal to the process tree of an execution: the `type` of a `control` request
/// (docs/protocol.md, "Controls").
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Control {
    /// Stops all its processes.
    Pause,
    /// Lets stopped processes continue.
    Resume,
    /// Ends the execution.
    Cancel,
}
