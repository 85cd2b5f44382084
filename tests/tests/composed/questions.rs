//! Questions of the real CLI survive the deaths of their client and of the bridge. Another terminal
//! sees them with `ccb questions`, and each of them then ends in another way.

use std::time::Duration;

use cc_tests::{
    composed::{Plan, Project, Use, case, docker, docker::Ran},
    ws::Client,
};
use serde_json::{Value, json};

use crate::support::{assert_completed, assert_ended, id};

const LIMIT: Duration = Duration::from_secs(400);
/// The running time after which nobody needs to answer the question of [`End::Timeout`]. The bridge
/// is killed and started before.
const TIMEOUT_SECONDS: u64 = 90;
/// The folder of the tools.
const FOLDER: &str = "/workspace/default";

/// The end of an open question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Allow,
    Deny,
    /// Answered while the execution is paused.
    Pause,
    Cancel,
    Interrupt,
    /// Two answers at the same moment.
    Race,
    Timeout,
}

/// The time-out is the last one, because the case waits for it.
const ENDS: [End; 7] = [
    End::Allow,
    End::Deny,
    End::Pause,
    End::Cancel,
    End::Interrupt,
    End::Race,
    End::Timeout,
];

/// An execution that asks whether it may append to a file.
struct Asked {
    end: End,
    id: String,
    /// The name of the file, which only this execution has.
    mark: String,
    question: Value,
    /// The output that the killed client has received.
    received: Vec<u8>,
}

#[tokio::test]
async fn questions_survive_their_client_and_the_bridge_and_end_in_every_way() {
    case(LIMIT, Use::Own, async |case| {
        let project = Project::up("questions", &Plan::default()).await;
        case.step("the executions ask");
        let mut client = project.client().await;
        let mut all = Vec::new();
        for end in ENDS {
            all.push(Asked::start(&mut client, end).await);
        }
        for one in &mut all {
            one.question = client.wait_questions(&one.id, 1).await.remove(0);
            one.received = client.output(&one.id);
        }

        case.step("kill -9 of the client and of the bridge");
        client.vanish();
        project.act("kill", "bridge").await;
        project.act("start", "bridge").await;
        project.wait_answers(project.bridge(), "/health/live").await;

        case.step("another terminal sees the questions");
        let listed = ccb(&project, &["questions"]).await;
        assert_eq!(listed.code, Some(0), "{}", listed.stderr);
        let mut viewer = project.client().await;
        for one in &all {
            let is_listed = |line: &str| line.contains(&one.id) && line.contains(one.question_id());
            let text = listed.text();
            assert!(text.lines().any(is_listed), "{:?}: {text}", one.end);
            viewer.attach(&one.id, None).await.expect("attached");
            let again = viewer.wait_questions(&one.id, 1).await.remove(0);
            assert_eq!(again, one.question, "{:?}", one.end);
        }

        for one in &all {
            case.step(format!("{:?}", one.end));
            match one.end {
                End::Allow => one.allow(&project, &viewer).await,
                End::Deny => one.deny(&project, &viewer).await,
                End::Pause => one.pause(&project, &viewer).await,
                End::Cancel => one.cancel(&project, &viewer).await,
                End::Interrupt => one.interrupt(&project, &mut viewer).await,
                End::Race => one.race(&project, &mut viewer).await,
                End::Timeout => one.time_out(&project, &viewer).await,
            }
            // Each view has announced the question once, and its end once.
            let seen = viewer.questions(&one.id);
            assert_eq!(seen, std::slice::from_ref(&one.question));
            assert_eq!(viewer.closed_questions(&one.id).len(), 1);
        }
        let left = ccb(&project, &["questions"]).await;
        assert_eq!(left.text(), "");
        viewer.finish().await;
        project.assert_quiet().await;
    })
    .await;
}

/// Runs `ccb` in a container of its own.
async fn ccb(project: &Project, arguments: &[&str]) -> Ran {
    docker::ran(project.ccb(arguments), b"")
        .await
        .expect("ccb runs")
}

impl Asked {
    async fn start(client: &mut Client, end: End) -> Self {
        let mark = format!("question-{}", uuid::Uuid::new_v4().simple());
        let prompt = format!("@say before\n@bash echo ran >>{mark} && echo did-{mark}\n@say after");
        let mut body = json!({"permissionPrompts": "ask", "lane": mark});
        match end {
            End::Timeout => body["questionTimeoutSeconds"] = TIMEOUT_SECONDS.into(),
            End::Interrupt => body["input"] = "stream".into(),
            _ => {}
        }
        let status = client.execute(&prompt, body).await;
        Self {
            end,
            id: id(&status),
            mark,
            question: Value::Null,
            received: Vec::new(),
        }
    }

    fn question_id(&self) -> &str {
        self.question["questionId"].as_str().expect("an id")
    }

    /// Answers with `ccb` in another terminal.
    async fn answer(&self, project: &Project, answer: &[&str]) -> Ran {
        let words = [&["answer", self.id.as_str(), self.question_id()], answer].concat();
        ccb(project, &words).await
    }

    async fn assert_answers(&self, project: &Project, answer: &[&str]) {
        let ran = self.answer(project, answer).await;
        assert_eq!(ran.code, Some(0), "{answer:?}: {}", ran.stderr);
    }

    /// Asserts that an answer comes too late, with this explanation.
    async fn assert_late(&self, project: &Project, answer: &[&str], why: &str) {
        let ran = self.answer(project, answer).await;
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        assert!(ran.stderr.contains(why), "{}", ran.stderr);
    }

    /// Asserts how often the tool has run.
    async fn assert_ran(&self, project: &Project, times: usize) {
        let script = format!("cat {FOLDER}/{} 2>/dev/null || true", self.mark);
        let file = project.exec("claude-api", &["sh", "-c", &script]).await;
        assert_eq!(file.expect("a shell"), "ran\n".repeat(times));
    }

    /// Asserts how the view has seen the end of the question.
    async fn assert_closed(&self, viewer: &Client, by: &str, decision: Option<&str>) {
        let closed = viewer.wait_closed_question(&self.id, &self.question).await;
        assert_eq!(
            (&closed["closedBy"], &closed["decision"]),
            (&json!(by), &json!(decision)),
            "{closed}"
        );
    }

    /// Waits for the end of the execution. Returns its output, whose bytes the viewers have
    /// received once, and its status.
    async fn ended(&self, project: &Project, viewer: &Client) -> (String, Value) {
        let (output, end) = viewer.wait_terminal(&self.id).await;
        let kept = project.http().output(&self.id, 0).await.expect("an output");
        assert_eq!(kept.bytes, output, "{end}");
        assert!(output.starts_with(&self.received), "{end}");
        assert_eq!(
            (&end["questionsOpen"], &end["questions"]),
            (&json!(0), &json!([])),
            "{end}"
        );
        let text = String::from_utf8(output).expect("the client has checked that it is UTF-8");
        assert!(text.starts_with("before"), "{text}");
        (text, end)
    }

    /// Waits for the completion of an execution whose tool has run once.
    async fn assert_done(&self, project: &Project, viewer: &Client) {
        let (text, end) = self.ended(project, viewer).await;
        assert_completed(&end);
        assert_eq!(text.matches(&self.mark).count(), 1, "{text}");
        assert!(text.ends_with("after"), "{text}");
        self.assert_ran(project, 1).await;
    }

    async fn allow(&self, project: &Project, viewer: &Client) {
        let shown = ccb(project, &["questions", &self.id]).await;
        let command = format!("echo ran >>{}", self.mark);
        assert!(shown.text().contains(&command), "{}", shown.text());
        self.assert_ran(project, 0).await;
        self.assert_answers(project, &["allow"]).await;
        self.assert_closed(viewer, "answer", Some("allow")).await;
        self.assert_done(project, viewer).await;
        // The same answer again is fine, and another one is late.
        self.assert_answers(project, &["allow"]).await;
        self.assert_late(project, &["deny"], "somebody decided: allow")
            .await;
        self.assert_ran(project, 1).await;
    }

    async fn deny(&self, project: &Project, viewer: &Client) {
        self.assert_answers(project, &["deny", "--message", "not today"])
            .await;
        self.assert_closed(viewer, "answer", Some("deny")).await;
        let (text, end) = self.ended(project, viewer).await;
        assert_completed(&end);
        assert!(
            text.contains("not today") && text.ends_with("after"),
            "{text}"
        );
        self.assert_ran(project, 0).await;
    }

    async fn pause(&self, project: &Project, viewer: &Client) {
        let paused = ccb(project, &["pause", &self.id]).await;
        assert_eq!(paused.code, Some(0), "{}", paused.stderr);
        viewer.wait_status(&self.id, "PAUSED").await;
        self.assert_answers(project, &["allow"]).await;
        self.assert_closed(viewer, "answer", Some("allow")).await;
        let status = project.http().status(&self.id).await.expect("a status");
        assert_eq!(
            (&status["state"], &status["questionsOpen"]),
            (&json!("paused"), &json!(0)),
            "{status}"
        );
        self.assert_ran(project, 0).await;
        let resumed = ccb(project, &["resume", &self.id]).await;
        assert_eq!(resumed.code, Some(0), "{}", resumed.stderr);
        self.assert_done(project, viewer).await;
    }

    async fn cancel(&self, project: &Project, viewer: &Client) {
        let cancelled = ccb(project, &["cancel", &self.id]).await;
        assert_eq!(cancelled.code, Some(0), "{}", cancelled.stderr);
        let (_, end) = self.ended(project, viewer).await;
        assert_ended(&end, "CANCELLED", None);
        self.assert_closed(viewer, "end", None).await;
        self.assert_late(project, &["allow"], "the execution has ended")
            .await;
        self.assert_ran(project, 0).await;
        let processes = project.exec("claude-api", &["ps", "-eo", "args"]).await;
        let processes = processes.expect("ps");
        assert!(!processes.contains(&self.id), "{processes}");
    }

    async fn interrupt(&self, project: &Project, viewer: &mut Client) {
        let interrupt = json!({
            "type": "control_request", "request_id": "r1", "request": {"subtype": "interrupt"},
        });
        let next = json!({
            "type": "user", "message": {"role": "user", "content": "@say instead"},
            "parent_tool_use_id": null, "session_id": "x",
        });
        let data = format!("{interrupt}\n{next}\n");
        let input = json!({"executionId": self.id, "offset": 0, "data": data, "eof": true});
        viewer.call("input", input).await.expect("accepted");
        self.assert_closed(viewer, "withdrawn", None).await;
        let (text, end) = self.ended(project, viewer).await;
        assert_completed(&end);
        // The next message reaches the model, which answers it and not the first one.
        assert!(
            text.ends_with("instead") && !text.contains("after"),
            "{text}"
        );
        self.assert_late(project, &["allow"], "needs no answer any more")
            .await;
        self.assert_ran(project, 0).await;
    }

    async fn race(&self, project: &Project, viewer: &mut Client) {
        let mut other = project.client().await;
        let answer = |decision: &str| {
            json!({
                "executionId": self.id, "questionId": self.question_id(), "decision": decision,
            })
        };
        let (allowed, denied) = tokio::join!(
            viewer.call("answer", answer("allow")),
            other.call("answer", answer("deny")),
        );
        let (decision, error) = match (allowed, denied) {
            (Ok(_), Err(error)) => ("allow", error),
            (Err(error), Ok(_)) => ("deny", error),
            both => panic!("{both:?}"),
        };
        assert_eq!(
            (
                &error["code"],
                &error["data"]["closedBy"],
                &error["data"]["decision"]
            ),
            (&json!(-32008), &json!("answer"), &json!(decision)),
            "{error}"
        );
        self.assert_closed(viewer, "answer", Some(decision)).await;
        let (text, end) = self.ended(project, viewer).await;
        assert_completed(&end);
        assert!(text.ends_with("after"), "{text}");
        let times = usize::from(decision == "allow");
        self.assert_ran(project, times).await;
        other.finish().await;
    }

    async fn time_out(&self, project: &Project, viewer: &Client) {
        assert!(self.question["expiresAt"].is_string(), "{}", self.question);
        self.assert_closed(viewer, "timeout", Some("deny")).await;
        let (text, end) = self.ended(project, viewer).await;
        assert_completed(&end);
        assert!(
            text.contains("Nobody answered") && text.ends_with("after"),
            "{text}"
        );
        self.assert_late(project, &["allow"], "nobody answered in time")
            .await;
        self.assert_ran(project, 0).await;
    }
}
