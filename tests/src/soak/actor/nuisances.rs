//! What a client does that it should not, and what is rare.

use rand::Rng;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::{
    Actor,
    link::{Asked, What},
};

const MALFORMED: [&str; 10] = [
    "{",
    "",
    "[]",
    "null",
    "7",
    r#"{"jsonrpc":"1.0","method":"ping"}"#,
    r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#,
    r#"{"jsonrpc":"2.0","method":7}"#,
    r#"{"jsonrpc":"2.0","id":"bad","method":"ping","params":{"x":"\ud83d"}}"#,
    "[1,2,3]",
];

impl Actor {
    /// Frames that are wrong in one way or another; the session lives on.
    pub(super) async fn malformed(&mut self) -> bool {
        let kind = self.rng.random_range(0..14);
        let Some(link) = &mut self.link else {
            return true;
        };
        match kind {
            0 => link.frame(Message::binary(vec![1, 2, 3])).await,
            1 => {
                self.send("nonsense", json!({}), Asked::nothing(What::Bad))
                    .await
            }
            2 => {
                self.send(
                    "execute",
                    json!({"prompt": "x", "unknown": 1}),
                    Asked::nothing(What::Bad),
                )
                .await
            }
            3 => {
                self.send(
                    "attach",
                    json!({"executionId": "no uuid"}),
                    Asked::nothing(What::Bad),
                )
                .await
            }
            kind => {
                let text = MALFORMED[kind - 4];
                link.frame(Message::text(text)).await
            }
        }
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
