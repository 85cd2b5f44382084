//! A full volume of the spool.

use std::time::Duration;

use cc_tests::composed::{Plan, Project, Use, case, until};
use reqwest::StatusCode;
use serde_json::json;

use super::{LIMIT, words};
use crate::support::{assert_completed, run};

/// A small disk of its own for the spool.
const SMALL: &str = "volumes:\n  spool:\n    driver_opts:\n      type: tmpfs\n      \
                     device: tmpfs\n      o: \"size=32m,mode=1777\"\n";

#[tokio::test]
async fn a_full_spool_refuses_executions_and_gaps_replace_lost_output() {
    case(LIMIT, Use::Own, async |case| {
        let project = Project::up("disk", &Plan::default().overlay(SMALL)).await;
        let mut client = project.client().await;
        assert_eq!(run(&mut client, "print(6 * 7)").await, "42");
        let (prompt, text) = words(300, 40);
        let id = client.start(&prompt).await;
        client.wait_output(&id, 200).await;

        case.step("full");
        // Writes until nothing more fits: `cat` is meant to fail.
        let fill = "cat /dev/zero >/spool/ballast 2>/dev/null; df /spool | tail -n 1";
        let full = project
            .exec("claude-api", &["sh", "-c", fill])
            .await
            .expect("df");
        assert!(full.contains("100%"), "{full}");
        let status = project.http().status(&id).await.expect("a status");
        assert!(
            status["endedAt"].is_null(),
            "the disk was full too late: {status}"
        );
        let new = json!({"prompt": "print(1)"});
        let refused = client
            .call("execute", new.clone())
            .await
            .expect_err("no room for it");
        assert_eq!(
            (&refused["code"], &refused["data"]["reason"]),
            (&json!(-32005), &json!("spool_unwritable")),
            "{refused}"
        );
        let (code, problem) = project
            .http()
            .put(&uuid::Uuid::new_v4().to_string(), &new)
            .await
            .expect("an answer");
        assert_eq!(code, StatusCode::INSUFFICIENT_STORAGE, "{problem}");
        let (code, ready) = until("not ready", Duration::from_secs(60), async || {
            let answer = project.http().get("/health/ready").await.ok()?;
            (answer.0 != StatusCode::OK).then_some(answer)
        })
        .await;
        assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
        assert!(
            ready["reasons"].to_string().contains("room")
                || ready["reasons"].to_string().contains("spool"),
            "{ready}"
        );

        case.step("the running execution ends, and its gaps name the missing output");
        let (output, end) = client.wait_terminal(&id).await;
        assert_completed(&end);
        assert_eq!(end["outputBytes"], text.len());
        assert_eq!(
            end["crc32"],
            format!("{:08x}", crc32fast::hash(text.as_bytes()))
        );
        let missing: u64 = client.gaps(&id).iter().map(|(from, to)| to - from).sum();
        assert_eq!(
            output.len() as u64 + missing,
            text.len() as u64,
            "{:?}",
            client.gaps(&id)
        );

        case.step("room again");
        project
            .exec("claude-api", &["rm", "/spool/ballast"])
            .await
            .expect("removed");
        project.wait_answers(project.api(), "/health/ready").await;
        assert_eq!(run(&mut client, "print(7 * 7)").await, "49");
        assert_eq!(
            project.inspect("claude-api", "{{.RestartCount}}").await,
            "0"
        );
        client.finish().await;
    })
    .await;
}
