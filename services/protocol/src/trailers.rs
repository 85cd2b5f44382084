//! Headers of both services, and the trailers of an output stream (RFC 9110, section 6.5), which
//! are sent to clients that request them with `TE: trailers`.

/// The state in which the execution ended.
pub const EXECUTION_STATE: &str = "execution-state";
/// The CLI's exit code; absent if there is none.
pub const EXIT_CODE: &str = "exit-code";
/// The number of output bytes.
pub const OUTPUT_LENGTH: &str = "output-length";
/// zlib's crc32 of the whole output, 8 lower-case hex digits.
pub const OUTPUT_CRC32: &str = "output-crc32";
/// The value of the `Trailer` header: the names of all trailers.
pub const ALL: &str = "execution-state, exit-code, output-length, output-crc32";
/// The response header with the execution's id.
pub const EXECUTION_ID: &str = "execution-id";

/// The response header of `events?follow=false` with the offset of its first byte.
pub const EVENTS_OFFSET: &str = "events-offset";
/// The response header of `events?follow=false` with the number of event bytes, kept or not.
pub const EVENTS_LENGTH: &str = "events-length";
/// The response header of `events?follow=false`: `true` when no more events follow, else `false`.
pub const EVENTS_ENDED: &str = "events-ended";

/// The request header in which a bridge names its session, on output and follow streams and on
/// `cancel?ifUnviewedForMs`.
pub const VIEWER: &str = "viewer";

/// Writes a crc32 as 8 lower-case hex digits: docs/protocol.md, "Headers and trailers".
#[must_use]
pub fn crc32_text(crc32: u32) -> String {
    format!("{crc32:08x}")
}
