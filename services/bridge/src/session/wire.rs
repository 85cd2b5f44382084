//! The wire of a session: bytes and frames in, requests out; answers in, bytes out. These modules
//! do not know the effect of a request.
//!
//! - In: [`socket`] reads messages through [`transport`], which tracks the `frames` and charges the
//!   inbound budget (`message_charge`); [`request`] parses a message with `bounded_json`.
//! - Both: `liveness` judges the peer at each ping.
//! - Out: [`answer`] encodes an answer, with a [`list_page`] or an [`events_part`] cut to the
//!   length of a message; [`socket`] sends it.

pub mod answer;
mod bounded_json;
pub mod events_part;
mod frames;
pub mod list_page;
pub mod liveness;
pub mod message_charge;
pub mod request;
pub mod socket;
pub mod transport;
