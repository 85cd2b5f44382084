//! Properties of `protocol::message` for text frames in both directions: no panic, and a message
//! that is written again reads back as the same message.

use protocol::message::{ClientFrame, RequestId, ServerMessage};

/// Checks one text frame; bytes that are not UTF-8 never reach the parser.
///
/// # Panics
/// If a property does not hold.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    client_frame(text);
    server_message(text);
    request_id(text);
}

fn client_frame(text: &str) {
    let Ok(frame) = serde_json::from_str::<ClientFrame>(text) else {
        return;
    };
    let written = serde_json::to_string(&frame).expect("a frame is JSON");
    let again: ClientFrame = serde_json::from_str(&written)
        .unwrap_or_else(|error| panic!("{error}: {written}, from {text}"));
    assert_eq!(frame, again, "{text}");
}

fn server_message(text: &str) {
    let Ok(message) = ServerMessage::from_json(text) else {
        return;
    };
    let written = message.to_json();
    let again = ServerMessage::from_json(&written)
        .unwrap_or_else(|error| panic!("{error}: {written}, from {text}"));
    assert_eq!(message, again, "{text}");
}

/// Checks that the text of an id is preserved.
fn request_id(text: &str) {
    let Ok(id) = RequestId::from_json(text) else {
        return;
    };
    assert_eq!(id.as_json(), text.trim_ascii(), "the id is another text");
    assert!(id.as_json().len() <= RequestId::MAX_BYTES);
    if let Some(number) = id.as_u64() {
        assert_eq!(serde_json::from_str::<u64>(text).ok(), Some(number));
    }
}
