//! Questions: the tool `answer`, questions in the results of `status` and `wait`, and forms for the
//! user of a client (elicitation).

use cc_tests::harness::{self, Stack, StackOptions};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::raw_client::{LEGACY, MODERN, RawClient, TASKS, VERSIONS};
use super::stdio_client::StdioClient;
use super::{state, until};
use crate::support::{PATIENCE, id, path};

const PROMPT: &str = "@ask Bash {\"command\":\"rm x\"}";

/// Starts a stack whose operator allows Bash.
async fn stack() -> Stack {
    Stack::with(StackOptions::default().api("--allowed-tools=Bash")).await
}

/// Returns the arguments of an execution that asks for Bash.
fn asking(execution: &str) -> Value {
    json!({"prompt": PROMPT, "executionId": execution, "permissionPrompts": "ask"})
}

/// Waits until an execution asks. Returns the question.
async fn question(raw: &mut RawClient, execution: &str) -> Value {
    harness::until("a question", PATIENCE, async || {
        let status = raw.call("status", json!({"executionId": execution})).await;
        status["questions"].get(0).cloned()
    })
    .await
}

#[tokio::test]
async fn mcp_a_question_is_in_the_results_and_the_tool_answer_answers_it() {
    let stack = stack().await;
    for version in VERSIONS {
        let mut raw = RawClient::open(&stack, version).await;
        for (answer, text) in [
            (
                json!({"decision": "allow"}),
                "allowed {\"command\":\"rm x\"}\n",
            ),
            (
                json!({"decision": "deny", "message": "keep x"}),
                "denied keep x\n",
            ),
        ] {
            let execution = id();
            raw.call("start", asking(&execution)).await;
            let asked = question(&mut raw, &execution).await;
            assert_eq!(asked["input"], json!({"command": "rm x"}), "{asked}");
            assert_eq!(asked["suggestions"], json!(["Bash(rm x)"]));
            // A call that waits returns soon, with the question as text too.
            let began = Instant::now();
            let params = json!({"name": "wait", "arguments": {"executionId": execution}});
            let reply = raw.ask("tools/call", params).await;
            assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
            let waited = reply.result();
            assert_eq!(
                waited["structuredContent"]["status"]["questions"][0]["questionId"],
                asked["questionId"]
            );
            let texts = waited["content"].to_string();
            assert!(texts.contains("1 question is open"), "{texts}");
            let mut arguments = answer.clone();
            arguments["executionId"] = execution.as_str().into();
            arguments["questionId"] = asked["questionId"].clone();
            let answered = raw.call("answer", arguments.clone()).await;
            assert_eq!(answered["decision"], answer["decision"], "{answered}");
            until(&stack, &execution, "completed").await;
            let output = raw.call("output", json!({"executionId": execution})).await;
            assert_eq!(output["text"], text);
            // The same answer again is fine; another one is not.
            let again = raw.call("answer", arguments.clone()).await;
            assert_eq!(again, answered);
            arguments["decision"] = match answer["decision"].as_str() {
                Some("allow") => "deny".into(),
                _ => "allow".into(),
            };
            arguments
                .as_object_mut()
                .expect("an object")
                .remove("message");
            let refused = raw.call("answer", arguments).await;
            assert_eq!(refused["reason"], "wrong_state", "{refused}");
            assert_eq!(refused["error"]["data"]["decision"], answer["decision"]);
        }
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_an_answer_with_wrong_arguments_is_refused() {
    let stack = stack().await;
    let mut raw = RawClient::open(&stack, LEGACY[3]).await;
    let execution = id();
    raw.call("start", asking(&execution)).await;
    let asked = question(&mut raw, &execution).await;
    for (change, reason) in [
        (json!({"decision": "maybe"}), "invalid_params"),
        (json!({"questionId": "7"}), "invalid_params"),
        (json!({"questionId": id()}), "not_found"),
        (json!({"executionId": id()}), "not_found"),
        (json!({"remember": ["Bash"]}), "invalid_body"),
        (json!({"other": 1}), "invalid_params"),
    ] {
        let mut arguments = json!({
            "executionId": execution, "questionId": asked["questionId"], "decision": "allow",
        });
        for (name, value) in change.as_object().expect("an object") {
            arguments[name] = value.clone();
        }
        let refused = raw.call("answer", arguments).await;
        assert_eq!(refused["reason"], reason, "{change}: {refused}");
    }
    assert_eq!(state(&stack, &execution).await, "running");
    raw.call(
        "control",
        json!({"executionId": execution, "action": "cancel"}),
    )
    .await;
    until(&stack, &execution, "cancelled").await;
    stack.assert_quiet();
}

/// The response stream of a call, read message by message.
struct Stream {
    response: Response,
    text: String,
}

impl Stream {
    /// Returns the next message.
    async fn next(&mut self) -> Value {
        loop {
            if let Some((line, rest)) = self.text.split_once('\n') {
                let data = line
                    .strip_prefix("data:")
                    .map(str::trim)
                    .unwrap_or_default();
                let message = serde_json::from_str(data).ok();
                self.text = rest.to_owned();
                if let Some(message) = message {
                    return message;
                }
                continue;
            }
            let chunk = timeout(PATIENCE, self.response.chunk()).await;
            let chunk = chunk.expect("a message in time").expect("a whole response");
            let chunk = chunk.expect("a message before the end");
            self.text.push_str(&String::from_utf8_lossy(&chunk));
        }
    }
}

/// A client whose user can be asked, and a call of `execute` that asks.
async fn execute(stack: &Stack, version: &'static str, execution: &str) -> (RawClient, Stream) {
    let mut raw = RawClient::new(stack, version);
    raw.capabilities = json!({"elicitation": {}});
    raw.begin().await;
    let params = json!({"name": "execute", "arguments": asking(execution)});
    let message = raw.message("tools/call", params);
    let headers = raw.headers(&message);
    let response = raw
        .start(Method::POST, &message.to_string(), &headers)
        .await;
    let text = String::new();
    (raw, Stream { response, text })
}

/// Sends the user's reaction to a form.
async fn react(raw: &RawClient, form: &Value, result: Value) {
    let message = json!({"jsonrpc": "2.0", "id": form["id"], "result": result});
    let reply = raw.send(&message.to_string(), &raw.headers(&message)).await;
    assert_eq!(reply.status, 202, "{}", reply.body);
}

#[tokio::test]
async fn mcp_the_user_of_a_client_with_elicitation_decides_with_a_form() {
    let stack = stack().await;
    for version in [LEGACY[2], LEGACY[3]] {
        for (result, text) in [
            (
                json!({"action": "accept", "content": {"decision": "allow"}}),
                "allowed {\"command\":\"rm x\"}\n",
            ),
            (
                json!({"action": "accept", "content": {"decision": "deny", "message": "keep"}}),
                "denied keep\n",
            ),
            (json!({"action": "decline"}), "denied"),
        ] {
            let execution = id();
            let (raw, mut stream) = execute(&stack, version, &execution).await;
            let form = stream.next().await;
            assert_eq!(form["method"], "elicitation/create", "{form}");
            let shown = form["params"]["message"].as_str().expect("a text");
            assert!(shown.contains("use Bash?\nrm x"), "{shown}");
            let schema = &form["params"]["requestedSchema"];
            assert_eq!(schema["required"], json!(["decision"]), "{schema}");
            react(&raw, &form, result).await;
            let answer = stream.next().await;
            let shown = answer["result"]["structuredContent"]["text"].as_str();
            let shown = shown.unwrap_or_else(|| panic!("{answer}"));
            assert!(shown.starts_with(text), "{shown}");
        }
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_a_form_is_withdrawn_when_somebody_else_answers_and_a_dismissed_one_decides_nothing() {
    let stack = stack().await;
    let http = stack.http();
    for dismisses in [false, true] {
        let execution = id();
        let (raw, mut stream) = execute(&stack, LEGACY[3], &execution).await;
        let form = stream.next().await;
        assert_eq!(form["method"], "elicitation/create", "{form}");
        if dismisses {
            react(&raw, &form, json!({"action": "cancel"})).await;
        }
        assert_eq!(state(&stack, &execution).await, "running");
        let (_, list) = http
            .get(&path(&execution, "/questions"))
            .await
            .expect("an answer");
        let question = list["open"][0]["questionId"].as_str().expect("a question");
        let question = path(&execution, &format!("/questions/{question}"));
        let request = http.request(Method::POST, &question);
        let request = request.header("content-type", "application/json");
        let answered = request.body(r#"{"decision": "allow"}"#).send().await;
        assert_eq!(answered.expect("an answer").status(), 200);
        let mut messages = vec![stream.next().await];
        while messages
            .last()
            .is_some_and(|message| message.get("result").is_none())
        {
            messages.push(stream.next().await);
        }
        let answer = messages.last().expect("an answer");
        assert_eq!(answer["result"]["structuredContent"]["state"], "completed");
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_a_form_works_over_stdio() {
    let stack = stack().await;
    let mut program = StdioClient::start(&stack, LEGACY[3]);
    let params = json!({
        "protocolVersion": LEGACY[3], "capabilities": {"elicitation": {"form": {}}},
        "clientInfo": {"name": "t", "version": "1"},
    });
    program.ask(1, "initialize", params).await;
    let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    program.write(&ready.to_string()).await;
    let params = json!({"name": "execute", "arguments": asking(&id())});
    program.send(2, "tools/call", params).await;
    let form = program.next().await.expect("a form");
    assert_eq!(form["method"], "elicitation/create", "{form}");
    let result = json!({"action": "accept", "content": {"decision": "allow"}});
    let reaction = json!({"jsonrpc": "2.0", "id": form["id"], "result": result});
    program.write(&reaction.to_string()).await;
    let answer = program.next().await.expect("an answer");
    assert_eq!(
        answer["result"]["structuredContent"]["state"], "completed",
        "{answer}"
    );
    program.leave().await;
    stack.assert_quiet();
}

/// From MCP 2026-07-28 on the server sends no requests: the call ends with the forms.
#[tokio::test]
async fn mcp_a_call_that_ends_with_forms_is_repeated_with_the_decisions() {
    let stack = stack().await;
    let mut raw = RawClient::new(&stack, MODERN);
    raw.capabilities = json!({"elicitation": {"form": {}}});
    let execution = id();
    let mut arguments = asking(&execution);
    arguments["prompt"] = format!("{PROMPT}\n@ask Bash {{\"command\":\"ls\"}}").into();
    let mut params = json!({"name": "execute", "arguments": arguments});
    let mut shown = Vec::new();
    for decision in ["allow", "deny"] {
        let reply = raw.ask("tools/call", params.clone()).await;
        let result = reply.result();
        assert_eq!(result["resultType"], "input_required", "{result}");
        let forms = result["inputRequests"].as_object().expect("forms");
        assert_eq!(forms.len(), 1, "{result}");
        let (question, form) = forms.iter().next().expect("a form");
        assert_eq!(form["method"], "elicitation/create", "{form}");
        shown.push(form["params"]["message"].to_string());
        assert_eq!(state(&stack, &execution).await, "running");
        let content = json!({"decision": decision});
        params["inputResponses"] = json!({question: {"action": "accept", "content": content}});
        params["requestState"] = result["requestState"].clone();
    }
    assert!(
        shown[0].contains("rm x") && shown[1].contains("ls"),
        "{shown:?}"
    );
    let reply = raw.ask("tools/call", params.clone()).await;
    let done = &reply.result()["structuredContent"];
    assert_eq!(done["state"], "completed", "{done}");
    let text = done["text"].as_str().expect("a text");
    let said: Vec<_> = text
        .split_whitespace()
        .filter(|word| word.ends_with("ed"))
        .collect();
    assert_eq!(said[..2], ["allowed", "denied"], "{text}");
    assert_eq!(stack.spawns(&execution), 1);
    for wrong in ["", "x", &format!("{execution} x")] {
        params["requestState"] = wrong.into();
        let reply = raw.ask("tools/call", params.clone()).await;
        let refused = &reply.result()["structuredContent"];
        assert_eq!(refused["reason"], "invalid_params", "{wrong}: {refused}");
    }
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_a_dismissed_form_is_not_sent_again_and_others_decide() {
    let stack = stack().await;
    let mut raw = RawClient::new(&stack, MODERN);
    raw.capabilities = json!({"elicitation": {}});
    let execution = id();
    let mut params = json!({"name": "execute", "arguments": asking(&execution)});
    let reply = raw.ask("tools/call", params.clone()).await;
    let result = reply.result();
    let forms = result["inputRequests"].as_object().expect("forms");
    let question = forms.keys().next().expect("a form").clone();
    params["inputResponses"] = json!({&question: {"action": "cancel"}});
    params["requestState"] = result["requestState"].clone();
    let decide = async {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let mut other = RawClient::open(&stack, LEGACY[3]).await;
        let arguments =
            json!({"executionId": execution, "questionId": question, "decision": "deny"});
        other.call("answer", arguments).await
    };
    let (reply, answered) = tokio::join!(raw.ask("tools/call", params), decide);
    assert_eq!(answered["decision"], "deny", "{answered}");
    assert_eq!(reply.result()["structuredContent"]["state"], "completed");
    stack.assert_quiet();
}

#[tokio::test]
async fn mcp_a_task_that_asks_requires_input() {
    let stack = stack().await;
    let mut raw = RawClient::new(&stack, MODERN);
    raw.capabilities = json!({"elicitation": {}, "extensions": {TASKS: {}}});
    let execution = id();
    let params = json!({"name": "execute", "arguments": asking(&execution)});
    let reply = raw.ask("tools/call", params).await;
    assert_eq!(
        reply.result()["taskId"],
        execution.as_str(),
        "{}",
        reply.body
    );
    let task = json!({"taskId": execution});
    let wait = async |raw: &mut RawClient, wanted: &str| loop {
        let reply = raw.ask("tasks/get", task.clone()).await;
        let result = reply.result();
        if result["status"] == wanted {
            return result.clone();
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    let asking = timeout(PATIENCE, wait(&mut raw, "input_required")).await;
    let asking = asking.expect("a task that asks");
    let forms = asking["inputRequests"].as_object().expect("forms");
    let question = forms.keys().next().expect("a form");
    let content = json!({"decision": "allow"});
    let responses = json!({question: {"action": "accept", "content": content}});
    let update = json!({"taskId": execution, "inputResponses": responses});
    let reply = raw.ask("tasks/update", update).await;
    assert!(reply.response().get("result").is_some(), "{}", reply.body);
    let done = timeout(PATIENCE, wait(&mut raw, "completed")).await;
    let done = done.expect("a task that ends");
    let text = done["result"]["content"][0]["text"]
        .as_str()
        .expect("a text");
    assert!(text.starts_with("allowed"), "{done}");
    stack.assert_quiet();
}

/// Responses that no request of the server has.
#[tokio::test]
async fn mcp_a_response_without_a_request_is_ignored() {
    let stack = stack().await;
    let mut raw = RawClient::open(&stack, LEGACY[3]).await;
    for response in [
        json!({"jsonrpc": "2.0", "id": 7, "result": {"action": "accept"}}),
        json!({"jsonrpc": "2.0", "id": "x", "result": {}}),
        json!({"jsonrpc": "2.0", "id": 0, "error": {"code": -1, "message": "no"}}),
    ] {
        let reply = raw
            .send(&response.to_string(), &raw.headers(&response))
            .await;
        assert_eq!(reply.status, 202, "{response}");
    }
    let listed = raw.call("list", json!({})).await;
    assert!(listed["executions"].is_array(), "{listed}");
    stack.assert_quiet();
}
