//! `ccb doctor`: would a prompt run now, and if not, what is to do. Asks what answers, and starts nothing.

mod http;
mod report;

use std::time::{Duration, Instant};

use client::{Client, Error, Options};
use protocol::rpc::code;
use protocol::{Limits, Reason, State, Status};
use serde_json::{Value, json};

use crate::args::{Common, DoctorArgs};
use crate::exit::{self, Exit};
use report::{Check, Report};

/// Each question's time limit: a doctor that waits helps nobody.
const LIMIT: Duration = Duration::from_secs(5);
/// Below this the CLI's own retries are ended as idle (measured: healthy runs are silent for 330 s).
const HEALTHY_SILENCE_MS: u64 = 330_000;
/// The number of newest executions that are checked.
const NEWEST: u32 = 5;
/// Where claude-api is when nobody says otherwise.
const CLAUDE_API: &str = "http://127.0.0.1:8002";

pub(crate) async fn run(args: DoctorArgs, common: &Common) -> Exit {
    let mut report = Report::default();
    for line in args.facts.lines() {
        report.checks.extend(Check::parse(line));
    }
    let reached = bridge(&mut report, common).await;
    let usual = common.url.as_str() == client::address::DEFAULT_URL;
    match args.claude_api.as_deref() {
        None if !usual => elsewhere(&mut report),
        url => claude_api(&mut report, url, reached).await,
    }
    let text = if common.json {
        report.json()
    } else {
        report.text(common.quiet)
    };
    let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
    if report.well() {
        exit::OK
    } else {
        exit::UNAVAILABLE
    }
}

/// The WebSocket, the bridge's view of readiness, the newest execution. Whether the bridge answered.
async fn bridge(report: &mut Report, common: &Common) -> bool {
    let options = Options {
        connect_timeout: LIMIT,
        give_up: LIMIT,
        answer_timeout: LIMIT,
        ..Options::default()
    };
    let began = Instant::now();
    let url = common.url.as_str();
    let client = match Client::connect(url, options).await {
        Ok(client) => client,
        Err(error) => {
            report.fail("bridge", &error.to_string(), unreached(&error));
            return false;
        }
    };
    let version = client.connected().version.clone();
    let greeted = began.elapsed().as_millis();
    report.ok(
        "bridge",
        &format!("{url} greets in {greeted} ms, version {version}"),
    );
    report.versions["bridge"] = json!(version);
    report.versions["ccb"] = json!(env!("CARGO_PKG_VERSION"));
    if version != env!("CARGO_PKG_VERSION") {
        report.warn(
            "version",
            &format!(
                "the bridge is {version}, this ccb is {}",
                env!("CARGO_PKG_VERSION")
            ),
            "use the ccb that came with the bridge: scripts/ccb, or build it again",
        );
    }
    let authority = url.trim_start_matches("ws://").split('/').next();
    match http::get(authority.unwrap_or_default(), "/health/ready", LIMIT).await {
        Ok((200, _)) => report.ok("ready", "an execution would start now"),
        Ok((status, body)) => not_ready(report, status, &body),
        Err(why) => report.fail(
            "ready",
            &format!("the bridge does not tell whether it is ready: {why}"),
            "look at the bridge's log: docker compose logs bridge",
        ),
    }
    shown_limits(report, &greeted_limits(client.greeting()));
    match client.list(NEWEST, None).await {
        Ok(page) => newest(report, &page.executions),
        Err(error) => report.warn(
            "newest execution",
            &error.to_string(),
            "the executions cannot be listed: see what is wrong with claude-api",
        ),
    }
    client.close().await;
    true
}

/// What to do when there is no session.
fn unreached(error: &Error) -> &'static str {
    match error {
        Error::Unreachable { .. } => {
            "start it: scripts/up. If it runs elsewhere, name it: --url ws://HOST:PORT/ws, or CCB_URL"
        }
        Error::Refused { .. } => {
            "a name that the bridge does not know is refused: add it to BRIDGE_ALLOWED_HOSTS. Or another program has this port"
        }
        Error::Rpc(e) if e.code == code::TOO_MANY_SESSIONS => {
            "close some sessions, or raise BRIDGE_SESSIONS"
        }
        Error::Protocol(_) => {
            "use the ccb that came with this bridge; or another program has this port"
        }
        _ => "look at the bridge's log: docker compose logs bridge",
    }
}

/// Each reason with its remedy, as claude-api gives them.
fn not_ready(report: &mut Report, status: u16, body: &[u8]) {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let reasons = problem["reasons"].as_array().cloned().unwrap_or_default();
    for reason in &reasons {
        let text = |key: &str| reason[key].as_str().unwrap_or("not said").to_owned();
        report.fail(&text("code"), &text("message"), &text("remedy"));
    }
    if reasons.is_empty() {
        let message = format!("not ready, without a reason (HTTP {status})");
        report.fail("ready", &message, "look at the logs: docker compose logs");
    }
}

/// Returns the limits as the bridge wrote them: with those that only a later ccb knows, and without
/// defaults for those that an older bridge does not send.
fn greeted_limits(greeting: &str) -> Value {
    let mut greeting: Value = serde_json::from_str(greeting).unwrap_or_default();
    let limits = greeting.pointer_mut("/params/limits");
    limits.map(Value::take).unwrap_or_default()
}

/// The limits that decide about executions, and those that look wrong.
fn shown_limits(report: &mut Report, limits: &Value) {
    report.limits = limits.clone();
    let Ok(known) = serde_json::from_value::<Limits>(limits.clone()) else {
        report.warn(
            "limits",
            "the bridge does not know claude-api's limits yet",
            "it learns them when it reaches claude-api",
        );
        return;
    };
    report.ok(
        "limits",
        &format!(
            "{} run at once, {} wait, {} in a lane; {} sessions",
            known.running_executions, known.queued, known.queued_per_lane, known.sessions
        ),
    );
    if known.idle_timeout_ms < HEALTHY_SILENCE_MS {
        report.warn(
            "idle timeout",
            &format!(
                "{} ms without progress end an execution, and healthy ones are silent for {HEALTHY_SILENCE_MS} ms",
                known.idle_timeout_ms
            ),
            "raise CLAUDE_API_IDLE_TIMEOUT_MS (900000 by default)",
        );
    }
}

/// Reports how the newest executions ended, newest first: they show faults that no probe finds.
fn newest(report: &mut Report, executions: &[Status]) {
    let Some(status) = executions.first() else {
        report.ok("newest execution", "there is none yet");
        return;
    };
    let name = |value: Value| value.as_str().unwrap_or_default().to_owned();
    let reason = status.reason.map(|r| name(json!(r)));
    let state = name(json!(status.state));
    let what = format!(
        "{} is {state}{}",
        status.execution_id,
        reason
            .as_ref()
            .map_or_else(String::new, |r| format!(" ({r})"))
    );
    // The error has the CLI's own message; without it the remedy would be a guess.
    let said = status.error.as_ref().map(|error| &error.message);
    let what = said.map_or(what.clone(), |said| format!("{what}: {said}"));
    let ended: Vec<_> = executions
        .iter()
        .filter(|s| s.state.is_terminal())
        .collect();
    let failed = |s: &&&Status| s.reason == Some(Reason::CliError);
    let in_a_row = ended.iter().take_while(failed).count();
    if in_a_row > 0 {
        let remedy =
            "see its events: ccb status, and the page /v1/executions/ID/events of claude-api";
        // One failure may be caused by the prompt. Several in a row, or the only execution, point
        // to the CLI.
        if in_a_row > 1 || in_a_row == ended.len() {
            let what = format!("the newest {in_a_row} failed as cli_error; {what}");
            report.fail("newest execution", &what, remedy);
        } else {
            report.warn("newest execution", &what, remedy);
        }
        return;
    }
    let remedy = match (status.state, reason.as_deref()) {
        (_, Some("auth_failed")) => "give a valid credential, see docs/operations.md, Credentials",
        (_, Some("usage_limit")) => {
            "the account's limit is reached: wait for its reset, or execute with onUsageLimit wait"
        }
        (_, Some("spawn_failed")) => "see its error with: ccb status",
        (_, Some("hook_refused")) => "the before hook refused it: see its error with: ccb status",
        (State::Interrupted, _) => {
            "claude-api was stopped under it; run it again, or continue it with `continues`"
        }
        _ => {
            report.ok("newest execution", &what);
            return;
        }
    };
    report.warn("newest execution", &what, remedy);
}

/// Reports on claude-api through the bridge, for a run that names only the bridge: a claude-api on
/// the usual port may belong to another stack.
fn elsewhere(report: &mut Report) {
    report.ok(
        "claude-api",
        "checked only through the bridge; to check it directly, add --claude-api URL",
    );
}

/// claude-api itself, where it can be reached from here; clients need only the bridge.
async fn claude_api(report: &mut Report, url: Option<&str>, bridge_reached: bool) {
    let shown = url.unwrap_or(CLAUDE_API);
    let authority = shown.trim_start_matches("http://").trim_end_matches('/');
    let began = Instant::now();
    match http::get(authority, "/health/ready", LIMIT).await {
        Ok((200, body)) => {
            let took = began.elapsed().as_millis();
            report.ok("claude-api", &format!("{shown} is ready, asked in {took} ms"));
            warnings(report, &body);
        }
        Ok((503, body)) => {
            report.ok("claude-api", &format!("{shown} answers"));
            // The bridge has told its reasons already.
            if !bridge_reached {
                not_ready(report, 503, &body);
            }
        }
        Ok((status, _)) => report.warn(
            "claude-api",
            &format!("{shown} answers with HTTP {status}: is this claude-api?"),
            "name it with --claude-api; a host name of its own goes into CLAUDE_API_ALLOWED_HOSTS",
        ),
        Err(why) if url.is_some() || !bridge_reached => report.fail(
            "claude-api",
            &format!("{shown}: {why}"),
            "start it: scripts/up. Its log tells why it does not run: docker compose logs claude-api",
        ),
        // Nobody said that it can be reached from here.
        Err(_) => {}
    }
}

/// What a person should know although everything works, such as a part of the sandbox that is missing.
fn warnings(report: &mut Report, body: &[u8]) {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    for warning in body["warnings"].as_array().into_iter().flatten() {
        let text = |name: &str| warning[name].as_str().unwrap_or_default();
        report.warn(text("code"), text("message"), text("remedy"));
    }
}

#[cfg(test)]
mod tests;
