//! Stricter JSON for both services. They refuse an object with the same member name twice, and they
//! write JSON lines that every reader takes for one line.
//!
//! RFC 8259 (section 4) lets each parser decide about two members with the same name: some use the
//! first, some the last. Two programs would then see two different requests in one text, so
//! [`refuse_repeated_members`] refuses it.
//!
//! RFC 8259 (section 7) also allows U+2028, U+2029 and U+0085 unescaped in a string. Several
//! readers of JSON lines end a line there (Python's `splitlines`, Node's `readline`). [`to_vec`]
//! escapes these characters, and the control characters that a terminal would obey.

mod escape;

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::io::{self, Write};

use memchr::memchr2;
use serde::de::{DeserializeOwned, Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Serializer;
use serde_json::ser::Formatter;

pub(crate) use escape::push_string;

/// The maximum depth of nested objects and arrays in received JSON. It is the same as serde_json's
/// own limit.
const DEPTH: usize = 128;
/// The maximum number of members of one object in received JSON. It bounds the memory that a
/// hostile text can use, because the check remembers the names of every open object.
const MEMBERS: usize = 4096;
/// The maximum length of a member name in an error message, in characters.
const SHOWN_CHARS: usize = 64;
/// The largest number up to which every integer is exact as a float (2^53).
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// The reason why JSON text is refused although it is valid and many parsers would accept it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// An object has two members with this name (at most its first 64 characters).
    #[error("the member {0:?} is given twice in one object; give it once")]
    Repeated(String),
    /// An object has more than 4096 members.
    #[error("an object has more than {MEMBERS} members")]
    TooManyMembers,
    /// Objects and arrays are nested more than 128 deep.
    #[error("objects and arrays are nested more than {DEPTH} deep")]
    TooDeep,
    /// The name of a member is not valid Unicode, for example because of a lone surrogate. Holds
    /// the parser's message.
    #[error("a member's name is not valid: {0}")]
    BadName(String),
}

/// Deserializes a value from JSON as `serde_json::from_slice` does, but refuses text in which any
/// object has the same member name twice.
///
/// # Errors
/// The text is not valid JSON, is not of the type `T`, or is refused by
/// [`refuse_repeated_members`].
pub fn from_slice<T: DeserializeOwned>(json: &[u8]) -> serde_json::Result<T> {
    let value = serde_json::from_slice(json)?;
    let custom = <serde_json::Error as serde::de::Error>::custom::<String>;
    let text = std::str::from_utf8(json).map_err(|e| custom(e.to_string()))?;
    refuse_repeated_members(text).map_err(|e| custom(e.to_string()))?;
    Ok(value)
}

/// Deserializes a field, for serde's `deserialize_with`. A null gives the default of the type, as
/// an absent field does.
pub(crate) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    de: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(de)?.unwrap_or_default())
}

/// Deserializes an integer, for serde's `deserialize_with`. A number with a fraction of zero, such
/// as `2.0`, is an integer too (JSON Schema 2020-12 validation, section 6.1.1). Some programs write
/// integers that way.
pub(crate) fn integer<'de, D: Deserializer<'de>, T: TryFrom<u64>>(de: D) -> Result<T, D::Error> {
    struct Integer;

    impl Visitor<'_> for Integer {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an integer of 0 or more")
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<u64, E> {
            Ok(number)
        }

        fn visit_f64<E: Error>(self, number: f64) -> Result<u64, E> {
            if (0.0..=EXACT_MAX).contains(&number) && number.fract() == 0.0 {
                Ok(number as u64)
            } else {
                Err(E::invalid_type(Unexpected::Float(number), &self))
            }
        }
    }

    let number = de.deserialize_any(Integer)?;
    let is_too_large =
        || D::Error::invalid_value(Unexpected::Unsigned(number), &"a smaller integer");
    T::try_from(number).map_err(|_| is_too_large())
}

/// Deserializes an integer as [`integer`] does, or null, which is `None`.
pub(crate) fn integer_or_null<'de, D: Deserializer<'de>, T: TryFrom<u64>>(
    de: D,
) -> Result<Option<T>, D::Error> {
    struct Number<T>(T);

    impl<'de, T: TryFrom<u64>> Deserialize<'de> for Number<T> {
        fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
            integer(de).map(Self)
        }
    }

    let number = Option::<Number<T>>::deserialize(de)?;
    Ok(number.map(|Number(number)| number))
}

/// Checks that no object in a JSON text, at any depth, has two members with the same name.
///
/// Names are compared unescaped, so `"a"` and `"\u0061"` are the same. The text must already be
/// known to be valid JSON, because this function does not report syntax errors. It does not parse
/// numbers, so `1e400` passes. The time is linear in the length of the text.
///
/// # Errors
/// [`Unfit`] if a name is repeated or not valid, an object has more than 4096 members, or the
/// nesting is deeper than 128.
pub fn refuse_repeated_members(json: &str) -> Result<(), Unfit> {
    // The names of each open object, None for an open array.
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

/// Returns the position of the quote that closes a JSON string, whose first character is at `at`.
/// Returns the length of the text if the string is not closed.
fn string_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(skipped) = bytes.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        if bytes[at + skipped] == b'"' {
            return at + skipped;
        }
        at += skipped + 2;
    }
    bytes.len()
}

/// Returns the member name between two quotes, with escapes resolved. Its content is
/// `json[from..to]`. An escape that is not valid is [`Unfit::BadName`].
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

/// Serializes a value as JSON that every reader takes for one line. Control characters and all line
/// separators of Unicode are escaped. There is no line feed at the end.
///
/// # Errors
/// As for [`serde_json::to_vec`], for example if a map has a key that is not a string.
pub fn to_vec(value: &(impl Serialize + ?Sized)) -> serde_json::Result<Vec<u8>> {
    let mut json = Vec::with_capacity(128);
    value.serialize(&mut Serializer::with_formatter(&mut json, OneLine))?;
    Ok(json)
}

/// A formatter for serde_json that writes its compact form and escapes strings as [`write_escaped`]
/// does.
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

/// Writes JSON text to `writer`, with the characters U+007F to U+009F, U+2028 and U+2029 escaped.
/// serde_json does not escape them, but some readers end a line there, and terminals obey some of
/// them.
///
/// Valid JSON has these characters only inside strings, so the written text has the same JSON
/// value.
///
/// # Errors
/// The error of the writer, after a part of the text may have been written.
pub fn write_escaped(writer: &mut (impl Write + ?Sized), json: &[u8]) -> io::Result<()> {
    let mut from = 0;
    let mut at = 0;
    while let Some(skipped) = json
        .get(at..)
        .and_then(|rest| memchr::memchr3(0x7f, 0xc2, 0xe2, rest))
    {
        at += skipped;
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

/// A writer for JSON log lines that escapes control characters and line separators as
/// [`write_escaped`] does. Log fields contain text of clients and tools, which must not end a line
/// or control a terminal.
#[derive(Debug)]
pub struct EscapedLines<W>(pub W);

impl<W: Write> Write for EscapedLines<W> {
    /// Writes one whole log line to the inner writer in a single call, so that lines of several
    /// threads do not mix. Returns the length of `line`, not of the longer escaped text.
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
    fn too_many_members_and_too_deep_nesting_are_refused() {
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

    #[test]
    fn an_integer_may_have_a_fraction_of_zero() {
        let read = |json: &str| {
            let mut de = serde_json::Deserializer::from_str(json);
            integer_or_null::<_, u32>(&mut de).ok()
        };
        for (json, expected) in [
            ("null", Some(None)),
            ("2", Some(Some(2))),
            ("2.0", Some(Some(2))),
            ("-0.0", Some(Some(0))),
            ("4294967295.0", Some(Some(u32::MAX))),
            ("4294967296", None),
            ("4294967296.0", None),
            ("2.5", None),
            ("-1", None),
            ("-1.0", None),
            ("1e300", None),
            ("\"2\"", None),
            ("[2]", None),
        ] {
            assert_eq!(read(json), expected, "{json}");
        }
    }

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
    fn control_characters_of_a_client_are_escaped_in_a_log_line() {
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
        /// The text of any value is read as the same value, without repeated members.
        #[test]
        fn a_written_value_is_read_as_the_same_value(value in value()) {
            let json = to_vec(&value).unwrap();
            prop_assert_eq!(from_slice::<Value>(&json).unwrap(), value);
        }

        #[test]
        fn no_text_panics(text in "[a\"\\\\{}:,\\[\\]\u{e9} ]{0,40}") {
            let _ = refuse_repeated_members(&text);
        }
    }
}
