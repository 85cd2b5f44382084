//! No answer to one principal has an id, a name, a count or a byte of another.

use cc_tests::harness::StackOptions;
use cc_tests::http::Http;
use serde_json::{Value, json};

use super::super::api::{Api, Gate, cancelled, listed, usual_tokens};
use crate::support::{accept, ended, path, until};

const NAMES: [&str; 3] = ["alice", "bob", "carol"];
const PRINCIPALS: [&str; 3] = ["team-a", "team-b", "team-c"];

/// One principal's client and executions: one runs, two wait behind it in the lane `main`.
struct Team {
    http: Http,
    principal: &'static str,
    gates: Vec<Gate>,
}

impl Team {
    async fn start(api: &Api, name: &str, principal: &'static str) -> Self {
        let http = api.http(name);
        let extra = json!({"lane": "main", "metadata": {"secret": format!("of {principal}")}});
        let mut gates = vec![api.begin(&http, extra.clone()).await];
        for _ in 0..2 {
            let gate = api.prepare();
            accept(&http, &gate.id, &gate.prompt, extra.clone()).await;
            gates.push(gate);
        }
        Self {
            http,
            principal,
            gates,
        }
    }

    /// Returns the words that no answer to another principal may have.
    fn marks(&self) -> Vec<String> {
        let ids = self.gates.iter().map(|gate| gate.id.clone());
        ids.chain([
            format!("of {}", self.principal),
            format!("\"{}\"", self.principal),
        ])
        .collect()
    }

    /// Reads everything that the service tells this principal: the list, the limits, and every
    /// status and output. Returns it as text.
    async fn everything(&self) -> String {
        let mut text = String::new();
        for target in ["/v1/executions", "/v1/me", "/v1/limits", "/health/ready"] {
            text += &self
                .http
                .get(target)
                .await
                .expect("an answer")
                .1
                .to_string();
        }
        for gate in &self.gates {
            let target = path(&gate.id, "");
            text += &self
                .http
                .get(&target)
                .await
                .expect("an answer")
                .1
                .to_string();
        }
        text
    }
}

async fn teams(api: &Api) -> Vec<Team> {
    let mut teams = Vec::new();
    for (name, principal) in NAMES.iter().zip(PRINCIPALS) {
        teams.push(Team::start(api, name, principal).await);
    }
    teams
}

/// Asserts that each principal sees its own executions, and nothing of the others.
async fn assert_apart(teams: &[Team], admin: &Http) {
    let mut all = 0;
    for team in teams {
        let ids: Vec<_> = team
            .gates
            .iter()
            .rev()
            .map(|gate| gate.id.clone())
            .collect();
        all += ids.len();
        assert_eq!(listed(&team.http).await, ids, "{}", team.principal);
        let text = team.everything().await;
        for other in teams
            .iter()
            .filter(|other| other.principal != team.principal)
        {
            for mark in other.marks() {
                assert!(
                    !text.contains(&mark),
                    "{} is told {mark}: {text}",
                    team.principal
                );
            }
        }
        for gate in &team.gates {
            let status = admin.status(&gate.id).await.expect("a status");
            assert_eq!(status["principal"], team.principal, "{status}");
        }
    }
    assert_eq!(listed(admin).await.len(), all);
}

/// Asserts the positions of a principal's waiting executions: they count its own alone.
async fn assert_positions(team: &Team, expected: &[(usize, u64)]) {
    for (index, position) in expected {
        let status = team
            .http
            .status(&team.gates[*index].id)
            .await
            .expect("a status");
        assert_eq!(
            (&status["state"], &status["queuePosition"]),
            (&json!("queued"), &json!(position)),
            "{} {index}: {status}",
            team.principal
        );
    }
}

/// I7.
#[tokio::test]
async fn three_principals_and_an_admin_work_side_by_side_also_after_a_kill() {
    let mut api = Api::start(usual_tokens(), StackOptions::default()).await;
    let teams = teams(&api).await;
    let admin = api.http("admin");
    for team in &teams {
        assert_positions(team, &[(1, 0), (2, 1)]).await;
    }
    assert_apart(&teams, &admin).await;
    api.crash().await;
    let interrupted = |status: &Value| status["state"] == "interrupted";
    for team in &teams {
        until(&team.http, &team.gates[0].id, "interrupted", interrupted).await;
        until(&team.http, &team.gates[1].id, "running", |status| {
            status["state"] == "running"
        })
        .await;
        assert_positions(team, &[(2, 0)]).await;
    }
    assert_apart(&teams, &admin).await;
    for team in &teams {
        team.gates[1].open();
        team.gates[2].open();
        for gate in &team.gates[1..] {
            let end = ended(&team.http, &gate.id).await;
            assert_eq!(
                (&end["state"], &end["principal"]),
                (&json!("completed"), &json!(team.principal))
            );
            let output = team.http.output(&gate.id, 0).await.expect("an output");
            assert_eq!(output.bytes, b"begun-done", "{}", team.principal);
        }
    }
    assert_apart(&teams, &admin).await;
    api.service.assert_quiet();
}

/// `next` leads from one page to the next one of the same principal.
#[tokio::test]
async fn pages_of_a_list_have_one_principals_executions_each_once() {
    let api = Api::start(usual_tokens(), StackOptions::default()).await;
    let (alice, bob, admin) = (api.http("alice"), api.http("bob"), api.http("admin"));
    let (mut own, mut all) = (Vec::new(), Vec::new());
    for round in 0..5 {
        for http in [&alice, &bob] {
            let id = crate::support::id();
            accept(
                http,
                &id,
                "@say x",
                json!({"workspace": format!("w{round}")}),
            )
            .await;
            all.insert(0, id);
        }
        own.insert(0, all[1].clone());
    }
    for (http, expected) in [(&alice, &own), (&admin, &all)] {
        let (mut ids, mut before) = (Vec::new(), String::new());
        loop {
            let target = format!("/v1/executions?limit=2{before}");
            let (code, page) = http.get(&target).await.expect("a page");
            assert_eq!(code, 200, "{page}");
            let statuses = page["executions"].as_array().expect("executions");
            assert!(statuses.len() <= 2, "{page}");
            for status in statuses {
                ids.push(
                    status["executionId"]
                        .as_str()
                        .unwrap_or_default()
                        .to_owned(),
                );
            }
            let Some(next) = page["next"].as_str() else {
                break;
            };
            // Neither the length of a page nor `next` tells of executions in between.
            assert_eq!(
                (statuses.len(), Some(next)),
                (2, ids.last().map(String::as_str))
            );
            before = format!("&before={next}");
        }
        assert_eq!(&ids, expected);
    }
    for id in &own {
        ended(&alice, id).await;
    }
    api.service.assert_quiet();
}

#[tokio::test]
async fn the_same_lane_of_two_principals_is_two_lanes() {
    let api = Api::start(usual_tokens(), StackOptions::default()).await;
    let (alice, bob) = (api.http("alice"), api.http("bob"));
    let lane = json!({"lane": "deploy"});
    let first = api.begin(&alice, lane.clone()).await;
    let second = api.prepare();
    accept(&alice, &second.id, &second.prompt, lane.clone()).await;
    // In one lane it would wait for the execution of alice, which never ends on its own.
    let other = api.begin(&bob, lane).await;
    other.open();
    assert_eq!(ended(&bob, &other.id).await["state"], "completed");
    assert!(!second.has_begun());
    let status = alice.status(&second.id).await.expect("a status");
    assert_eq!(
        (&status["lane"], &status["queuePosition"]),
        (&json!("deploy"), &json!(0))
    );
    cancelled(&alice, &second.id).await;
    cancelled(&alice, &first.id).await;
    api.service.assert_quiet();
}

#[tokio::test]
async fn one_id_from_two_principals_at_once_is_one_execution_of_one_of_them() {
    let api = Api::start(usual_tokens(), StackOptions::default()).await;
    let (alice, bob) = (api.http("alice"), api.http("bob"));
    for _ in 0..10 {
        let id = crate::support::id();
        let body = json!({"prompt": "@say x"});
        let (one, other) = tokio::join!(alice.put(&id, &body), bob.put(&id, &body));
        let (one, other) = (one.expect("an answer"), other.expect("an answer"));
        let codes = (one.0.as_u16(), other.0.as_u16());
        let (winner, loser, lost) = match codes {
            (201, 409) => (&alice, &bob, &other.1),
            (409, 201) => (&bob, &alice, &one.1),
            _ => panic!("{codes:?}: {one:?} {other:?}"),
        };
        assert_eq!(lost["type"], "id-in-use", "{lost}");
        assert_eq!(ended(winner, &id).await["state"], "completed");
        assert!(loser.status(&id).await.is_err());
        let (code, again) = winner.put(&id, &body).await.expect("an answer");
        assert_eq!(code, 200, "{again}");
    }
    api.service.assert_quiet();
}
