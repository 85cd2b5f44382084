//! Conversations of a client over several turns: their results, their history, and their idle time.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::driver::Session;
use super::reply;
use super::working::{complete, start, turn, world};

/// A picture of one pixel.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAA\
                   AABJRU5ErkJggg==";

#[tokio::test]
async fn an_answer_of_a_schema_is_in_the_status() {
    let world = world("", &[]).await;
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}},
        "required": ["n"]});
    let body = json!({"jsonSchema": schema, "prompt": "@tool StructuredOutput {\"n\":4}"});
    let mut session = start(&world, &body, reply::deny()).await;
    session.idle(0).await.expect("a result");
    let status = complete(&mut session).await;
    assert_eq!(status["structuredOutput"], json!({"n": 4}), "{status}");
    world.end();
}

#[tokio::test]
async fn a_fork_keeps_the_history_and_has_another_conversation() {
    let world = world("", &[]).await;
    let mut first = start(&world, &json!({}), reply::deny()).await;
    turn(&mut first, "MARK-first\n@say one").await;
    let status = complete(&mut first).await;
    let conversation = &status["conversation"];

    let body = json!({"conversation": conversation, "forkConversation": true});
    let mut fork = start(&world, &body, reply::deny()).await;
    let result = turn(&mut fork, "MARK-fork\n@marks").await;
    assert_eq!(result["result"], "MARK-first MARK-fork");
    let status = complete(&mut fork).await;
    assert_ne!(&status["conversation"], conversation);
    assert_eq!(result["session_id"], status["conversation"]);

    let body = json!({"conversation": conversation});
    let mut again = start(&world, &body, reply::deny()).await;
    let result = turn(&mut again, "@marks").await;
    assert_eq!(
        result["result"], "MARK-first",
        "the fork changed the conversation"
    );
    complete(&mut again).await;
    world.end();
}

#[tokio::test]
async fn a_conversation_is_resumed_at_an_earlier_message() {
    let world = world("", &[]).await;
    let mut first = start(&world, &json!({}), reply::deny()).await;
    turn(&mut first, "MARK-first\n@say one").await;
    let mut lines = first.events.iter().rev();
    let answer = lines.find(|line| line["type"] == "assistant");
    let uuid = answer.expect("an answer")["uuid"].clone();
    turn(&mut first, "MARK-second\n@say two").await;
    let status = complete(&mut first).await;

    let body = json!({"conversation": status["conversation"], "resumeAt": uuid});
    let mut second = start(&world, &body, reply::deny()).await;
    let result = turn(&mut second, "@marks").await;
    assert_eq!(result["result"], "MARK-first");
    complete(&mut second).await;
    world.end();
}

#[tokio::test]
async fn a_message_has_a_picture() {
    let world = world("", &[]).await;
    let source = json!({"type": "base64", "media_type": "image/png", "data": PNG});
    let content = json!([{"type": "image", "source": source},
        {"type": "text", "text": "@say seen"}]);
    let mut session = start(&world, &json!({}), reply::deny()).await;
    let result = turn(&mut session, content).await;
    assert_eq!(result["result"], "seen", "{result}");
    assert!(
        !session.text().contains("could not be processed"),
        "{}",
        session.text()
    );
    complete(&mut session).await;
    world.end();
}

/// Waits until the status says that the CLI waits for a message.
async fn waits_for_input(session: &Session) -> Value {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let status = session.status().await;
        if status["activity"] == "waiting: input" {
            return status;
        }
        assert!(Instant::now() < end, "{status}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An hour between two messages, and the end after `inputIdleSeconds`, at a scale of 1 to 3600.
#[tokio::test]
async fn an_execution_that_waits_for_a_message_ends_after_its_idle_time() {
    let idle = [
        ("CLAUDE_API_IDLE_TIMEOUT_MS", "2000"),
        ("CLAUDE_API_STALLED_MS", "2000"),
    ];
    let world = world("", &idle).await;
    let body = json!({"inputIdleSeconds": 5});
    let mut session = start(&world, &body, reply::deny()).await;
    turn(&mut session, "@say one").await;
    let status = waits_for_input(&session).await;
    assert_eq!(status["state"], "running");
    // Longer than the idle timeout, which stands, and shorter than the time for a message.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let result = turn(&mut session, "@say two").await;
    assert_eq!(result["result"], "two");
    let begin = Instant::now();
    let status = session.ended().await;
    assert_eq!(status["state"], "completed", "{status}");
    let waited = begin.elapsed();
    assert!(waited > Duration::from_millis(4500), "{waited:?}");
    world.end();
}

#[tokio::test]
async fn an_execution_that_waits_for_a_message_leaves_its_permit() {
    let world = world("", &[("CLAUDE_API_RUNNING_EXECUTIONS", "1")]).await;
    let mut idle = start(&world, &json!({}), reply::deny()).await;
    turn(&mut idle, "@say one").await;
    waits_for_input(&idle).await;
    let mut other = start(&world, &json!({}), reply::deny()).await;
    let result = turn(&mut other, "@say meanwhile").await;
    assert_eq!(result["result"], "meanwhile");
    complete(&mut other).await;
    let result = turn(&mut idle, "@say two").await;
    assert_eq!(result["result"], "two");
    complete(&mut idle).await;
    world.end();
}
