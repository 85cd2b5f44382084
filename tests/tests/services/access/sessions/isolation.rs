//! No message of one principal's session has an id, a name, a lane, a count or a byte of another.

use cc_tests::harness::StackOptions;
use cc_tests::ws::{Client, Recorded};
use serde_json::json;

use super::super::api::{Api, session, usual_tokens};

/// The words of one principal, which nobody else may read.
fn words(principal: &str, ids: &[String]) -> Vec<String> {
    let mut words = ids.to_vec();
    words.push(format!("lane of {principal}"));
    words.push(format!("bytes of {principal}"));
    words.push(format!("\"{principal}\""));
    words
}

/// Returns the text of all messages that a session received.
pub(super) fn received(client: &Client) -> String {
    let texts = client
        .recorded()
        .into_iter()
        .filter_map(|message| match message {
            Recorded::Received(text) => Some(text),
            Recorded::Sent(_) | Recorded::Closed(_) => None,
        });
    texts.collect::<Vec<_>>().join("\n")
}

/// I7.
#[tokio::test]
async fn no_message_of_a_session_shows_anything_of_another_principal() {
    let options = StackOptions::default().api("--running-executions=2");
    let api = Api::start(usual_tokens(), options).await;
    let bridge = api.bridge(&["--sessions-per-principal=2"]).await;
    let mut teams: Vec<(&str, Client, Vec<String>)> = Vec::new();
    for (name, principal) in [("alice", "team-a"), ("bob", "team-b"), ("carol", "team-c")] {
        let mut client = session(&bridge, api.tokens.secret(name)).await;
        let mut ids = Vec::new();
        for lane in [
            json!("main"),
            json!(format!("lane of {principal}")),
            json!(null),
        ] {
            let extra = json!({"lane": lane});
            let prompt = format!("@say bytes of {principal}\n@silence 0.1");
            let status = client.execute(&prompt, extra).await;
            ids.push(status["executionId"].as_str().expect("an id").to_owned());
        }
        teams.push((principal, client, ids));
    }
    for (_, client, ids) in &mut teams {
        for id in ids.iter() {
            client.wait_terminal(id).await;
            client.attach(id, None).await.expect("a view");
            client
                .call("events", json!({ "executionId": id }))
                .await
                .expect("events");
        }
        let page = client
            .call("list", json!({"limit": 1000}))
            .await
            .expect("a list");
        assert_eq!(
            page["executions"].as_array().map(Vec::len),
            Some(3),
            "{page}"
        );
        for id in ids.iter() {
            client.wait_terminal(id).await;
        }
    }
    let owned: Vec<_> = teams
        .iter()
        .map(|(p, _, ids)| (*p, words(p, ids)))
        .collect();
    for (principal, client, _) in &teams {
        let received = received(client);
        for (other, words) in owned.iter().filter(|(other, _)| other != principal) {
            for word in words {
                assert!(
                    !received.contains(word),
                    "{principal} is told {word} of {other}"
                );
            }
        }
    }
    // Also if one asks for them by their ids.
    let all: Vec<String> = teams.iter().flat_map(|(_, _, ids)| ids.clone()).collect();
    for (_, client, ids) in &mut teams {
        for id in all.iter().filter(|id| !ids.contains(id)) {
            let error = client.call("status", json!({ "executionId": id })).await;
            assert_eq!(error.expect_err("it is another's")["code"], -32003);
        }
    }
    for (_, client, _) in teams {
        client.finish().await;
    }
    bridge.assert_quiet();
    api.service.assert_quiet();
}

#[tokio::test]
async fn sessions_of_one_principal_are_bounded_and_leave_room_for_another() {
    let tokens = usual_tokens().with("second", "view", &["principal = \"team-a\""]);
    let api = Api::start(tokens, StackOptions::default()).await;
    let bridge = api
        .bridge(&["--sessions=3", "--sessions-per-principal=2"])
        .await;
    let first = session(&bridge, api.tokens.secret("alice")).await;
    let second = session(&bridge, api.tokens.secret("second")).await;
    let options = super::super::api::with_secret(api.tokens.secret("alice"));
    let refused = Client::try_connect(bridge.addr(), options).await;
    let refused = refused.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(refused.wait_closed().await, 1013);
    let other = session(&bridge, api.tokens.secret("bob")).await;
    second.finish().await;
    let again = cc_tests::harness::until("a free place", super::super::api::IN_FORCE, async || {
        let options = super::super::api::with_secret(api.tokens.secret("alice"));
        let client = Client::try_connect(bridge.addr(), options).await.ok()?;
        let connected = async {
            while client.connected().is_null() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            () = connected => Some(client),
            _ = client.wait_closed() => None,
        }
    })
    .await;
    for client in [first, other, again] {
        client.finish().await;
    }
    bridge.assert_quiet();
    api.service.assert_quiet();
}
