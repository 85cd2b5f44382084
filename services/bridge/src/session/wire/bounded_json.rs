//! A bounded reader of a client's JSON, which decodes only one level at a time. A hostile message
//! therefore costs no more memory than its text. A value that is too long is refused before it is
//! decoded. Does no I/O.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// The most members of a JSON object. An object with more is refused. Valid requests have far
/// fewer.
const MEMBERS: usize = 64;
/// The most bytes of all members of an object that are not strings (256 KiB of JSON text). Decoded
/// arrays and objects need much more memory than their text. In valid requests only strings are
/// long.
const STRUCTURED_BYTES: usize = 256 * 1024;

const TOO_MANY_MEMBERS: &str = "the object has too many members; send at most 64";
const TOO_LONG_MEMBERS: &str =
    "members that are not strings are too long; send at most 256 KiB of them";

/// The first items of a JSON array, not decoded yet, and the number of all items.
pub(super) struct Items<'a> {
    pub(super) items: Vec<&'a RawValue>,
    pub(super) count: u64,
}

/// Reads the JSON array in `text`, and keeps at most the first `keep` items. The other items are
/// counted without being stored.
///
/// # Errors
/// The text is not a valid JSON array.
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

/// The members of a JSON object by name. The values are raw JSON text that is not decoded yet.
pub(super) struct Members<'a> {
    members: HashMap<String, &'a RawValue>,
    has_too_many: bool,
    has_duplicate: bool,
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
        let (mut has_too_many, mut has_duplicate) = (false, false);
        while let Some(name) = map.next_key::<String>()? {
            if members.len() < MEMBERS || members.contains_key(&name) {
                let value: &RawValue = map.next_value()?;
                if let Some(replaced) = members.insert(name, value) {
                    has_duplicate = true;
                    // The replaced value must be valid JSON, too.
                    check(replaced).map_err(serde::de::Error::custom)?;
                }
            } else {
                has_too_many = true;
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Members {
            members,
            has_too_many,
            has_duplicate,
        })
    }
}

/// The deepest nesting of arrays and objects that is accepted. serde_json has the same limit, which
/// protects the stack.
const DEPTH: usize = 127;
/// The most member names of one object that are stored to find duplicates, which bounds the memory
/// for them. A later name that occurs twice is not noticed. Valid parameters have far fewer
/// members.
const NAMES: usize = 4096;

/// Checks that a raw value is valid JSON, its nesting and its strings included, without storing it.
/// Numbers may have any size. Returns true if an object in the value has two members of the same
/// name, and false otherwise.
///
/// # Errors
/// The value is nested too deeply, or a string has an invalid escape such as a lone surrogate.
pub(super) fn check(value: &RawValue) -> serde_json::Result<bool> {
    // A raw value is JSON already, except for its depth and for the characters of its escapes.
    let text = value.get();
    // The names so far of each open object; None for an array.
    let mut open: Vec<Option<HashSet<String>>> = Vec::new();
    let (mut has_duplicate, mut is_name) = (false, false);
    let mut index = 0;
    while let Some(byte) = text.as_bytes().get(index) {
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
                let (length, has_escapes) = measure_string(&text[index..]);
                let string = &text[index..index + length];
                if is_name && let Some(Some(names)) = open.last_mut() {
                    let name = serde_json::from_str::<String>(string)?;
                    has_duplicate |= names.contains(&name);
                    if names.len() < NAMES {
                        names.insert(name);
                    }
                } else if has_escapes {
                    serde_json::from_str::<String>(string)?;
                }
                index += length;
                continue;
            }
            _ => {}
        }
        index += 1;
    }
    Ok(has_duplicate)
}

/// Returns the length in bytes of the JSON string at the start of `text`, including its quotes. The
/// second value is true if the string contains escapes.
fn measure_string(text: &str) -> (usize, bool) {
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

/// The reason why the members of a JSON object cannot be used.
#[derive(Debug)]
pub(super) enum MembersError {
    /// The text is not valid JSON, for example because an escape is half of a surrogate pair.
    Syntax(serde_json::Error),
    /// The JSON is valid, but breaks a rule of the protocol. The text tells the client which one.
    Refused(&'static str),
}

impl From<serde_json::Error> for MembersError {
    fn from(error: serde_json::Error) -> Self {
        Self::Syntax(error)
    }
}

impl<'a> Members<'a> {
    /// Removes and returns the member `name` as raw JSON, or returns `None` if the object has no
    /// such member.
    pub(super) fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        self.members.remove(name)
    }

    /// Decodes all members that were not taken.
    ///
    /// # Errors
    /// `Syntax` if a member is not valid JSON. `Refused` if a member occurs twice, a number is out
    /// of range, there are more than 64 members, or members that are not strings are too long.
    pub(super) fn values(self) -> Result<Map<String, Value>, MembersError> {
        if self.has_too_many {
            return Err(MembersError::Refused(TOO_MANY_MEMBERS));
        }
        let mut has_duplicate = self.has_duplicate;
        let mut is_out_of_range = false;
        let mut structured = 0;
        let mut values = Map::new();
        for (name, raw) in self.members {
            if !raw.get().starts_with('"') {
                structured += raw.get().len();
            }
            if structured > STRUCTURED_BYTES {
                return Err(MembersError::Refused(TOO_LONG_MEMBERS));
            }
            has_duplicate |= check(raw)?;
            match serde_json::from_str(raw.get()) {
                Ok(value) => {
                    values.insert(name, value);
                }
                // The value is JSON, with a number that is too large for Rust's types.
                Err(_) => is_out_of_range = true,
            }
        }
        if has_duplicate {
            return Err(MembersError::Refused("a member is given twice"));
        }
        if is_out_of_range {
            return Err(MembersError::Refused("a number is out of range"));
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests;
