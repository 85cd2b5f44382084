//! The control protocol between the stand-in and its client, as the real CLI speaks it.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};

/// A stand-in whose stdin stays open.
struct Session {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Session {
    fn start(folder: &Path, variables: &[&str], flags: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_stand-in-claude"))
            .args(["-p", "--input-format=stream-json", "--session-id=s"])
            .arg("--permission-prompt-tool=stdio")
            .args(flags)
            .env_clear()
            .env("CLAUDE_CONFIG_DIR", folder)
            .envs(variables.iter().map(|name| (name, "1")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the stand-in starts");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        Self {
            stdin: child.stdin.take(),
            child,
            stdout,
        }
    }

    fn send(&mut self, line: &Value) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        writeln!(stdin, "{line}").expect("the stand-in reads");
    }

    fn prompt(&mut self, prompt: &str) {
        self.send(&json!({"type": "user", "message": {"role": "user", "content": prompt}}));
    }

    fn request(&mut self, request: Value) {
        self.send(&json!({"type": "control_request", "request_id": "r", "request": request}));
    }

    /// Sends a request, and returns the `response` of its answer.
    fn call(&mut self, request: Value) -> Value {
        self.request(request);
        self.until("control_response").pop().expect("an answer")["response"].clone()
    }

    fn answer(&mut self, request: &Value, response: Value) {
        let response = json!({
            "subtype": "success", "request_id": request["request_id"], "response": response,
        });
        self.send(&json!({"type": "control_response", "response": response}));
    }

    fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        let bytes = self
            .stdout
            .read_line(&mut line)
            .expect("stdout is readable");
        (bytes > 0).then(|| serde_json::from_str(&line).expect("JSON"))
    }

    /// Returns the lines up to the first one of a type, or of a state of the session.
    fn until(&mut self, kind: &str) -> Vec<Value> {
        let mut lines = Vec::new();
        loop {
            let line = self
                .next()
                .unwrap_or_else(|| panic!("no {kind}: {lines:?}"));
            let names = [&line["type"], &line["subtype"], &line["state"]];
            let is_last = names.into_iter().any(|name| name == kind);
            lines.push(line);
            if is_last {
                return lines;
            }
        }
    }

    /// Closes stdin. Returns the other lines, and the exit code.
    fn finish(mut self) -> (Vec<Value>, Option<i32>) {
        self.stdin = None;
        let lines = std::iter::from_fn(|| self.next()).collect();
        (lines, self.child.wait().expect("it ends").code())
    }
}

fn session() -> (tempfile::TempDir, Session) {
    let folder = tempfile::tempdir().expect("a folder");
    let variables = ["CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS"];
    let session = Session::start(folder.path(), &variables, &[]);
    (folder, session)
}

/// Returns the kinds of the lines, without those of the answer's text.
fn kinds(lines: &[Value]) -> Vec<&str> {
    let kinds = lines.iter().map(|line| {
        let kind = line["type"].as_str().unwrap_or_default();
        let subtype = line["subtype"].as_str().filter(|_| kind == "system");
        line["state"].as_str().or(subtype).unwrap_or(kind)
    });
    let is_text = |kind: &&str| ["stream_event", "assistant", "status"].contains(kind);
    kinds.filter(|kind| !is_text(kind)).collect()
}

fn text(lines: &[Value]) -> String {
    let deltas = lines.iter();
    let deltas = deltas.filter_map(|line| line["event"]["delta"]["text"].as_str());
    deltas.collect()
}

#[test]
fn every_turn_is_reported_running_before_its_init_and_idle_after_its_result() {
    for (variables, is_hidden) in [
        (&["CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS"][..], false),
        (&["CLAUDE_CODE_SDK_READS_SESSION_STATE"][..], true),
        (
            &[
                "CLAUDE_CODE_SDK_READS_SESSION_STATE",
                "CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS",
            ][..],
            false,
        ),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut session = Session::start(folder.path(), variables, &[]);
        for _ in 0..2 {
            session.prompt("@say x");
            let lines = session.until("idle");
            assert_eq!(kinds(&lines), ["running", "init", "result", "idle"]);
            let hidden = lines.iter().filter(|line| line["sdk_host_only"] == true);
            assert_eq!(hidden.count(), if is_hidden { 2 } else { 0 });
        }
        assert_eq!(session.finish(), (Vec::new(), Some(0)));
    }
}

#[test]
fn two_messages_at_once_are_two_turns_of_one_running_state() {
    let (_folder, mut session) = session();
    let message = |text: &str| {
        json!({"type": "user", "message": {"role": "user", "content": text}}).to_string()
    };
    let both = format!(
        "{}\n{}\n",
        message("@silence 0.2\n@say x"),
        message("@say y")
    );
    let stdin = session.stdin.as_mut().expect("open");
    stdin.write_all(both.as_bytes()).expect("it reads");
    assert_eq!(
        kinds(&session.until("idle")),
        ["running", "init", "result", "init", "result", "idle"]
    );
    assert_eq!(session.finish(), (Vec::new(), Some(0)));
}

#[test]
fn nothing_is_reported_unless_the_environment_asks_for_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut session = Session::start(folder.path(), &[], &[]);
    session.prompt("@ask Bash {\"command\":\"x\"}");
    let lines = session.until("control_request");
    session.answer(
        lines.last().expect("a request"),
        json!({"behavior": "allow"}),
    );
    let (rest, code) = session.finish();
    assert_eq!(code, Some(0));
    let states = lines.iter().chain(&rest);
    assert!(states.into_iter().all(|line| line["state"].is_null()));
}

#[test]
fn control_requests_need_no_prompt_and_change_no_state() {
    let (_folder, mut session) = session();
    let initialized = session.call(json!({"subtype": "initialize", "sdkMcpServers": ["calc"]}));
    assert_eq!(initialized["subtype"], "success");
    assert!(
        initialized["response"]["commands"].is_array(),
        "{initialized}"
    );
    let interrupted = session.call(json!({"subtype": "interrupt"}));
    assert_eq!(interrupted["response"], json!({"still_queued": []}));
    let servers = session.call(json!({"subtype": "mcp_status"}));
    assert_eq!(servers["response"]["mcpServers"][0]["name"], "calc");
    let toggled = json!({"subtype": "mcp_toggle", "serverName": "calc", "enabled": false});
    assert!(session.call(toggled).get("response").is_none());
    for (request, error) in [
        (
            json!({"subtype": "mcp_toggle", "serverName": "x"}),
            "Server not found: x",
        ),
        (
            json!({"subtype": "mcp_reconnect", "serverName": "calc"}),
            "SDK servers should be handled in print.ts",
        ),
        (
            json!({"subtype": "rewind_files"}),
            "File rewinding is not enabled.",
        ),
        (
            json!({"subtype": "start_shell_task"}),
            "Unsupported control request subtype: start_shell_task",
        ),
    ] {
        let refused = session.call(request);
        assert_eq!(refused["subtype"], "error");
        assert_eq!(refused["error"], error);
    }
    for subtype in [
        "set_model",
        "stop_task",
        "get_context_usage",
        "set_max_thinking_tokens",
    ] {
        assert_eq!(
            session.call(json!({"subtype": subtype}))["subtype"],
            "success"
        );
    }
    assert_eq!(session.finish(), (Vec::new(), Some(0)));
}

#[test]
fn a_changed_mode_is_reported_and_is_that_of_the_next_turn() {
    let (_folder, mut session) = session();
    let set = |mode: &str| json!({"subtype": "set_permission_mode", "mode": mode});
    let refused = session.call(set("bypassPermissions"));
    assert_eq!(refused["error_code"], "bypass_not_launched");
    assert_eq!(session.call(set("x"))["error_code"], "invalid_mode");
    assert_eq!(
        session.call(set("plan"))["response"],
        json!({"mode": "plan"})
    );
    let report = session.next().expect("a report");
    assert_eq!(
        (&report["subtype"], &report["permissionMode"]),
        (&json!("status"), &json!("plan"))
    );
    session.prompt("@say x");
    let lines = session.until("init");
    assert_eq!(lines.last().expect("init")["permissionMode"], "plan");
    assert_eq!(session.finish().1, Some(0));
}

#[test]
fn a_permission_prompt_is_reported_before_it_is_sent_and_after_its_answer() {
    let (_folder, mut session) = session();
    session.prompt("@ask Bash [{\"command\":\"x\"},{\"command\":\"y\"}]");
    let mut asked = session.until("control_request");
    asked.extend(session.until("control_request"));
    assert_eq!(
        kinds(&asked),
        [
            "running",
            "init",
            "requires_action",
            "control_request",
            "control_request"
        ]
    );
    let requests = &asked[asked.len() - 2..];
    // Other requests are answered while the prompts are open, and a foreign answer is ignored.
    let usage = session.call(json!({"subtype": "get_context_usage"}));
    assert_eq!(usage["subtype"], "success");
    session.answer(
        &json!({"request_id": "foreign"}),
        json!({"behavior": "deny"}),
    );
    session.answer(&requests[1], json!({"behavior": "deny", "message": "no"}));
    // Only the first answer counts.
    session.answer(&requests[1], json!({"behavior": "allow"}));
    session.answer(
        &requests[0],
        json!({"behavior": "allow", "updatedInput": {"command": "z"}}),
    );
    let lines = session.until("idle");
    assert_eq!(kinds(&lines), ["running", "user", "user", "result", "idle"]);
    assert_eq!(text(&lines), "allowed {\"command\":\"z\"}\ndenied no\n");
    assert_eq!(session.finish(), (Vec::new(), Some(0)));
}

#[test]
fn an_interrupt_withdraws_the_prompt_and_ends_the_turn() {
    let (_folder, mut session) = session();
    session.prompt("@ask Bash {\"command\":\"x\"}\n@say never");
    session.until("control_request");
    session.request(json!({"subtype": "interrupt"}));
    let lines = session.until("idle");
    assert_eq!(
        kinds(&lines),
        [
            "control_cancel_request",
            "control_response",
            "running",
            "user",
            "result",
            "idle"
        ]
    );
    let (rest, code) = session.finish();
    assert_eq!((rest, code), (Vec::new(), Some(1)));
}

#[test]
fn an_interrupt_ends_a_turn_that_listens_and_the_next_turn_works() {
    let (_folder, mut session) = session();
    session.prompt("@say begun\n@listen 60\n@say never");
    session.until("stream_event");
    session.request(json!({"subtype": "interrupt"}));
    let lines = session.until("idle");
    assert_eq!(
        kinds(&lines),
        ["control_response", "user", "result", "idle"]
    );
    assert!(!text(&lines).contains("never"));
    session.prompt("@say again");
    assert_eq!(text(&session.until("idle")), "again");
    assert_eq!(session.finish(), (Vec::new(), Some(0)));
}

#[test]
fn calls_of_hooks_and_servers_say_the_answers_of_the_client() {
    let (_folder, mut session) = session();
    let hooks = json!({"PreToolUse": [{"matcher": null, "hookCallbackIds": ["h7"]}]});
    session.call(json!({"subtype": "initialize", "hooks": hooks}));
    session.prompt("@hook PreToolUse {\"tool_name\":\"Bash\"}\n@mcp calc [{\"method\":\"a\"},{}]");
    let lines = session.until("control_request");
    let hook = lines.last().expect("a request");
    let request = &hook["request"];
    assert_eq!(
        (&request["subtype"], &request["callback_id"]),
        (&json!("hook_callback"), &json!("h7"))
    );
    let input = &request["input"];
    assert_eq!(
        (
            &input["hook_event_name"],
            &input["tool_name"],
            &input["session_id"]
        ),
        (&json!("PreToolUse"), &json!("Bash"), &json!("s"))
    );
    session.answer(hook, json!({"continue": true}));
    let first = session.until("control_request").pop().expect("a request");
    let second = session.next().expect("a request");
    let message = json!({"jsonrpc": "2.0", "id": 0, "method": "a"});
    assert_eq!(
        first["request"],
        json!({"subtype": "mcp_message", "server_name": "calc", "message": message})
    );
    let failed =
        json!({"subtype": "error", "request_id": second["request_id"], "error": "no server"});
    session.send(&json!({"type": "control_response", "response": failed}));
    session.answer(&first, json!({"mcp_response": 1}));
    let lines = session.until("idle");
    assert_eq!(
        text(&lines),
        "mcp {\"mcp_response\":1}\nmcp failed no server\n"
    );
    assert_eq!(session.finish(), (Vec::new(), Some(0)));
}

#[test]
fn the_end_of_stdin_fails_an_open_call_and_the_turn_continues() {
    let (_folder, mut session) = session();
    session.prompt("@hook Stop {}\n@say after\n@structured {\"n\":4}");
    session.until("control_request");
    let (lines, code) = session.finish();
    assert_eq!(code, Some(0));
    assert_eq!(text(&lines), "hook failed stdin is closed\nafter");
    let result = lines.iter().find(|line| line["type"] == "result");
    assert_eq!(
        result.expect("a result")["structured_output"],
        json!({"n": 4})
    );
}

#[test]
fn a_recorded_stand_in_keeps_a_copy_of_both_streams() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut session = Session::start(folder.path(), &[], &["--model=recorded"]);
    session.prompt("@say x");
    session.until("result");
    session.answer(&json!({"request_id": "late"}), json!({}));
    assert_eq!(session.finish().1, Some(0));
    let read = |name: &str| {
        std::fs::read_to_string(folder.path().join("recorded").join(name)).expect("a copy")
    };
    assert_eq!(read("s.stdin").lines().count(), 2);
    assert!(read("s.stdout").ends_with("}\n") && read("s.stdout").contains("\"result\""));
}
