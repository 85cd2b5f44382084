//! The member `webhook` of a status: what became of the events so far.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Webhook;
use super::event::WebhookEvent;
use super::url::WebhookUrl;

/// The webhook of an execution, as the status shows it. It has the host of the URL only, because a
/// path may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookStatus {
    /// Host and port of the receiver, without the port 443.
    pub host: String,
    /// The events that are reported.
    pub events: Vec<WebhookEvent>,
    /// The number of events that are to be delivered.
    pub pending: u64,
    /// The number of events that the receiver has accepted.
    pub delivered: u64,
    /// The number of events that were given up.
    pub failed: u64,
    /// The last attempt. Null before the first one.
    pub last: Option<WebhookAttempt>,
}

/// The last attempt to deliver an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookAttempt {
    /// When its result was known.
    pub at: Timestamp,
    /// The event.
    pub event: WebhookEvent,
    /// Its result.
    pub result: WebhookOutcome,
}

/// The result of an attempt to deliver an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookOutcome {
    /// The receiver answered with a status from 200 to 299.
    Accepted,
    /// The try failed, and is repeated.
    Failed,
    /// The event was given up, because the address is not allowed or the receiver answered 410.
    Refused,
    /// The event was given up, because it could not be delivered for a day.
    Expired,
}

impl WebhookOutcome {
    /// Every result.
    pub const ALL: [Self; 4] = [Self::Accepted, Self::Failed, Self::Refused, Self::Expired];

    /// Returns the name of the result in a status, for example `accepted`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Expired => "expired",
        }
    }
}

impl WebhookStatus {
    /// Creates the status of a webhook that has reported no event yet.
    #[must_use]
    pub fn new(webhook: &Webhook) -> Self {
        let url = webhook.url.parse();
        Self {
            host: url.map_or_else(|_| String::new(), |url: WebhookUrl| url.authority()),
            events: webhook.events.clone(),
            pending: 0,
            delivered: 0,
            failed: 0,
            last: None,
        }
    }
}
