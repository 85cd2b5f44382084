//! The members of the CLI's event lines that the renderer reads, as structs for serde. An event
//! line is one JSON object on the CLI's stdout. Everything is borrowed from the line.
//!
//! Each line is parsed as [`Head`], which is enough for a token line. Other lines are rarer, and
//! are parsed again as the struct of their kind. Strings are [`Raw`] or [`Literal`], so no string
//! can make a line unreadable.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::wtf8::{Literal, Raw};

/// The kinds of events that have an effect.
pub(crate) const KINDS: [&[u8]; 8] = [
    b"assistant",
    b"control_cancel_request",
    b"control_request",
    b"rate_limit_event",
    b"result",
    b"stream_event",
    b"system",
    b"user",
];

/// The members that are read from every event line. They decide as which kind of event the line is
/// read.
#[derive(Debug, Deserialize)]
pub(crate) struct Head<'a> {
    /// The kind of the event (`type`), such as `assistant`.
    #[serde(borrow, rename = "type")]
    pub(crate) kind: Option<Raw<'a>>,
    /// The kind of a `system` event, such as `init`.
    #[serde(borrow)]
    pub(crate) subtype: Option<Raw<'a>>,
    /// The tool call that started the sub-agent of the event; `None` in the main conversation.
    #[serde(borrow)]
    pub(crate) parent_tool_use_id: Option<Raw<'a>>,
    /// The content of a `stream_event` line.
    #[serde(borrow)]
    pub(crate) event: Option<StreamEvent<'a>>,
    /// Set if the CLI has discarded a message.
    pub(crate) abandoned_blocks: Option<Abandoned>,
}

/// The members that are read from a line that could not be read as an event. They show whether text
/// of the answer may be lost.
#[derive(Debug, Deserialize)]
pub(crate) struct Kind<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Raw<'a>>,
    parent_tool_use_id: Option<IgnoredAny>,
}

impl Kind<'_> {
    /// Returns true if the line may have text of the main conversation, or the result of the run.
    pub(crate) fn is_of_answer(&self) -> bool {
        let kinds = ["stream_event", "assistant", "result"];
        self.parent_tool_use_id.is_none() && kinds.iter().any(|kind| is(self.kind.as_ref(), kind))
    }
}

/// One event of the model's streaming API, from the member `event` of a `stream_event` line.
#[derive(Debug, Deserialize)]
pub(crate) struct StreamEvent<'a> {
    #[serde(borrow, rename = "type")]
    pub(crate) kind: Option<Raw<'a>>,
    /// The number of the content block in its message; 0 if it is missing.
    #[serde(default)]
    pub(crate) index: u64,
    #[serde(borrow)]
    pub(crate) delta: Option<Delta<'a>>,
    #[serde(borrow)]
    pub(crate) content_block: Option<Block<'a>>,
    #[serde(borrow)]
    pub(crate) message: Option<MessageId<'a>>,
}

/// A piece of a content block's text, from the member `delta` of a `content_block_delta` event.
/// Members of other deltas, such as a tool's input, are ignored.
#[derive(Debug, Deserialize)]
pub(crate) struct Delta<'a> {
    #[serde(borrow, rename = "type")]
    pub(crate) kind: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) text: Option<Raw<'a>>,
}

/// The member `message` of a `message_start` event, of which only the id is used.
#[derive(Debug, Deserialize)]
pub(crate) struct MessageId<'a> {
    #[serde(borrow)]
    pub(crate) id: Option<Raw<'a>>,
}

/// The member `abandoned_blocks`, with which the CLI says that it has discarded a broken message.
#[derive(Debug, Deserialize)]
pub(crate) struct Abandoned {
    /// The index of the first discarded block; `None` if the CLI did not say.
    pub(crate) from_block_index: Option<u64>,
}

/// One content block of a message: text, thinking, a tool call or a tool result.
#[derive(Debug, Deserialize)]
pub(crate) struct Block<'a> {
    #[serde(borrow, rename = "type")]
    pub(crate) kind: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) text: Option<Literal<'a>>,
    #[serde(borrow)]
    pub(crate) id: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) name: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) tool_use_id: Option<Raw<'a>>,
}

impl Block<'_> {
    /// Returns true if the `type` of the block is `kind`.
    pub(crate) fn is(&self, kind: &str) -> bool {
        is(self.kind.as_ref(), kind)
    }
}

/// A whole message, from an `assistant` or `user` line. It may carry the marks of an error message
/// that the CLI itself wrote.
#[derive(Debug, Deserialize)]
pub(crate) struct Turn<'a> {
    #[serde(borrow)]
    pub(crate) message: Message<'a>,
    /// Set in an error message that the CLI itself wrote. The text names the kind of error.
    #[serde(borrow)]
    pub(crate) error: Option<Marker<'a>>,
    /// Set in a message that reports an error of the model's API.
    #[serde(borrow, alias = "isApiErrorMessage")]
    pub(crate) is_api_error_message: Option<Marker<'a>>,
    pub(crate) api_error_params: Option<ErrorParams>,
}

/// The member `message` of a [`Turn`]. If `content` is a plain string, the line is unreadable: a
/// `user` line is then ignored, and an `assistant` line counts as lost.
#[derive(Debug, Deserialize)]
pub(crate) struct Message<'a> {
    #[serde(borrow)]
    pub(crate) id: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) model: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) content: Vec<Block<'a>>,
}

/// The time limits of the tool calls in an `assistant` line. They are read separately: if the
/// inputs of the tools cannot be parsed, the line has no time limits, but its other members are
/// still used.
#[derive(Debug, Deserialize)]
pub(crate) struct ToolTimes<'a> {
    #[serde(borrow)]
    pub(crate) message: ToolTimesMessage<'a>,
}

/// The member `message` of [`ToolTimes`].
#[derive(Debug, Deserialize)]
pub(crate) struct ToolTimesMessage<'a> {
    #[serde(borrow)]
    pub(crate) content: Vec<ToolTime<'a>>,
}

/// One tool call in an `assistant` line, with its input.
#[derive(Debug, Deserialize)]
pub(crate) struct ToolTime<'a> {
    #[serde(borrow)]
    pub(crate) id: Option<Raw<'a>>,
    pub(crate) input: Option<ToolInput>,
}

/// The input of a tool call, of which only the time limit is used.
#[derive(Debug, Deserialize)]
pub(crate) struct ToolInput {
    /// The time limit in milliseconds; `None` if the model requested none.
    pub(crate) timeout: Option<f64>,
}

/// The member `api_error_params` of an error message that the CLI itself wrote.
#[derive(Debug, Deserialize)]
pub(crate) struct ErrorParams {
    pub(crate) rate_limit_info: Option<ResetTime>,
}

/// The time at which a usage limit is reset.
#[derive(Debug, Deserialize)]
pub(crate) struct ResetTime {
    /// The time in Unix seconds; `None` if the line does not say.
    #[serde(rename = "resetsAt")]
    pub(crate) resets_at: Option<f64>,
}

/// A `system/init` line, with which the CLI reports that it has started, with this session and
/// model.
#[derive(Debug, Deserialize)]
pub(crate) struct Init<'a> {
    #[serde(borrow)]
    pub(crate) session_id: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) model: Option<Raw<'a>>,
}

/// A `system/status` line, with which the CLI reports for example the start of a request to the
/// model.
#[derive(Debug, Deserialize)]
pub(crate) struct Status<'a> {
    #[serde(borrow)]
    pub(crate) status: Option<Raw<'a>>,
}

/// A `system/api_retry` line, with which the CLI reports that a request to the model has failed and
/// is retried.
#[derive(Debug, Deserialize)]
pub(crate) struct Retry {
    pub(crate) attempt: Option<f64>,
    pub(crate) max_retries: Option<f64>,
    pub(crate) retry_delay_ms: Option<f64>,
    pub(crate) error_status: Option<f64>,
}

/// A `system/session_state_changed` line, with which the CLI reports the begin and the end of its
/// work.
#[derive(Debug, Deserialize)]
pub(crate) struct SessionStateChanged<'a> {
    #[serde(borrow)]
    pub(crate) state: Option<Raw<'a>>,
}

/// A `system/permission_denied` line, with which the CLI reports that it has refused a tool call.
#[derive(Debug, Deserialize)]
pub(crate) struct Denied<'a> {
    #[serde(borrow)]
    pub(crate) tool_name: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) tool_use_id: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) decision_reason_type: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) message: Option<Raw<'a>>,
}

/// A `system/hook_response` line, with which the CLI reports that a hook has ended.
#[derive(Debug, Deserialize)]
pub(crate) struct Hook<'a> {
    #[serde(borrow)]
    pub(crate) hook_name: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) outcome: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) output: Option<Raw<'a>>,
}

/// The id in a `control_request` or `control_cancel_request` line, with which the CLI asks
/// something of the program that started it.
#[derive(Debug, Deserialize)]
pub(crate) struct ControlId<'a> {
    #[serde(borrow)]
    pub(crate) request_id: Raw<'a>,
}

/// The content of a `control_request` line. Unlike the members of other lines, it is read with all
/// its strings, so a damaged string makes it unreadable.
#[derive(Debug, Deserialize)]
pub(crate) struct ControlRequest {
    pub(crate) request: serde_json::Value,
}

/// A `rate_limit_event` line, with which the CLI reports the state of a subscription's usage limit.
#[derive(Debug, Deserialize)]
pub(crate) struct RateLimitEvent<'a> {
    #[serde(borrow)]
    pub(crate) rate_limit_info: RateLimitInfo<'a>,
}

/// The usage limit in a [`RateLimitEvent`].
#[derive(Debug, Deserialize)]
pub(crate) struct RateLimitInfo<'a> {
    #[serde(borrow)]
    pub(crate) status: Option<Raw<'a>>,
    /// When the limit is reset, in Unix seconds; `None` if the line does not say.
    #[serde(rename = "resetsAt")]
    pub(crate) resets_at: Option<f64>,
}

/// Returns true if the string is present in the line and equals `expected`.
pub(crate) fn is(string: Option<&Raw<'_>>, expected: &str) -> bool {
    string.is_some_and(|string| string.bytes() == expected.as_bytes())
}

/// Returns the text of a JSON string, with U+FFFD for damaged characters. Returns `None` if the
/// string is absent.
pub(crate) fn text(string: Option<&Raw<'_>>) -> Option<String> {
    string.map(Raw::text)
}

/// The most bytes that are kept of an id, a name or another string that should be short. A line may
/// be very long, so the limit bounds the memory.
const LONGEST_WORD_BYTES: usize = 256;

/// Returns the first 256 bytes of a JSON string that should be short, such as an id or a name.
/// Returns `None` if it is absent.
pub(crate) fn word(string: Option<&Raw<'_>>) -> Option<String> {
    string.map(|string| short(&string.text()))
}

/// Returns the first 256 bytes of a text, or slightly fewer so that no character is cut.
pub(crate) fn short(word: &str) -> String {
    word[..word.floor_char_boundary(LONGEST_WORD_BYTES)].to_owned()
}

/// A JSON member that marks a message as an error by its presence. Every value counts as a mark,
/// except `false`.
#[derive(Debug)]
pub(crate) struct Marker<'a> {
    /// Whether the member marks an error.
    pub(crate) set: bool,
    /// The value if it is a string, which names the kind of error; `None` for other values.
    pub(crate) word: Option<std::borrow::Cow<'a, str>>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Marker<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        const SET: Marker<'static> = Marker {
            set: true,
            word: None,
        };
        impl<'de> Visitor<'de> for Any {
            type Value = Marker<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }
            fn visit_bool<E>(self, set: bool) -> Result<Marker<'de>, E> {
                Ok(Marker { set, word: None })
            }
            fn visit_i64<E>(self, _: i64) -> Result<Marker<'de>, E> {
                Ok(SET)
            }
            fn visit_u64<E>(self, _: u64) -> Result<Marker<'de>, E> {
                Ok(SET)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Marker<'de>, E> {
                Ok(SET)
            }
            fn visit_str<E>(self, word: &str) -> Result<Marker<'de>, E> {
                Ok(Marker {
                    set: true,
                    word: Some(word.to_owned().into()),
                })
            }
            fn visit_borrowed_str<E>(self, word: &'de str) -> Result<Marker<'de>, E> {
                Ok(Marker {
                    set: true,
                    word: Some(word.into()),
                })
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Marker<'de>, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(SET)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Marker<'de>, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(SET)
            }
        }
        deserializer.deserialize_any(Any)
    }
}
