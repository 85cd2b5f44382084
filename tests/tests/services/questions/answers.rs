//! Answers: allow, deny, a choice, a plan, two at once, and those that are refused.

use reqwest::Method;
use serde_json::{Value, json};

use super::{answer, ask, list, output, question, question_path, stack, start};
use crate::support::{accept, assert_problem, ended, id, path, send, until};

#[tokio::test]
async fn an_allowed_tool_runs_with_its_input_and_every_byte_is_shown_once() {
    let stack = stack(&[]).await;
    let http = stack.http();
    let execution = ask(&http, json!({})).await;
    let asked = question(&http, &execution).await;
    assert_eq!(
        (&asked["kind"], &asked["tool"], &asked["title"]),
        (&json!("permission"), &json!("Bash"), &json!("rm x"))
    );
    let status = http.status(&execution).await.expect("a status");
    assert_eq!(
        (&status["state"], &status["activity"]),
        (&json!("running"), &json!("waiting: Bash")),
        "{status}"
    );
    let (_, whole) = http
        .get(&question_path(&execution, &asked))
        .await
        .expect("an answer");
    assert_eq!(whole["input"], json!({"command": "rm x"}), "{whole}");
    assert_eq!(whole["suggestions"], json!(["Bash(rm x)"]));
    assert_eq!(whole["closed"], Value::Null);
    let allow = json!({"decision": "allow"});
    let (code, _, answered) = answer(&http, &execution, &asked, allow.clone()).await;
    assert_eq!(
        (code, &answered["decision"]),
        (200, &json!("allow")),
        "{answered}"
    );
    let end = ended(&http, &execution).await;
    assert_eq!(
        (&end["state"], &end["questionsOpen"], &end["questions"]),
        (&json!("completed"), &json!(0), &json!([])),
        "{end}"
    );
    let text = output(&http, &execution).await;
    assert_eq!(text, "before\n\nallowed {\"command\":\"rm x\"}\nafter");
    // The same answer again is fine, also after the end; another one is not.
    let (code, _, again) = answer(&http, &execution, &asked, allow).await;
    assert_eq!((code, &again), (200, &answered));
    let other = answer(&http, &execution, &asked, json!({"decision": "deny"})).await;
    assert_problem(&other, 409, "wrong-state", "another answer");
    assert_eq!(
        (&other.2["closedBy"], &other.2["decision"]),
        (&json!("answer"), &json!("allow"))
    );
}

#[tokio::test]
async fn a_denial_reaches_the_model_with_its_message() {
    let stack = stack(&[]).await;
    let http = stack.http();
    let execution = ask(&http, json!({})).await;
    let asked = question(&http, &execution).await;
    let deny = json!({"decision": "deny", "message": "keep x"});
    let (code, _, answered) = answer(&http, &execution, &asked, deny).await;
    assert_eq!(code, 200, "{answered}");
    ended(&http, &execution).await;
    assert_eq!(
        output(&http, &execution).await,
        "before\n\ndenied keep x\nafter"
    );
}

#[tokio::test]
async fn a_denial_may_end_the_turn() {
    let stack = stack(&[]).await;
    let http = stack.http();
    let execution = ask(&http, json!({})).await;
    let asked = question(&http, &execution).await;
    let deny = json!({"decision": "deny", "interrupt": true});
    answer(&http, &execution, &asked, deny).await;
    let end = ended(&http, &execution).await;
    assert_eq!(end["state"], "failed", "{end}");
    assert_eq!(output(&http, &execution).await, "before");
}

#[tokio::test]
async fn of_two_answers_at_once_one_wins_and_the_other_learns_which() {
    let stack = stack(&[]).await;
    let http = stack.http();
    for _ in 0..8 {
        let execution = ask(&http, json!({})).await;
        let asked = question(&http, &execution).await;
        let (allowed, denied) = tokio::join!(
            answer(&http, &execution, &asked, json!({"decision": "allow"})),
            answer(&http, &execution, &asked, json!({"decision": "deny"})),
        );
        let (winner, loser, decision) = match (allowed.0, denied.0) {
            (200, 409) => (allowed, denied, "allow"),
            (409, 200) => (denied, allowed, "deny"),
            codes => panic!("{codes:?}"),
        };
        assert_eq!(winner.2["decision"], decision);
        assert_eq!(loser.2["decision"], decision, "{}", loser.2);
        ended(&http, &execution).await;
        let text = output(&http, &execution).await;
        let allowed = text.contains("allowed");
        assert_eq!(allowed, decision == "allow", "{text}");
    }
}

/// The service has the newest 64 closed questions in memory, and all on disk.
#[tokio::test]
async fn an_answer_to_the_oldest_of_many_questions_gets_the_same_result_again() {
    let stack = stack(&[]).await;
    let http = stack.http();
    let prompt = "@ask Bash {\"command\":\"rm x\"}\n".repeat(66);
    let execution = start(&http, &prompt, json!({})).await;
    let allow = json!({"decision": "allow"});
    let first = question(&http, &execution).await;
    let (code, _, answered) = answer(&http, &execution, &first, allow.clone()).await;
    assert_eq!(code, 200, "{answered}");
    let mut last = first["questionId"].clone();
    for _ in 0..65 {
        let status = until(&http, &execution, "asking again", |status| {
            status["questionsOpen"] == 1 && status["questions"][0]["questionId"] != last
        })
        .await;
        let open = &status["questions"][0];
        last = open["questionId"].clone();
        let (code, _, body) = answer(&http, &execution, open, allow.clone()).await;
        assert_eq!(code, 200, "{body}");
        if list(&http, &execution).await["closed"][0]["questionId"] != first["questionId"] {
            break;
        }
    }
    let again = async || answer(&http, &execution, &first, allow.clone()).await;
    let (code, _, repeated) = again().await;
    assert_eq!((code, &repeated), (200, &answered), "while it runs");
    let other = answer(&http, &execution, &first, json!({"decision": "deny"})).await;
    assert_problem(&other, 409, "wrong-state", "another answer");
    let (_, whole) = http
        .get(&question_path(&execution, &first))
        .await
        .expect("an answer");
    assert_eq!(whole["closed"]["closedBy"], "answer", "{whole}");
    send(&http, Method::POST, &path(&execution, "/cancel"), "").await;
    ended(&http, &execution).await;
    let (code, _, repeated) = again().await;
    assert_eq!((code, &repeated), (200, &answered), "after the end");
}

#[tokio::test]
async fn a_choice_is_answered_for_each_question_and_a_plan_is_accepted() {
    let stack = stack(&["--permission-ceiling=default"]).await;
    let http = stack.http();
    let questions = json!({"questions": [{"question": "Which?", "options": [{"label": "A"}]}]});
    let prompt = format!("@ask AskUserQuestion {questions}\n@ask ExitPlanMode {{\"plan\":\"do\"}}");
    let execution = start(&http, &prompt, json!({})).await;
    let choice = question(&http, &execution).await;
    assert_eq!(choice["kind"], "choice");
    let bare = answer(&http, &execution, &choice, json!({"decision": "allow"})).await;
    assert_problem(&bare, 400, "invalid-body", "a choice without answers");
    let answers = json!({"decision": "allow", "answers": {"Which?": "another"}});
    assert_eq!(answer(&http, &execution, &choice, answers).await.0, 200);
    let plan = until(&http, &execution, "planning", |status| {
        status["questions"][0]["kind"] == "plan"
    })
    .await;
    let plan = &plan["questions"][0];
    assert_eq!(plan["title"], "do");
    assert_eq!(
        answer(&http, &execution, plan, json!({"decision": "allow"}))
            .await
            .0,
        200
    );
    ended(&http, &execution).await;
    let text = output(&http, &execution).await;
    assert!(text.contains(r#""answers":{"Which?":"another"}"#), "{text}");
    assert!(text.ends_with("allowed {\"plan\":\"do\"}\n"), "{text}");
}

#[tokio::test]
async fn answers_that_do_not_fit_change_nothing() {
    let stack = stack(&["--disallowed-tools=Bash(curl:*)"]).await;
    let http = stack.http();
    let execution = ask(&http, json!({})).await;
    let asked = question(&http, &execution).await;
    for (body, code, kind) in [
        (json!({}), 400, "invalid-body"),
        (json!([]), 400, "invalid-body"),
        (json!({"decision": "yes"}), 400, "invalid-body"),
        (json!({"decision": "allow", "more": 1}), 400, "invalid-body"),
        (
            json!({"decision": "allow", "message": "x"}),
            400,
            "invalid-body",
        ),
        (
            json!({"decision": "allow", "answers": {}}),
            400,
            "invalid-body",
        ),
        (
            json!({"decision": "allow", "remember": ["Bash"]}),
            400,
            "invalid-body",
        ),
        (
            json!({"decision": "deny", "updatedInput": {}}),
            400,
            "invalid-body",
        ),
        // A rule of the operator limits Bash, so its input must not change.
        (
            json!({"decision": "allow", "updatedInput": {"command": "curl x"}}),
            403,
            "not-allowed",
        ),
    ] {
        let refused = answer(&http, &execution, &asked, body.clone()).await;
        assert_problem(&refused, code, kind, &body.to_string());
    }
    let unknown = json!({"questionId": id()});
    let refused = answer(&http, &execution, &unknown, json!({"decision": "allow"})).await;
    assert_problem(&refused, 404, "not-found", "an unknown question");
    let refused = answer(&http, &execution, &json!({"questionId": "x"}), json!({})).await;
    assert_problem(&refused, 400, "invalid-id", "an id that is not a UUID");
    assert_eq!(
        list(&http, &execution).await["open"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    answer(&http, &execution, &asked, json!({"decision": "deny"})).await;
    ended(&http, &execution).await;
}

#[tokio::test]
async fn a_tool_beyond_the_ceiling_is_denied_without_a_question() {
    let stack = stack(&[]).await;
    let http = stack.http();
    let execution = start(&http, "@ask Write {\"file_path\":\"x\"}", json!({})).await;
    ended(&http, &execution).await;
    let text = output(&http, &execution).await;
    assert!(text.starts_with("denied Nobody was asked"), "{text}");
    assert_eq!(
        list(&http, &execution).await,
        json!({"open": [], "closed": []})
    );
}

#[tokio::test]
async fn executions_that_do_not_ask_deny_at_once_and_have_no_questions() {
    let stack = stack(&[]).await;
    let http = stack.http();
    let execution = id();
    accept(
        &http,
        &execution,
        "@ask Bash {\"command\":\"x\"}",
        json!({}),
    )
    .await;
    let end = ended(&http, &execution).await;
    assert_eq!(end["questionsOpen"], 0);
    assert!(
        output(&http, &execution)
            .await
            .starts_with("denied Permission to use Bash")
    );
}

#[tokio::test]
async fn a_body_that_asks_is_checked_against_the_operator() {
    let asks = json!({"prompt": "x", "permissionPrompts": "ask"});
    let refusing = stack(&["--permission-prompts=deny"]).await;
    let (code, problem) = refusing.http().put(&id(), &asks).await.expect("an answer");
    assert_eq!(
        (code.as_u16(), &problem["type"]),
        (403, &json!("not-allowed")),
        "{problem}"
    );
    let stack = stack(&[]).await;
    for extra in [
        json!({"permissionMode": "dontAsk"}),
        json!({"permissionMode": "bypassPermissions"}),
        json!({"questionTimeoutSeconds": -1}),
    ] {
        let mut body = asks.clone();
        body.as_object_mut()
            .expect("an object")
            .extend(extra.as_object().expect("one").clone());
        let (code, problem) = stack.http().put(&id(), &body).await.expect("an answer");
        assert_eq!(
            (code.as_u16(), &problem["type"]),
            (400, &json!("invalid-body")),
            "{extra}"
        );
    }
    let body = json!({"prompt": "x", "questionTimeoutSeconds": 5});
    let (code, _) = stack.http().put(&id(), &body).await.expect("an answer");
    assert_eq!(
        code.as_u16(),
        400,
        "a timeout of questions that nobody is asked"
    );
    assert_eq!(
        stack
            .http()
            .get(&path(&id(), "/questions"))
            .await
            .expect("one")
            .0,
        404
    );
}
