//! A fake bridge: a WebSocket server that follows the protocol but invents its answers. Tests must
//! not accept these as an execution.

use std::net::SocketAddr;

use futures::{SinkExt, StreamExt};
use jiff::{SignedDuration, Timestamp};
use protocol::message::Capabilities;
use protocol::{ExecutionId, State, Status};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_tungstenite::{accept_async, tungstenite::Message};

/// The invented answers.
#[derive(Debug, Clone)]
pub struct Lie {
    /// The text of each answer.
    pub answer: String,
    /// The claimed conversation; the execution's id if `None`.
    pub conversation: Option<String>,
}

/// The server; it ends when it is dropped.
#[derive(Debug)]
pub struct LyingBridge {
    addr: SocketAddr,
    task: JoinHandle<()>,
}

impl LyingBridge {
    /// Starts a fake bridge on a free port.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn start(lie: Lie) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener
            .local_addr()
            .expect("a bound listener has an address");
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(session(stream, lie.clone()));
            }
        });
        Self { addr, task }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for LyingBridge {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn session(stream: TcpStream, lie: Lie) {
    let Ok(mut socket) = accept_async(stream).await else {
        return;
    };
    let hello = json!({"sessionId": uuid::Uuid::new_v4(), "protocol": 1, "version": "0",
        "capabilities": Capabilities::all(), "limits": null});
    let hello = notification("connected", hello);
    if socket.send(Message::text(hello.to_string())).await.is_err() {
        return;
    }
    while let Some(Ok(Message::Text(text))) = socket.next().await {
        let Ok(request) = serde_json::from_str::<Value>(&text) else {
            return;
        };
        for message in answer(&request, &lie) {
            if socket
                .send(Message::text(message.to_string()))
                .await
                .is_err()
            {
                return;
            }
        }
    }
}

fn notification(method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "method": method, "params": params})
}

fn answer(request: &Value, lie: &Lie) -> Vec<Value> {
    let id = ExecutionId::random();
    // Made from the type of the services, so that a lie has every field that the protocol demands.
    let status = |state: State| {
        let is_done = state == State::Completed;
        let began = Timestamp::UNIX_EPOCH;
        let mut status = Status::queued(id, began, "default".to_owned());
        status.state = state;
        status.exit_code = is_done.then_some(0);
        status.output_bytes = if is_done { lie.answer.len() as u64 } else { 0 };
        status.crc32 = is_done.then(|| format!("{:08x}", crc32fast::hash(lie.answer.as_bytes())));
        status.started_at = Some(began);
        status.ended_at = is_done.then_some(began + SignedDuration::from_secs(1));
        status.duration_ms = Some(1000);
        status.lane = Some("liar".to_owned());
        let conversation = lie.conversation.clone();
        status.conversation = Some(conversation.unwrap_or_else(|| id.to_string()));
        status.model = Some("a-model".to_owned());
        serde_json::to_value(status).expect("a status is JSON")
    };
    let update = |state: State| {
        let mut params = status(state);
        params["status"] = state.as_str().to_uppercase().into();
        params["elapsedMs"] = 1000.into();
        notification("statusUpdate", params)
    };
    let output = json!({"executionId": id, "type": "stdout", "offset": 0, "content": lie.answer});
    vec![
        json!({"jsonrpc": "2.0", "id": request["id"], "result": status(State::Running)}),
        update(State::Running),
        notification("output", output),
        update(State::Completed),
    ]
}

#[cfg(test)]
mod tests {
    use super::{Lie, LyingBridge};
    use crate::ws::Client;

    /// The client checks each message. A lie that breaks the protocol would be found by that
    /// check, and the composed tests would not show that the *answer* is checked.
    #[tokio::test]
    async fn lies_of_the_fake_bridge_keep_the_rules_of_the_protocol() {
        let lie = Lie {
            answer: "an invented answer".into(),
            conversation: None,
        };
        let liar = LyingBridge::start(lie).await;
        let mut client = Client::connect(liar.addr()).await;
        let (output, end) = client.run("a prompt").await;
        client.finish().await;
        assert_eq!(output, b"an invented answer");
        assert_eq!(end["status"], "COMPLETED");
    }
}
