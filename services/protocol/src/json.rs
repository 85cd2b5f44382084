//! JSON rules for both services: a repeated member is refused, and a line stays one line for every
//! reader.
//!
//! RFC 8259 (section 4) leaves a repeated member name to each parser: some take the first, some the
//! last. Two parsers on one path then see two different requests, so [`refuse_repeated_members`]
//! refuses it. RFC 8259 (section 7) also lets U+2028, U+2029 and U+0085 stand in a string as they
//! are, but several readers of NDJSON split lines there (Python's `splitlines`, Node's `readline`).
//! [`to_vec`] escapes them, and the other characters that a terminal would obey.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io::{self, Write};

use memchr::memchr2;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Serializer;
use serde_json::ser::Formatter;

/// The deepest nesting of objects and arrays; serde_json's own limit for values.
const DEPTH: usize = 128;
/// The most members of one object, so that a hostile text of many short names costs little more
/// than itself.
const MEMBERS: usize = 4096;
/// The most characters of a name that an error repeats.
const SHOWN_CHARS: usize = 64;

/// Why JSON text that a parser would take is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// One object has two members of one name.
    #[error("the member {0:?} is given twice in one object; give it once")]
    Repeated(String),
    /// An object has too many members.
    #[error("an object has more than {MEMBERS} members")]
    TooManyMembers,
    /// Objects and arrays are nested too deep.
    #[error("objects and arrays are nested more than {DEPTH} deep")]
    TooDeep,
    /// A member's name is no JSON string, a lone surrogate for example.
    #[error("a member's name is not valid: {0}")]
    BadName(String),
}

/// Reads a value from JSON, and refuses a member that is given twice at any depth.
///
/// # Errors
/// serde_json's own, or the text of [`Unfit`] as a data error.
pub fn from_slice<T: DeserializeOwned>(json: &[u8]) -> serde_json::Result<T> {
    let value = serde_json::from_slice(json)?;
    let custom = <serde_json::Error as serde::de::Error>::custom::<String>;
    let text = std::str::from_utf8(json).map_err(|e| custom(e.to_string()))?;
    refuse_repeated_members(text).map_err(|e| custom(e.to_string()))?;
    Ok(value)
}

/// Reads a field for which null is the default, for `deserialize_with`.
pub(crate) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    de: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(de)?.unwrap_or_default())
}

/// Refuses JSON text in which one object has two members of one name, at any depth.
///
/// It compares names as they read, so `"a"` and `"\u0061"` are one name. The text must be JSON
/// already: this function finds no syntax errors. It reads no numbers, so `1e400` passes. It is
/// linear in the text's length.
///
/// # Errors
/// See [`Unfit`].
pub fn refuse_repeated_members(json: &str) -> Result<(), Unfit> {
    // The names of each open object; None for an array.
    let mut open: Vec<Option<HashSet<Cow<'_, str>>>> = Vec::new();
    let mut name_is_next = false;
    let bytes = json.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' if open.len() == DEPTH => return Err(Unfit::TooDeep),
            b'{' => {
                open.push(Some(HashSet::new()));
                name_is_next = true;
            }
            b'[' => {
                open.push(None);
                name_is_next = false;
            }
            b'}' | b']' => {
                open.pop();
                name_is_next = false;
            }
            b',' => name_is_next = matches!(open.last(), Some(Some(_))),
            b'"' => {
                let end = string_end(bytes, at);
                if name_is_next && let Some(Some(names)) = open.last_mut() {
                    let name = name(json, at, end)?;
                    if names.len() == MEMBERS {
                        return Err(Unfit::TooManyMembers);
                    }
                    if names.contains(&name) {
                        return Err(Unfit::Repeated(name.chars().take(SHOWN_CHARS).collect()));
                    }
                    names.insert(name);
                    name_is_next = false;
                }
                at = end + 1;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Returns the position of the closing quote of the string that begins at `at`.
fn string_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        if bytes[at + found] == b'"' {
            return at + found;
        }
        at += found + 2;
    }
    bytes.len()
}

fn name(json: &str, from: usize, to: usize) -> Result<Cow<'_, str>, Unfit> {
    let raw = json.get(from..to).unwrap_or_default();
    if !raw.contains('\\') {
        return Ok(Cow::Borrowed(raw));
    }
    let quoted = json.get(from - 1..=to).unwrap_or_default();
    serde_json::from_str(quoted)
        .map(Cow::Owned)
        .map_err(|e| Unfit::BadName(e.to_string()))
}

/// Serializes a value as JSON in one line for every reader: all line separators and control
/// characters are escaped.
///
/// # Errors
/// As [`serde_json::to_vec`].
pub fn to_vec(value: &(impl Serialize + ?Sized)) -> serde_json::Result<Vec<u8>> {
    let mut json = Vec::with_capacity(128);
    value.serialize(&mut Serializer::with_formatter(&mut json, OneLine))?;
    Ok(json)
}

/// serde_json's compact form, with more characters escaped.
struct OneLine;

impl Formatter for OneLine {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        write_escaped(writer, fragment.as_bytes())
    }
}

/// Writes JSON text and escapes the characters of strings that serde_json leaves as they are and
/// that end a line for some readers, or that a terminal obeys: U+007F to U+009F, U+2028 and U+2029.
/// Outside of strings valid JSON has none of them.
///
/// # Errors
/// The writer's errors.
pub fn write_escaped(writer: &mut (impl Write + ?Sized), json: &[u8]) -> io::Result<()> {
    let mut from = 0;
    let mut at = 0;
    while let Some(found) = json
        .get(at..)
        .and_then(|rest| memchr::memchr3(0x7f, 0xc2, 0xe2, rest))
    {
        at += found;
        let (code, length) = match json[at..] {
            [0x7f, ..] => (0x7f, 1),
            [0xc2, second @ 0x80..=0x9f, ..] => (u32::from(second), 2),
            [0xe2, 0x80, third @ 0xa8..=0xa9, ..] => (0x2000 + u32::from(third - 0x80), 3),
            _ => {
                at += 1;
                continue;
            }
        };
        writer.write_all(&json[from..at])?;
        write!(writer, "\\u{code:04x}")?;
        at += length;
        from = at;
    }
    writer.write_all(&json[from..])
}

/// A writer of whole lines that escapes as [`write_escaped`] does: for logs, whose fields hold what
/// clients and tools wrote.
#[derive(Debug)]
pub struct EscapedLines<W>(pub W);

impl<W: Write> Write for EscapedLines<W> {
    /// Writes all of it at once, so that lines of several threads do not mix.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut escaped = Vec::with_capacity(line.len());
        write_escaped(&mut escaped, line)?;
        self.0.write_all(&escaped)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    /// Field case C20.
    #[test]
    fn a_member_given_twice_is_refused_at_any_depth() {
        for (text, name) in [
            (r#"{"a":1,"a":2}"#, "a"),
            (r#"{"a":{"b":1,"c":[],"b":{}}}"#, "b"),
            (r#"[{"a":1},[{"x":"}{,","y":"\\","x":null}]]"#, "x"),
            (r#"{"a":1,"\u0061":2}"#, "a"),
            (r#" { "" : 1e400 , "" : 2 } "#, ""),
        ] {
            let refused = refuse_repeated_members(text);
            assert_eq!(refused, Err(Unfit::Repeated(name.to_owned())), "{text}");
            assert!(from_slice::<Value>(text.replace("1e400", "1").as_bytes()).is_err());
        }
        for text in [
            r#"{"a":1,"b":{"a":2},"c":[{"a":3},{"a":4}]}"#,
            r#"{"a":"a","b":"a","\"a\"":"{\"a\":1,\"a\":2}"}"#,
            r#"["a","a"]"#,
            r#"{"a":1e400}"#,
            "7",
            "",
        ] {
            assert_eq!(refuse_repeated_members(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn a_hostile_text_is_refused_by_its_members_and_its_depth() {
        let names: Vec<_> = (0..=MEMBERS).map(|n| format!("\"{n}\":0")).collect();
        let many = format!("{{{}}}", names.join(","));
        assert_eq!(refuse_repeated_members(&many), Err(Unfit::TooManyMembers));
        let deep = "[".repeat(DEPTH + 1);
        assert_eq!(refuse_repeated_members(&deep), Err(Unfit::TooDeep));
        let lone = r#"{"\ud83d":1}"#;
        assert!(matches!(
            refuse_repeated_members(lone),
            Err(Unfit::BadName(_))
        ));
    }

    /// Field case C19.
    #[test]
    fn a_line_stays_one_line_for_every_reader() {
        let text = "a\u{2028}b\u{2029}c\u{85}d\u{9b}31m\u{7f}e\u{e9}\u{20ac}\u{2027}\u{a0}\n\u{1b}";
        let line = String::from_utf8(to_vec(&json!({ "x": text, text: 1 })).unwrap()).unwrap();
        assert!(
            !line.contains(|c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')),
            "{line:?}"
        );
        assert!(line.contains("\u{e9}\u{20ac}\u{2027}\u{a0}"), "{line:?}");
        let back: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(back, json!({ "x": text, text: 1 }));
    }

    #[test]
    fn a_log_line_has_no_control_characters_of_a_client() {
        let mut log = Vec::new();
        let line = "{\"error\":\"a\u{9b}31m\u{2028}\u{e9}\"}\n";
        EscapedLines(&mut log).write_all(line.as_bytes()).unwrap();
        assert_eq!(log, b"{\"error\":\"a\\u009b31m\\u2028\xc3\xa9\"}\n");
    }

    fn value() -> impl Strategy<Value = Value> {
        let text = "[a-c\"\\\\{}:,\u{7f}-\u{a1}\u{2027}-\u{202a}]{0,6}";
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i32>().prop_map(Value::from),
            text.prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(text, inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// The text of any value reads back as the same value, and no member of it counts as
        /// repeated.
        #[test]
        fn a_written_value_reads_back_the_same(value in value()) {
            let json = to_vec(&value).unwrap();
            prop_assert_eq!(from_slice::<Value>(&json).unwrap(), value);
        }

        #[test]
        fn no_text_panics(text in "[a\"\\\\{}:,\\[\\]\u{e9} ]{0,40}") {
            let _ = refuse_repeated_members(&text);
        }
    }
}
