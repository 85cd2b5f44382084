//! The head of a request, in the one strict form that every server reads the same way.
//!
//! RFC 9112 lets servers repair some malformed heads. Two servers that repair differently see two
//! different requests (request smuggling), so a head that needs a repair is refused here. The
//! HTTP library reads a head only after it has passed.

use super::refusal::Refusal;

/// The maximum number of bytes of a head.
pub const HEAD_BYTES: usize = 32 * 1024;
/// The most headers.
pub const HEADERS: usize = 100;

/// A head that has passed the checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head<'a> {
    /// The method.
    pub method: &'a str,
    /// The request target.
    pub target: &'a str,
    /// The names and values of the headers.
    pub headers: Vec<(&'a str, &'a [u8])>,
}

/// Returns the length of the head at the beginning of `bytes`, with its empty line. `None` if it is
/// not complete yet. An earlier call has searched the first `searched` bytes in vain, so a client
/// that sends its head byte by byte costs no more time than another one.
#[must_use]
pub fn length(bytes: &[u8], searched: usize) -> Option<usize> {
    const END: &[u8] = b"\r\n\r\n";
    // The end may have begun in the bytes that were searched.
    let start = searched.saturating_sub(END.len() - 1);
    let rest = bytes.get(start..)?;
    let end = rest.windows(END.len()).position(|window| window == END);
    end.map(|end| start + end + END.len())
}

/// Parses a whole head, with its empty line.
///
/// # Errors
/// The head is not in the strict form, or has a header that is not allowed (400). The text never
/// repeats the head.
pub fn parse(bytes: &[u8]) -> Result<Head<'_>, Refusal> {
    let invalid = |mistake: &str| Refusal::invalid(mistake);
    let lines = bytes
        .strip_suffix(b"\r\n\r\n")
        .ok_or_else(|| invalid("the head is not complete"))?;
    let mut rest = Some(lines);
    let mut next_line = || {
        let Some(lines) = rest else {
            return Ok(None);
        };
        let end = lines.windows(2).position(|window| window == b"\r\n");
        let line = &lines[..end.unwrap_or(lines.len())];
        rest = end.map(|end| &lines[end + 2..]);
        // This includes a bare carriage return or line feed.
        let is_control = |byte: &u8| (*byte < 0x20 && *byte != b'\t') || *byte == 0x7f;
        if line.iter().any(is_control) {
            return Err(invalid("the head has a control character"));
        }
        Ok(Some(line))
    };
    let line = next_line()?.unwrap_or_default();
    let line = std::str::from_utf8(line)
        .ok()
        .filter(|line| line.is_ascii());
    let mut words = line
        .ok_or_else(|| invalid("the request line is not ASCII"))?
        .split(' ');
    let words = [(); 4].map(|()| words.next());
    let [Some(method), Some(target), Some(version), None] = words else {
        return Err(invalid("the request line is malformed"));
    };
    if version != "HTTP/1.1" {
        return Err(invalid("only HTTP/1.1 is served"));
    }
    if method.is_empty() || !method.bytes().all(is_token) || target.contains('\t') {
        return Err(invalid("the request line is malformed"));
    }
    let mut headers = Vec::new();
    while let Some(line) = next_line()? {
        if headers.len() == HEADERS {
            return Err(invalid("the head has more than 100 headers"));
        }
        headers.push(header(line)?);
    }
    let head = Head {
        method,
        target,
        headers,
    };
    head.check_framing()?;
    Ok(head)
}

/// Parses a line of the head.
fn header(line: &[u8]) -> Result<(&str, &[u8]), Refusal> {
    let colon = line.iter().position(|byte| *byte == b':');
    let (name, value) = colon
        .map(|colon| (&line[..colon], &line[colon + 1..]))
        .ok_or_else(|| Refusal::invalid("a header has no colon"))?;
    let name = std::str::from_utf8(name).unwrap_or_default();
    // A name with white space, or a line that continues the one before it, has no token here.
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(Refusal::invalid("the name of a header is malformed"));
    }
    Ok((name, value.trim_ascii()))
}

/// Returns whether a byte may be in a method or in the name of a header (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

impl<'a> Head<'a> {
    /// Returns the values of a header. `name` is in lower case.
    pub fn values<'h>(&'h self, name: &'h str) -> impl Iterator<Item = &'a [u8]> + 'h {
        let own = self
            .headers
            .iter()
            .filter(move |(own, _)| own.eq_ignore_ascii_case(name));
        own.map(|(_, value)| *value)
    }

    /// Returns whether the head announces a body.
    #[must_use]
    pub fn has_body(&self) -> bool {
        let is_zero = |value: &[u8]| value.iter().all(|digit| *digit == b'0');
        let has_length = self.values("content-length").any(|value| !is_zero(value));
        has_length || self.values("transfer-encoding").next().is_some()
    }

    /// Checks the headers that decide where the request ends and how its body is read.
    fn check_framing(&self) -> Result<(), Refusal> {
        let lengths: Vec<_> = self.values("content-length").collect();
        let encodings: Vec<_> = self.values("transfer-encoding").collect();
        let is_number =
            |value: &[u8]| (1..=15).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
        let is_none_or_identity = |value: &[u8]| value.eq_ignore_ascii_case(b"identity");
        let mistake = if !lengths.is_empty() && !encodings.is_empty() {
            "the request has Content-Length and Transfer-Encoding"
        } else if lengths.len() > 1 || !lengths.iter().all(|value| is_number(value)) {
            "Content-Length is repeated or malformed"
        } else if encodings.len() > 1
            || !encodings
                .iter()
                .all(|value| value.eq_ignore_ascii_case(b"chunked"))
        {
            "the only Transfer-Encoding that is read is chunked"
        } else if self.values("host").count() != 1 {
            "the header Host is missing or repeated"
        } else if self.values("upgrade").next().is_some() {
            "the connection cannot be upgraded"
        } else if !self.values("content-encoding").all(is_none_or_identity) {
            "a body with a Content-Encoding is not forwarded; send it without"
        } else if !self
            .values("expect")
            .all(|value| value.eq_ignore_ascii_case(b"100-continue"))
        {
            "the header Expect is unknown"
        } else {
            return Ok(());
        };
        Err(Refusal::invalid(mistake))
    }

    /// Returns the grant in `x-api-key` or in `authorization: Bearer`. `None` if there is none, or
    /// more than one value.
    #[must_use]
    pub fn grant(&self) -> Option<&'a str> {
        let bearer = self.values("authorization").map(|value| {
            let (scheme, token) = value.split_at_checked(7)?;
            scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
        });
        let mut values = self.values("x-api-key").map(Some).chain(bearer);
        let (value, None) = (values.next()??, values.next()) else {
            return None;
        };
        std::str::from_utf8(value).ok()
    }
}

#[cfg(test)]
mod tests;
