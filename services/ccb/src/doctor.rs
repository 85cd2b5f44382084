//! The command `ccb doctor`, which checks whether a prompt would run, and otherwise says how to fix
//! that. It only reads; it starts no execution and changes nothing.

mod credential;
mod http;
mod report;
mod token;

use std::time::Instant;

use client::{Address, Client, Error, Options};
use protocol::rpc::code;
use protocol::{Limits, Reason, State, Status};
use serde_json::{Value, json};

use crate::access::Access;
use crate::args::{Common, DoctorArgs};
use crate::exit::{self, Exit};
use http::{LIMIT, Service};
use report::{Check, Report};

/// The longest time in which a healthy execution made no progress, in milliseconds. It was measured
/// while the CLI retried. A shorter idle timeout would end such executions, so the doctor warns of
/// it.
const HEALTHY_SILENCE_MS: u64 = 330_000;
/// The number of newest executions whose results `ccb doctor` checks.
const NEWEST: u32 = 5;
/// The address of claude-api that `ccb doctor` tries if the user gives none.
const CLAUDE_API: &str = "http://127.0.0.1:8002";

/// Runs all checks of `ccb doctor`, prints the report on stdout, and returns the exit code.
pub(crate) async fn run(args: DoctorArgs, common: &Common) -> Exit {
    let mut report = Report::default();
    for line in args.facts.lines() {
        report.checks.extend(Check::parse(line));
    }
    let reached = bridge(&mut report, common).await;
    let default_bridge = common.url.as_str() == client::address::DEFAULT_URL;
    match args.claude_api.as_deref() {
        None if !default_bridge => claude_api_not_checked(&mut report),
        url => claude_api(&mut report, url, reached, &common.access).await,
    }
    let text = if common.json {
        report.json()
    } else {
        report.text(common.quiet)
    };
    let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
    if report.is_ok() {
        exit::OK
    } else {
        exit::UNAVAILABLE
    }
}

/// Checks the WebSocket connection to the bridge, the bridge's readiness and the newest executions,
/// and adds the findings to the report. Returns whether the bridge answered.
async fn bridge(report: &mut Report, common: &Common) -> bool {
    let options = Options {
        connect_timeout: LIMIT,
        give_up: LIMIT,
        answer_timeout: LIMIT,
        ..crate::exec::options(common)
    };
    let started = Instant::now();
    let url = common.url.as_str();
    let client = match Client::connect(url, options).await {
        Ok(client) => client,
        Err(error) => {
            report.fail(
                token::check_name(&error),
                &error.to_string(),
                connect_remedy(&error),
            );
            return false;
        }
    };
    let version = client.connected().version.clone();
    let connect_ms = started.elapsed().as_millis();
    report.ok(
        "bridge",
        &format!("{url} answered in {connect_ms} ms, version {version}"),
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
            "use the ccb of the bridge's version: scripts/ccb, or build it again",
        );
    }
    let service = Service {
        address: &common.url,
        roots: &common.access.roots,
        token: common.access.token.as_ref(),
    };
    match service.get("/health/ready").await {
        Ok((200, body)) => {
            report.ok("ready", "an execution would start immediately");
            credential::add(report, &body);
        }
        Ok((status, body)) => {
            not_ready(report, status, &body);
            credential::add(report, &body);
        }
        Err(reason) => report.fail(
            "ready",
            &format!("the bridge does not report its readiness: {reason}"),
            "read the bridge's log: docker compose logs bridge",
        ),
    }
    let limits = greeted_limits(client.greeting());
    check_limits(report, &limits);
    token::of_bridge(report, &limits, common.access.token.is_some());
    match client.list(NEWEST, None).await {
        Ok(page) => newest(report, &page.executions),
        Err(error) => report.warn(
            "newest execution",
            &error.to_string(),
            "executions cannot be listed; follow the remedies for claude-api",
        ),
    }
    client.close().await;
    true
}

/// Returns the remedy for a failed connection to the bridge, as advice for the user.
fn connect_remedy(error: &Error) -> &'static str {
    match error {
        Error::Unreachable { .. } => {
            "start it: scripts/up. If it runs elsewhere, give its address: \
             --url ws://HOST:PORT/ws, or CCB_URL"
        }
        Error::Unauthorized { token_sent, .. } => token::remedy(*token_sent),
        Error::Rpc(e) if e.code == code::NOT_AUTHORISED => token::remedy(true),
        Error::Forbidden { .. } => {
            "ask the operator for a token whose role permits this: ccb token new NAME --role ROLE"
        }
        Error::Busy { .. } => {
            "wait, then try again. After too many wrong tokens, correct the token first"
        }
        Error::Tls { .. } => {
            "check the scheme, the host name and the port of --url; a certificate of an authority \
             of your own needs --ca FILE"
        }
        Error::Refused { .. } => {
            "the bridge refuses unknown host names: add this one to BRIDGE_ALLOWED_HOSTS. \
             Or another program uses this port"
        }
        Error::Rpc(e) if e.code == code::TOO_MANY_SESSIONS => {
            "close some sessions, or raise BRIDGE_SESSIONS"
        }
        Error::Protocol(_) => {
            "use the ccb of this bridge's version; or another program uses this port"
        }
        _ => "read the bridge's log: docker compose logs bridge",
    }
}

/// Adds a finding for each reason why a service is not ready, with its remedy, from the JSON body
/// of its HTTP answer. If the body has no reasons, adds the HTTP status.
fn not_ready(report: &mut Report, status: u16, body: &[u8]) {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let reasons = problem["reasons"].as_array().cloned().unwrap_or_default();
    for reason in &reasons {
        let text = |key: &str| reason[key].as_str().unwrap_or("unknown").to_owned();
        report.fail(&text("code"), &text("message"), &text("remedy"));
    }
    if reasons.is_empty() {
        let message = format!("not ready; no reason was given (HTTP {status})");
        report.fail("ready", &message, "read the logs: docker compose logs");
    }
}

/// Returns the limits in the bridge's greeting exactly as the bridge wrote them. Limits of a newer
/// bridge are therefore kept, and limits that an older bridge leaves out get no defaults.
fn greeted_limits(greeting: &str) -> Value {
    let mut greeting: Value = serde_json::from_str(greeting).unwrap_or_default();
    let limits = greeting.pointer_mut("/params/limits");
    limits.map(Value::take).unwrap_or_default()
}

/// Adds findings about the limits on executions that the bridge reported, and warns if the idle
/// timeout is too short.
fn check_limits(report: &mut Report, limits: &Value) {
    report.limits = limits.clone();
    let Ok(known) = serde_json::from_value::<Limits>(limits.clone()) else {
        report.warn(
            "limits",
            "the bridge does not know claude-api's limits yet",
            "wait until the bridge reaches claude-api, which sends them",
        );
        return;
    };
    report.ok(
        "limits",
        &format!(
            "{} running executions, {} queued, {} queued per lane, {} sessions",
            known.running_executions, known.queued, known.queued_per_lane, known.sessions
        ),
    );
    if known.idle_timeout_ms < HEALTHY_SILENCE_MS {
        report.warn(
            "idle timeout",
            &format!(
                "an execution ends after {} ms without progress, \
                 but healthy ones are silent for up to {HEALTHY_SILENCE_MS} ms",
                known.idle_timeout_ms
            ),
            "raise CLAUDE_API_IDLE_TIMEOUT_MS (900000 by default)",
        );
    }
}

/// Adds findings about how the newest executions ended, because they show faults that no other
/// check finds. The list must be sorted newest first.
fn newest(report: &mut Report, executions: &[Status]) {
    let Some(status) = executions.first() else {
        report.ok("newest execution", "none yet");
        return;
    };
    let name = |value: Value| value.as_str().unwrap_or_default().to_owned();
    let reason = status.reason.map(|r| name(json!(r)));
    let state = name(json!(status.state));
    let outcome = format!(
        "{} is {state}{}",
        status.execution_id,
        reason
            .as_ref()
            .map_or_else(String::new, |r| format!(" ({r})"))
    );
    // The error has the CLI's own message; without it the remedy would be a guess.
    let outcome = match &status.error {
        Some(error) => format!("{outcome}: {}", error.message),
        None => outcome,
    };
    let ended: Vec<_> = executions
        .iter()
        .filter(|s| s.state.is_terminal())
        .collect();
    let failed = |s: &&&Status| s.reason == Some(Reason::CliError);
    let in_a_row = ended.iter().take_while(failed).count();
    if in_a_row > 0 {
        let remedy =
            "read `ccb status` and its events: the path /v1/executions/ID/events of claude-api";
        // One failure may be caused by the prompt. Several in a row, or the only execution, point
        // to the CLI.
        if in_a_row > 1 || in_a_row == ended.len() {
            let message = format!("the newest {in_a_row} failed as cli_error; {outcome}");
            report.fail("newest execution", &message, remedy);
        } else {
            report.warn("newest execution", &outcome, remedy);
        }
        return;
    }
    let remedy = match (status.state, reason.as_deref()) {
        (_, Some("auth_failed")) => "give a valid credential, see docs/operations.md, Credentials",
        (_, Some("usage_limit")) => {
            "the account's limit is reached: wait for its reset, or execute with onUsageLimit wait"
        }
        (_, Some("spawn_failed")) => "read its error: ccb status",
        (_, Some("hook_refused")) => "the before hook refused it; read its error: ccb status",
        (State::Interrupted, _) => {
            "claude-api stopped while it ran; run it again, or continue it with `continues`"
        }
        _ => {
            report.ok("newest execution", &outcome);
            return;
        }
    };
    report.warn("newest execution", &outcome, remedy);
}

/// Adds the finding that claude-api was checked only through the bridge. This is so if the user
/// gave only the bridge's address, because a claude-api on the default port may belong to another
/// bridge.
fn claude_api_not_checked(report: &mut Report) {
    report.ok(
        "claude-api",
        "checked only through the bridge; to check it directly, add --claude-api URL",
    );
}

/// Checks claude-api directly over HTTP. `url` is `None` for the default address. Clients need only
/// the bridge, so an unreachable default address is a failure only if the bridge is unreachable
/// too. The token is sent only to an address that the user gave.
async fn claude_api(report: &mut Report, url: Option<&str>, bridge_reached: bool, access: &Access) {
    let shown = url.unwrap_or(CLAUDE_API);
    let full = if shown.contains("://") {
        shown.to_owned()
    } else {
        format!("http://{shown}")
    };
    let address: Address = match full.parse() {
        Ok(address) => address,
        Err(error) => {
            let remedy = "give an address like http://127.0.0.1:8002 with --claude-api";
            report.fail("claude-api", &error.to_string(), remedy);
            return;
        }
    };
    let service = Service {
        address: &address,
        roots: &access.roots,
        token: access.token.as_ref().filter(|_| url.is_some()),
    };
    let started = Instant::now();
    match service.get("/health/ready").await {
        Ok((200, body)) => {
            let ms = started.elapsed().as_millis();
            report.ok(
                "claude-api",
                &format!("{shown} is ready, answered in {ms} ms"),
            );
            warnings(report, &body);
            credential::add(report, &body);
            token::of_claude_api(report, service).await;
        }
        Ok((503, body)) => {
            report.ok("claude-api", &format!("{shown} answers"));
            // A reached bridge has already reported the reasons.
            if !bridge_reached {
                not_ready(report, 503, &body);
                credential::add(report, &body);
            }
        }
        Ok((status, _)) => report.warn(
            "claude-api",
            &format!("{shown} answers with HTTP {status}; is this claude-api?"),
            "give its address with --claude-api; add its host name to CLAUDE_API_ALLOWED_HOSTS",
        ),
        Err(reason) if url.is_some() || !bridge_reached => report.fail(
            "claude-api",
            &format!("{shown}: {reason}"),
            "start it: scripts/up. Its log says why it does not run: \
             docker compose logs claude-api",
        ),
        // The default address need not be reachable from this machine.
        Err(_) => {}
    }
}

/// Adds findings for the warnings in the answer of a ready claude-api, such as a missing part of
/// the sandbox.
fn warnings(report: &mut Report, body: &[u8]) {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    for warning in body["warnings"].as_array().into_iter().flatten() {
        let text = |name: &str| warning[name].as_str().unwrap_or_default();
        report.warn(text("code"), text("message"), text("remedy"));
    }
}

#[cfg(test)]
mod tests;
