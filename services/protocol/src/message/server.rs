//! The JSON-RPC messages that the bridge sends to a client over WebSocket.

use std::borrow::Cow;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::connected::Connected;
use super::json_text::JsonText;
use super::notification::Notification;
use super::reply::Reply;
use super::request_id::RequestId;
use super::status_update::{RejectedExecute, StatusUpdate};
use super::view::{Gap, Notice, Output, OutputType};
use crate::Reason;
use crate::question::{QuestionAsked, QuestionClosed};
use crate::rpc::{RpcError, method};

/// The maximum length of the quoted beginning of a faulty message in an error, in characters.
const SHOWN_CHARS: usize = 120;

/// Any message that the bridge sends to a client over WebSocket, which is a notification or an
/// answer (docs/protocol.md, "Notifications" and "Requests").
#[derive(Debug, Clone, PartialEq)]
pub enum ServerMessage {
    /// The greeting of the bridge, the first message on each connection.
    Connected(Box<Connected>),
    /// The status of an execution, sent after each change, and unchanged at intervals as a
    /// heartbeat.
    StatusUpdate(Box<StatusUpdate>),
    /// The refusal of an `execute` that was sent without a request id. JSON-RPC allows no answer to
    /// it, so the bridge reports the error in this notification.
    RejectedExecute(Box<RejectedExecute>),
    /// The next bytes of an execution's output.
    Output(Output),
    /// A range of output bytes that the bridge does not send, because they are no longer kept or
    /// the client reads too slowly.
    Gap(Gap),
    /// An incident that does not change the state of an execution, such as a retry of the model's
    /// API.
    Notice(Box<Notice>),
    /// A question of an execution, which this or another client may answer.
    Question(Box<QuestionAsked>),
    /// How a question was closed.
    QuestionClosed(Box<QuestionClosed>),
    /// The answer to one request, with its result or error.
    Reply(Reply),
    /// The answers to a batch of requests, which the bridge sends in one message.
    Batch(Vec<Reply>),
    /// A message that this version of the crate does not know, as its JSON text. A client ignores
    /// it, so that later bridges can add messages.
    Other(JsonText),
}

/// The error for a text that is not a message of the bridge. Its text names the mistake and quotes
/// the beginning of the message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadMessage(String);

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(default, borrow)]
    id: Option<&'a RawValue>,
    #[serde(default, borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    params: Option<&'a RawValue>,
    #[serde(default, borrow)]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<RpcError>,
}

impl ServerMessage {
    /// Parses the text of one WebSocket frame from the bridge. A notification with an unknown name
    /// is not an error, but [`ServerMessage::Other`].
    ///
    /// # Errors
    /// The text is not valid JSON, or a known message lacks a field or has a field of a wrong type.
    pub fn from_json(text: &str) -> Result<Self, BadMessage> {
        let bad = |context: &str, error: serde_json::Error| {
            let start: String = text.chars().take(SHOWN_CHARS).collect();
            BadMessage(format!("{context}{error} in {start}"))
        };
        if text.starts_with('[') {
            let replies = serde_json::from_str(text);
            return replies.map(Self::Batch).map_err(|e| bad("", e));
        }
        let envelope: Envelope<'_> = serde_json::from_str(text).map_err(|e| bad("", e))?;
        let Some(name) = envelope.method else {
            return envelope.reply(text).map_err(|e| bad("", e));
        };
        let params = envelope.params.map_or("{}", RawValue::get);
        Self::notification(&name, params, text).map_err(|e| bad(&format!("{name}: "), e))
    }

    fn notification(name: &str, params: &str, text: &str) -> serde_json::Result<Self> {
        Ok(match name {
            method::OUTPUT => output(params, text)?,
            method::GAP => Self::Gap(serde_json::from_str(params)?),
            method::STATUS_UPDATE => status_update(params, text)?,
            method::NOTICE => Self::Notice(serde_json::from_str(params)?),
            method::QUESTION => Self::Question(serde_json::from_str(params)?),
            method::QUESTION_CLOSED => Self::QuestionClosed(serde_json::from_str(params)?),
            method::CONNECTED => Self::Connected(serde_json::from_str(params)?),
            _ => Self::Other(JsonText::parse(text)?),
        })
    }

    /// Returns the message as JSON text, ready to be sent as one WebSocket text frame.
    #[must_use]
    pub fn to_json(&self) -> String {
        match self {
            Self::Connected(params) => params.to_message(),
            Self::StatusUpdate(params) => params.to_message(),
            Self::RejectedExecute(params) => params.to_message(),
            Self::Output(params) => params.to_message(),
            Self::Gap(params) => params.to_message(),
            Self::Notice(params) => params.to_message(),
            Self::Question(params) => params.to_message(),
            Self::QuestionClosed(params) => params.to_message(),
            Self::Reply(reply) => reply.to_message(),
            Self::Batch(replies) => serde_json::to_string(replies).unwrap_or_default(),
            Self::Other(text) => text.as_str().to_owned(),
        }
    }
}

impl Envelope<'_> {
    fn reply(self, text: &str) -> serde_json::Result<ServerMessage> {
        let id = match self.id {
            None => RequestId::null(),
            Some(id) => RequestId::from_json(id.get()).map_err(serde_json::Error::custom)?,
        };
        Ok(match (self.result, self.error) {
            (_, Some(error)) => ServerMessage::Reply(Reply::error(id, error)),
            (Some(result), None) => ServerMessage::Reply(Reply::result(id, result.into())),
            (None, None) => ServerMessage::Other(JsonText::parse(text)?),
        })
    }
}

fn output(params: &str, text: &str) -> serde_json::Result<ServerMessage> {
    #[derive(Deserialize)]
    struct About {
        r#type: String,
    }
    let error = match serde_json::from_str(params) {
        Ok(output) => return Ok(ServerMessage::Output(output)),
        Err(error) => error,
    };
    match serde_json::from_str(params) {
        Ok(About { r#type: name }) if name != OutputType::Stdout.as_str() => {
            JsonText::parse(text).map(ServerMessage::Other)
        }
        _ => Err(error),
    }
}

fn status_update(params: &str, text: &str) -> serde_json::Result<ServerMessage> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct About<'a> {
        execution_id: Option<serde::de::IgnoredAny>,
        #[serde(borrow)]
        reason: Option<Cow<'a, str>>,
    }
    let about: About<'_> = serde_json::from_str(params)?;
    Ok(match (about.execution_id, about.reason.as_deref()) {
        (Some(_), _) => ServerMessage::StatusUpdate(serde_json::from_str(params)?),
        (None, Some(reason)) if reason == Reason::Rejected.as_str() => {
            ServerMessage::RejectedExecute(serde_json::from_str(params)?)
        }
        (None, _) => ServerMessage::Other(JsonText::parse(text)?),
    })
}

impl Serialize for ServerMessage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = JsonText::parse(&self.to_json()).map_err(serde::ser::Error::custom)?;
        text.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ServerMessage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = JsonText::deserialize(deserializer)?;
        Self::from_json(text.as_str()).map_err(D::Error::custom)
    }
}
