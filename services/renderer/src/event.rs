//! The CLI's event lines, as far as they are used. Everything is borrowed from the line.
//!
//! Each line is read once for [`Head`], which is enough for a line of tokens. Other lines are
//! rarer, and are read a second time for the struct of their kind. Strings are [`Raw`] or
//! [`Literal`], so that no string can make a line unreadable.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::wtf8::{Literal, Raw};

/// What every line is read for.
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

/// What a line is read for that could not be read as the event that it is.
#[derive(Debug, Deserialize)]
pub(crate) struct Kind<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Raw<'a>>,
    parent_tool_use_id: Option<IgnoredAny>,
}

impl Kind<'_> {
    /// Whether it belongs to the answer: it may hold text of the main conversation, or the end.
    pub(crate) fn is_of_answer(&self) -> bool {
        let kinds = ["stream_event", "assistant", "result"];
        self.parent_tool_use_id.is_none() && kinds.iter().any(|kind| is(self.kind.as_ref(), kind))
    }
}

/// The `event` of a `stream_event`.
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

/// The `delta` of a `content_block_delta`. Other deltas have other fields, which are passed over.
#[derive(Debug, Deserialize)]
pub(crate) struct Delta<'a> {
    #[serde(borrow, rename = "type")]
    pub(crate) kind: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) text: Option<Raw<'a>>,
}

/// The `message` of a `message_start`.
#[derive(Debug, Deserialize)]
pub(crate) struct MessageId<'a> {
    #[serde(borrow)]
    pub(crate) id: Option<Raw<'a>>,
}

/// Which blocks of a broken message were given up.
#[derive(Debug, Deserialize)]
pub(crate) struct Abandoned {
    pub(crate) from_block_index: Option<u64>,
}

/// One content block.
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
    pub(crate) fn is(&self, kind: &str) -> bool {
        is(self.kind.as_ref(), kind)
    }
}

/// An `assistant` or `user` line.
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

/// Its message. A `content` that is a plain string makes the line unreadable: a `user` line then
/// says nothing, and an `assistant` line counts as lost.
#[derive(Debug, Deserialize)]
pub(crate) struct Message<'a> {
    #[serde(borrow)]
    pub(crate) id: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) model: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) content: Vec<Block<'a>>,
}

/// An `assistant` line again, where it uses tools: only the time limits that they are given. A line
/// whose inputs are not understood has none, and is read as any other for the rest.
#[derive(Debug, Deserialize)]
pub(crate) struct ToolTimes<'a> {
    #[serde(borrow)]
    pub(crate) message: ToolTimesMessage<'a>,
}

/// Its message.
#[derive(Debug, Deserialize)]
pub(crate) struct ToolTimesMessage<'a> {
    #[serde(borrow)]
    pub(crate) content: Vec<ToolTime<'a>>,
}

/// One content block.
#[derive(Debug, Deserialize)]
pub(crate) struct ToolTime<'a> {
    #[serde(borrow)]
    pub(crate) id: Option<Raw<'a>>,
    pub(crate) input: Option<ToolInput>,
}

/// A tool's input.
#[derive(Debug, Deserialize)]
pub(crate) struct ToolInput {
    pub(crate) timeout: Option<f64>,
}

/// What a synthetic error message says about its cause.
#[derive(Debug, Deserialize)]
pub(crate) struct ErrorParams {
    pub(crate) rate_limit_info: Option<ResetTime>,
}

/// When a limit is reset.
#[derive(Debug, Deserialize)]
pub(crate) struct ResetTime {
    #[serde(rename = "resetsAt")]
    pub(crate) resets_at: Option<f64>,
}

/// `system/init`.
#[derive(Debug, Deserialize)]
pub(crate) struct Init<'a> {
    #[serde(borrow)]
    pub(crate) session_id: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) model: Option<Raw<'a>>,
}

/// `system/status`.
#[derive(Debug, Deserialize)]
pub(crate) struct Status<'a> {
    #[serde(borrow)]
    pub(crate) status: Option<Raw<'a>>,
}

/// `system/api_retry`.
#[derive(Debug, Deserialize)]
pub(crate) struct Retry {
    pub(crate) attempt: Option<f64>,
    pub(crate) max_retries: Option<f64>,
    pub(crate) retry_delay_ms: Option<f64>,
    pub(crate) error_status: Option<f64>,
}

/// `system/permission_denied`.
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

/// `system/hook_response`.
#[derive(Debug, Deserialize)]
pub(crate) struct Hook<'a> {
    #[serde(borrow)]
    pub(crate) hook_name: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) outcome: Option<Raw<'a>>,
    #[serde(borrow)]
    pub(crate) output: Option<Raw<'a>>,
}

/// `rate_limit_event`.
#[derive(Debug, Deserialize)]
pub(crate) struct RateLimitEvent<'a> {
    #[serde(borrow)]
    pub(crate) rate_limit_info: RateLimitInfo<'a>,
}

/// Its one field.
#[derive(Debug, Deserialize)]
pub(crate) struct RateLimitInfo<'a> {
    #[serde(borrow)]
    pub(crate) status: Option<Raw<'a>>,
    #[serde(rename = "resetsAt")]
    pub(crate) resets_at: Option<f64>,
}

/// Is this string there, and this one?
pub(crate) fn is(string: Option<&Raw<'_>>, wanted: &str) -> bool {
    string.is_some_and(|string| string.bytes() == wanted.as_bytes())
}

/// The text of a string that is there.
pub(crate) fn text(string: Option<&Raw<'_>>) -> Option<String> {
    string.map(Raw::text)
}

/// The most bytes that are kept of an id, a name or another word.
const LONGEST_WORD_BYTES: usize = 256;

/// Returns the beginning of a word, if there is one: a kept word must not be as long as a line may
/// be.
pub(crate) fn word(string: Option<&Raw<'_>>) -> Option<String> {
    string.map(|string| short(&string.text()))
}

/// Returns the first [`LONGEST_WORD_BYTES`] of a word.
pub(crate) fn short(word: &str) -> String {
    word[..word.floor_char_boundary(LONGEST_WORD_BYTES)].to_owned()
}

/// A field that marks an error by being there at all, whatever its type; a word if it is a string.
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
