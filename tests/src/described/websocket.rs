//! Compares the messages of a WebSocket session with the JSON Schema document of the bridge.

use std::collections::HashMap;
use std::sync::LazyLock;

use descriptions::websocket::{
    document, notification_schema, notifications, request_schema, result_schema,
};
use protocol::message::Request;
use serde_json::Value;

use super::Schemas;

static STRICT: LazyLock<Schemas> = LazyLock::new(|| Schemas::strict(document(), pointers()));
static PUBLISHED: LazyLock<Schemas> = LazyLock::new(|| Schemas::new(document(), pointers()));

/// Returns the JSON pointers of all schemas.
fn pointers() -> Vec<String> {
    let document = document();
    let names = document["$defs"].as_object().expect("schemas").keys();
    names.map(|name| format!("/$defs/{name}")).collect()
}

/// A request that has no answer yet.
struct Sent {
    method: String,
    /// Whether the request is as the document says. It matters only if the bridge accepts it.
    verdict: Result<(), String>,
}

/// The requests of one session that have no answer yet.
#[derive(Default)]
pub struct Session {
    /// By the JSON text of the id.
    open: HashMap<String, Sent>,
}

impl Session {
    /// Records a message of the client: a request, a notification or a batch, well formed or not.
    pub fn sent(&mut self, message: &Value) {
        if let Some(batch) = message.as_array() {
            batch.iter().for_each(|one| self.sent(one));
            return;
        }
        let (Some(method), Some(id)) = (message["method"].as_str(), message.get("id")) else {
            return;
        };
        if !Request::METHODS.contains(&method) {
            return;
        }
        let pointer = format!("/$defs/{}", request_schema(method));
        let sent = Sent {
            method: method.to_owned(),
            verdict: PUBLISHED.check(&pointer, message),
        };
        self.open.insert(id.to_string(), sent);
    }

    /// Checks a message of the bridge. For an answer with a result, also checks the request.
    ///
    /// # Errors
    /// The difference between the message and the document.
    pub fn received(&mut self, message: &Value) -> Result<(), String> {
        match message {
            Value::Array(answers) => answers.iter().try_for_each(|answer| self.answer(answer)),
            message => match message["method"].as_str() {
                Some(name) => notification(name, message),
                None => self.answer(message),
            },
        }
    }

    fn answer(&mut self, message: &Value) -> Result<(), String> {
        let id = message.get("id").map(Value::to_string).unwrap_or_default();
        let sent = self.open.remove(&id);
        let Some(result) = message.get("result") else {
            let checked = STRICT.check("/$defs/Refusal", message);
            return checked.map_err(|difference| format!("{message}: {difference}"));
        };
        let Some(Sent { method, verdict }) = sent else {
            return Err(format!("an answer to {id}, but no request has that id"));
        };
        let pointer = format!("/$defs/{}", result_schema(&method));
        let checked = STRICT.check(&pointer, result);
        checked.map_err(|difference| format!("the result of {method}, {result}: {difference}"))?;
        verdict.map_err(|difference| format!("{method} was accepted, but {difference}"))
    }
}

/// Checks a notification of the bridge.
fn notification(name: &str, message: &Value) -> Result<(), String> {
    if !notifications::names().contains(&name) {
        return Err(format!("the description has no notification {name}"));
    }
    let pointer = format!("/$defs/{}", notification_schema(name));
    let checked = STRICT.check(&pointer, message);
    checked.map_err(|difference| {
        let shown: String = message.to_string().chars().take(2000).collect();
        format!("{shown}: {difference}")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ws::status::tests::example;

    const ID: &str = "11111111-1111-4111-8111-111111111111";

    #[test]
    fn messages_as_documented_pass() {
        let mut session = Session::default();
        let update = |status: &Value| {
            let mut params = status.clone();
            params["status"] = "RUNNING".into();
            params["elapsedMs"] = 1.into();
            json!({ "jsonrpc": "2.0", "method": "statusUpdate", "params": params })
        };
        let status = example(ID, "running");
        assert_eq!(session.received(&update(&status)), Ok(()));
        let params = json!({ "executionId": ID, "offset": 0, "onSlow": null });
        session.sent(&json!({ "jsonrpc": "2.0", "id": 1, "method": "attach", "params": params }));
        let answer = json!({ "jsonrpc": "2.0", "id": 1, "result": status });
        assert_eq!(session.received(&answer), Ok(()));
        let error = json!({ "code": -32003, "message": "m", "data": { "reason": "not_found" } });
        let refusal = json!({ "jsonrpc": "2.0", "id": 2, "error": error });
        assert_eq!(session.received(&refusal), Ok(()));
    }

    #[test]
    fn differences_are_reported() {
        let broken = |change: fn(&mut Value)| {
            let params = json!({ "executionId": ID, "from": 0, "to": 1 });
            let mut gap = json!({ "jsonrpc": "2.0", "method": "gap", "params": params });
            change(&mut gap);
            Session::default().received(&gap).is_err()
        };
        assert!(!broken(|_| ()));
        assert!(broken(|gap| gap["params"]["more"] = 1.into()));
        assert!(broken(|gap| gap["params"]["from"] = "0".into()));
        assert!(broken(|gap| gap["params"]["executionId"] = "x".into()));
        assert!(broken(|gap| gap["method"] = "chasm".into()));
        let wrong_pair = json!({
            "code": -32003, "message": "m", "data": { "reason": "queue_full" }
        });
        let refusal = json!({ "jsonrpc": "2.0", "id": 2, "error": wrong_pair });
        assert!(Session::default().received(&refusal).is_err());
    }

    #[test]
    fn an_accepted_request_must_be_as_documented() {
        let answer_to = |params: Value| {
            let mut session = Session::default();
            let request =
                json!({ "jsonrpc": "2.0", "id": 1, "method": "status", "params": params });
            session.sent(&request);
            let result = example(ID, "running");
            session.received(&json!({ "jsonrpc": "2.0", "id": 1, "result": result }))
        };
        assert_eq!(answer_to(json!({})), Ok(()));
        assert!(answer_to(json!({ "colour": "red" })).is_err());
    }
}
