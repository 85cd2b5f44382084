//! S2: a prompt runs end to end, and the real CLI's Bash tool computes.

use std::time::Duration;

use cc_tests::composed::{Project, Use, case};
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(120);

#[tokio::test]
async fn s2_the_bash_tool_computes_168() {
    case(LIMIT, Use::Shared, async |_| {
        let project = Project::shared();
        for path in ["/ws", "/ws/mcp"] {
            let mut client = project.client_on(path).await;
            assert!(!client.session_id().is_empty());
            let (output, end) = client
                .run("python3 -c \"print('RESULT:::' + str(24 * 7))\"")
                .await;
            assert!(
                String::from_utf8_lossy(&output).contains("RESULT:::168"),
                "{path}: {end}"
            );
            assert_eq!(
                (&end["status"], &end["exitCode"]),
                (&json!("COMPLETED"), &json!(0))
            );
            client.finish().await;
        }
    })
    .await;
}

#[tokio::test]
async fn s2_a_prompt_of_plain_code_is_run() {
    case(LIMIT, Use::Shared, async |_| {
        let project = Project::shared();
        let mut client = project.client().await;
        let number = rand::random_range(1000..9999_u32);
        let (output, _) = client
            .run(&format!(
                "a = {number}\nfor i in range(3):\n    print(a * i)\n"
            ))
            .await;
        assert_eq!(
            String::from_utf8_lossy(&output),
            format!("0\n{number}\n{}", 2 * number)
        );
        client.finish().await;
    })
    .await;
}

#[tokio::test]
async fn text_arrives_while_it_is_generated() {
    case(LIMIT, Use::Shared, async |_| {
        let project = Project::shared();
        let mut client = project.client().await;
        let id = client.start("@tokens 100 50").await;
        client.wait_output(&id, 1).await;
        let early = client.updates(&id);
        assert!(
            early.iter().all(|update| update["endedAt"].is_null()),
            "{early:?}"
        );
        assert!(
            client.received(&id) < 400,
            "the first output arrived with {} bytes",
            client.received(&id)
        );
        let (output, _) = client.wait_terminal(&id).await;
        assert!(String::from_utf8_lossy(&output).ends_with("word100 "));
        client.finish().await;
    })
    .await;
}

#[tokio::test]
async fn the_output_can_be_fetched_over_http() {
    case(LIMIT, Use::Shared, async |_| {
        let project = Project::shared();
        let mut client = project.client().await;
        let (output, end) = client.run("print(6 * 7)").await;
        let id = end["executionId"].as_str().expect("an id");
        let stream = project.http().output(id, 0).await.expect("the output");
        stream.assert_whole("completed");
        assert_eq!(stream.bytes, output);
        client.finish().await;
    })
    .await;
}

#[tokio::test]
async fn s7_cancel_ends_a_running_tool() {
    case(LIMIT, Use::Shared, async |_| {
        let project = Project::shared();
        let mut client = project.client().await;
        let id = client.start("@say begun\n@bash sleep 300").await;
        client.wait_output(&id, 5).await;
        client.control("CANCEL", Some(&id)).await.expect("accepted");
        assert_eq!(client.wait_terminal(&id).await.1["status"], "CANCELLED");
        client.finish().await;
    })
    .await;
}
