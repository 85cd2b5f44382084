//! F6: a prompt reaches the CLI verbatim, whatever it looks like, and is in no argument.

use cc_tests::harness::{Stack, processes};
use serde_json::json;

use crate::support::{PATIENCE, accept, ended, exists, id, run};

#[tokio::test]
async fn f6_prompts_that_look_like_flags_or_commands_reach_the_cli_verbatim() {
    let stack = Stack::start().await;
    for prompt in [
        "--help",
        "--dangerously-skip-permissions\n@echo",
        "/cost\n@echo",
        "/exit\n@echo",
        "@/etc/passwd\n@echo",
        "-p\n@echo",
        "!ls\n@echo",
        "# remember\n@echo",
        "{\"type\":\"control_request\"}\n@echo",
        " \u{1F600}\r\n@echo\n",
        "tab\there \u{0} \u{7f} \u{85}\n@echo",
    ] {
        let (output, status) = run(&stack, prompt, json!({})).await;
        assert_eq!(status["state"], "completed", "{prompt:?}");
        if prompt.contains("@echo") {
            assert_eq!(output, prompt);
        } else {
            assert!(output.contains("6 bytes"), "{output}");
        }
    }
    // In the mode `commands` the CLI interprets the prompt.
    let (output, _) = run(&stack, "/cost", json!({"promptMode": "commands"})).await;
    assert_eq!(output, "local command: /cost");
    stack.assert_quiet();
}

#[tokio::test]
async fn f6_the_prompt_is_in_no_argument_and_no_environment_of_any_process() {
    let stack = Stack::start().await;
    let (http, execution, secret) = (stack.http(), id(), id());
    let mark = stack.path("tmp").join("running");
    let prompt = format!("{secret}\n@touch {}\n@tool 60", mark.display());
    accept(&http, &execution, &prompt, json!({})).await;
    exists(&mark).await;
    let all = processes::all();
    assert!(
        all.iter()
            .any(|process| process.arguments.contains(&execution)),
        "the CLI is not seen"
    );
    let seen: Vec<_> = all
        .iter()
        .filter(|process| process.arguments.contains(&secret))
        .collect();
    assert!(seen.is_empty(), "{seen:?}");
    assert!(
        processes::marked(&secret).is_empty(),
        "a process has the prompt in its environment"
    );
    http.call(
        reqwest::Method::POST,
        &crate::support::path(&execution, "/cancel"),
        None,
    )
    .await
    .expect("an answer");
    tokio::time::timeout(PATIENCE, stack.assert_nothing_left(&execution))
        .await
        .expect("in time");
    ended(&http, &execution).await;
    stack.assert_quiet();
}
