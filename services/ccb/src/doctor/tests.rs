use super::http::split;
use super::report::{Check, Level, Report};
use super::*;

fn findings(report: &Report) -> Vec<(Level, &str)> {
    let checks = report.checks.iter();
    checks.map(|c| (c.level, c.name.as_str())).collect()
}

#[test]
fn findings_of_the_script_count_for_the_verdict() {
    let line = "fail\tengine\tno Docker engine answers\tstart Docker";
    let check = Check::parse(line).unwrap();
    assert_eq!(check.remedy.as_deref(), Some("start Docker"));
    let fine = Check::parse("ok\tengine\t20.10\t").unwrap();
    assert_eq!((fine.level, fine.remedy.clone()), (Level::Ok, None));
    for wrong in ["", "maybe\tx\ty", "ok\tx"] {
        assert_eq!(Check::parse(wrong), None);
    }
    let mut report = Report::default();
    report.checks.push(fine);
    assert!(report.is_ok());
    report.checks.push(check);
    assert!(!report.is_ok());
    assert!(report.text(true).contains("start Docker") && !report.text(true).contains("20.10"));
}

#[test]
fn each_reason_is_reported_with_its_remedy() {
    let mut report = Report::default();
    let body = br#"{"type":"not-ready","reasons":[{"code":"no-room","message":"m1","remedy":"r1"},
        {"code":"credential-missing","message":"m2","remedy":"r2"}]}"#;
    not_ready(&mut report, 503, body);
    let names = [
        (Level::Fail, "no-room"),
        (Level::Fail, "credential-missing"),
    ];
    assert_eq!(findings(&report), names);
    let text = report.text(false);
    assert!(
        text.contains("to do: r1") && text.contains("2 problems"),
        "{text}"
    );
    let mut silent = Report::default();
    not_ready(&mut silent, 502, b"<html>");
    assert_eq!(findings(&silent), [(Level::Fail, "ready")]);
}

#[test]
fn a_warning_of_claude_api_is_reported_and_a_prompt_would_run() {
    let mut report = Report::default();
    let body = br#"{"status":"ready","reasons":[],
        "warnings":[{"code":"sandbox-incomplete","message":"m","remedy":"r"}]}"#;
    warnings(&mut report, body);
    assert_eq!(findings(&report), [(Level::Warn, "sandbox-incomplete")]);
    assert!(report.is_ok() && report.text(false).contains("to do: r"));
    let mut quiet = Report::default();
    warnings(&mut quiet, br#"{"status":"ready","reasons":[]}"#);
    assert_eq!(findings(&quiet), []);
}

#[test]
fn an_idle_timeout_that_ends_healthy_runs_is_a_warning() {
    let mut report = Report::default();
    check_limits(&mut report, &json!({ "idleTimeoutMs": 60_000 }));
    let names = [(Level::Ok, "limits"), (Level::Warn, "idle timeout")];
    assert_eq!(findings(&report), names);
    let mut unknown = Report::default();
    check_limits(&mut unknown, &Value::Null);
    assert_eq!(findings(&unknown), [(Level::Warn, "limits")]);
    assert!(unknown.is_ok());
}

#[test]
fn the_report_has_the_limits_as_the_bridge_wrote_them() {
    let limits = json!({ "queued": 3, "laterLimit": { "of": 1 } });
    let params = json!({ "sessionId": "s", "protocol": 1, "limits": limits });
    let greeting = json!({ "jsonrpc": "2.0", "method": "connected", "params": params });
    let mut report = Report::default();
    check_limits(&mut report, &greeted_limits(&greeting.to_string()));
    assert_eq!(report.limits, limits);
    assert_eq!(greeted_limits(r#"{"params":{}}"#), Value::Null);
    assert_eq!(greeted_limits("7"), Value::Null);
}

/// Regression: every execution failed, and the doctor said that a prompt would run.
#[test]
fn the_verdict_is_a_failure_while_the_newest_executions_fail_as_cli_error() {
    let ended = |state, reason| {
        let id = protocol::ExecutionId::random();
        let mut status = Status::queued(id, jiff::Timestamp::now(), "default".to_owned());
        (status.state, status.reason) = (state, reason);
        status
    };
    let broken = || ended(State::Failed, Some(Reason::CliError));
    let good = || ended(State::Completed, None);
    let waiting = || ended(State::Queued, None);
    for (executions, level) in [
        (vec![good(), broken(), broken()], Level::Ok),
        (vec![broken(), good()], Level::Warn),
        (vec![broken()], Level::Fail),
        (vec![waiting(), broken(), broken(), good()], Level::Fail),
        (vec![], Level::Ok),
    ] {
        let mut report = Report::default();
        newest(&mut report, &executions);
        assert_eq!(findings(&report), [(level, "newest execution")]);
        assert_eq!(report.is_ok(), level != Level::Fail);
    }
}

#[test]
fn an_answer_is_split_into_status_code_and_body() {
    let answer = b"HTTP/1.1 503 Service Unavailable\r\nx: y\r\n\r\n{}";
    assert_eq!(split(answer), Some((503, b"{}".to_vec())));
    for wrong in [&b""[..], b"SSH-2.0\r\n\r\n", b"HTTP/1.1 200 OK\r\n"] {
        assert_eq!(split(wrong), None);
    }
}

#[tokio::test]
async fn an_unreachable_claude_api_is_a_failure_with_a_remedy() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let free = listener.local_addr().unwrap();
    drop(listener);
    let mut report = Report::default();
    let access = Access::default();
    claude_api(&mut report, Some(&format!("http://{free}")), true, &access).await;
    assert_eq!(findings(&report), [(Level::Fail, "claude-api")]);
    let error = Error::Unreachable {
        url: "u".into(),
        reason: "w".into(),
    };
    assert!(connect_remedy(&error).contains("scripts/up"));
}
