//! The id of a JSON-RPC request, which its answer repeats.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::json_text::JsonText;

/// The id of a request: a string, a number or null. The bridge returns it unchanged, so that a
/// client finds the request of an answer.
///
/// The id is kept as JSON text, because a number may be larger than any Rust type holds (RFC 8259,
/// section 6). See docs/protocol.md, "Request parameters".
#[derive(Clone, PartialEq, Eq)]
pub struct RequestId(JsonText);

/// The error for a text that is not a string, number or null, or is longer than
/// [`RequestId::MAX_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "id must be a string, a number or null, of at most {} bytes",
    RequestId::MAX_BYTES
)]
pub struct BadRequestId;

impl RequestId {
    /// The maximum length of an id, in bytes of its JSON text.
    pub const MAX_BYTES: usize = 1024;

    /// Reads an id from its JSON text.
    ///
    /// # Errors
    /// The text is not a JSON string, number or null, or is longer than [`Self::MAX_BYTES`].
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

    /// Returns the id null: the id of an error about a message whose own id could not be read.
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

    /// Returns the id as JSON text; a string has its quotes.
    #[must_use]
    pub fn as_json(&self) -> &str {
        self.0.as_str()
    }

    /// Returns the id as a number. `None` if it is not an integer from 0 to `u64::MAX`.
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
