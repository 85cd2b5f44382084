//! The names of the headers of both services, and of the trailers that end an output stream (RFC
//! 9110, section 6.5). Only a client that sends `TE: trailers` gets trailers.

/// The trailer with the state in which the execution ended, for example `completed`.
pub const EXECUTION_STATE: &str = "execution-state";
/// The trailer with the CLI's exit code; absent if there is none.
pub const EXIT_CODE: &str = "exit-code";
/// The trailer with the total length of the output, in bytes.
pub const OUTPUT_LENGTH: &str = "output-length";
/// The trailer with zlib's crc32 of the whole output, as 8 lower-case hex digits, by which a client
/// checks what it received.
pub const OUTPUT_CRC32: &str = "output-crc32";
/// The value of the response header `Trailer`, which must announce the names of all trailers.
pub const ALL: &str = "execution-state, exit-code, output-length, output-crc32";
/// The response header with the id of the execution that a request created or repeated.
pub const EXECUTION_ID: &str = "execution-id";

/// The response header with the offset of the first byte sent, on `events?follow=false`, which
/// returns the present part of the CLI's stdout.
pub const EVENTS_OFFSET: &str = "events-offset";
/// The response header with the total bytes that the CLI has written to stdout, kept or not, on
/// `events?follow=false`.
pub const EVENTS_LENGTH: &str = "events-length";
/// The response header that says whether all of the CLI's stdout is known (`true` or `false`), on
/// `events?follow=false`.
pub const EVENTS_ENDED: &str = "events-ended";

/// The request header in which a bridge names the session for which it reads a stream. By it
/// claude-api knows whether any client still views an execution, for `cancel?ifUnviewedForMs`.
pub const VIEWER: &str = "viewer";

/// Formats a crc32 as 8 lower-case hex digits: docs/protocol.md, "Headers and trailers".
#[must_use]
pub fn crc32_text(crc32: u32) -> String {
    format!("{crc32:08x}")
}
