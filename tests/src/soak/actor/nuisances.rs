//! Sends malformed frames, batches and deletes.

use client::Message;
use rand::Rng;
use serde_json::{Value, json};

use super::{
    Actor,
    link::{Request, RequestKind},
};
use crate::soak::exchange::Call;

/// Malformed text frames: the text, the code of each error in the answer, and the number of errors.
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

/// The malformed frames of a connection. Each gets an error without an id, before the answer to the
/// ping that follows the frame.
#[derive(Debug, Default)]
pub(super) struct MalformedFrames {
    /// The code of each missing error, and the id of the ping that follows its frame.
    due: Vec<(i64, Value)>,
}

impl MalformedFrames {
    /// Checks an error without an id.
    pub(super) fn refused(&mut self, answer: &Value) -> Result<(), String> {
        let code = answer["error"]["code"].as_i64();
        let Some(at) = self.due.iter().position(|(due, _)| Some(*due) == code) else {
            return Err(format!("{answer}, but {:?} are due", self.due));
        };
        self.due.remove(at);
        Ok(())
    }

    /// Checks an answer with an id.
    pub(super) fn answered(&self, id: &Value) -> Result<(), String> {
        match self.due.iter().find(|(_, ping)| ping == id) {
            None => Ok(()),
            Some((code, _)) => Err(format!("a malformed frame was not refused with {code}")),
        }
    }
}

impl Actor {
    /// Sends an invalid frame, which must not end the session.
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
                self.send(method, params, Request::without_execution(RequestKind::Bad))
                    .await
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

    /// Sends a frame without a usable id, then a ping.
    async fn unanswerable(&mut self, frame: Message, code: i64, count: usize) -> bool {
        let Some(link) = &mut self.link else {
            return true;
        };
        let ping = link.id();
        let due = std::iter::repeat_n((code, ping.clone()), count);
        link.malformed.due.extend(due);
        let message = json!({"jsonrpc": "2.0", "id": ping, "method": "ping", "params": {}});
        link.frame(frame).await
            && link
                .send(
                    &message,
                    vec![(ping, Request::without_execution(RequestKind::Other))],
                )
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
                (first, Request::without_execution(RequestKind::Other)),
                (second, Request::without_execution(RequestKind::List)),
            ],
        )
        .await
    }

    /// Deletes an ended execution directly at claude-api. It must never run again.
    pub(super) async fn delete(&mut self) -> bool {
        let Some(execution) = self.any_own() else {
            return true;
        };
        if !execution.is_over() {
            return true;
        }
        execution.facts().deleted = true;
        // The request may fail while claude-api is down: then the execution still exists, which is
        // allowed too.
        let path = format!("/v1/executions/{}", execution.id);
        let call = Call::own(reqwest::Method::DELETE, path);
        let _ = self.world.exchange(&self.principal, &call).await;
        true
    }
}
