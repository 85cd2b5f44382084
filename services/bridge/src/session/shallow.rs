//! JSON of a client read one level deep: a hostile frame of many small values costs no more memory than its
//! text, and what is too long is told before anything is made of it. Pure.

use std::collections::{HashMap, HashSet};
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

/// The members of an object.
pub(super) struct Members<'a> {
    members: HashMap<String, &'a RawValue>,
    too_many: bool,
    twice: bool,
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
        let (mut too_many, mut twice) = (false, false);
        while let Some(name) = map.next_key::<String>()? {
            if members.len() < MEMBERS || members.contains_key(&name) {
                let value: &RawValue = map.next_value()?;
                if let Some(replaced) = members.insert(name, value) {
                    twice = true;
                    // A value that a later one replaced must still be JSON.
                    check(replaced).map_err(serde::de::Error::custom)?;
                }
            } else {
                too_many = true;
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Members {
            members,
            too_many,
            twice,
        })
    }
}

/// The deepest nesting, as serde_json has it.
const DEPTH: usize = 127;
/// Names of one object that are compared; no parameter has nearly as many.
const NAMES: usize = 4096;

/// Reads a whole value, strings included, without keeping it; numbers may have any size. True when
/// an object in it has a member twice.
///
/// # Errors
/// The value is not JSON.
pub(super) fn check(value: &RawValue) -> serde_json::Result<bool> {
    let mut seed = Check {
        depth: 0,
        twice: false,
    };
    seed.read(value)?;
    Ok(seed.twice)
}

struct Check {
    depth: usize,
    twice: bool,
}

impl Check {
    fn read(&mut self, value: &RawValue) -> serde_json::Result<()> {
        let text = value.get();
        match text.as_bytes().first() {
            Some(b'"') => serde_json::from_str::<String>(text).map(|_| ()),
            Some(b'[' | b'{') if self.depth >= DEPTH => {
                Err(serde::de::Error::custom("recursion limit exceeded"))
            }
            Some(b'[' | b'{') => {
                self.depth += 1;
                let mut json = serde_json::Deserializer::from_str(text);
                let result = json.deserialize_any(&mut *self);
                self.depth -= 1;
                result
            }
            // `RawValue` has already checked numbers and names.
            _ => Ok(()),
        }
    }
}

impl<'de> Visitor<'de> for &mut Check {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array or an object")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(value) = seq.next_element::<&RawValue>()? {
            self.read(value).map_err(serde::de::Error::custom)?;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut names = HashSet::new();
        while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
            self.twice |= names.contains(&name);
            if names.len() < NAMES {
                names.insert(name);
            }
            self.read(value).map_err(serde::de::Error::custom)?;
        }
        Ok(())
    }
}

/// Why an object is not taken.
#[derive(Debug)]
pub(super) enum Unfit {
    /// Not JSON after all: a lone surrogate, say.
    Syntax(serde_json::Error),
    /// The message is refused for this reason.
    Refused(&'static str),
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
            return Err(Unfit::Refused("it has too many members"));
        }
        let mut twice = self.twice;
        let mut out_of_range = false;
        let mut structured = 0;
        let mut values = Map::new();
        for (name, raw) in self.members {
            if !raw.get().starts_with('"') {
                structured += raw.get().len();
            }
            if structured > STRUCTURED_BYTES {
                return Err(Unfit::Refused("only texts may be long"));
            }
            twice |= check(raw)?;
            match serde_json::from_str(raw.get()) {
                Ok(value) => {
                    values.insert(name, value);
                }
                // The value is JSON, with a number that no Rust type holds.
                Err(_) => out_of_range = true,
            }
        }
        if twice {
            return Err(Unfit::Refused("a member is given twice"));
        }
        if out_of_range {
            return Err(Unfit::Refused("a number is out of range"));
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
    fn members_are_bounded_and_each_is_given_once() {
        let members = |text: &str| serde_json::from_str::<Members<'_>>(text).map(Members::values);
        for twice in [r#"{"a":1,"a":2}"#, r#"{"b":[{"a":1,"\u0061":1}]}"#] {
            assert!(matches!(members(twice).unwrap(), Err(Unfit::Refused(_))));
        }
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(1000), "]".repeat(1000));
        assert!(matches!(members(&deep).unwrap(), Err(Unfit::Syntax(_))));
        let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(STRUCTURED_BYTES * 2));
        assert!(members(&long).unwrap().is_ok());
        let wide = format!(r#"{{"a":[{}0]}}"#, "0,".repeat(STRUCTURED_BYTES));
        assert!(matches!(members(&wide).unwrap(), Err(Unfit::Refused(_))));
        let names: Vec<_> = (0..1000).map(|n| format!(r#""{n}":0"#)).collect();
        let many = format!("{{{}}}", names.join(","));
        assert!(matches!(members(&many).unwrap(), Err(Unfit::Refused(_))));
        let lone = members(r#"{"a":{"b":"\ud83d"}}"#).unwrap();
        assert!(matches!(lone, Err(Unfit::Syntax(_))));
    }
}
