//! Tests each rule with a good session, then with one mistake in it.

use serde_json::{Value, json};

use super::{super::status::tests::example, *};

const ID: &str = "0190c0de-0000-7000-8000-000000000001";

fn connected() -> Value {
    json!({"jsonrpc": "2.0", "method": "connected", "params": {
        "sessionId": "s", "protocol": 1, "version": "0", "capabilities": {}, "limits": null,
    }})
}

fn answer(state: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "result": example(ID, state)})
}

fn update(status: &str) -> Value {
    let state = if status == "RESUMED" {
        "running".into()
    } else {
        status.to_lowercase()
    };
    let mut params = example(ID, &state);
    params["status"] = status.into();
    params["elapsedMs"] = 5.into();
    json!({"jsonrpc": "2.0", "method": "statusUpdate", "params": params})
}

fn output(offset: u64, content: &str) -> Value {
    json!({"jsonrpc": "2.0", "method": "output", "params": {
        "executionId": ID, "type": "stdout", "offset": offset, "content": content,
    }})
}

fn gap(from: u64, to: u64) -> Value {
    json!({"jsonrpc": "2.0", "method": "gap", "params": {"executionId": ID, "from": from,
        "to": to}})
}

fn end(text: &str) -> Value {
    let mut end = update("COMPLETED");
    end["params"]["outputBytes"] = text.len().into();
    end["params"]["crc32"] = format!("{:08x}", crc32fast::hash(text.as_bytes())).into();
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    end["params"]["sha256"] = crate::hex(digest.as_ref()).into();
    end
}

fn with(mut message: Value, name: &str, value: Value) -> Value {
    message["params"][name] = value;
    message
}

/// Sends `request` (id 1) after `connected`, then feeds the messages; the first broken rule.
fn session(request: &Value, messages: &[Value]) -> Result<Checker, String> {
    let mut checker = Checker::new();
    checker.received(&connected(), 100)?;
    checker.sent(request);
    for message in messages {
        checker.received(message, message.to_string().len())?;
    }
    Ok(checker)
}

fn execute() -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "execute", "params": {"prompt": "x"}})
}

fn attach(offset: u64) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "attach", "params": {"executionId": ID,
        "offset": offset}})
}

#[track_caller]
fn good(request: &Value, messages: &[Value]) {
    let checker = session(request, messages).unwrap_or_else(|rule| panic!("{rule}"));
    assert_eq!(checker.finished(), Ok(()));
}

#[track_caller]
fn bad(rule: &str, request: &Value, messages: &[Value]) {
    let broken = session(request, messages)
        .err()
        .unwrap_or_else(|| panic!("not seen: {rule}"));
    assert!(broken.contains(rule), "{broken} is not: {rule}");
}

#[test]
fn good_sessions_pass() {
    let q = || answer("queued");
    good(
        &execute(),
        &[
            q(),
            update("QUEUED"),
            update("RUNNING"),
            output(0, "ab"),
            output(2, "c"),
            end("abc"),
        ],
    );
    good(
        &execute(),
        &[
            q(),
            update("QUEUED"),
            update("PAUSED"),
            update("RESUMED"),
            update("RUNNING"),
            end(""),
        ],
    );
    good(
        &execute(),
        &[answer("completed"), output(0, "ab"), end("ab")],
    );
    good(
        &attach(2),
        &[
            answer("running"),
            update("RUNNING"),
            output(2, "c"),
            end("abc"),
        ],
    );
    good(&attach(3), &[answer("completed"), end("abc")]);
    // An offset inside of a character begins at its first byte.
    good(
        &attach(2),
        &[
            answer("completed"),
            output(0, "\u{1F600}"),
            end("\u{1F600}"),
        ],
    );
    // With a gap the digests cannot be compared.
    good(
        &execute(),
        &[
            answer("running"),
            update("RUNNING"),
            gap(0, 5),
            output(5, "x"),
            end("abcdex"),
        ],
    );
    let unasked = json!({"jsonrpc": "2.0", "method": "execute", "params": {"prompt": "x"}});
    good(&unasked, &[update("QUEUED"), output(0, "a"), end("a")]);
}

#[test]
fn connected_is_first_and_sent_once() {
    let mut checker = Checker::new();
    assert!(checker.received(&update("QUEUED"), 10).is_err());
    bad("connected must be the first", &execute(), &[connected()]);
    let mut checker = Checker::new();
    let mut half = connected();
    half["params"]
        .as_object_mut()
        .expect("an object")
        .remove("limits");
    assert!(checker.received(&half, 10).is_err());
}

#[test]
fn the_answer_is_first_then_its_state() {
    bad("no answer yet", &execute(), &[update("QUEUED")]);
    bad("no answer yet", &execute(), &[output(0, "a")]);
    bad(
        "before the statusUpdate",
        &execute(),
        &[answer("queued"), output(0, "a")],
    );
    bad(
        "before the statusUpdate",
        &execute(),
        &[answer("queued"), gap(0, 1)],
    );
    bad(
        "where the answer said QUEUED",
        &execute(),
        &[answer("queued"), update("RUNNING")],
    );
}

#[test]
fn output_continues_at_the_next_byte() {
    let begin = [answer("running"), update("RUNNING"), output(0, "ab")];
    let then = |more: &[Value]| [&begin[..], more].concat();
    bad("output at 3", &execute(), &then(&[output(3, "x")]));
    bad("output at 0", &execute(), &then(&[output(0, "ab")]));
    bad("gap at 1", &execute(), &then(&[gap(1, 5)]));
    bad("gap from 2 to 2", &execute(), &then(&[gap(2, 2)]));
    bad("output of 0 bytes", &execute(), &then(&[output(2, "")]));
    bad(
        "output of 65537 bytes",
        &execute(),
        &then(&[output(2, &"x".repeat(65_537))]),
    );
    bad(
        "of type",
        &execute(),
        &then(&[with(output(2, "x"), "type", json!("stderr"))]),
    );
    bad(
        "output at 4",
        &attach(9),
        &[answer("running"), update("RUNNING"), output(4, "x")],
    );
}

#[test]
fn the_end_is_sent_once_last_and_with_correct_digests() {
    let begin = [answer("running"), update("RUNNING"), output(0, "ab")];
    let then = |more: &[Value]| [&begin[..], more].concat();
    bad(
        "after the terminal",
        &execute(),
        &then(&[end("ab"), end("ab")]),
    );
    bad(
        "after the terminal",
        &execute(),
        &then(&[end("ab"), output(2, "x")]),
    );
    bad(
        "after the terminal",
        &execute(),
        &then(&[end("ab"), update("RUNNING")]),
    );
    let notice = json!({"jsonrpc": "2.0", "method": "notice", "params": {
        "executionId": ID, "code": "stalled", "message": "m", "data": null,
    }});
    good(&execute(), &then(&[notice.clone(), end("ab")]));
    bad(
        "notice after the terminal",
        &execute(),
        &then(&[end("ab"), notice]),
    );
    bad("bytes of output", &execute(), &then(&[end("abc")]));
    bad("crc32", &execute(), &then(&[end("xy")]));
    bad(
        "sha256",
        &execute(),
        &then(&[with(end("ab"), "sha256", json!("0".repeat(64)))]),
    );
    good(&execute(), &then(&[with(end("ab"), "sha256", json!(null))]));
    let open = session(&execute(), &begin).unwrap_or_else(|rule| panic!("{rule}"));
    assert!(open.finished().is_err());
}

#[test]
fn statuses_follow_the_rules() {
    let begin = [answer("running"), update("RUNNING")];
    let then = |more: Value| [&begin[..], &[more]].concat();
    bad(
        "with state",
        &execute(),
        &then(with(update("RUNNING"), "status", json!("running"))),
    );
    bad(
        "with state",
        &execute(),
        &then(with(update("PAUSED"), "status", json!("RESUMED"))),
    );
    bad("back to queued", &execute(), &then(update("QUEUED")));
    bad(
        "elapsedMs",
        &execute(),
        &then(with(update("RUNNING"), "elapsedMs", json!(null))),
    );
    bad(
        "createdAt",
        &execute(),
        &then(with(
            update("RUNNING"),
            "createdAt",
            json!("2027-01-01T00:00:00Z"),
        )),
    );
    bad(
        "where RESUMED is due",
        &execute(),
        &[&begin[..], &[update("PAUSED"), update("RUNNING")]].concat(),
    );
    bad(
        "RESUMED twice",
        &execute(),
        &[&begin[..], &[update("RESUMED"), update("RESUMED")]].concat(),
    );
    let mut short = update("RUNNING");
    short["params"]
        .as_object_mut()
        .expect("an object")
        .remove("lane");
    bad("lacks `lane`", &execute(), &then(short));
}

#[test]
fn envelopes_follow_the_rules() {
    let mut answered = answer("running");
    answered["jsonrpc"] = "1.0".into();
    bad("jsonrpc", &execute(), &[answered]);
    let mut other = answer("running");
    other["id"] = 2.into();
    bad("no request has that id", &execute(), &[other]);
    let mut both = answer("running");
    both["error"] = json!({});
    bad("either result or error", &execute(), &[both]);
    bad(
        "no request has that id",
        &execute(),
        &[answer("completed"), answer("completed")],
    );
    let mut noted = update("RUNNING");
    noted["id"] = 5.into();
    bad("with an id", &execute(), &[noted]);
    bad(
        "unknown notification",
        &execute(),
        &[json!({"jsonrpc": "2.0", "method": "what", "params": {}})],
    );
    let error = |code: i64, data: Value| {
        json!({"jsonrpc": "2.0", "id": 1, "error": {"code": code,
        "message": "m", "data": data}})
    };
    good(
        &execute(),
        &[error(-32004, json!({"reason": "queue_full"}))],
    );
    bad(
        "needs a known code",
        &execute(),
        &[error(-1, json!({"reason": "x"}))],
    );
    bad("data.reason", &execute(), &[error(-32004, json!(null))]);
    let asked =
        json!({"jsonrpc": "2.0", "id": 1, "method": "execute", "params": {"executionId": "other"}});
    bad("named another execution", &asked, &[answer("running")]);
}

#[test]
fn a_connection_ends_with_a_code_that_the_bridge_sends() {
    for (code, good) in [
        (1012, true),
        (1006, true),
        (1001, false),
        (1008, true),
        (3000, false),
    ] {
        assert_eq!(Checker::new().closed(code).is_ok(), good, "{code}");
    }
}

#[test]
fn sizes_have_limits() {
    let mut checker = session(&execute(), &[]).unwrap_or_else(|rule| panic!("{rule}"));
    assert!(checker.received(&answer("running"), 600_000).is_err());
    // A list was the exception.
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "list", "params": {}});
    let listed = json!({"jsonrpc": "2.0", "id": 1, "result": {"executions": [example(ID,
        "running")], "next": null}});
    for (bytes, good) in [(512 * 1024, true), (512 * 1024 + 1, false)] {
        let mut checker = session(&list, &[]).unwrap_or_else(|rule| panic!("{rule}"));
        assert_eq!(checker.received(&listed, bytes).is_ok(), good);
    }
}

#[test]
fn a_detached_execution_is_silent() {
    let mut checker = session(&execute(), &[answer("running"), update("RUNNING")])
        .unwrap_or_else(|rule| panic!("{rule}"));
    checker.sent(
        &json!({"jsonrpc": "2.0", "id": 2, "method": "detach", "params": {"executionId": ID}}),
    );
    assert_eq!(
        checker.received(&output(0, "a"), 10),
        Ok(()),
        "until the answer it may go on"
    );
    assert_eq!(
        checker.received(&json!({"jsonrpc": "2.0", "id": 2, "result": {}}), 10),
        Ok(())
    );
    assert!(
        checker
            .received(&output(1, "b"), 10)
            .is_err_and(|rule| rule.contains("detached"))
    );
}

#[test]
fn a_rejection_answers_an_execute_without_an_id() {
    let unasked = json!({"jsonrpc": "2.0", "method": "execute", "params": {}});
    let rejected = json!({"jsonrpc": "2.0", "method": "statusUpdate", "params": {
        "status": "FAILED", "reason": "rejected",
        "error": {"code": -32602, "message": "m", "data": {"reason": "no_prompt"}},
    }});
    good(&unasked, std::slice::from_ref(&rejected));
    bad("a rejection without an execute", &execute(), &[rejected]);
}

#[test]
fn a_batch_is_one_message_and_its_views_begin_after_it() {
    let batch = json!([execute()]);
    good(
        &batch,
        &[json!([answer("running")]), update("RUNNING"), end("")],
    );
    bad("an empty batch", &batch, &[json!([])]);
}

const QUESTION: &str = "0190c0de-0000-7000-8000-000000000007";

/// Returns a statusUpdate RUNNING that lists the question, if it is `listed`, of `open` open ones.
fn asking(listed: bool, open: u64) -> Value {
    let mut update = update("RUNNING");
    let listed = listed.then(|| json!({"questionId": QUESTION}));
    update["params"]["questions"] = listed.into_iter().collect();
    update["params"]["questionsOpen"] = open.into();
    update
}

fn question() -> Value {
    let question = json!({
        "questionId": QUESTION, "kind": "permission", "tool": "Bash", "displayName": null,
        "title": "ls", "description": null, "input": {"command": "ls"}, "inputBytes": 16,
        "suggestions": [], "agentId": null, "askedAt": "2026-01-01T00:00:00Z", "expiresAt": null,
    });
    json!({"jsonrpc": "2.0", "method": "question", "params": {"executionId": ID,
        "question": question}})
}

fn closed(cause: &str, decision: Value) -> Value {
    json!({"jsonrpc": "2.0", "method": "questionClosed", "params": {"executionId": ID,
        "questionId": QUESTION, "closedBy": cause, "decision": decision, "principal": null,
        "closedAt": "2026-01-01T00:00:00Z"}})
}

#[test]
fn questions_are_announced_and_closed_in_order() {
    let start = || [answer("running"), asking(true, 1)];
    let view = |messages: &[Value]| [start().as_slice(), messages].concat();
    let end_of = || closed("answer", json!("allow"));
    good(&execute(), &view(&[question(), end_of(), end("")]));
    good(&execute(), &view(&[end("")]));
    good(
        &execute(),
        &[
            answer("running"),
            asking(false, 1),
            question(),
            end_of(),
            end(""),
        ],
    );
    for (rule, messages) in [
        (
            "question 0190c0de-0000-7000-8000-000000000007 twice",
            vec![question(), question()],
        ),
        ("which was not announced", vec![end_of()]),
        ("twice", vec![question(), end_of(), end_of()]),
        ("no questionClosed of", vec![question(), end("")]),
        ("question after the terminal", vec![end(""), question()]),
        (
            "questionClosed after the terminal",
            vec![question(), end_of(), end(""), end_of()],
        ),
        ("does not show", vec![asking(false, 0), question()]),
        (
            "questionClosed has",
            vec![question(), closed("answer", json!(null))],
        ),
        (
            "questionClosed has",
            vec![question(), closed("end", json!("deny"))],
        ),
        (
            "questionClosed has",
            vec![question(), closed("other", json!(null))],
        ),
    ] {
        bad(rule, &execute(), &view(&messages));
    }
    bad(
        "question before the statusUpdate",
        &execute(),
        &[answer("running"), question()],
    );
    let mut without_input = question();
    without_input["params"]["question"]["input"] = Value::Null;
    bad("inputBytes differ", &execute(), &view(&[without_input]));
    let mut without_tool = question();
    let object = without_tool["params"]["question"].as_object_mut();
    object.expect("an object").remove("tool");
    bad("without tool", &execute(), &view(&[without_tool]));
}
