//! The wire format of a session. Received bytes become frames, messages and requests, and answers
//! become bytes to send. These modules do not know what a request does.
//!
//! - Receiving: [`socket`] reads messages through [`transport`], which tracks the `frames` and
//!   charges the memory of large messages (`message_charge`). [`request`] parses a message with
//!   `bounded_json`.
//! - Both directions: `liveness` judges at each ping whether the client is alive.
//! - Sending: [`answer`] encodes an answer, with a [`list_page`] or an [`events_part`] cut to the
//!   length of a message. [`socket`] sends it.

pub mod answer;
mod bounded_json;
pub mod events_part;
pub mod frame_rate;
mod frames;
pub mod list_page;
pub mod liveness;
pub mod message_charge;
pub mod request;
pub mod socket;
pub mod transport;
