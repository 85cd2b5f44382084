//! A JSON value that is stored as text and parsed later, once its type is known.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// A JSON value that is stored as text and parsed once its type is known. For example, the type of
/// a JSON-RPC result depends on the method of the request.
///
/// Two values are equal if their texts are equal byte for byte, so `1` and `1.0` differ. Only
/// `serde_json` can serialize and deserialize this type.
#[derive(Clone)]
pub struct JsonText(Box<RawValue>);

impl JsonText {
    /// Serializes a value and stores its JSON text.
    ///
    /// # Errors
    /// As for [`serde_json::to_string`], for example if a map has a key that is not a string.
    pub fn of(value: &impl Serialize) -> serde_json::Result<Self> {
        serde_json::value::to_raw_value(value).map(Self)
    }

    /// Checks that a text is exactly one JSON value, and stores it.
    ///
    /// # Errors
    /// The text is not valid JSON, or something follows the value.
    pub fn parse(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str::<&RawValue>(text).map(Self::from)
    }

    /// Returns the JSON text exactly as it was received or serialized.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// Parses the stored JSON text as a value of the type `T`.
    ///
    /// # Errors
    /// The JSON is not a `T`, for example because a field is missing or has a wrong type. A syntax
    /// error is not possible, because only valid JSON is stored.
    pub fn read<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_str(self.as_str())
    }
}

impl From<&RawValue> for JsonText {
    fn from(text: &RawValue) -> Self {
        Self(text.to_owned())
    }
}

impl PartialEq for JsonText {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for JsonText {}

impl fmt::Debug for JsonText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for JsonText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for JsonText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(Self)
    }
}
