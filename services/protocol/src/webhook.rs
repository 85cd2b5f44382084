//! Webhooks: HTTP requests by which cc-bridge reports the events of an execution to a receiver that
//! the client names in the body (docs/protocol.md, "Webhooks"). They follow the specification
//! Standard Webhooks 1.0.0.
//!
//! claude-api keeps the queue of events, and `credentials` sends them. Both read URLs and lists of
//! hosts with this module, so that no URL means two things.

mod deliveries;
mod event;
mod hosts;
mod payload;
mod secret;
mod signature;
mod url;

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

pub use deliveries::{WebhookAttempt, WebhookOutcome, WebhookStatus};
pub use event::WebhookEvent;
pub use hosts::{BadHosts, WebhookHosts};
pub use payload::{WebhookData, WebhookPayload};
pub use secret::{BadSecret, WebhookSecret};
pub use signature::{NotVerified, SignedHeaders, TOLERANCE, header, verify};
pub use url::{BadUrl, URL_BYTES, WebhookHost, WebhookUrl};

use crate::BodyError;

/// The field `webhook` of a body: the receiver, and the events that are reported to it.
///
/// Its `Debug` output has only the host of the URL, because a path may be a secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// The URL of the receiver, as the client wrote it. [`Webhook::check`] decides whether it is
    /// usable.
    pub url: String,
    /// The events that are reported.
    #[serde(default = "only_ended", deserialize_with = "or_only_ended")]
    pub events: Vec<WebhookEvent>,
}

fn only_ended() -> Vec<WebhookEvent> {
    vec![WebhookEvent::Ended]
}

fn or_only_ended<'de, D: Deserializer<'de>>(de: D) -> Result<Vec<WebhookEvent>, D::Error> {
    Ok(Option::<Vec<_>>::deserialize(de)?.unwrap_or_else(only_ended))
}

impl Webhook {
    /// Creates a webhook that reports only the end of the execution.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            events: only_ended(),
        }
    }

    /// Checks the URL and the list of events, and returns the parsed URL. Whether the operator
    /// allows the host is decided elsewhere ([`WebhookHosts::allows`]).
    ///
    /// # Errors
    /// [`BodyError::Field`] if the URL is malformed or not `https`, or if the list is empty or
    /// names an event twice.
    pub fn check(&self) -> Result<WebhookUrl, BodyError> {
        let mistake = |mistake: String| BodyError::Field {
            field: "webhook",
            mistake,
        };
        let url = self
            .url
            .parse()
            .map_err(|error: BadUrl| mistake(error.to_string()))?;
        if self.events.is_empty() {
            return Err(mistake(
                "events is empty; name at least one event, or omit it for \"ended\"".to_owned(),
            ));
        }
        for (n, event) in self.events.iter().enumerate() {
            if self.events[..n].contains(event) {
                let name = event.as_str();
                return Err(mistake(format!("events has {name:?} twice")));
            }
        }
        Ok(url)
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url: Result<WebhookUrl, _> = self.url.parse();
        f.debug_struct("Webhook")
            .field("host", &url.ok().map(|url| url.authority()))
            .field("events", &self.events)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook(json: &str) -> Result<Webhook, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn absent_and_null_events_mean_the_end_alone() {
        for json in [
            r#"{"url":"https://a/"}"#,
            r#"{"url":"https://a/","events":null}"#,
        ] {
            assert_eq!(webhook(json), Ok(Webhook::new("https://a/")), "{json}");
        }
        let all = webhook(r#"{"url":"https://a/","events":["stalled","question","ended"]}"#);
        assert_eq!(all.unwrap().events.len(), 3);
    }

    #[test]
    fn a_mistake_is_named() {
        for (json, word) in [
            (r#"{"events":["ended"]}"#, "url"),
            (r#"{"url":"https://a/","evnts":[]}"#, "evnts"),
            (r#"{"url":"https://a/","events":["started"]}"#, "started"),
            (r#"{"url":7}"#, "string"),
        ] {
            let error = webhook(json).unwrap_err();
            assert!(error.contains(word), "{json}: {error}");
        }
        for (json, word) in [
            (r#"{"url":"http://a/"}"#, "https://"),
            (r#"{"url":"https://a/","events":[]}"#, "empty"),
            (
                r#"{"url":"https://a/","events":["ended","ended"]}"#,
                "twice",
            ),
        ] {
            let error = webhook(json).unwrap().check().unwrap_err().to_string();
            assert!(error.starts_with("webhook: "), "{error}");
            assert!(error.contains(word), "{json}: {error}");
        }
    }

    #[test]
    fn the_debug_output_has_no_path() {
        let text = format!("{:?}", Webhook::new("https://hooks.example/secret?token=x"));
        assert!(text.contains("hooks.example"), "{text}");
        assert!(
            !text.contains("secret") && !text.contains("token"),
            "{text}"
        );
    }
}
