//! The conversion of bytes to tokens.

use super::Text;
use super::number::Number;
use super::string::StringReader;

/// The deepest nesting of objects and arrays that is accepted. A schema of a tool has about 30
/// levels. Each level takes one bit of memory.
const DEPTH: usize = 512;
/// The maximum number of bytes of a number that are kept. The rest of a longer number is dropped;
/// no count of tokens is that long.
const NUMBER_BYTES: usize = 32;

/// A token of a JSON text.
#[derive(Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// `{`
    ObjectStart,
    /// `}`
    ObjectEnd,
    /// `[`
    ArrayStart,
    /// `]`
    ArrayEnd,
    /// The name of a member, given at its closing quote.
    Name(&'a Text),
    /// A string as a value.
    String(&'a Text),
    /// A number, as it is written; at most its first 32 bytes.
    Number(&'a str),
    /// `true`, `false` or `null`.
    Literal,
}

/// The reason why a text is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} (at byte {offset})")]
pub struct Malformed {
    /// The mistake.
    what: &'static str,
    /// The number of bytes before it.
    offset: u64,
}

/// The reason why [`Lexer::push`] stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop<E> {
    /// The text is not JSON.
    Malformed(Malformed),
    /// The consumer of the tokens refused one.
    Refused(E),
}

/// The grammar elements that may follow.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// A value.
    Value,
    /// The first value of an array, or its end.
    FirstElement,
    /// The first name of an object, or its end.
    FirstName,
    /// A name, after a comma.
    Name,
    /// A colon, after a name.
    Colon,
    /// A comma or an end, after a value.
    AfterValue,
    /// More of a name (true) or string.
    String(bool),
    /// More of a number.
    Number(Number),
    /// More of a literal: the bytes that are missing.
    Literal(&'static [u8]),
}

/// Reads a JSON text in pieces. It keeps one bit for each open object or array, and the beginning
/// of the current name, string or number.
#[derive(Debug)]
pub struct Lexer {
    state: State,
    /// For each open object (true) or array (false), from the outside in.
    open: Vec<bool>,
    string: StringReader,
    number: String,
    /// The number of bytes that were read.
    offset: u64,
}

impl Default for Lexer {
    fn default() -> Self {
        Self {
            state: State::Value,
            open: Vec::new(),
            string: StringReader::default(),
            number: String::new(),
            offset: 0,
        }
    }
}

impl Lexer {
    /// Reads the next bytes, and gives each token to `take`. The tokens do not depend on how the
    /// text is cut into pieces.
    ///
    /// # Errors
    /// The text is not JSON, or `take` refused a token. Later calls have no defined result.
    pub fn push<E>(
        &mut self,
        bytes: &[u8],
        mut take: impl FnMut(Token<'_>) -> Result<(), E>,
    ) -> Result<(), Stop<E>> {
        let mut rest = bytes;
        while let Some((&byte, tail)) = rest.split_first() {
            if matches!(self.state, State::String(_)) {
                let plain = self.string.take_plain(rest);
                if plain > 0 {
                    self.offset += plain as u64;
                    rest = &rest[plain..];
                    continue;
                }
            }
            self.step(byte, &mut take)?;
            self.offset += 1;
            rest = tail;
        }
        Ok(())
    }

    /// Ends the text.
    ///
    /// # Errors
    /// The text is not complete.
    pub fn finish<E>(
        &mut self,
        mut take: impl FnMut(Token<'_>) -> Result<(), E>,
    ) -> Result<(), Stop<E>> {
        // A white space ends a number and changes nothing else.
        self.step(b'\n', &mut take)?;
        if self.state == State::AfterValue && self.open.is_empty() {
            return Ok(());
        }
        Err(self.malformed("the text ends too early"))
    }

    fn malformed<E>(&self, what: &'static str) -> Stop<E> {
        Stop::Malformed(Malformed {
            what,
            offset: self.offset,
        })
    }

    fn step<E>(
        &mut self,
        byte: u8,
        take: &mut impl FnMut(Token<'_>) -> Result<(), E>,
    ) -> Result<(), Stop<E>> {
        match &self.state {
            State::String(is_name) => {
                let is_name = *is_name;
                let is_closed = self
                    .string
                    .take(byte)
                    .map_err(|what| self.malformed(what))?;
                if is_closed {
                    let text = self.string.text();
                    let (token, next) = if is_name {
                        (Token::Name(text), State::Colon)
                    } else {
                        (Token::String(text), State::AfterValue)
                    };
                    take(token).map_err(Stop::Refused)?;
                    self.state = next;
                }
                return Ok(());
            }
            State::Number(number) => {
                if let Some(next) = number.next(byte) {
                    self.state = State::Number(next);
                    if self.number.len() < NUMBER_BYTES {
                        self.number.push(char::from(byte));
                    }
                    return Ok(());
                }
                if !number.is_complete() {
                    return Err(self.malformed("a number is malformed"));
                }
                take(Token::Number(&self.number)).map_err(Stop::Refused)?;
                self.state = State::AfterValue;
            }
            State::Literal(missing) => {
                let Some((_, missing)) = missing.split_first().filter(|(next, _)| **next == byte)
                else {
                    return Err(self.malformed("a word is neither true, false nor null"));
                };
                self.state = if missing.is_empty() {
                    take(Token::Literal).map_err(Stop::Refused)?;
                    State::AfterValue
                } else {
                    State::Literal(missing)
                };
                return Ok(());
            }
            _ => {}
        }
        if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            return Ok(());
        }
        self.structure(byte, take)
    }

    /// Handles a byte outside of strings, numbers and literals that is not white space.
    fn structure<E>(
        &mut self,
        byte: u8,
        take: &mut impl FnMut(Token<'_>) -> Result<(), E>,
    ) -> Result<(), Stop<E>> {
        let in_object = self.open.last().copied();
        self.state = match (&self.state, byte) {
            (State::Value | State::FirstElement, b'{') => {
                self.open(true)?;
                take(Token::ObjectStart).map_err(Stop::Refused)?;
                State::FirstName
            }
            (State::Value | State::FirstElement, b'[') => {
                self.open(false)?;
                take(Token::ArrayStart).map_err(Stop::Refused)?;
                State::FirstElement
            }
            (State::Value | State::FirstElement, b'"') => self.begin_string(false),
            (State::Value | State::FirstElement, b't') => State::Literal(b"rue"),
            (State::Value | State::FirstElement, b'f') => State::Literal(b"alse"),
            (State::Value | State::FirstElement, b'n') => State::Literal(b"ull"),
            (State::FirstName | State::Name, b'"') => self.begin_string(true),
            (State::Colon, b':') => State::Value,
            (State::AfterValue, b',') if in_object == Some(true) => State::Name,
            (State::AfterValue, b',') if in_object == Some(false) => State::Value,
            (State::AfterValue | State::FirstName, b'}') if in_object == Some(true) => {
                self.open.pop();
                take(Token::ObjectEnd).map_err(Stop::Refused)?;
                State::AfterValue
            }
            (State::AfterValue | State::FirstElement, b']') if in_object == Some(false) => {
                self.open.pop();
                take(Token::ArrayEnd).map_err(Stop::Refused)?;
                State::AfterValue
            }
            (State::Value | State::FirstElement, byte) => {
                let Some(number) = Number::begin(byte) else {
                    return Err(self.malformed("no value begins with this byte"));
                };
                self.number.clear();
                self.number.push(char::from(byte));
                State::Number(number)
            }
            _ => return Err(self.malformed("this byte cannot be here")),
        };
        Ok(())
    }

    fn open<E>(&mut self, is_object: bool) -> Result<(), Stop<E>> {
        if self.open.len() == DEPTH {
            return Err(self.malformed("objects and arrays are nested more than 512 deep"));
        }
        self.open.push(is_object);
        Ok(())
    }

    fn begin_string(&mut self, is_name: bool) -> State {
        self.string.begin();
        State::String(is_name)
    }
}

#[cfg(test)]
mod tests;
