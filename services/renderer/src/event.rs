//! The members of the CLI's event lines (JSON objects on its stdout) that are used, as structs.
//! Everything is borrowed from the line.
//!
//! Each line is parsed as [`Head`], which is enough for a token line. Other lines are rarer, and
//! are parsed again as the struct of their kind. Strings are [`Raw`] or [`Literal`], so no string
//! can make a line unreadable.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::wtf8::{Literal, Raw};

/// The members that are read from every line, which decide how the rest of it is read.
#[derive(Debug, Deserialize)]
pub(crate) struct Head<'a> {
    #[serde(borrow, rename = "type")]
    pub(crate) kind: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) subtype: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) parent_tool_use_id: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) event: Option<StreamEvent<'a>>,
    pub(crate) abandoned_blocks: Option<Abandoned>,
}

/// The members that are read from a line that could not be read as an event of its kind, to know
/// whether text of the answer may be lost.
#[derive(Debug, Deserialize)]
pub(crate) struct Kind<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Raw<'a>>,
    parent_tool_use_id: Option<IgnoredAny>,
}

impl Kind<'_> {
    /// Whether the line may have text of the main conversation, or the result.
    pub(crate) fn is_of_answer(&self) -> bool {
        let kinds = ["stream_event", "assistant", "result"];
        self.parent_tool_use_id.is_none() && kinds.iter().any(|kind| is(self.kind.as_ref(), kind))
    }
}

/// The member `event` of a `stream_event` line: one event of the model's streaming API.
#[derive(Debug, Deserialize)]
pub(crate) struct StreamEvent<'a> {
    #[serde(borrow, rename = "type")]
    pub(crate) kind: Option<Raw<'a>>,
    #[serde(default)]
    pub(crate) index: u64,
    #[serde(borrow)]
    pub(crate) delta: Option<Delta<'a>>,
    #[serde(borrow)]
    pub(crate) content_block: Option<Block<'a>>,
    #[serde(borrow)]
    pub(crate) message: Option<MessageId<'a>>,
}

/// The member `delta` of a `content_block_delta`: a piece of a block's text. Members of other
/// deltas are ignored.
#[derive(Debug, Deserialize)]
pub(crate) struct Delta<'a> {
    #[serde(borrow, rename = "type")]
    pub(crate) kind: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) text: Option<Raw<'a>>,
}

/// The member `message` of a `message_start`, of which only the id is used.
#[derive(Debug, Deserialize)]
pub(crate) struct MessageId<'a> {
    #[serde(borrow)]
    pub(crate) id: Option<Raw<'a>>,
}

/// The member `abandoned_blocks`, by which the CLI says that it discarded a broken message, from
/// this block on.
#[derive(Debug, Deserialize)]
pub(crate) struct Abandoned {
    pub(crate) from_block_index: Option<u64>,
}

/// One content block of a message: text, a tool use or a tool result.
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
    /// Whether the block has this `type`.
    pub(crate) fn is(&self, kind: &str) -> bool {
        is(self.kind.as_ref(), kind)
    }
}

/// An `assistant` or `user` line: a whole message, and the marks of an error message that the CLI
/// itself created.
#[derive(Debug, Deserialize)]
pub(crate) struct Turn<'a> {
    #[serde(borrow)]
    pub(crate) message: Message<'a>,
    #[serde(borrow)]
    pub(crate) error: Option<Marker<'a>>,
    #[serde(borrow, alias = "isApiErrorMessage")]
    pub(crate) is_api_error_message: Option<Marker<'a>>,
    pub(crate) api_error_params: Option<ErrorParams>,
}

/// The message of a [`Turn`]. If `content` is a plain string, the line is unreadable: a `user` line
/// is then ignored, and an `assistant` line counts as lost.
#[derive(Debug, Deserialize)]
pub(crate) struct Message<'a> {
    #[serde(borrow)]
    pub(crate) id: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) model: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) content: Vec<Block<'a>>,
}

/// The time limits that the tool uses in an `assistant` line request. Read separately: if the tool
/// inputs cannot be parsed, the line has no time limits, but its other members are still used.
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

/// A tool use in [`ToolTimesMessage`], with its input.
#[derive(Debug, Deserialize)]
pub(crate) struct ToolTime<'a> {
    #[serde(borrow)]
    pub(crate) id: Option<Raw<'a>>,
    pub(crate) input: Option<ToolInput>,
}

/// The input of a tool use, of which only the time limit in milliseconds is used.
#[derive(Debug, Deserialize)]
pub(crate) struct ToolInput {
    pub(crate) timeout: Option<f64>,
}

/// The member `api_error_params` of an error message that the CLI itself created.
#[derive(Debug, Deserialize)]
pub(crate) struct ErrorParams {
    pub(crate) rate_limit_info: Option<ResetTime>,
}

/// When a usage limit is reset, in Unix seconds; None if the line does not say.
#[derive(Debug, Deserialize)]
pub(crate) struct ResetTime {
    #[serde(rename = "resetsAt")]
    pub(crate) resets_at: Option<f64>,
}

/// A `system/init` line: the CLI has started, with this session and model.
#[derive(Debug, Deserialize)]
pub(crate) struct Init<'a> {
    #[serde(borrow)]
    pub(crate) session_id: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) model: Option<Raw<'a>>,
}

/// A `system/status` line, such as the start of a request to the model.
#[derive(Debug, Deserialize)]
pub(crate) struct Status<'a> {
    #[serde(borrow)]
    pub(crate) status: Option<Raw<'a>>,
}

/// A `system/api_retry` line: a request to the model failed and is retried.
#[derive(Debug, Deserialize)]
pub(crate) struct Retry {
    pub(crate) attempt: Option<f64>,
    pub(crate) max_retries: Option<f64>,
    pub(crate) retry_delay_ms: Option<f64>,
    pub(crate) error_status: Option<f64>,
}

/// A `system/permission_denied` line: a tool call was refused.
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

/// A `system/hook_response` line: a hook of the CLI has ended.
#[derive(Debug, Deserialize)]
pub(crate) struct Hook<'a> {
    #[serde(borrow)]
    pub(crate) hook_name: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) outcome: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) output: Option<Raw<'a>>,
}

/// A `rate_limit_event` line: the state of a subscription's usage limit.
#[derive(Debug, Deserialize)]
pub(crate) struct RateLimitEvent<'a> {
    #[serde(borrow)]
    pub(crate) rate_limit_info: RateLimitInfo<'a>,
}

/// The member `rate_limit_info` of a [`RateLimitEvent`].
#[derive(Debug, Deserialize)]
pub(crate) struct RateLimitInfo<'a> {
    #[serde(borrow)]
    pub(crate) status: Option<Raw<'a>>,
    #[serde(rename = "resetsAt")]
    pub(crate) resets_at: Option<f64>,
}

/// Whether the string is present in the line and equals `expected`.
pub(crate) fn is(string: Option<&Raw<'_>>, expected: &str) -> bool {
    string.is_some_and(|string| string.bytes() == expected.as_bytes())
}

/// Returns the text of a string, with U+FFFD for damaged characters; None if it is absent.
pub(crate) fn text(string: Option<&Raw<'_>>) -> Option<String> {
    string.map(Raw::text)
}

/// The most bytes that are kept of an id, a name or another short string.
const LONGEST_WORD_BYTES: usize = 256;

/// Returns the first 256 bytes of a string that should be short, such as an id or a name; None if
/// it is absent. The limit bounds memory, because a line may be very long.
pub(crate) fn word(string: Option<&Raw<'_>>) -> Option<String> {
    string.map(|string| short(&string.text()))
}

/// Returns the first [`LONGEST_WORD_BYTES`] of a string, cut at the end of a character.
pub(crate) fn short(word: &str) -> String {
    word[..word.floor_char_boundary(LONGEST_WORD_BYTES)].to_owned()
}

/// A member whose presence marks an error, whatever its type; only `false` means no error. `word`
/// is its value if it is a string.
#[derive(Debug)]
pub(crate) struct Marker<'a> {
    pub(crate) set: bool,
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
