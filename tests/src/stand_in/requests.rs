//! Requests of the stand-in to the client (`can_use_tool`, `hook_callback`, `mcp_message`), and the
//! wait for their answers.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{
    control::{Client, Effect},
    lines,
    stdin::Read,
    turn::Turn,
};

/// The answer to a request.
#[derive(Debug)]
pub(super) enum Answer {
    /// The `response` of the answer.
    Response(Value),
    /// The text of the error that the client has sent in place of an answer.
    Refused(String),
}

/// The end of a wait for answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// All requests were answered.
    Answered,
    /// The client has interrupted the turn.
    Interrupted,
    /// stdin has ended.
    Closed,
}

/// Returns a control request.
pub(super) fn request(id: &str, request: &Value) -> String {
    json!({"type": "control_request", "request_id": id, "request": request}).to_string()
}

/// Waits for the answers to the requests with these ids. Passes each to `answered`, with the
/// position of its id. Answers control requests of the client meanwhile.
pub(super) fn await_answers(
    turn: &mut Turn<'_>,
    client: &mut Client,
    ids: &[String],
    mut answered: impl FnMut(usize, Answer),
) -> Wait {
    let mut open: Vec<(usize, &String)> = ids.iter().enumerate().collect();
    while !open.is_empty() {
        let message = match client.messages.read() {
            Read::Message(message) => message,
            Read::Malformed => continue,
            Read::End => return Wait::Closed,
        };
        match message["type"].as_str() {
            Some("control_response") => {
                let response = &message["response"];
                let at = open
                    .iter()
                    .position(|(_, id)| response["request_id"] == **id);
                // A late answer to another request is ignored, as by the CLI.
                let Some(at) = at else { continue };
                let answer = match response["subtype"].as_str() {
                    Some("success") => Answer::Response(response["response"].clone()),
                    _ => Answer::Refused(response["error"].as_str().unwrap_or_default().to_owned()),
                };
                answered(open.remove(at).0, answer);
            }
            Some("control_request") if message["request"]["subtype"] != "end_session" => {
                if message["request"]["subtype"] == "interrupt" {
                    for (_, id) in &open {
                        let cancel = json!({"type": "control_cancel_request", "request_id": id});
                        turn.out.line(&cancel.to_string());
                    }
                }
                if client.control.answer(turn.out, turn.lines, &message) == Effect::Interrupt {
                    return Wait::Interrupted;
                }
            }
            _ => client.messages.keep(Read::Message(message)),
        }
    }
    Wait::Answered
}

/// Calls something of the client with each of these inputs at the same time: a hook (`is_hook`) by
/// its event, or an MCP server by its name. Says the answers in order: `hook RESPONSE`,
/// `mcp RESPONSE`, or `failed ERROR`. Returns whether the turn continues.
pub(super) fn call(
    turn: &mut Turn<'_>,
    client: &mut Client,
    is_hook: bool,
    name: &str,
    inputs: &[Value],
) -> bool {
    turn.end_message("tool_use");
    let ids: Vec<_> = inputs.iter().map(|_| lines::uuid()).collect();
    for (number, (id, input)) in ids.iter().zip(inputs).enumerate() {
        let call = if is_hook {
            hook_callback(turn, client, name, input)
        } else {
            mcp_message(name, number, input)
        };
        turn.out.line(&request(id, &call));
    }
    let mut answers: Vec<Option<String>> = vec![None; ids.len()];
    let word = if is_hook { "hook" } else { "mcp" };
    let end = await_answers(turn, client, &ids, |at, answer| {
        answers[at] = Some(match answer {
            Answer::Response(response) => format!("{word} {response}"),
            Answer::Refused(error) => format!("{word} failed {error}"),
        });
    });
    if end == Wait::Interrupted {
        return false;
    }
    for answer in answers {
        turn.text(&answer.unwrap_or_else(|| format!("{word} failed stdin is closed")));
        turn.text("\n");
    }
    true
}

/// Reads stdin for this long. Returns whether the turn continues.
pub(super) fn listen(turn: &mut Turn<'_>, client: &mut Client, time: Duration) -> bool {
    let until = Instant::now() + time;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let message = match client.messages.read_within(left) {
            Some(Read::Message(message)) => message,
            Some(Read::Malformed) => continue,
            Some(Read::End) => {
                std::thread::sleep(until.saturating_duration_since(Instant::now()));
                return true;
            }
            None => return true,
        };
        let subtype = message["request"]["subtype"].as_str();
        if message["type"] == "control_request" && subtype != Some("end_session") {
            if client.control.answer(turn.out, turn.lines, &message) == Effect::Interrupt {
                turn.end_message("end_turn");
                let text = "[Request interrupted by user]";
                let content = json!([{"type": "text", "text": text}]);
                turn.out.line(&turn.lines.user(content, json!({})));
                return false;
            }
        } else if message["type"] != "control_response" {
            client.messages.keep(Read::Message(message));
        }
    }
}

fn hook_callback(turn: &Turn<'_>, client: &Client, event: &str, input: &Value) -> Value {
    let tool_use_id = format!("toolu_{}", uuid::Uuid::new_v4().simple());
    let mut whole = json!({
        "session_id": turn.lines.session, "transcript_path": "/stand-in/transcript.jsonl",
        "cwd": std::env::current_dir().unwrap_or_default(), "permission_mode": client.control.mode,
        "hook_event_name": event, "tool_use_id": tool_use_id,
    });
    if let (Value::Object(whole), Value::Object(input)) = (&mut whole, input) {
        whole.extend(input.clone());
    }
    let callback = client.control.hook(event).unwrap_or("hook_0");
    json!({
        "subtype": "hook_callback", "callback_id": callback, "input": whole,
        "tool_use_id": tool_use_id,
    })
}

fn mcp_message(server: &str, number: usize, input: &Value) -> Value {
    let mut message = json!({"jsonrpc": "2.0", "id": number});
    if let (Value::Object(message), Value::Object(input)) = (&mut message, input) {
        message.extend(input.clone());
    }
    json!({"subtype": "mcp_message", "server_name": server, "message": message})
}
