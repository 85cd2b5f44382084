//! The signals SIGINT (Ctrl-C) and SIGTERM, which stop `ccb`.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// A listener for SIGINT (Ctrl-C) and SIGTERM. Once it is created, these signals no longer end the
/// process by themselves.
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits until SIGINT or SIGTERM arrives. Cancel-safe.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
