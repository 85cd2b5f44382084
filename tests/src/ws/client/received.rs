//! What a session has received so far, without waiting. An execution is named by its id.

use std::{collections::HashMap, fmt::Display};

use serde_json::Value;

use super::Client;
use crate::ws::Recorded;

impl Client {
    /// The output of the present view so far.
    #[must_use]
    pub fn output(&self, execution: impl Display) -> Vec<u8> {
        of(&self.shared.lock().outputs, execution)
    }

    /// The bytes of output that the present view received so far, counted also where
    /// [`Options::keep_output`](super::Options::keep_output) is off.
    #[must_use]
    pub fn received(&self, execution: impl Display) -> u64 {
        of(&self.shared.lock().received, execution)
    }

    /// The gaps of the present view so far, as pairs of offsets.
    #[must_use]
    pub fn gaps(&self, execution: impl Display) -> Vec<(u64, u64)> {
        of(&self.shared.lock().gaps, execution)
    }

    /// The params of the statusUpdates of the present view so far, in order.
    #[must_use]
    pub fn updates(&self, execution: impl Display) -> Vec<Value> {
        of(&self.shared.lock().updates, execution)
    }

    /// The params of all notices so far, in order.
    #[must_use]
    pub fn notices(&self) -> Vec<Value> {
        self.shared.lock().notices.clone()
    }

    /// All messages so far, in the order in which they were sent and received. Empty without
    /// [`Options::record`](super::Options::record). A sent frame that is no text is not among them.
    #[must_use]
    pub fn recorded(&self) -> Vec<Recorded> {
        self.shared.lock().recorded.clone().unwrap_or_default()
    }

    /// The last messages, for a test's own assertions.
    #[must_use]
    pub fn transcript(&self) -> String {
        self.shared.lock().transcript()
    }
}

fn of<T: Clone + Default>(map: &HashMap<String, T>, execution: impl Display) -> T {
    map.get(&execution.to_string()).cloned().unwrap_or_default()
}
