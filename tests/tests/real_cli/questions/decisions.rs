//! Decisions of people that the real CLI follows.

use serde_json::json;

use super::{answer, ended, question, start, world};

#[tokio::test]
async fn a_command_runs_only_when_a_person_allows_it() {
    let world = world("Bash", &[]).await;
    let http = world.stack.http();
    let file = world.path("workspaces/default/made");
    let prompt = "@say before\n@bash touch made && echo made\n@say after";
    for (decision, exists) in [("deny", false), ("allow", true)] {
        let execution = start(&http, prompt, &json!({})).await;
        let asked = question(&http, &execution).await.expect("a question");
        assert_eq!(asked["tool"], "Bash", "{asked}");
        assert_eq!(asked["title"], "touch made && echo made");
        assert!(!file.exists(), "the command ran before the answer");
        let body = match decision {
            "deny" => json!({"decision": "deny", "message": "not today"}),
            _ => json!({"decision": "allow"}),
        };
        let (code, answered) = answer(&http, &execution, &asked, &body).await;
        assert_eq!(code, 200, "{answered}");
        let (output, end) = ended(&http, &execution).await;
        assert_eq!(end["state"], "completed", "{end}");
        assert_eq!(file.exists(), exists, "{decision}: {output}");
        let told = if exists { "made" } else { "not today" };
        assert!(
            output.contains(told) && output.ends_with("after"),
            "{output}"
        );
    }
    world.end();
}

#[tokio::test]
async fn a_remembered_rule_holds_until_the_end_of_the_execution() {
    let world = world("Bash", &[]).await;
    let http = world.stack.http();
    let prompt = "@bash touch made\n@bash touch made\n@bash touch other";
    let execution = start(&http, prompt, &json!({})).await;
    let first = question(&http, &execution).await.expect("a question");
    let list = format!("/v1/executions/{execution}/questions");
    let (_, list) = http.get(&list).await.expect("an answer");
    // The CLI chooses the form of the rule.
    let rule = list["open"][0]["suggestions"][0].clone();
    assert!(
        rule.as_str()
            .is_some_and(|rule| rule.starts_with("Bash(touch made")),
        "{list}"
    );
    let remember = json!({"decision": "allow", "remember": [rule]});
    let (code, answered) = answer(&http, &execution, &first, &remember).await;
    assert_eq!(code, 200, "{answered}");
    // The second use is not asked about, the third is.
    let next = loop {
        let next = question(&http, &execution).await.expect("a question");
        if next["questionId"] != first["questionId"] {
            break next;
        }
    };
    assert_eq!(next["title"], "touch other", "{next}");
    answer(&http, &execution, &next, &json!({"decision": "deny"})).await;
    ended(&http, &execution).await;
    let settings = world.path("workspaces/default/.claude");
    assert!(
        !settings.exists(),
        "the CLI wrote settings into the workspace"
    );
    world.end();
}

#[tokio::test]
async fn a_choice_reaches_the_model_by_label_and_by_free_text() {
    let world = world("Bash", &[]).await;
    let http = world.stack.http();
    let options = json!([
        {"label": "A", "description": "a"}, {"label": "B", "description": "b"},
        {"label": "C", "description": "c"},
    ]);
    let input = json!({"questions": [{
        "question": "Which?", "header": "H", "multiSelect": false, "options": options,
    }]});
    let prompt = format!("@tool AskUserQuestion {input}\n@say end");
    for chosen in ["B", "none of them, use D"] {
        let execution = start(&http, &prompt, &json!({})).await;
        let asked = question(&http, &execution).await.expect("a question");
        assert_eq!(asked["kind"], "choice", "{asked}");
        let body = json!({"decision": "allow", "answers": {"Which?": chosen}});
        let (code, answered) = answer(&http, &execution, &asked, &body).await;
        assert_eq!(code, 200, "{answered}");
        let (output, _) = ended(&http, &execution).await;
        // The scripted model repeats the result that the CLI sent with its next request.
        assert!(
            output.contains(&format!("\"Which?\"=\"{chosen}\"")),
            "{output}"
        );
    }
    world.end();
}

#[tokio::test]
async fn a_plan_is_refused_and_then_accepted() {
    let ceiling = [("CLAUDE_API_PERMISSION_CEILING", "default")];
    let world = world("Bash", &ceiling).await;
    let http = world.stack.http();
    let prompt = "@tool ExitPlanMode {\"plan\":\"do it\"}\n@tool ExitPlanMode {\"plan\":\"do it\"}";
    let execution = start(&http, prompt, &json!({"permissionMode": "plan"})).await;
    let first = question(&http, &execution).await.expect("a question");
    assert_eq!(first["kind"], "plan", "{first}");
    let refusal = json!({"decision": "deny", "message": "think again"});
    assert_eq!(answer(&http, &execution, &first, &refusal).await.0, 200);
    let second = loop {
        let next = question(&http, &execution).await.expect("a second plan");
        if next["questionId"] != first["questionId"] {
            break next;
        }
    };
    let accept = json!({"decision": "allow"});
    assert_eq!(answer(&http, &execution, &second, &accept).await.0, 200);
    let (output, end) = ended(&http, &execution).await;
    assert_eq!(end["state"], "completed", "{end}");
    assert!(output.contains("think again"), "{output}");
    assert!(output.contains("approved exiting plan mode"), "{output}");
    world.end();
}

#[tokio::test]
async fn a_sub_agent_asks_with_its_id() {
    let world = world("Bash", &[]).await;
    let http = world.stack.http();
    let task = json!({
        "description": "d", "prompt": "@bash touch made\n@say sub",
        "subagent_type": "general-purpose",
    });
    let prompt = format!("@tool Task {task}\n@say end");
    let execution = start(&http, &prompt, &json!({})).await;
    let asked = question(&http, &execution).await.expect("a question");
    let id = asked["questionId"].as_str().expect("an id");
    let path = format!("/v1/executions/{execution}/questions/{id}");
    let (_, whole) = http.get(&path).await.expect("an answer");
    assert!(whole["agentId"].is_string(), "{whole}");
    answer(&http, &execution, &asked, &json!({"decision": "allow"})).await;
    let (output, end) = ended(&http, &execution).await;
    assert_eq!(end["state"], "completed", "{end}");
    assert!(output.ends_with("end"), "{output}");
    assert!(world.path("workspaces/default/made").exists());
    world.end();
}
