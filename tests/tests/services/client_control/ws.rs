//! The control protocol over WebSocket: the client reads the requests of the CLI in `output`, and
//! answers them by `input`.

use cc_tests::{
    faults::Cut,
    harness::{Stack, StackOptions},
    ws,
};
use serde_json::{Value, json};

use super::{body, message, read_by_cli, request, response, stack};
use crate::support::until;

/// A client that feeds one execution in a session.
struct Feeder {
    client: ws::Client,
    id: String,
    offset: usize,
    /// The number of bytes of the output that were read.
    read: usize,
}

impl Feeder {
    async fn start(mut client: ws::Client, more: Value) -> Self {
        let status = client.call("execute", body(more)).await.expect("accepted");
        let id = status["executionId"].as_str().expect("an id").to_owned();
        Self {
            client,
            id,
            offset: 0,
            read: 0,
        }
    }

    async fn offer(&mut self, lines: &str) -> Result<Value, Value> {
        let params = json!({"executionId": self.id, "offset": self.offset, "data": lines});
        self.client.call("input", params).await
    }

    async fn send(&mut self, lines: &str) {
        let accepted = self.offer(lines).await.expect("accepted");
        self.offset += lines.len();
        assert_eq!(accepted, json!({"accepted": self.offset}));
    }

    /// Waits for the next event of a type, of a subtype, or of a state of the session.
    async fn until(&mut self, kind: &str) -> Value {
        loop {
            let output = self.client.output(&self.id);
            while let Some(end) = output[self.read..].iter().position(|byte| *byte == b'\n') {
                let line = &output[self.read..self.read + end];
                self.read += end + 1;
                let event: Value = serde_json::from_slice(line).expect("JSON");
                let names = [&event["type"], &event["subtype"], &event["state"]];
                if names.into_iter().any(|name| name == kind) {
                    return event;
                }
            }
            let more = output.len() as u64 + 1;
            self.client.wait_output(&self.id, more).await;
        }
    }

    async fn finish(mut self) -> Value {
        let params =
            json!({"executionId": self.id, "offset": self.offset, "data": "", "eof": true});
        self.client.call("input", params).await.expect("accepted");
        let (_, end) = self.client.wait_terminal(&self.id).await;
        self.client.finish().await;
        end
    }
}

#[tokio::test]
async fn requests_and_answers_pass_the_bridge_across_a_cut() {
    let options = StackOptions {
        proxy_upstream: true,
        ..StackOptions::default().api("--allowed-tools=Bash")
    };
    let stack = Stack::with(options).await;
    let middle = stack.middle.as_ref().expect("a proxy");
    let mut feeder = Feeder::start(stack.client().await, json!({"model": "recorded"})).await;
    for decision in ["allow", "deny"] {
        feeder
            .send(&message("@ask Bash {\"command\":\"x\"}\n@hook Stop {}"))
            .await;
        let asked = feeder.until("control_request").await;
        middle.cut_now(Cut::Reset);
        let line = response(
            &asked,
            json!({"behavior": decision, "message": "m",
            "updatedInput": {"command": "x"}}),
        );
        feeder.send(&line).await;
        // The client repeats its last call after a lost answer.
        feeder.offset -= line.len();
        feeder.send(&line).await;
        let hook = feeder.until("control_request").await;
        middle.cut_now(Cut::Reset);
        feeder
            .send(&response(&hook, json!({"continue": true})))
            .await;
        feeder.until("idle").await;
    }
    let id = feeder.id.clone();
    let end = feeder.finish().await;
    assert_eq!(end["status"], "COMPLETED", "{end}");
    let lines = read_by_cli(&stack, &id);
    let answers = lines
        .iter()
        .filter(|line| line["type"] == "control_response");
    assert_eq!(answers.count(), 4, "{lines:?}");
}

#[tokio::test]
async fn a_refused_control_request_is_named_and_the_stream_stays_usable() {
    let stack = stack(&[]).await;
    let mut feeder = Feeder::start(stack.client().await, json!({})).await;
    let refused = feeder
        .offer(&request(json!({"subtype": "mcp_set_servers"})))
        .await;
    let error = refused.expect_err("refused");
    assert_eq!(
        error["data"]["reason"], "control_request_not_allowed",
        "{error}"
    );
    assert_eq!(error["data"]["accepted"], 0, "{error}");
    feeder.send(&message("@say works")).await;
    feeder.until("idle").await;
    let end = feeder.finish().await;
    assert_eq!(end["status"], "COMPLETED", "{end}");
}

#[tokio::test]
async fn a_client_that_vanishes_ends_its_execution_if_it_said_so() {
    let options = StackOptions::default()
        .api("--allowed-tools=Bash")
        .bridge("--disconnect-grace-ms=300");
    let stack = Stack::with(options).await;
    let http = stack.http();
    for prompt in ["@say x", "@ask Bash {\"command\":\"x\"}"] {
        let more = json!({"onDisconnect": "cancel"});
        let mut feeder = Feeder::start(stack.client().await, more).await;
        feeder.send(&message(prompt)).await;
        feeder
            .until(if prompt == "@say x" {
                "idle"
            } else {
                "control_request"
            })
            .await;
        let Feeder { client, id, .. } = feeder;
        client.vanish();
        // A stream of the status would count as a viewer.
        until(&http, &id, "cancelled", |status| {
            status["state"] == "cancelled"
        })
        .await;
        stack.assert_nothing_left(&id).await;
    }
}

#[tokio::test]
async fn another_session_answers_a_request_after_the_death_of_the_client_and_the_bridge() {
    let mut stack = stack(&[]).await;
    let mut feeder = Feeder::start(stack.client().await, json!({})).await;
    feeder.send(&message("@ask Bash {\"command\":\"x\"}")).await;
    feeder.until("control_request").await;
    let Feeder {
        client, id, offset, ..
    } = feeder;
    client.vanish();
    stack.crash_bridges().await;
    let mut client = stack.client().await;
    client.attach(&id, None).await.expect("attached");
    let mut feeder = Feeder {
        client,
        id,
        offset,
        read: 0,
    };
    let asked = feeder.until("control_request").await;
    feeder
        .send(&response(
            &asked,
            json!({"behavior": "deny", "message": "no"}),
        ))
        .await;
    feeder.until("idle").await;
    let end = feeder.finish().await;
    assert_eq!(end["status"], "COMPLETED", "{end}");
    assert_eq!(stack.spawns(end["executionId"].as_str().expect("an id")), 1);
}
