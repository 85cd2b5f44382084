//! Reads the JSON of a client one level deep, within bounds: a hostile message of many small values
//! costs no more memory than its text, and a value that is too long is refused before anything is
//! made of it. Pure.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// The most members of an object that are kept; no request has nearly as many.
const MEMBERS: usize = 64;
/// The most bytes of all members of one object that are not strings: only texts are long.
const STRUCTURED_BYTES: usize = 256 * 1024;

/// The first items of an array, and the number of all.
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

/// The deepest nesting, the same as in serde_json.
const DEPTH: usize = 127;
/// Names of one object that are compared; no parameter has nearly as many.
const NAMES: usize = 4096;

/// Reads a whole value once, strings included, without keeping it; numbers may have any size.
/// Returns whether an object in it has a member twice.
///
/// # Errors
/// The value is not JSON.
pub(super) fn check(value: &RawValue) -> serde_json::Result<bool> {
    // A raw value is JSON already, but for its depth and for the characters that escapes name.
    let text = value.get();
    // The names so far of each open object; None for an array.
    let mut open: Vec<Option<HashSet<String>>> = Vec::new();
    let (mut twice, mut is_name) = (false, false);
    let mut at = 0;
    while let Some(byte) = text.as_bytes().get(at) {
        match byte {
            b'[' | b'{' => {
                if open.len() >= DEPTH {
                    return Err(serde::de::Error::custom("recursion limit exceeded"));
                }
                is_name = *byte == b'{';
                open.push(is_name.then(HashSet::new));
            }
            b']' | b'}' => drop(open.pop()),
            b',' => is_name = open.last().is_some_and(Option::is_some),
            b':' => is_name = false,
            b'"' => {
                let (length, has_escapes) = string(&text[at..]);
                let string = &text[at..at + length];
                if is_name && let Some(Some(names)) = open.last_mut() {
                    let name = serde_json::from_str::<String>(string)?;
                    twice |= names.contains(&name);
                    if names.len() < NAMES {
                        names.insert(name);
                    }
                } else if has_escapes {
                    serde_json::from_str::<String>(string)?;
                }
                at += length;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    Ok(twice)
}

/// Returns the length of the string that `text` begins with, its quotes included, and whether it
/// has escapes.
fn string(text: &str) -> (usize, bool) {
    let mut is_escaped = false;
    let mut has_escapes = false;
    for (index, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => (is_escaped, has_escapes) = (true, true),
            b'"' => return (index + 1, has_escapes),
            _ => {}
        }
    }
    (text.len(), has_escapes)
}

/// Why an object is refused.
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

    /// Reads all members as values.
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
mod tests;
