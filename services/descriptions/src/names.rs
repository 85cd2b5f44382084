//! The words of an enum, as serde writes and reads them.
//!
//! serde's derive names them to the deserializer. So no list of variants is repeated here, and a
//! new variant is in the documents at once.

use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Value, json};

use crate::schema::described;

/// Returns the words of an enum whose variants have no data.
pub(crate) fn words<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // The deserializer only notes the names; it has no value to return.
    let _ = T::deserialize(Recorder(&mut names));
    names
}

/// Returns the schema of an enum: a string that is one of its words.
pub(crate) fn word<T: DeserializeOwned>(description: &str) -> Value {
    one_of(words::<T>(), description)
}

/// Returns the schema of a string that is one of these words.
pub(crate) fn one_of(words: &[&str], description: &str) -> Value {
    described(json!({ "type": "string", "enum": words }), description)
}

/// Returns the names of the fields of a struct. Empty for a struct that is written as a map, such
/// as one with flattened fields.
#[cfg(test)]
pub(crate) fn fields<T: DeserializeOwned>() -> &'static [&'static str] {
    words::<T>()
}

/// A deserializer that records the names that a type expects, and then fails.
struct Recorder<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Recorder<'_> {
    type Error = serde::de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(Self::Error::custom("the type is no enum and no struct"))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = variants;
        Err(Self::Error::custom("the names are recorded"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        Err(Self::Error::custom("the names are recorded"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use protocol::access::ShareRequest;
    use protocol::{OnInterrupt, State};

    use super::*;

    #[test]
    fn the_words_of_enums_and_the_fields_of_structs_are_those_of_serde() {
        assert_eq!(words::<OnInterrupt>(), ["none", "continue"]);
        assert_eq!(words::<State>(), State::ALL.map(State::as_str));
        assert_eq!(fields::<ShareRequest>(), ["role", "expiresSeconds"]);
        assert!(words::<String>().is_empty());
    }
}
