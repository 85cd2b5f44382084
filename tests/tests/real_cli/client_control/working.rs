//! Features of the control protocol: answers to prompts, hooks, servers of the client, requests.

use std::fs;

use serde_json::{Value, json};

use super::driver::{Reply, Session};
use super::{reply, rules::task};
use crate::pause::World;

/// Starts both services with an operator who allows these tools, up to the mode `acceptEdits`.
pub(super) async fn world(tools: &str, more: &[(&str, &str)]) -> World {
    let mut operator = vec![
        ("CLAUDE_API_ALLOWED_TOOLS", ""),
        ("CLAUDE_API_TOOLS_CEILING", tools),
        ("CLAUDE_API_PERMISSION_CEILING", "acceptEdits"),
    ];
    operator.extend(more);
    World::new(&operator).await
}

/// Starts an execution. Panics if it is refused.
pub(super) async fn start(world: &World, body: &Value, reply: Reply) -> Session {
    let session = Session::start(&world.stack.http(), body, reply).await;
    session.unwrap_or_else(|refusal| panic!("{refusal:?}"))
}

/// Sends a prompt and returns the `result` of its turn.
pub(super) async fn turn(session: &mut Session, prompt: impl Into<Value>) -> Value {
    let result = session.turn(prompt).await.expect("a message is accepted");
    result.unwrap_or_else(|| panic!("no result: {}", session.text()))
}

/// Asserts that the execution ends as completed.
pub(super) async fn complete(session: &mut Session) -> Value {
    let status = session.finish().await;
    assert_eq!(status["state"], "completed", "{status}: {}", session.text());
    status
}

#[tokio::test]
async fn an_answer_changes_the_input_or_denies() {
    let world = world("Bash", &[]).await;
    let made = world.path("workspaces/default/made");
    let other = json!({"updatedInput": {"command": "echo changed > made", "description": "d"}});
    let mut session = start(&world, &json!({}), reply::allow_with(other)).await;
    turn(&mut session, "@bash echo first > made").await;
    complete(&mut session).await;
    assert_eq!(fs::read_to_string(&made).expect("a file"), "changed\n");
    fs::remove_file(&made).expect("removed");

    let mut session = start(&world, &json!({}), reply::deny()).await;
    let result = turn(&mut session, "@bash echo first > made").await;
    assert_eq!(result["permission_denials"][0]["tool_name"], "Bash");
    let text = result["result"].as_str().expect("a text");
    assert!(text.contains("the client denies"), "{text}");
    complete(&mut session).await;
    assert!(!made.exists());
    world.end();
}

/// Returns the names of the events of the hooks that the CLI called.
fn hook_events(session: &Session) -> Vec<&str> {
    let requests = session.events.iter().map(|line| &line["request"]);
    let calls = requests.filter(|request| request["subtype"] == "hook_callback");
    calls
        .filter_map(|call| call["input"]["hook_event_name"].as_str())
        .collect()
}

#[tokio::test]
async fn hooks_deny_before_a_tool_and_are_called_after_it() {
    let world = world("Bash", &[]).await;
    let hooks = |event: &str| {
        json!({"subtype": "initialize",
            "hooks": {event: [{"matcher": "Bash", "hookCallbackIds": ["h"]}]}})
    };
    let deny = json!({"hookSpecificOutput": {"hookEventName": "PreToolUse",
        "permissionDecision": "deny", "permissionDecisionReason": "the hook denies"}});
    let mut session = start(&world, &json!({}), reply::hook_and_allow(deny)).await;
    let answer = session.request(hooks("PreToolUse")).await.expect("allowed");
    assert_eq!(answer["subtype"], "success", "{answer}");
    let result = turn(&mut session, "@bash echo x > made").await;
    assert!(
        result["result"].to_string().contains("the hook denies"),
        "{result}"
    );
    assert_eq!(hook_events(&session), ["PreToolUse"]);
    complete(&mut session).await;
    assert!(!world.path("workspaces/default/made").exists());

    let mut session = start(&world, &json!({}), reply::hook_and_allow(json!({}))).await;
    session
        .request(hooks("PostToolUse"))
        .await
        .expect("allowed");
    turn(&mut session, "@bash echo x > made").await;
    assert_eq!(hook_events(&session), ["PostToolUse"]);
    complete(&mut session).await;
    assert!(world.path("workspaces/default/made").exists());
    world.end();
}

#[tokio::test]
async fn the_model_calls_a_tool_of_the_client() {
    let world = world("", &[]).await;
    let prompt = "@tool mcp__calc__add {\"a\":2,\"b\":3}";
    let mut session = start(&world, &json!({}), reply::allow()).await;
    let initialize = json!({"subtype": "initialize", "sdkMcpServers": ["calc"]});
    session.request(initialize).await.expect("allowed");
    let result = turn(&mut session, prompt).await;
    assert_eq!(result["result"], "the sum is 5");
    complete(&mut session).await;

    // With the server in the body, its tools can be allowed from the start.
    let body = json!({"mcpServers": {"calc": {"type": "sdk"}},
        "allowedTools": ["mcp__calc__add"]});
    let mut session = start(&world, &body, reply::deny()).await;
    let result = turn(&mut session, prompt).await;
    assert_eq!(result["result"], "the sum is 5");
    complete(&mut session).await;
    world.end();
}

#[tokio::test]
async fn a_mode_within_the_ceiling_is_set() {
    let world = world("Write", &[]).await;
    let write = "@tool Write {\"file_path\":\"made\",\"content\":\"x\"}";
    let mut session = start(&world, &json!({}), reply::deny()).await;
    turn(&mut session, write).await;
    let made = world.path("workspaces/default/made");
    assert!(!made.exists());
    let mode = json!({"subtype": "set_permission_mode", "mode": "acceptEdits"});
    let answer = session.request(mode).await.expect("allowed");
    assert_eq!(answer["response"]["mode"], "acceptEdits", "{answer}");
    turn(&mut session, write).await;
    assert!(made.exists());
    complete(&mut session).await;
    world.end();
}

#[tokio::test]
async fn an_interrupt_ends_the_turn_and_leaves_the_session_usable() {
    let world = world("Bash", &[]).await;
    let body = json!({"prompt": "@tokens 100 50"});
    let mut session = start(&world, &body, reply::deny()).await;
    session.until(|line| line["type"] == "stream_event").await;
    let answer = session
        .request(json!({"subtype": "interrupt"}))
        .await
        .expect("allowed");
    assert_eq!(answer["subtype"], "success", "{answer}");
    let result = session.idle(0).await.expect("a result");
    assert_eq!(result["subtype"], "error_during_execution", "{result}");
    // The CLI sends both prompts in one message, so the model follows both.
    let result = turn(&mut session, "@say again").await;
    let text = result["result"].as_str().expect("a text");
    assert!(text.ends_with("again"), "{text}");
    complete(&mut session).await;
    world.end();
}

#[tokio::test]
async fn an_agent_within_the_ceiling_works() {
    let world = world("Bash", &[]).await;
    let agent = json!({"description": "d", "prompt": "p", "tools": ["Bash"], "maxTurns": 3});
    let body = json!({"agents": {"general-purpose": agent}});
    let mut session = start(&world, &body, reply::allow()).await;
    turn(&mut session, task("@bash touch made")).await;
    complete(&mut session).await;
    assert!(
        world.path("workspaces/default/made").exists(),
        "{}",
        session.text()
    );
    world.end();
}
