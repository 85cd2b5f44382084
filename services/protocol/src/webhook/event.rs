//! The kinds of events that webhooks report.

use serde::{Deserialize, Serialize};

/// An event of an execution that a webhook reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookEvent {
    /// The execution has ended.
    Ended,
    /// The execution asks its clients a question, and waits for the answer.
    Question,
    /// The execution has made no progress for `stalledMs`.
    Stalled,
}

impl WebhookEvent {
    /// Every event.
    pub const ALL: [Self; 3] = [Self::Ended, Self::Question, Self::Stalled];

    /// Returns the name of the event in the list `events` of a body, for example `ended`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Question => "question",
            Self::Stalled => "stalled",
        }
    }

    /// Returns the member `type` of the payload, for example `execution.ended`.
    #[must_use]
    pub fn payload_type(self) -> &'static str {
        match self {
            Self::Ended => "execution.ended",
            Self::Question => "execution.question",
            Self::Stalled => "execution.stalled",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_the_json() {
        for event in WebhookEvent::ALL {
            let json = serde_json::to_value(event).unwrap();
            assert_eq!(json, event.as_str());
            assert_eq!(
                event.payload_type(),
                format!("execution.{}", event.as_str())
            );
        }
    }
}
