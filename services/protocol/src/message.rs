//! The types of all JSON-RPC 2.0 messages that a client and the bridge send each other over
//! WebSocket.
//!
//! - A client sends a [`ClientFrame`], which is one [`ClientMessage`] or a batch of them. Each
//!   message holds a [`Request`] (docs/protocol.md, "Requests" and "Request parameters").
//! - The bridge sends a [`ServerMessage`], which is a notification, a [`Reply`], or the replies to
//!   a batch (docs/protocol.md, "Notifications" and "Requests").
//!
//! All types implement `Serialize` and `Deserialize`. Sizes are bytes of UTF-8, and every offset
//! counts bytes of the output (of stdout in [`EventsParams`] and [`Events`](crate::Events)).
//!
//! - Parameters of requests are read strictly. An unknown field is an error, and null is the same
//!   as an absent field.
//! - Messages of the bridge are read leniently, so that later bridges can add to them. A client
//!   ignores unknown fields. A notification with an unknown method, or an output of an unknown
//!   type, is [`ServerMessage::Other`]. An unknown word of a `statusUpdate` is read as its state.
//!
//! ```
//! use protocol::message::{ClientMessage, Notification, Output, PingParams, ServerMessage};
//!
//! let ping = ClientMessage::request(7, PingParams {});
//! assert_eq!(ping.to_json(), r#"{"jsonrpc":"2.0","id":7,"method":"ping","params":{}}"#);
//!
//! let id = "018f4e2a-7b3c-7def-8123-456789abcdef".parse()?;
//! let text = Output::new(id, 0, "hello").to_message();
//! let ServerMessage::Output(output) = ServerMessage::from_json(&text)? else {
//!     unreachable!("the message is an output");
//! };
//! assert_eq!(output.content, "hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod client;
mod connected;
mod execute;
mod json_text;
mod method;
mod notification;
mod params;
mod reply;
mod request;
mod request_id;
mod results;
mod server;
mod status_update;
mod view;

pub use client::{ClientFrame, ClientMessage};
pub use connected::{Capabilities, Connected, ConnectedLimits};
pub use execute::ExecuteParams;
pub use json_text::JsonText;
pub use method::Method;
pub use notification::Notification;
pub use params::{
    AnswerParams, AttachParams, Control, ControlParams, DetachParams, EventsParams, InputParams,
    ListParams, PingParams, ShareParams, StatusParams,
};
pub use reply::Reply;
pub use request::Request;
pub use request_id::{BadRequestId, RequestId};
pub use results::{Accepted, Empty};
pub use server::{BadMessage, ServerMessage};
pub use status_update::{RejectedExecute, StatusUpdate, StatusWord, Upstream};
pub use view::{Gap, Notice, Output, OutputType};

#[cfg(test)]
mod tests;
