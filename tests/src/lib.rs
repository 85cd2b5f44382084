//! What the tests of cc-bridge stand on. See `README.md` beside this crate for how to use each part.
//!
//! * [`composed`]: the containers of the composed stack, and the cases that run on them.
//! * [`exposition`]: pages of `/metrics`, and the rules for them.
//! * [`mod@bench`]: figures through both hops (bin `bench`).
//! * [`model`]: the scripted model, a server that speaks the Messages API (bin `scripted-model`).
//! * [`soak`]: both services under fire (bin `soak`).
//! * [`stand_in`]: the stand-in for the Claude CLI (bin `stand-in-claude`).

pub mod bench;
pub mod composed;
pub mod exposition;
pub mod faults;
pub mod harness;
pub mod http;
pub mod model;
pub mod soak;
pub mod stand_in;
pub mod ws;

/// Lower-case hex digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
