//! The id of an execution, which is any UUID of RFC 9562. It is written in lower case with hyphens.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The id of an execution, a UUID (RFC 9562). A client may choose it before it sends the prompt. If
/// the request is then repeated with the same id, the prompt still runs only once.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ExecutionId(Uuid);

/// The error for a text that is not a UUID in the form of RFC 9562, section 4 (36 characters with
/// hyphens). It holds the first 64 characters of that text.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{0:?} is not a UUID (RFC 9562): 32 hex digits in the form 8-4-4-4-12, \
     like 018f4e2a-7b3c-7def-8123-456789abcdef"
)]
pub struct BadId(pub String);

impl ExecutionId {
    /// Returns a new random id (version 4).
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// Returns the id as a plain UUID.
    #[must_use]
    pub fn uuid(self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for ExecutionId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl FromStr for ExecutionId {
    type Err = BadId;

    /// Parses a UUID in the form with hyphens, in lower or upper case, and returns [`BadId`] for
    /// every other text. Other forms of a UUID (braces, `urn:uuid:`, 32 digits without hyphens) are
    /// refused, because one execution would then have several names in URL paths.
    fn from_str(text: &str) -> Result<Self, BadId> {
        let bad = || BadId(text.chars().take(64).collect());
        if text.len() != 36 {
            return Err(bad());
        }
        Uuid::try_parse(text).map(Self).map_err(|_| bad())
    }
}

impl TryFrom<String> for ExecutionId {
    type Error = BadId;

    fn try_from(text: String) -> Result<Self, BadId> {
        text.parse()
    }
}

impl From<ExecutionId> for String {
    fn from(id: ExecutionId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for ExecutionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for ExecutionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_in_lower_case() {
        let id: ExecutionId = "018F4E2A-7B3C-7DEF-8123-456789ABCDEF".parse().unwrap();
        assert_eq!(id.to_string(), "018f4e2a-7b3c-7def-8123-456789abcdef");
    }

    #[test]
    fn only_the_hyphenated_form_is_an_id() {
        for text in [
            "",
            "nonsense",
            "../../../../../../../../../../etc/x/y",
            "018f4e2a7b3c7def8123456789abcdef",
            "{018f4e2a-7b3c-7def-8123-456789abcdef}",
            "urn:uuid:018f4e2a-7b3c-7def-8123-456789abcdef",
            "018f4e2a-7b3c-7def-8123-456789abcdeg",
        ] {
            assert!(text.parse::<ExecutionId>().is_err(), "{text}");
        }
    }
}
