//! The names of the HTTP headers of both services, and of the trailers (RFC 9110, section 6.5),
//! which are headers that follow the end of an output stream. Only a client that sends
//! `TE: trailers` receives trailers.

/// The trailer with the state in which the execution ended, for example `completed`.
pub const EXECUTION_STATE: &str = "execution-state";
/// The trailer with the CLI's exit code. It is absent if the CLI has none, for example because a
/// signal killed it.
pub const EXIT_CODE: &str = "exit-code";
/// The trailer with the total length of the execution's output, in bytes.
pub const OUTPUT_LENGTH: &str = "output-length";
/// The trailer with the CRC-32 (as in zlib) of the whole output, as 8 hex digits in lower case. A
/// client compares it with the CRC-32 of the bytes that it received.
pub const OUTPUT_CRC32: &str = "output-crc32";
/// The value of the response header `Trailer`, which announces the names of all trailers before the
/// body.
pub const ALL: &str = "execution-state, exit-code, output-length, output-crc32";
/// The response header with the id of the execution that a request created or repeated.
pub const EXECUTION_ID: &str = "execution-id";

/// The response header of `events?follow=false` with the offset of the first byte in the answer, in
/// bytes of the CLI's stdout. That request returns the stdout so far and does not wait for more.
pub const EVENTS_OFFSET: &str = "events-offset";
/// The response header of `events?follow=false` with the total number of bytes that the CLI has
/// written to stdout so far. It includes bytes that are no longer kept.
pub const EVENTS_LENGTH: &str = "events-length";
/// The response header of `events?follow=false` that says whether the CLI's stdout has ended.
/// `true` means that no more follows; `false` means that the CLI may write more.
pub const EVENTS_ENDED: &str = "events-ended";

/// The request header with which a bridge names the client session for which it reads a stream.
/// claude-api counts these sessions, so that `cancel?ifUnviewedForMs` cancels only an execution
/// whose output no client receives.
pub const VIEWER: &str = "viewer";

/// Formats a CRC-32 as 8 hex digits in lower case, as the trailer `output-crc32` and the status
/// object have it (docs/protocol.md, "Headers and trailers").
#[must_use]
pub fn crc32_text(crc32: u32) -> String {
    format!("{crc32:08x}")
}
