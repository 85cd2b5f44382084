//! The service under attack: tokens of each kind, executions of a victim, shares and tickets.

use cc_tests::harness::{StackOptions, Tokens};
use cc_tests::raw_http::RawRequest;
use protocol::Token;
use reqwest::Method;
use serde_json::json;

use super::super::api::{Api, Gate, IN_FORCE, redeem, share, ticket, until_code, usual_tokens};
use crate::support::{accept, ended, id, path, send};

/// The origin of the pages for which tickets are made.
pub(crate) const ORIGIN: &str = "https://app.example";

/// The prompt that no attempt may run.
pub(crate) const REACHED: &str = r#"{"prompt":"@say reached"}"#;

/// A service with a victim, who is `alice` of `team-a`, and attackers: `bob` of `team-b`, and the
/// holders of weaker, older or forged secrets.
pub(crate) struct World {
    pub(crate) api: Api,
    /// The running execution of the victim.
    pub(crate) victim: Gate,
    /// An ended execution of the victim.
    pub(crate) ended: String,
    /// A deleted execution of the victim, and its body.
    pub(crate) deleted: String,
    /// An ended execution of `bob`.
    pub(crate) bobs: String,
    /// Secrets of shares, by what is wrong with them.
    pub(crate) shares: Shares,
    /// A token of a redeemed ticket of `alice`.
    pub(crate) session: String,
    /// Tickets of `alice` that are good, each for one attempt with [`ORIGIN`].
    pub(crate) tickets: Vec<String>,
    /// A ticket of `alice` for clients without an origin.
    pub(crate) ticket_without_origin: String,
    /// A redeemed ticket of `alice`.
    pub(crate) used_ticket: String,
    /// A token of another service.
    pub(crate) foreign: String,
}

/// The shares of the world.
pub(crate) struct Shares {
    /// Opens the victim's execution to read.
    pub(crate) view: String,
    /// Opens the victim's execution to control.
    pub(crate) control: String,
    /// Controls the ended execution of the victim.
    pub(crate) of_ended: String,
    /// Controls the execution of `bob`.
    pub(crate) of_bobs: String,
    /// Was ended.
    pub(crate) over: String,
    /// Its execution was deleted.
    pub(crate) of_deleted: String,
    /// The id of the share `view`.
    pub(crate) view_id: String,
}

fn tokens() -> Tokens {
    let team_a = "principal = \"team-a\"";
    usual_tokens()
        .with("viewer", "view", &[team_a])
        .with("scraper", "metrics", &[])
        .with("expired", "control", &[team_a, "expires = 2020-01-01"])
        .with("removed", "control", &[team_a])
        .with(
            "narrow",
            "control",
            &[
                "principal = \"team-b\"",
                "workspaces = [\"shop\"]",
                "maxBudgetUsd = 1.0",
            ],
        )
}

impl World {
    pub(crate) async fn start() -> Self {
        let options = StackOptions::default().api(format!("--allowed-origins={ORIGIN}"));
        let mut api = Api::start(tokens(), options).await;
        let removed = api.http("removed");
        let (alice, bob) = (api.http("alice"), api.http("bob"));
        let mut run = Vec::new();
        for http in [&alice, &alice, &bob] {
            let id = id();
            accept(http, &id, "@say over", json!({})).await;
            ended(http, &id).await;
            run.push(id);
        }
        let [ended_id, deleted, bobs] = run.try_into().expect("three executions");
        let victim = api
            .begin(&alice, json!({"lane": "main", "input": "stream"}))
            .await;
        let (view, view_id) = share(&alice, &victim.id, "view").await;
        let (over, over_id) = share(&alice, &victim.id, "control").await;
        let end_over = path(&victim.id, &format!("/share/{over_id}"));
        assert_eq!(send(&alice, Method::DELETE, &end_over, "").await.0, 204);
        let shares = Shares {
            control: share(&alice, &victim.id, "control").await.0,
            of_ended: share(&alice, &ended_id, "control").await.0,
            of_bobs: share(&bob, &bobs, "control").await.0,
            of_deleted: share(&alice, &deleted, "control").await.0,
            view,
            over,
            view_id,
        };
        assert_eq!(
            send(&alice, Method::DELETE, &path(&deleted, ""), "")
                .await
                .0,
            204
        );
        let used_ticket = ticket(&alice, None).await;
        let (code, redeemed) = redeem(&api.anonymous(), &used_ticket, None).await;
        assert_eq!(code, 200, "{redeemed}");
        let session = redeemed["token"].as_str().expect("a token").to_owned();
        // Only now, because it ends nothing that the others hold.
        until_code(&removed, 200, IN_FORCE).await;
        let left = api.tokens.without("removed");
        let secret = api.tokens.secret("removed").to_owned();
        let kept = api.tokens.clone();
        api.replace_tokens(left);
        until_code(&api.http_with(&secret), 401, IN_FORCE).await;
        // The table still sends it.
        api.tokens = kept;
        let mut tickets = Vec::new();
        for _ in 0..4 {
            tickets.push(ticket(&alice, Some(ORIGIN)).await);
        }
        let foreign = Token::generate().expect("random numbers");
        Self {
            ticket_without_origin: ticket(&alice, None).await,
            foreign: foreign.secret().expose().to_owned(),
            api,
            victim,
            ended: ended_id,
            deleted,
            bobs,
            shares,
            session,
            tickets,
            used_ticket,
        }
    }

    /// Returns the token with this name.
    #[track_caller]
    pub(crate) fn token(&self, name: &str) -> &str {
        self.api.tokens.secret(name)
    }

    /// Returns every secret that an answer must not contain.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let Shares {
            view,
            control,
            of_ended,
            of_bobs,
            over,
            of_deleted,
            view_id: _,
        } = &self.shares;
        let shares = [view, control, of_ended, of_bobs, over, of_deleted];
        let rest = [
            &self.session,
            &self.used_ticket,
            &self.ticket_without_origin,
        ];
        let all = self.api.tokens.secrets().map(str::to_owned);
        all.chain(shares.into_iter().chain(rest).chain(&self.tickets).cloned())
            .collect()
    }
}

/// Returns a request that would run a prompt under a new id.
pub(crate) fn put() -> RawRequest {
    RawRequest::new("PUT", &path(&id(), ""))
        .header("Accept", "application/json")
        .body(REACHED)
}

/// Returns a request about an execution.
pub(crate) fn call(method: &str, id: &str, rest: &str) -> RawRequest {
    RawRequest::new(method, &path(id, rest)).header("Accept", "application/json")
}

/// The calls that control an execution or change something about it: method, path below the
/// execution, and body.
pub(crate) const CONTROLS: [(&str, &str, &str); 9] = [
    ("POST", "/pause", ""),
    ("POST", "/resume", ""),
    ("POST", "/cancel", ""),
    ("POST", "/cancel?ifUnknown=burn", ""),
    ("POST", "/cancel?ifUnviewedForMs=0", ""),
    ("POST", "/input?offset=0&eof=true", ""),
    ("DELETE", "", ""),
    ("POST", "/share", "{}"),
    ("DELETE", "/share/018f4e2a-7b3c-7def-8123-456789abcdef", ""),
];

/// The calls that read an execution: the path below the execution.
pub(crate) const READS: [&str; 4] = ["", "?follow=true", "/output", "/events"];
