//! JSON of a client read one level deep: a hostile frame of many small values costs no more memory than its
//! text, and what is too long is told before anything is made of it. Pure.

use std::collections::HashMap;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// Members of an object that are kept; no request has nearly as many.
const MEMBERS: usize = 64;
/// What the members of one object that are not strings may come to, in bytes: only texts are long.
const STRUCTURED_BYTES: usize = 256 * 1024;

/// The items of an array: all of their number, and as many as were asked for.
pub(super) struct Items<'a> {
    pub(super) items: Vec<&'a RawValue>,
    pub(super) count: u64,
}

/// Reads an array of which at most `keep` items are kept.
pub(super) fn items(text: &str, keep: u64) -> serde_json::Result<Items<'_>> {
    let mut json = serde_json::Deserializer::from_str(text);
    let items = json.deserialize_seq(ItemsVisitor(keep))?;
    json.end()?;
    Ok(items)
}

struct ItemsVisitor(u64);

impl<'de> Visitor<'de> for ItemsVisitor {
    type Value = Items<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let (mut items, mut count) = (Vec::new(), 0);
        while count < self.0
            && let Some(item) = seq.next_element()?
        {
            items.push(item);
            count += 1;
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok(Items { items, count })
    }
}

/// The members of an object; of a repeated name the last.
pub(super) struct Members<'a> {
    members: HashMap<String, &'a RawValue>,
    too_many: bool,
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = HashMap::new();
        let mut too_many = false;
        while let Some(name) = map.next_key::<String>()? {
            if members.len() < MEMBERS || members.contains_key(&name) {
                let value: &RawValue = map.next_value()?;
                // What counts for nothing must still be JSON.
                if let Some(replaced) = members.insert(name, value) {
                    serde_json::from_str::<Checked>(replaced.get())
                        .map_err(serde::de::Error::custom)?;
                }
            } else {
                too_many = true;
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Members { members, too_many })
    }
}

/// A value that is read to its end, its strings too, and not kept.
struct Checked;

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Checked {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
        while seq.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<String, Self>()?.is_some() {}
        Ok(self)
    }
}

/// Why an object is not taken.
#[derive(Debug)]
pub(super) enum Unfit {
    /// Not JSON after all: a lone surrogate, say.
    Syntax(serde_json::Error),
    /// This is too much.
    TooLarge(&'static str),
}

impl From<serde_json::Error> for Unfit {
    fn from(error: serde_json::Error) -> Self {
        Self::Syntax(error)
    }
}

impl<'a> Members<'a> {
    /// Takes one member as it is.
    pub(super) fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        self.members.remove(name)
    }

    /// All members as values.
    pub(super) fn values(self) -> Result<Map<String, Value>, Unfit> {
        if self.too_many {
            return Err(Unfit::TooLarge("it has too many members"));
        }
        let mut structured = 0;
        let mut values = Map::new();
        for (name, raw) in self.members {
            if !raw.get().starts_with('"') {
                structured += raw.get().len();
            }
            if structured > STRUCTURED_BYTES {
                return Err(Unfit::TooLarge("only texts may be long"));
            }
            values.insert(name, serde_json::from_str(raw.get())?);
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_items_are_kept_than_asked_for() {
        let text = format!("[{}0]", "0,".repeat(99_999));
        let read = items(&text, 50).unwrap();
        assert_eq!((read.items.len(), read.count), (50, 100_000));
        assert_eq!(items("[]", 50).unwrap().count, 0);
        assert!(items("[1] 2", 50).is_err() && items("[1,", 0).is_err());
    }

    #[test]
    fn members_are_bounded_and_the_last_of_a_name_counts() {
        let members = |text: &str| serde_json::from_str::<Members<'_>>(text).map(Members::values);
        let same = members(r#"{"a":1,"a":2}"#).unwrap().unwrap();
        assert_eq!(Value::Object(same), serde_json::json!({"a": 2}));
        let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(STRUCTURED_BYTES * 2));
        assert!(members(&long).unwrap().is_ok());
        let wide = format!(r#"{{"a":[{}0]}}"#, "0,".repeat(STRUCTURED_BYTES));
        assert!(matches!(members(&wide).unwrap(), Err(Unfit::TooLarge(_))));
        let names: Vec<_> = (0..1000).map(|n| format!(r#""{n}":0"#)).collect();
        let many = format!("{{{}}}", names.join(","));
        assert!(matches!(members(&many).unwrap(), Err(Unfit::TooLarge(_))));
        let lone = members(r#"{"a":{"b":"\ud83d"}}"#).unwrap();
        assert!(matches!(lone, Err(Unfit::Syntax(_))));
    }
}
