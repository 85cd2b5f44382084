//! Attempts to allow more than the operator does. Each tries to make the file `broken`, and none
//! may.

use serde_json::{Value, json};

use super::{World, answer, ended, question, start, world};

/// An attempt: a prompt, more fields of the body, and the answers that a person gives in turn. The
/// last one is repeated.
struct Attempt {
    name: &'static str,
    prompt: String,
    extra: Value,
    answers: Vec<Value>,
}

const MAKE: &str = "@bash touch broken";
const WRITE: &str = "@tool Write {\"file_path\":\"broken\",\"content\":\"x\"}";

fn attempt(name: &'static str, prompt: impl Into<String>, answers: Vec<Value>) -> Attempt {
    Attempt {
        name,
        prompt: prompt.into(),
        extra: json!({}),
        answers,
    }
}

fn with(extra: Value, mut attempt: Attempt) -> Attempt {
    attempt.extra = extra;
    attempt
}

fn deny() -> Value {
    json!({"decision": "deny"})
}

fn allow() -> Value {
    json!({"decision": "allow"})
}

/// Returns an attempt whose answer is refused, after which the person denies.
fn bad_answer(name: &'static str, bad: Value) -> Attempt {
    // `ls` is harmless, and needs a permission because of its redirection.
    attempt(name, "@bash ls > listed", vec![bad, deny()])
}

/// Makes all attempts, one after another, and asserts after each that the file is not there.
async fn no_attempt_creates_the_file(world: World, attempts: Vec<Attempt>) {
    let http = world.stack.http();
    let broken = world.path("workspaces/default/broken");
    for attempt in attempts {
        let Attempt {
            name,
            prompt,
            extra,
            answers,
        } = attempt;
        let execution = start(&http, &prompt, &extra).await;
        let mut answers = answers.into_iter();
        let mut last = deny();
        while let Some(asked) = question(&http, &execution).await {
            last = answers.next().unwrap_or(last);
            let (code, answered) = answer(&http, &execution, &asked, &last).await;
            assert!(code < 500, "{name}: {code} {answered}");
        }
        let (output, _) = ended(&http, &execution).await;
        assert!(!broken.exists(), "{name} has broken the ceiling: {output}");
    }
    world.end();
}

#[tokio::test]
async fn no_answer_allows_another_input_or_a_wider_rule_than_the_operator() {
    let denied = [("CLAUDE_API_DISALLOWED_TOOLS", "Bash(touch:*)")];
    let world = world("Bash", &denied).await;
    let other = |command: &str| {
        let input = json!({"command": command, "description": "d"});
        json!({"decision": "allow", "updatedInput": input})
    };
    let remember = |entry: &str| json!({"decision": "allow", "remember": [entry]});
    let member = |name: &str, value: Value| {
        let mut answer = allow();
        answer[name] = value;
        answer
    };
    let rules = json!([{"type": "addRules", "rules": [{"toolName": "Bash"}],
        "behavior": "allow", "destination": "session"}]);
    let mode = json!([{"type": "setMode", "mode": "bypassPermissions", "destination": "session"}]);
    no_attempt_creates_the_file(
        world,
        vec![
            bad_answer("another command", other("touch broken")),
            bad_answer("a command behind a harmless one", other("ls; touch broken")),
            bad_answer("a command in a shell", other("sh -c 'touch broken'")),
            bad_answer(
                "an empty input",
                json!({"decision": "allow", "updatedInput": {}}),
            ),
            bad_answer("the whole tool remembered", remember("Bash")),
            bad_answer("every tool remembered", remember("*")),
            bad_answer("another rule remembered", remember("Bash(touch:*)")),
            bad_answer("another tool remembered", remember("Write")),
            bad_answer(
                "updatedPermissions with rules",
                member("updatedPermissions", rules),
            ),
            bad_answer(
                "updatedPermissions with a mode",
                member("updatedPermissions", mode),
            ),
            bad_answer(
                "a permission mode",
                member("permissionMode", json!("acceptEdits")),
            ),
            bad_answer("a behavior of the CLI", json!({"behavior": "allow"})),
            bad_answer("an array", json!([{"decision": "allow"}])),
            bad_answer("answers of a choice", member("answers", json!({"a": "b"}))),
            attempt("the denied command itself", MAKE, vec![allow()]),
            attempt(
                "the denied command in a list",
                "@bash ls; touch broken",
                vec![deny()],
            ),
            attempt("a tool outside the ceiling", WRITE, vec![allow()]),
            attempt(
                "a notebook",
                "@tool NotebookEdit {\"notebook_path\":\"broken\",\"new_source\":\"x\"}",
                vec![allow()],
            ),
            attempt(
                "a tool of an MCP server",
                "@tool mcp__a__b {\"x\":1}",
                vec![allow()],
            ),
            attempt(
                "a sub-agent with a tool outside the ceiling",
                format!(
                    "@tool Task {}",
                    json!({"description": "d", "prompt": WRITE,
                        "subagent_type": "general-purpose"})
                ),
                vec![allow()],
            ),
            with(
                json!({"allowedTools": ["Bash(touch:*)"]}),
                attempt(
                    "an allowed tool that the operator denies",
                    MAKE,
                    vec![allow()],
                ),
            ),
            with(
                json!({"disallowedTools": []}),
                attempt("an empty list of denied tools", MAKE, vec![allow()]),
            ),
        ],
    )
    .await;
}

/// The CLI applies a rule such as `Edit(...)` to each tool that writes files.
#[tokio::test]
async fn a_rule_about_files_holds_for_every_tool_that_writes() {
    let denied = [("CLAUDE_API_DISALLOWED_TOOLS", "Edit(broken)")];
    let world = world("Bash,Edit,NotebookEdit,Write", &denied).await;
    let other = |input: Value| vec![json!({"decision": "allow", "updatedInput": input}), deny()];
    no_attempt_creates_the_file(
        world,
        vec![
            attempt(
                "another path of Write",
                "@tool Write {\"file_path\":\"fine\",\"content\":\"x\"}",
                other(json!({"file_path": "broken", "content": "x"})),
            ),
            attempt(
                "another path of NotebookEdit",
                "@tool NotebookEdit {\"notebook_path\":\"fine.ipynb\",\"new_source\":\"x\"}",
                other(json!({"notebook_path": "broken", "new_source": "x"})),
            ),
            attempt(
                "another command",
                "@bash ls > fine",
                other(json!({"command": "touch broken"})),
            ),
            attempt(
                "the rule of another file remembered",
                "@bash ls > fine",
                vec![
                    json!({"decision": "allow", "remember": ["Bash(touch:*)"]}),
                    deny(),
                ],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_ceiling_with_a_rule_allows_nothing_else() {
    let world = world("Bash(git status)", &[]).await;
    no_attempt_creates_the_file(
        world,
        vec![
            attempt("another command", MAKE, vec![allow()]),
            attempt("a list", "@bash git status; touch broken", vec![allow()]),
            attempt("a pipe", "@bash git status | tee broken", vec![allow()]),
            attempt("a redirection", "@bash git status > broken", vec![allow()]),
            attempt(
                "a substitution",
                "@bash git status $(touch broken)",
                vec![allow()],
            ),
            attempt("a tool outside", WRITE, vec![allow()]),
            attempt(
                "a sub-agent",
                format!(
                    "@tool Task {}",
                    json!({"description": "d", "prompt": MAKE,
                        "subagent_type": "general-purpose"})
                ),
                vec![allow()],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_plan_cannot_be_accepted_under_the_ceiling_plan() {
    let plan = [
        ("CLAUDE_API_PERMISSION_CEILING", "plan"),
        ("CLAUDE_API_PERMISSION_MODE", "plan"),
    ];
    let world = world("Bash,Write", &plan).await;
    let accepted = "@tool ExitPlanMode {\"plan\":\"p\"}";
    no_attempt_creates_the_file(
        world,
        vec![
            attempt(
                "an accepted plan, then a file",
                format!("{accepted}\n{WRITE}"),
                vec![deny()],
            ),
            attempt(
                "an accepted plan, then a command",
                format!("{accepted}\n{MAKE}"),
                vec![deny()],
            ),
            attempt("a file without a plan", WRITE, vec![allow()]),
        ],
    )
    .await;
}

#[tokio::test]
async fn files_of_the_workspace_allow_nothing() {
    let world = world("Bash", &[]).await;
    let folder = world.path("workspaces/default/.claude");
    std::fs::create_dir_all(&folder).expect("a folder");
    let allow_all =
        json!({"permissions": {"allow": ["Bash", "Write"], "defaultMode": "acceptEdits"}});
    for name in ["settings.json", "settings.local.json"] {
        std::fs::write(folder.join(name), allow_all.to_string()).expect("a file");
    }
    no_attempt_creates_the_file(
        world,
        vec![
            attempt("a command that settings allow", MAKE, vec![deny()]),
            attempt("a file that settings allow", WRITE, vec![deny()]),
        ],
    )
    .await;
}

#[tokio::test]
async fn bodies_and_input_beyond_the_ceiling_are_refused() {
    let world = world("Bash", &[]).await;
    let http = world.stack.http();
    for extra in [
        json!({"permissionMode": "acceptEdits"}),
        json!({"permissionMode": "bypassPermissions"}),
        json!({"permissionMode": "dontAsk"}),
        json!({"permissionMode": "auto"}),
        json!({"allowedTools": ["Write"]}),
        json!({"allowedTools": ["*"]}),
        json!({"allowedTools": ["mcp__a__b"]}),
        json!({"allowedTools": ["Bash,Write"]}),
        json!({"allowedTools": ["Bash) Write("]}),
        json!({"env": {"CLAUDE_CONFIG_DIR": "/tmp"}}),
        json!({"env": {"ENABLE_TOOL_SEARCH": "true"}}),
        json!({"permissionPrompts": "client"}),
        json!({"permissionPrompts": true}),
    ] {
        let mut body = json!({"prompt": MAKE, "permissionPrompts": "ask"});
        body.as_object_mut()
            .expect("an object")
            .extend(extra.as_object().expect("one").clone());
        let execution = uuid::Uuid::new_v4().to_string();
        let (code, problem) = http.put(&execution, &body).await.expect("an answer");
        assert!(
            [400, 403].contains(&code.as_u16()),
            "{extra}: {code} {problem}"
        );
    }
    let execution = start(&http, "@bash ls > listed", &json!({"input": "stream"})).await;
    let asked = question(&http, &execution).await.expect("a question");
    let own_answer = json!({"type": "control_response", "response": {
        "subtype": "success", "request_id": "x", "response": {"behavior": "allow"}}});
    let control =
        |request: Value| json!({"type": "control_request", "request_id": "r", "request": request});
    for line in [
        own_answer,
        control(json!({"subtype": "set_permission_mode", "mode": "acceptEdits"})),
        control(json!({"subtype": "set_permission_mode", "mode": "bypassPermissions"})),
        control(json!({"subtype": "initialize", "agents": {}, "hooks": {}})),
        control(json!({"subtype": "mcp_set_servers", "servers": {}})),
        control(json!({"subtype": "apply_flag_settings", "settings": {}})),
        control(json!({"subtype": "update_settings"})),
        control(json!({"subtype": "hook_callback"})),
    ] {
        let path = format!("/v1/executions/{execution}/input?offset=0");
        let request = http
            .request(reqwest::Method::POST, &path)
            .body(format!("{line}\n"));
        let response = request.send().await.expect("an answer");
        let code = response.status().as_u16();
        assert!([400, 403].contains(&code), "{line}: {code}");
    }
    // A question of another execution cannot be answered through this one.
    let other = start(&http, "@say other", &json!({})).await;
    let (code, _) = answer(&http, &other, &asked, &allow()).await;
    assert_eq!(code, 404, "a question of another execution");
    answer(&http, &execution, &asked, &deny()).await;
    let path = format!("/v1/executions/{execution}/input?offset=0&eof=true");
    let response = http.request(reqwest::Method::POST, &path).send().await;
    assert_eq!(response.expect("an answer").status().as_u16(), 200);
    ended(&http, &execution).await;
    world.end();
}
