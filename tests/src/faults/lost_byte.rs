//! An injected bug: the first byte of a resumed output is lost. Handles HTTP/1.1 without
//! pipelining.

use std::{
    borrow::Cow,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The maximum length of a head.
const HEAD_BYTES: usize = 16 * 1024;

/// One connection.
#[derive(Debug)]
pub(super) struct LostByte {
    on: bool,
    /// The response to a resuming request, as far as it was read; `None` without one. Both
    /// directions share it.
    held: Mutex<Option<Vec<u8>>>,
}

impl LostByte {
    pub(super) fn new(on: bool) -> Self {
        Self {
            on,
            held: Mutex::new(None),
        }
    }

    fn held(&self) -> MutexGuard<'_, Option<Vec<u8>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes go to the server.
    pub(super) fn request(&self, bytes: &[u8]) {
        if self.on && resumes(bytes) {
            *self.held() = Some(Vec::new());
        }
    }

    /// Takes bytes from the server; returns the bytes to pass on instead.
    pub(super) fn response<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let mut held = self.held();
        let Some(mut response) = held.take() else {
            return Cow::Borrowed(bytes);
        };
        response.extend_from_slice(bytes);
        match without_first_byte(&response) {
            Some(changed) => Cow::Owned(changed),
            None if response.len() > HEAD_BYTES => Cow::Owned(response),
            None => {
                *held = Some(response);
                Cow::Borrowed(&[])
            }
        }
    }
}

/// Returns whether a request asks for an output from an offset other than 0.
fn resumes(request: &[u8]) -> bool {
    let line = request.split(|byte| *byte == b'\r').next();
    let line = String::from_utf8_lossy(line.unwrap_or_default());
    let offset = line.split_once("/output?offset=").map(|(_, rest)| rest);
    line.starts_with("GET ") && offset.is_some_and(|rest| !rest.starts_with('0'))
}

/// Removes the first byte of a chunked response's body, unless that byte is not ASCII or is the
/// whole chunk. `None` if more of the response is needed.
fn without_first_byte(response: &[u8]) -> Option<Vec<u8>> {
    let find = |from: usize, what: &[u8]| {
        let mut windows = response.get(from..)?.windows(what.len());
        Some(from + windows.position(|window| window == what)?)
    };
    let chunk = find(0, b"\r\n\r\n")? + 4;
    let content = find(chunk, b"\r\n")? + 2;
    let first = response.get(content)?;
    let size = String::from_utf8_lossy(&response[chunk..content - 2]);
    match usize::from_str_radix(&size, 16) {
        Ok(bytes) if bytes > 1 && first.is_ascii() && response.starts_with(b"HTTP/1.1 200") => {
            let size = format!("{:X}\r\n", bytes - 1);
            let rest = &response[content + 1..];
            Some([&response[..chunk], size.as_bytes(), rest].concat())
        }
        _ => Some(response.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_resumed_output_loses_its_first_byte() {
        let response = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
            10\r\n0123456789abcdef\r\n0\r\n\r\n";
        let due = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
            F\r\n123456789abcdef\r\n0\r\n\r\n";
        let get = |request: &[u8], cut: usize| {
            let connection = LostByte::new(true);
            connection.request(request);
            let mut passed = connection.response(&response[..cut]).into_owned();
            passed.extend_from_slice(&connection.response(&response[cut..]));
            passed
        };
        for cut in 0..response.len() {
            let resumed = b"GET /v1/executions/x/output?offset=12 HTTP/1.1\r\n\r\n";
            assert_eq!(get(resumed, cut), due, "{cut}");
            let begun = b"GET /v1/executions/x/output?offset=0 HTTP/1.1\r\n\r\n";
            assert_eq!(get(begun, cut), response);
            assert_eq!(get(b"PUT /v1/executions/x HTTP/1.1\r\n\r\n", cut), response);
        }
    }
}
