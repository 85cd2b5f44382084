//! The lines of the client: which reach the CLI, in which form, and how often.

use serde_json::json;

use super::{Client, body, message, read_by_cli, request, response, stack};
use crate::support::{accept, assert_problem, ended, id, until};

#[tokio::test]
async fn an_execution_without_a_prompt_waits_for_the_first_message() {
    let stack = stack(&[]).await;
    let http = stack.http();
    let mut client = Client::start(&http, json!({})).await;
    let status = until(&http, &client.id, "waiting", |status| {
        status["activity"] == "waiting: input"
    })
    .await;
    assert_eq!(
        (&status["state"], &status["outputBytes"]),
        (&json!("running"), &json!(0))
    );
    client
        .send(&request(json!({"subtype": "initialize"})))
        .await;
    let initialized = client.until("control_response").await;
    assert_eq!(initialized["response"]["request_id"], "r", "{initialized}");
    client.send(&message("@say first")).await;
    client.until("idle").await;
    client.send(&message("@recall")).await;
    client.until("idle").await;
    client.end().await;
    assert_eq!(client.text().await, "firstturns=1 first=@say first");
    let end = ended(&http, &client.id).await;
    assert_eq!(
        (&end["state"], &end["reason"]),
        (&json!("completed"), &json!(null)),
        "{end}"
    );
    assert_eq!(stack.spawns(&client.id), 1);
    stack.assert_quiet();
}

#[tokio::test]
async fn a_prompt_of_the_body_is_the_first_message() {
    let stack = stack(&[]).await;
    let http = stack.http();
    let mut client = Client::start(&http, json!({"prompt": "@say first"})).await;
    client.until("idle").await;
    client.end().await;
    assert_eq!(client.text().await, "first");
    assert_eq!(ended(&http, &client.id).await["state"], "completed");
}

#[tokio::test]
async fn requests_of_the_cli_reach_the_client_and_its_answers_the_cli() {
    let stack = stack(&[]).await;
    let http = stack.http();
    let mut client = Client::start(&http, json!({"model": "recorded"})).await;
    let hooks = json!({"PreToolUse": [{"matcher": null, "hookCallbackIds": ["h7"]}]});
    let initialize = json!({"subtype": "initialize", "hooks": hooks, "sdkMcpServers": ["calc"]});
    let prompt = "@hook PreToolUse {\"tool_name\":\"Bash\"}\n\
        @ask Bash {\"command\":\"x\"}\n@mcp calc {\"method\":\"tools/list\"}";
    let lines = format!("{}{}", request(initialize), message(prompt));
    client.send(&lines).await;
    let hook = client.until("control_request").await;
    assert_eq!(hook["request"]["callback_id"], "h7", "{hook}");
    // A hook cannot grant.
    let allow = json!({"hookSpecificOutput": {"hookEventName": "PreToolUse",
        "permissionDecision": "allow"}});
    client.send(&response(&hook, allow)).await;
    let prompt = client.until("control_request").await;
    assert_eq!(
        prompt["request"]["input"],
        json!({"command": "x"}),
        "{prompt}"
    );
    let tool = |status: &serde_json::Value| status["activity"] == "waiting: Bash";
    until(&http, &client.id, "prompting", tool).await;
    client
        .send(&response(
            &prompt,
            json!({"behavior": "allow", "updatedInput": {"command": "y"}}),
        ))
        .await;
    let server = client.until("control_request").await;
    assert_eq!(server["request"]["server_name"], "calc", "{server}");
    let list = json!({"mcp_response": {"jsonrpc": "2.0", "id": 0, "result": {}}, "x": 1});
    client.send(&response(&server, list)).await;
    client.until("idle").await;
    client.end().await;
    let text = client.text().await;
    let ask = json!({"hookSpecificOutput": {"hookEventName": "PreToolUse",
        "permissionDecision": "ask"}});
    let list = json!({"mcp_response": {"jsonrpc": "2.0", "id": 0, "result": {}}});
    assert_eq!(
        text,
        format!("hook {ask}\nallowed {{\"command\":\"y\"}}\nmcp {list}\n")
    );
    assert_eq!(ended(&http, &client.id).await["state"], "completed");
    let written = std::fs::read(stack.path(&format!("home/.claude/recorded/{}.stdout", client.id)));
    let output = http.output(&client.id, 0).await.expect("an output");
    assert!(
        output.bytes == written.expect("a copy of stdout"),
        "the output was changed"
    );
    stack.assert_quiet();
}

#[tokio::test]
async fn a_repeated_request_delivers_an_answer_once() {
    let stack = stack(&[]).await;
    let http = stack.http();
    let mut client = Client::start(&http, json!({"model": "recorded"})).await;
    client.send(&message("@ask Bash {\"command\":\"x\"}")).await;
    let asked = client.until("control_request").await;
    let allow = response(
        &asked,
        json!({"behavior": "allow", "updatedInput": {"command": "x"}}),
    );
    let before = client.offset;
    client.send(&allow).await;
    for _ in 0..3 {
        client.offset = before;
        client.send(&allow).await;
    }
    // Another answer to the same request, at the next offset, does not reach the CLI.
    client
        .send(&response(
            &asked,
            json!({"behavior": "deny", "message": "late"}),
        ))
        .await;
    client.until("idle").await;
    client.end().await;
    assert_eq!(client.text().await, "allowed {\"command\":\"x\"}\n");
    let end = ended(&http, &client.id).await;
    assert_eq!(end["state"], "completed", "{end}");
    let lines = read_by_cli(&stack, &client.id);
    let answers = lines
        .iter()
        .filter(|line| line["type"] == "control_response");
    assert_eq!(answers.count(), 1, "{lines:?}");
    stack.assert_quiet();
}

#[tokio::test]
async fn two_answers_in_one_call_are_one_answer() {
    let stack = stack(&[]).await;
    let http = stack.http();
    let mut client = Client::start(&http, json!({"model": "recorded"})).await;
    client.send(&message("@ask Bash {\"command\":\"x\"}")).await;
    let asked = client.until("control_request").await;
    let allow = response(
        &asked,
        json!({"behavior": "allow", "updatedInput": {"command": "x"}}),
    );
    let deny = response(&asked, json!({"behavior": "deny", "message": "late"}));
    client.send(&format!("{allow}{allow}{deny}")).await;
    client.until("idle").await;
    client.end().await;
    assert_eq!(client.text().await, "allowed {\"command\":\"x\"}\n");
    ended(&http, &client.id).await;
    let lines = read_by_cli(&stack, &client.id);
    let answers = lines
        .iter()
        .filter(|line| line["type"] == "control_response");
    assert_eq!(answers.count(), 1, "{lines:?}");
}

#[tokio::test]
async fn a_refused_line_takes_nothing_and_the_stream_stays_usable() {
    let stack = stack(&[]).await;
    let http = stack.http();
    let mut client = Client::start(&http, json!({})).await;
    let good = message("@say works");
    for (line, code, kind) in [
        (
            request(json!({"subtype": "start_shell_task"})),
            403,
            "control-request-not-allowed",
        ),
        (
            request(json!({"subtype": "set_permission_mode", "mode": "bypassPermissions"})),
            403,
            "control-request-not-allowed",
        ),
        (
            request(json!({"subtype": "set_permission_mode", "mode": "acceptEdits"})),
            403,
            "control-request-not-allowed",
        ),
        (
            request(json!({"subtype": "set_model", "model": 7})),
            400,
            "invalid-body",
        ),
        (
            "{\"type\":\"control_response\"}\n".to_owned(),
            400,
            "invalid-body",
        ),
        ("{\"type\":\"assistant\"}\n".to_owned(), 400, "invalid-body"),
    ] {
        // Alone, and behind a line that would be accepted alone.
        for lines in [line.clone(), format!("{good}{line}")] {
            let answer = client.offer(&lines).await;
            assert_problem(&answer, code, kind, &line);
            assert_eq!(answer.2["accepted"], 0, "{line}");
        }
    }
    client.send(&good).await;
    client.until("idle").await;
    client.end().await;
    assert_eq!(client.text().await, "works");
    assert_eq!(ended(&http, &client.id).await["state"], "completed");
    stack.assert_quiet();
}

#[tokio::test]
async fn a_prompt_beyond_the_ceiling_is_denied_without_the_client() {
    let stack = stack(&[]).await;
    let http = stack.http();
    let mut client = Client::start(&http, json!({})).await;
    client
        .send(&message("@ask Edit {\"file\":\"x\"}\n@say after"))
        .await;
    client.until("idle").await;
    client.end().await;
    let text = client.text().await;
    assert!(
        text.starts_with("denied The operator denies this"),
        "{text}"
    );
    assert!(text.ends_with("after"), "{text}");
    assert_eq!(ended(&http, &client.id).await["state"], "completed");
}

#[tokio::test]
async fn an_interrupt_ends_the_turn_and_the_next_one_works() {
    let stack = stack(&[]).await;
    let http = stack.http();
    let mut client = Client::start(&http, json!({})).await;
    client
        .send(&message("@ask Bash {\"command\":\"x\"}\n@say never"))
        .await;
    let asked = client.until("control_request").await;
    client.send(&request(json!({"subtype": "interrupt"}))).await;
    let withdrawn = client.until("control_cancel_request").await;
    assert_eq!(withdrawn["request_id"], asked["request_id"]);
    client.until("idle").await;
    // Too late: the line is accepted, but the CLI does not wait for it.
    client
        .send(&response(&asked, json!({"behavior": "allow"})))
        .await;
    client
        .send(&message("@say begun\n@listen 60\n@say never"))
        .await;
    client.until("stream_event").await;
    client.send(&request(json!({"subtype": "interrupt"}))).await;
    client.until("idle").await;
    client.send(&message("@say again")).await;
    client.until("idle").await;
    client.end().await;
    assert_eq!(client.text().await, "begunagain");
    assert_eq!(ended(&http, &client.id).await["state"], "completed");
}

#[tokio::test]
async fn end_session_ends_the_execution() {
    let stack = stack(&[]).await;
    let http = stack.http();
    let mut client = Client::start(&http, json!({})).await;
    client.send(&message("@say x")).await;
    client.until("idle").await;
    client
        .send(&request(json!({"subtype": "end_session"})))
        .await;
    let end = ended(&http, &client.id).await;
    assert_eq!(end["state"], "completed", "{end}");
}

#[tokio::test]
async fn the_status_has_the_structured_output_of_the_last_result() {
    let stack = stack(&[]).await;
    let http = stack.http();
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}});
    let more = json!({"jsonSchema": schema, "prompt": "@say x\n@structured {\"n\":4}"});
    let mut client = Client::start(&http, more).await;
    client.until("idle").await;
    let status = until(&http, &client.id, "structured", |status| {
        status["structuredOutput"] == json!({"n": 4})
    })
    .await;
    assert_eq!(status["activity"], "waiting: input", "{status}");
    client.end().await;
    let end = ended(&http, &client.id).await;
    assert_eq!(end["structuredOutput"], json!({"n": 4}), "{end}");
}

#[tokio::test]
async fn only_a_stream_of_events_can_have_its_prompts_answered_by_the_client() {
    let stack = stack(&[]).await;
    let http = stack.http();
    for (name, value) in [("input", "none"), ("format", "text")] {
        let answer = http
            .put(&id(), &body(json!({name: value, "prompt": "x"})))
            .await;
        let (code, problem) = answer.expect("an answer");
        assert_eq!(
            (code.as_u16(), &problem["type"]),
            (400, &json!("invalid-body")),
            "{name}"
        );
    }
    let (code, problem) = http
        .put(&id(), &json!({"permissionPrompts": "ask"}))
        .await
        .expect("an answer");
    assert_eq!(
        (code.as_u16(), &problem["type"]),
        (400, &json!("invalid-body"))
    );
    // Without "client", a response is no line of input.
    let plain = id();
    accept(
        &http,
        &plain,
        "@say x",
        json!({"input": "stream", "format": "events"}),
    )
    .await;
    let client = Client::follow(&http, plain).await;
    let answer = client
        .offer(&response(&json!({"request_id": "r"}), json!({})))
        .await;
    assert_problem(&answer, 400, "invalid-body", "a response");
    client.end().await;
    assert_eq!(ended(&http, &client.id).await["state"], "completed");
}
