//! Many open sessions while the token file changes.

use cc_tests::harness::tokens::TOKENS_FILE;
use cc_tests::harness::{StackOptions, eventually};
use futures::StreamExt;
use serde_json::json;

use super::super::api::{Api, IN_FORCE, session, usual_tokens};
use super::super::reload::until_warned;
use crate::support::{accept, ended};

/// The number of sessions.
const SESSIONS: usize = 1000;
/// How many sessions connect at the same time.
const AT_ONCE: usize = 32;
/// The number of lines of output, and the length of each.
const LINES: usize = 100;
const LINE_BYTES: usize = 20;
/// How often the file changes.
const ROUNDS: usize = 3;
/// The line of the audit log for a change that is in force.
const READ_AGAIN: &str = "read the token file again";

/// Waits until so many changes are in force.
async fn until_read(read: &impl Fn() -> usize, times: usize) {
    eventually("the change in force", IN_FORCE, || {
        (read() >= times).then_some(())
    })
    .await;
}

/// Tokens that the sessions do not use come, change and go, and the file is broken for a while. No
/// session ends, and each has every byte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changing_file_costs_a_thousand_sessions_no_byte() {
    let api = Api::start(usual_tokens(), StackOptions::default()).await;
    let limits = [
        format!("--sessions={}", SESSIONS + 10),
        format!("--sessions-per-principal={}", SESSIONS + 10),
    ];
    let bridge = api.bridge(&[&limits[0], &limits[1]]).await;
    let alice = api.http("alice");
    let gate = api.prepare();
    let prompt = format!("@rate 10\n@volume {LINES} {LINE_BYTES}\n{}", gate.prompt);
    let id = gate.id.clone();
    let open = |_| {
        let (bridge, secret) = (&bridge, api.tokens.secret("alice"));
        async move { session(bridge, secret).await }
    };
    let opened = futures::stream::iter(0..SESSIONS).map(open);
    let mut sessions: Vec<_> = opened.buffer_unordered(AT_ONCE).collect().await;
    accept(&alice, &id, &prompt, json!({})).await;
    for session in &mut sessions {
        session.attach(&id, None).await.expect("a view");
    }
    let file = api.path(TOKENS_FILE);
    let original = std::fs::read_to_string(&file).expect("the token file");
    let admin = api.http("admin");
    let read = || api.service.log().matches(READ_AGAIN).count();
    for round in 0..ROUNDS {
        // The secrets of the sessions stay.
        let name = format!("new-{round}");
        let team = ["principal = \"team-n\""];
        api.tokens.clone().with(&name, "view", &team).write(&file);
        until_read(&read, 2 * round + 1).await;
        let broken = format!("{original}\n[[token]]\nname = {round}\n");
        std::fs::write(&file, broken).expect("a written file");
        until_warned(&admin, true).await;
        std::fs::write(&file, &original).expect("a written file");
        until_read(&read, 2 * round + 2).await;
    }
    gate.open();
    for session in sessions {
        let (output, end) = session.wait_terminal(&id).await;
        assert_eq!(end["state"], "completed", "{end}");
        assert_eq!(output.len(), LINES * LINE_BYTES + 10);
        session.finish().await;
    }
    assert_eq!(ended(&alice, &id).await["state"], "completed");
    let log = bridge.log();
    assert!(!log.contains("\"close_code\":1008"), "a session was ended");
}
