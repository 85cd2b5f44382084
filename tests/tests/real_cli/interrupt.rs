//! Both services with the real CLI: a turn that a client interrupts, and the next turn of the same
//! execution.

use serde_json::{Value, json};

use super::pause::World;

const WORDS: usize = 2000;

fn line(message: &Value) -> String {
    format!("{message}\n")
}

#[tokio::test]
async fn an_interrupt_ends_the_turn_and_the_next_message_is_answered() {
    let world = World::new(&[]).await;
    let mut client = world.client().await;
    // The answer takes 40 s.
    let body = json!({"prompt": format!("@tokens {WORDS} 20"), "input": "stream"});
    let status = client.call("execute", body).await.expect("accepted");
    let id = status["executionId"].as_str().expect("an id").to_owned();
    client.wait_output(&id, 200).await;
    let interrupt =
        json!({"type": "control_request", "request_id": "r1", "request": {"subtype": "interrupt"}});
    let next = json!({
        "type": "user", "message": {"role": "user", "content": "@say answered after it"},
        "parent_tool_use_id": null, "session_id": "x",
    });
    let data = line(&interrupt) + &line(&next);
    let input = json!({"executionId": id, "offset": 0, "data": data, "eof": true});
    client.call("input", input).await.expect("accepted");
    let (output, end) = client.wait_terminal(&id).await;
    let output = String::from_utf8_lossy(&output);
    assert_eq!(
        (&end["status"], &end["exitCode"]),
        (&json!("COMPLETED"), &json!(0)),
        "{end}"
    );
    assert!(output.starts_with("word1 word2 "), "{output}");
    assert!(output.ends_with("answered after it"), "{output}");
    let words = output.matches("word").count();
    assert!(
        words < WORDS,
        "all {words} words arrived: nothing was interrupted"
    );
    client.finish().await;
    world.end();
}
