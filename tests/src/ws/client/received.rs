//! Returns the messages that a session has received, without a wait. Methods name an execution by
//! its id.

use std::{collections::HashMap, fmt::Display};

use serde_json::Value;

use super::Client;
use crate::ws::Recorded;

impl Client {
    /// Returns the output of the current view so far.
    #[must_use]
    pub fn output(&self, execution: impl Display) -> Vec<u8> {
        of(&self.shared.lock().outputs, execution)
    }

    /// Returns the number of bytes of output that the current view has received, even if
    /// [`Options::keep_output`](super::Options::keep_output) is off.
    #[must_use]
    pub fn received(&self, execution: impl Display) -> u64 {
        of(&self.shared.lock().received, execution)
    }

    /// Returns the gaps of the current view so far, as pairs of offsets.
    #[must_use]
    pub fn gaps(&self, execution: impl Display) -> Vec<(u64, u64)> {
        of(&self.shared.lock().gaps, execution)
    }

    /// Returns the params of the current view's statusUpdates so far, in order.
    #[must_use]
    pub fn updates(&self, execution: impl Display) -> Vec<Value> {
        of(&self.shared.lock().updates, execution)
    }

    /// Returns the questions that the current view has announced so far, in order.
    #[must_use]
    pub fn questions(&self, execution: impl Display) -> Vec<Value> {
        let messages = of(&self.shared.lock().questions, execution);
        let questions = messages
            .into_iter()
            .map(|mut params| params["question"].take());
        questions.filter(|question| !question.is_null()).collect()
    }

    /// Returns the params of the current view's `questionClosed` so far, in order.
    #[must_use]
    pub fn closed_questions(&self, execution: impl Display) -> Vec<Value> {
        let mut messages = of(&self.shared.lock().questions, execution);
        messages.retain(|params| params.get("question").is_none());
        messages
    }

    /// Returns the params of all notices so far, in order.
    #[must_use]
    pub fn notices(&self) -> Vec<Value> {
        self.shared.lock().notices.clone()
    }

    /// Returns all messages so far, in the order in which they were sent and received. Empty
    /// without [`Options::record`](super::Options::record). Sent frames other than text are not
    /// recorded.
    #[must_use]
    pub fn recorded(&self) -> Vec<Recorded> {
        self.shared.lock().recorded.clone().unwrap_or_default()
    }

    /// Returns the last messages, for a test's own assertions.
    #[must_use]
    pub fn transcript(&self) -> String {
        self.shared.lock().transcript()
    }
}

fn of<T: Clone + Default>(map: &HashMap<String, T>, execution: impl Display) -> T {
    map.get(&execution.to_string()).cloned().unwrap_or_default()
}
