//! The id of a JSON-RPC request, which its answer repeats.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::json_text::JsonText;

/// The id of a JSON-RPC request, which is a string, a number or null. The bridge repeats it
/// unchanged in the answer, so that the client knows which request is answered.
///
/// The id is stored as JSON text, because a number may be larger than any Rust type can hold (RFC
/// 8259, section 6). Therefore `1` and `1.0` are different ids. See docs/protocol.md, "Request
/// parameters".
#[derive(Clone, PartialEq, Eq)]
pub struct RequestId(JsonText);

/// The error for a JSON-RPC id that is not a string, a number or null, or whose JSON text is longer
/// than [`RequestId::MAX_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "id must be a string, a number or null, of at most {} bytes",
    RequestId::MAX_BYTES
)]
pub struct BadRequestId;

impl RequestId {
    /// The maximum length of an id, in bytes of its JSON text with quotes and escapes.
    pub const MAX_BYTES: usize = 1024;

    /// Parses an id from its JSON text, for example `7` or `"a"`.
    ///
    /// # Errors
    /// The text is not one JSON string, number or null, a string has a lone surrogate, or the text
    /// is longer than [`Self::MAX_BYTES`].
    pub fn from_json(text: &str) -> Result<Self, BadRequestId> {
        if text.len() > Self::MAX_BYTES {
            return Err(BadRequestId);
        }
        let id = JsonText::parse(text).map_err(|_| BadRequestId)?;
        match id.as_str().as_bytes() {
            // The text of a string may have the escape of a lone surrogate, which is no character.
            [b'"', ..] => id.read::<String>().map(drop).map_err(|_| BadRequestId)?,
            [b'-' | b'0'..=b'9', ..] | b"null" => {}
            _ => return Err(BadRequestId),
        }
        Ok(Self(id))
    }

    /// Returns the id `null`. An error answer has it if the id of the request could not be read.
    #[must_use]
    pub fn null() -> Self {
        Self::of(&())
    }

    fn of(value: &impl Serialize) -> Self {
        #[allow(
            clippy::expect_used,
            reason = "strings, numbers and null always serialize"
        )]
        Self(JsonText::of(value).expect("a string, a number or null is JSON"))
    }

    /// Returns whether the id is null.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.as_json() == "null"
    }

    /// Returns the id as JSON text. A string includes its quotes.
    #[must_use]
    pub fn as_json(&self) -> &str {
        self.0.as_str()
    }

    /// Returns the id as an integer. `None` if the id is a string, null, or a number that is not an
    /// integer from 0 to `u64::MAX`.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        self.as_json().parse().ok()
    }
}

impl From<u64> for RequestId {
    fn from(number: u64) -> Self {
        Self::of(&number)
    }
}

impl From<&str> for RequestId {
    fn from(text: &str) -> Self {
        Self::of(&text)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_json())
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RequestId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = JsonText::deserialize(deserializer)?;
        Self::from_json(text.as_str()).map_err(serde::de::Error::custom)
    }
}
