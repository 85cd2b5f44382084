//! The messages from claude-api to `credentials`.

use serde::{Deserialize, Serialize};
use serde_json::value::Value;

use crate::GrantHash;

/// A message from claude-api.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Order {
    /// The first line.
    Hello {
        /// [`crate::VERSION`] of claude-api.
        version: u32,
    },
    /// Registers a grant, or replaces the registration of the same execution. `credentials` answers
    /// with [`crate::Report::Granted`].
    Grant(Registration),
    /// Says that every grant which was in force at the start of the connection has been sent.
    Synced,
    /// Ends the grant of an execution. Its open requests are cut. `credentials` answers with
    /// [`crate::Report::Revoked`].
    Revoke {
        /// The execution.
        execution_id: String,
    },
    /// The budget of the execution's principal is used up: its next requests get 402.
    Exhaust {
        /// The execution.
        execution_id: String,
    },
    /// Sends a webhook now, once. `credentials` answers with [`crate::Report::Delivered`].
    Deliver(Delivery),
    /// A sign of life.
    Beat,
}

/// The registration of a grant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Registration {
    /// The execution that has the grant.
    pub execution_id: String,
    /// The hash of the grant.
    pub hash: GrantHash,
    /// The principal of the execution. `None` without tokens.
    pub principal: Option<String>,
    /// The maximum cost of the execution in US dollars. `None` means no limit.
    pub max_cost_usd: Option<f64>,
    /// The cost of the execution so far in US dollars, as claude-api knows it. `credentials`
    /// continues from this sum or from its own, whichever is larger.
    pub spent_usd: f64,
}

/// One attempt to deliver a webhook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// The id of the event (header `webhook-id`), the same in every attempt.
    pub id: String,
    /// The principal whose secret signs the webhook. `None` without tokens.
    pub principal: Option<String>,
    /// The URL of the receiver, as the client gave it.
    pub url: String,
    /// The body, a JSON object.
    pub payload: Value,
}
