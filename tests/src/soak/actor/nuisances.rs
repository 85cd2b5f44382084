//! What a client does that it should not, and what is rare.

use client::Message;
use rand::Rng;
use serde_json::{Value, json};

use super::{
    Actor,
    link::{Asked, What},
};

/// A text frame, the code of each error it is answered with, and how many they are.
const MALFORMED: [(&str, i64, usize); 10] = [
    ("{", -32700, 1),
    ("", -32700, 1),
    ("[]", -32600, 1),
    ("null", -32600, 1),
    ("7", -32600, 1),
    (r#"{"jsonrpc":"1.0","method":"ping"}"#, -32600, 1),
    (r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, -32600, 1),
    (r#"{"jsonrpc":"2.0","method":7}"#, -32600, 1),
    (
        r#"{"jsonrpc":"2.0","id":"bad","method":"ping","params":{"x":"\ud83d"}}"#,
        -32700,
        1,
    ),
    ("[1,2,3]", -32600, 3),
];

/// The frames of a connection that were not right: each is refused with an error without an id, before a ping that was sent
/// behind it is answered.
#[derive(Debug, Default)]
pub(super) struct Nonsense {
    /// The code that is due, and the id of the ping behind it.
    due: Vec<(i64, Value)>,
}

impl Nonsense {
    /// An error without an id came.
    pub(super) fn refused(&mut self, answer: &Value) -> Result<(), String> {
        let code = answer["error"]["code"].as_i64();
        let Some(at) = self.due.iter().position(|(due, _)| Some(*due) == code) else {
            return Err(format!("{answer}, where {:?} is due", self.due));
        };
        self.due.remove(at);
        Ok(())
    }

    /// An answer with an id came.
    pub(super) fn answered(&self, id: &Value) -> Result<(), String> {
        match self.due.iter().find(|(_, ping)| ping == id) {
            None => Ok(()),
            Some((code, _)) => Err(format!("a malformed frame was not refused with {code}")),
        }
    }
}

impl Actor {
    /// Frames that are wrong in one way or another; the session lives on.
    pub(super) async fn malformed(&mut self) -> bool {
        let kind = self.rng.random_range(0..14);
        let good = match kind {
            0 => {
                self.unanswerable(Message::binary(vec![1, 2, 3]), -32600, 1)
                    .await
            }
            1..4 => {
                let (method, params) = [
                    ("nonsense", json!({})),
                    ("execute", json!({"prompt": "x", "unknown": 1})),
                    ("attach", json!({"executionId": "no uuid"})),
                ][kind - 1]
                    .clone();
                self.send(method, params, Asked::nothing(What::Bad)).await
            }
            kind => {
                let (text, code, count) = MALFORMED[kind - 4];
                self.unanswerable(Message::text(text), code, count).await
            }
        };
        if good {
            self.world.own_fault("malformed frame");
        }
        good
    }

    /// Sends a frame that has no id to be answered by, and a ping behind it.
    async fn unanswerable(&mut self, frame: Message, code: i64, count: usize) -> bool {
        let Some(link) = &mut self.link else {
            return true;
        };
        let ping = link.id();
        let due = std::iter::repeat_n((code, ping.into()), count);
        link.nonsense.due.extend(due);
        let message = json!({"jsonrpc": "2.0", "id": ping, "method": "ping", "params": {}});
        link.frame(frame).await
            && link
                .send(&message, vec![(ping.into(), Asked::nothing(What::Other))])
                .await
    }

    pub(super) async fn batch(&mut self) -> bool {
        let Some(link) = &mut self.link else {
            return true;
        };
        let (first, second) = (link.id(), link.id());
        let batch = json!([
            {"jsonrpc": "2.0", "id": first, "method": "ping", "params": {}},
            {"jsonrpc": "2.0", "method": "ping", "params": {}},
            {"jsonrpc": "2.0", "id": second, "method": "list", "params": {"limit": 3}},
        ]);
        link.send(
            &batch,
            vec![
                (first.into(), Asked::nothing(What::Other)),
                (second.into(), Asked::nothing(What::Other)),
            ],
        )
        .await
    }

    /// Deletes one that is over, past the bridge. It must never run again.
    pub(super) async fn delete(&mut self) -> bool {
        let Some(execution) = self.world.any(&mut self.rng) else {
            return true;
        };
        if !execution.is_over() {
            return true;
        }
        execution.facts().deleted = true;
        // It may fail while claude-api is down: then it is still there, which is allowed as well.
        let _ = self
            .world
            .http
            .call(
                reqwest::Method::DELETE,
                &format!("/v1/executions/{}", execution.id),
                None,
            )
            .await;
        true
    }
}
