//! docs/protocol.md against the code, in both directions: each item of the code is in a table of
//! the page, and each item of a table is in the code. The items of the code are from the types of
//! `protocol` where they can be listed, and from the text of the sources elsewhere.

mod access;
mod descriptions;
mod errors;
mod links;
mod messages;
mod page;
mod sources;

use std::collections::BTreeSet;
use std::fmt::Debug;

use page::{Page, name};
use protocol::message::{ConnectedLimits, Request};
use protocol::{Body, ExecutionId, ProblemType, Reason, State, Status};
use serde_json::{Value, json};
use sources::Source;

/// Asserts that both sides have the same items; the message names those that one side lacks.
fn compare<T: Ord + Debug>(what: &str, code: &BTreeSet<T>, page: &BTreeSet<T>) {
    assert!(!code.is_empty(), "{what}: nothing was found in the code");
    let missing: Vec<_> = code.difference(page).collect();
    let unknown: Vec<_> = page.difference(code).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "{what}: docs/protocol.md lacks {missing:?}; the code does not have {unknown:?}"
    );
}

fn members(object: &impl serde::Serialize) -> BTreeSet<String> {
    let value = serde_json::to_value(object).expect("JSON");
    let object = value.as_object().expect("an object");
    object.keys().cloned().collect()
}

fn constants(path: &str, module: &str) -> BTreeSet<String> {
    let constants = Source::read(path).constants(Some(module));
    constants.into_iter().map(|(_, value)| value).collect()
}

#[test]
fn states_agree() {
    let source = Source::read("protocol/src/state.rs");
    let variants = source.between("pub enum State {", "}").split(',');
    let variants = variants.map(str::trim).filter(|v| !v.is_empty());
    let state = |variant: &str| {
        let lower = variant.chars().enumerate().map(|(at, c)| match c {
            'A'..='Z' if at > 0 => format!("_{}", c.to_ascii_lowercase()),
            c => c.to_ascii_lowercase().to_string(),
        });
        let name: String = lower.collect();
        let state: State = serde_json::from_value(json!(name)).expect("a state");
        let terminal = if state.is_terminal() { "yes" } else { "no" };
        [state.as_str(), state.as_upper_case(), terminal].map(str::to_owned)
    };
    let code = variants.map(state).collect();
    let page = Page::read();
    compare("states", &code, &page.names::<3>("State names"));
    let names: BTreeSet<_> = code.iter().map(|[name, ..]| name.clone()).collect();
    for heading in ["Reasons", "Ends"] {
        let column = 1;
        for row in page.rows(heading) {
            let state = name(&row[column]);
            assert!(names.contains(&state), "{heading}: {row:?} has no state");
        }
    }
}

#[test]
fn reasons_agree() {
    let reasons = Reason::ALL.iter();
    let code = reasons.map(|reason| reason.as_str().to_owned()).collect();
    compare("reasons", &code, &Page::read().first("Reasons"));
}

#[test]
fn problem_types_agree() {
    let types = ProblemType::ALL.iter();
    let code = types.map(|kind| [kind.as_str().to_owned(), kind.status().to_string()]);
    let page = Page::read();
    compare(
        "problem types",
        &code.collect(),
        &page.names::<2>("Problem types"),
    );
    let upgrade = Source::read("bridge/src/server/upgrade.rs");
    let calls = upgrade.calls("plain");
    let code = calls.iter().filter_map(|call| upgrade.string(&call[1]));
    let page = page.first("Refused handshakes");
    compare("refused handshakes", &code.collect(), &page);
}

#[test]
fn calls_agree() {
    for (path, heading) in [
        ("claude-api/src/http.rs", "Calls"),
        ("bridge/src/server.rs", "Paths"),
    ] {
        let page = Page::read().names::<2>(heading);
        compare(heading, &routes(path), &page);
    }
}

/// Returns the method and the path of each route of a router.
fn routes(file: &str) -> BTreeSet<[String; 2]> {
    let source = Source::read(file);
    let mut routes = BTreeSet::new();
    for call in source.calls(".route") {
        let path = route(file, &call[0]).expect("a route's path");
        let handlers = Source {
            text: source.with_value(&call[1]),
        };
        for method in ["get", "put", "post", "delete", "any"] {
            let spelling = match method {
                "any" => "any".to_owned(),
                method => method.to_uppercase(),
            };
            if !handlers.calls(method).is_empty() {
                routes.insert([spelling, path.clone()]);
            }
        }
    }
    routes
}

/// Returns the path of a route: a literal, or a constant of the file or of a module below it.
fn route(file: &str, argument: &str) -> Option<String> {
    match argument.rsplit_once("::") {
        None => Source::read(file).string(argument),
        Some((module, constant)) => {
            let folder = file.trim_end_matches(".rs");
            let module = module.replace("::", "/");
            Source::read(&format!("{folder}/{module}.rs")).string(constant)
        }
    }
}

#[test]
fn trailers_and_headers_agree() {
    let constants = Source::read("protocol/src/trailers.rs").constants(None);
    let names = constants.into_iter().filter(|(name, _)| name != "ALL");
    let code = names.map(|(_, value)| value).collect();
    let page = Page::read().first("Headers and trailers");
    compare("trailers and headers", &code, &page);
}

#[test]
fn members_of_bodies_and_statuses_agree() {
    let page = Page::read();
    // Some fields are left out where they have their default.
    let body = Body {
        include_partial_messages: false,
        include_hook_events: true,
        replay_user_messages: true,
        session_mirror: true,
        fork_conversation: true,
        sdk_env: [("CLAUDE_CODE_ENTRYPOINT".to_owned(), "sdk-py".to_owned())].into(),
        ..Body::new("x")
    };
    compare("body", &members(&body), &page.first("Body"));
    let at = jiff::Timestamp::UNIX_EPOCH;
    let status = Status::queued(ExecutionId::random(), at, "w".to_owned());
    compare("status", &members(&status), &page.first("Status object"));
}

#[test]
fn limits_and_their_defaults_agree() {
    let page = Page::read();
    let limits: ConnectedLimits = serde_json::from_value(json!({})).expect("limits");
    let defaults = serde_json::to_value(limits).expect("JSON");
    compare("limits", &members(&defaults), &page.first("Limits"));
    for row in page.rows("Limits") {
        let limit = name(&row[0]);
        // The default of this limit depends on the machine.
        if limit != "simultaneousStarts" {
            assert_eq!(number(&row[1]), defaults[&limit], "{limit}");
        }
    }
}

/// Parses a number with commas or a binary unit, or a truth value.
fn number(text: &str) -> Value {
    let (number, unit) = text.split_once(' ').unwrap_or((text, ""));
    let unit = match unit {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        other => panic!("{other:?} is no unit"),
    };
    match number.replace(',', "").parse::<u64>() {
        Ok(number) => json!(number * unit),
        Err(_) => json!(number == "true"),
    }
}

#[test]
fn settings_and_their_defaults_agree() {
    let config = Source::read("bridge/src/config.rs");
    for row in Page::read().rows("Settings") {
        let setting = name(&row[0]);
        let default = number(&row[1]);
        let line = format!("env = \"{setting}\", default_value = \"{default}\"");
        assert!(config.text.contains(&line), "{line} is not in the bridge");
    }
}

#[test]
fn requests_and_notifications_agree() {
    let page = Page::read();
    let constants = constants("protocol/src/rpc.rs", "method");
    let is_request = |name: &String| Request::METHODS.contains(&name.as_str());
    let (requests, others) = constants.into_iter().partition(is_request);
    compare("requests", &requests, &page.first("Requests"));
    compare("notifications", &others, &page.first("Notifications"));
}
