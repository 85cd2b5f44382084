//! A secret is nowhere but with the client that has it: not in a log, a file, a page, a status, an
//! argument or an environment.

mod search;

use cc_tests::harness::{StackOptions, processes};
use cc_tests::raw_http::RawRequest;
use reqwest::Method;
use serde_json::json;

use super::api::{Api, IN_FORCE, WAIT, cancelled, redeem, share, ticket, until_code, usual_tokens};
use crate::support::{accept, ended, id, parsed, path, send};
use search::Secrets;

const ORIGIN: &str = "https://app.example";

fn options() -> StackOptions {
    StackOptions::default()
        .api("--log-level=trace")
        .api(format!("--allowed-origins={ORIGIN}"))
}

/// Uses every kind of secret in every right way; returns all of them.
async fn use_everything(api: &mut Api) -> Secrets {
    let alice = api.http("alice");
    let gate = api.begin(&alice, json!({"input": "stream"})).await;
    let mut texts: Vec<_> = api.tokens.secrets().map(str::to_owned).collect();
    for role in ["view", "control"] {
        let (token, share_id) = share(&alice, &gate.id, role).await;
        let guest = api.http_with(&token);
        guest.status(&gate.id).await.expect("a status");
        let ticket = ticket(&guest, Some(ORIGIN)).await;
        let (code, redeemed) = redeem(&api.anonymous(), &ticket, Some(ORIGIN)).await;
        assert_eq!(code, 200, "{redeemed}");
        let session = redeemed["token"].as_str().expect("a token").to_owned();
        api.http_with(&session)
            .status(&gate.id)
            .await
            .expect("a status");
        if role == "view" {
            let end = path(&gate.id, &format!("/share/{share_id}"));
            assert_eq!(send(&alice, Method::DELETE, &end, "").await.0, 204);
            assert_eq!(
                send(&guest, Method::GET, &path(&gate.id, ""), "").await.0,
                401
            );
        }
        let renewal = redeemed["renewal"].as_str().expect("a secret").to_owned();
        let renew = api.http_with(&renewal);
        let (code, ..) = send(&renew, Method::PUT, "/v1/tickets/session", "").await;
        assert_eq!(code, 204);
        texts.extend([token, ticket, session, renewal]);
    }
    let unused = ticket(&alice, None).await;
    let of_token = ticket(&alice, None).await;
    let (_, redeemed) = redeem(&api.anonymous(), &of_token, None).await;
    let session = redeemed["token"].as_str().expect("a token").to_owned();
    let run = id();
    accept(
        &api.http_with(&session),
        &run,
        "@say x",
        json!({"lane": "main"}),
    )
    .await;
    ended(&alice, &run).await;
    texts.extend([unused, of_token, session]);
    cancelled(&alice, &gate.id).await;
    assert_eq!(
        send(&alice, Method::DELETE, &path(&run, ""), "").await.0,
        204
    );
    Secrets::new(texts)
}

/// Sends every kind of secret where it does not belong: never in the path, which is a test of its
/// own.
async fn misuse_everything(api: &Api, secrets: &Secrets) {
    for secret in secrets.texts() {
        let requests = [
            RawRequest::new("GET", &format!("/v1/executions?token={secret}")),
            RawRequest::new("GET", &format!("/v1/executions?{secret}=1")).bearer(secret),
            RawRequest::new("GET", &format!("/v1/executions?before={secret}")).bearer(secret),
            RawRequest::new("GET", &format!("/v1/executions?limit={secret}")).bearer(secret),
            RawRequest::new("GET", "/v1/executions").header("Cookie", format!("t={secret}")),
            RawRequest::new("GET", "/v1/executions").header("Authorization", secret),
            RawRequest::new("GET", "/v1/executions")
                .bearer(secret)
                .bearer(secret),
            RawRequest::new("GET", "/v1/me")
                .header("Viewer", secret)
                .bearer(secret),
            RawRequest::new("GET", "/v1/me").header("Origin", format!("https://{secret}")),
            RawRequest::new("GET", "/v1/me").host(Some(secret)),
            RawRequest::new("GET", "/v1/me")
                .header("X-Forwarded-For", secret)
                .bearer(secret),
            RawRequest::new("POST", "/v1/tickets/redeem")
                .body(format!(r#"{{"ticket":"{secret}"}}"#)),
            RawRequest::new("POST", "/v1/tickets/redeem").body(format!(r#"{{"{secret}":1}}"#)),
            RawRequest::new("PUT", &format!("/v1/tickets/session?{secret}=1")).bearer(secret),
            RawRequest::new("POST", "/v1/tickets")
                .body(format!(r#"{{"{secret}":1}}"#))
                .bearer(secret),
            RawRequest::new("PUT", &path(&id(), ""))
                .body(format!(r#"{{"{secret}":1}}"#))
                .bearer(secret),
            RawRequest::new("GET", "/v1/me").bearer(&format!("{secret}x")),
            RawRequest::new(secret, "/v1/me").bearer(secret),
            RawRequest::new("GET", "/v1/me")
                .header(secret, "x")
                .bearer(secret),
        ];
        for request in requests {
            request.send(api.service.addr(), WAIT).await;
        }
    }
}

/// Every word that the service tells its operator.
async fn pages(api: &Api) -> String {
    let mut text = String::new();
    for (name, target) in [
        ("admin", "/metrics"),
        ("admin", "/v1/executions?limit=1000"),
        ("admin", "/v1/limits"),
        ("admin", "/v1/me"),
        ("admin", "/health"),
        ("admin", "/health/ready"),
        ("admin", "/health/startup"),
        ("admin", "/health/limits"),
    ] {
        let answer = api.http(name).request(Method::GET, target).send().await;
        text += &answer.expect("an answer").text().await.expect("a text");
    }
    text
}

#[tokio::test]
async fn no_secret_is_in_a_log_a_file_a_page_an_argument_or_an_environment() {
    let tokens = usual_tokens()
        .with("removed", "control", &["principal = \"team-a\""])
        .with("scraper", "metrics", &[]);
    let mut api = Api::start(tokens, options()).await;
    let secrets = use_everything(&mut api).await;
    misuse_everything(&api, &secrets).await;
    let alice = api.http("alice");
    // The CLI itself says what it was given.
    let run = id();
    accept(&alice, &run, "@env\n@say \\n\n@argv", json!({})).await;
    ended(&alice, &run).await;
    let output = alice.output(&run, 0).await.expect("an output");
    secrets.assert_absent("the CLI", &output.bytes);
    let shown = String::from_utf8(output.bytes).expect("UTF-8");
    let environment = parsed(shown.lines().next().expect("the environment"));
    let names: Vec<_> = environment.as_object().expect("an object").keys().collect();
    assert!(
        names.iter().all(|name| !name.contains("TOKEN")),
        "{names:?}"
    );
    let gate = api.begin(&alice, json!({})).await;
    let service = api.service.pid();
    let tree = processes::descendants(service);
    assert!(tree.len() >= 2, "a runner and a CLI: {tree:#?}");
    for pid in tree.iter().map(|process| process.pid).chain([service]) {
        for file in ["cmdline", "environ"] {
            // A process whose memory is closed has no readable environment.
            let bytes = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            secrets.assert_absent(&format!("{file} of a process"), &bytes);
        }
    }
    let removed = api.http("removed");
    let left = api.tokens.without("removed");
    api.replace_tokens(left);
    until_code(&removed, 401, IN_FORCE).await;
    secrets.assert_absent("a page", pages(&api).await.as_bytes());
    gate.open();
    ended(&alice, &gate.id).await;
    api.crash().await;
    secrets.assert_absent("a page", pages(&api).await.as_bytes());
    let log = api.service.log();
    assert!(
        log.contains("removed a") || log.contains("removed removed"),
        "no audit line: {log}"
    );
    secrets.assert_absent("the log", log.as_bytes());
    // Also the token file, which has hashes alone, and the files of the CLI.
    secrets.assert_absent_below(api.folder.path());
}

/// Who sends a secret in a path by mistake finds it in no log.
#[tokio::test]
async fn a_secret_in_a_path_is_in_no_log() {
    let api = Api::start(usual_tokens(), options()).await;
    let token = api.tokens.secret("alice").to_owned();
    let ticket = ticket(&api.http("alice"), None).await;
    let secrets = Secrets::new(vec![token.clone(), ticket.clone()]);
    for secret in [&token, &ticket] {
        for target in [
            format!("/{secret}"),
            format!("/v1/executions/{secret}"),
            format!("/v1/tickets/{secret}"),
            format!("/v1/tickets/redeem/{secret}"),
            path(&id(), &format!("/share/{secret}")),
        ] {
            for method in ["GET", "DELETE"] {
                let request = RawRequest::new(method, &target);
                request.send(api.service.addr(), WAIT).await;
                request.bearer(&token).send(api.service.addr(), WAIT).await;
            }
        }
    }
    secrets.assert_absent("the log", api.service.log().as_bytes());
}

/// A secret that is wrong in the file is not shown with the mistake.
#[tokio::test]
async fn a_token_that_an_operator_writes_in_place_of_its_hash_is_in_no_log() {
    let api = Api::start(usual_tokens(), options()).await;
    let secrets = Secrets::new(api.tokens.secrets().map(str::to_owned).collect());
    let token = api.tokens.secret("alice");
    let file = api.path(cc_tests::harness::tokens::TOKENS_FILE);
    for broken in [
        format!("[[token]]\nname = \"x\"\nsha256 = \"{token}\"\nrole = \"view\"\n"),
        format!("[[token]]\nname = \"{token}\"\nsha256 = \"{token}\"\nrole = \"view\"\n"),
        format!("[[token]]\nname = \"x\"\nsha256 = \"{token}\nrole = \"view\"\n"),
        format!("[[token]]\nname = \"x\"\nsha256 = {token}\nrole = \"view\"\n"),
        format!("[[token]]\nname = \"x\"\ntoken = \"{token}\"\nrole = \"view\"\n"),
        format!("[[token]]\nname = \"x\"\n{token} = 1\nrole = \"view\"\n"),
        format!("{token}\n"),
    ] {
        cc_tests::harness::tokens::write_private(&file, broken.as_bytes());
        super::reload::until_warned(&api.anonymous(), true).await;
        let page = api
            .anonymous()
            .get("/health/ready")
            .await
            .expect("a page")
            .1;
        secrets.assert_absent("the health page", page.to_string().as_bytes());
        secrets.assert_absent("the log", api.service.log().as_bytes());
        api.tokens.write(&file);
        super::reload::until_warned(&api.anonymous(), false).await;
    }
}
