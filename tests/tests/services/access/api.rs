//! claude-api alone, with a token file and the stand-in CLI.

use std::path::PathBuf;
use std::time::Duration;

use cc_tests::harness::stack::{api_options, bridge_options};
use cc_tests::harness::tokens::TOKENS_FILE;
use cc_tests::harness::{Service, StackOptions, Tokens, until};
use cc_tests::http::Http;
use cc_tests::ws::{self, Client};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::startup::health;
use crate::support::{PATIENCE, exists, id, path, send};

/// A running claude-api and its tokens.
pub(crate) struct Api {
    pub(crate) service: Service,
    pub(crate) tokens: Tokens,
    pub(crate) folder: TempDir,
}

/// Returns tokens of an admin, of two principals (`alice` and `bob`), and of a third (`carol`).
pub(crate) fn usual_tokens() -> Tokens {
    Tokens::default()
        .with("admin", "admin", &["principal = \"operators\""])
        .with("alice", "control", &["principal = \"team-a\""])
        .with("bob", "control", &["principal = \"team-b\""])
        .with("carol", "control", &["principal = \"team-c\""])
}

impl Api {
    /// Starts claude-api with these tokens and, in `options`, further arguments.
    pub(crate) async fn start(tokens: Tokens, options: StackOptions) -> Self {
        let folder = tempfile::Builder::new().prefix("cc-test-").tempdir();
        Self::start_in(folder.expect("a folder"), tokens, options).await
    }

    /// Starts claude-api as [`Self::start`] does, with the files of an earlier one in `folder`.
    pub(crate) async fn start_in(folder: TempDir, tokens: Tokens, options: StackOptions) -> Self {
        let options = options.tokens(tokens.clone());
        let service = Service::start(api_options(folder.path(), &options)).await;
        health(&Http::new(service.addr()), "/health/ready", 200).await;
        Self {
            service,
            tokens,
            folder,
        }
    }

    /// Returns a client that sends the token with this name.
    #[track_caller]
    pub(crate) fn http(&self, name: &str) -> Http {
        self.http_with(self.tokens.secret(name))
    }

    /// Returns a client that sends this secret.
    pub(crate) fn http_with(&self, secret: &str) -> Http {
        Http::with_token(self.service.addr(), secret)
    }

    /// Returns a client without a token.
    pub(crate) fn anonymous(&self) -> Http {
        Http::new(self.service.addr())
    }

    /// Returns a file or folder below that of the service.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the ids of the conversations for which a CLI was started, in the order of the
    /// starts.
    pub(crate) fn starts(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.path("home/.claude/spawns.log"));
        let log = log.unwrap_or_default();
        let ids = log
            .lines()
            .filter_map(|line| line.split_whitespace().nth(1));
        ids.map(str::to_owned).collect()
    }

    /// Starts a bridge in front of the service, with these further arguments.
    pub(crate) async fn bridge(&self, arguments: &[&str]) -> Service {
        let mut options = StackOptions::default();
        for argument in arguments {
            options = options.bridge(*argument);
        }
        let options = bridge_options(self.folder.path(), self.service.addr(), &options);
        Service::start(options).await
    }

    /// Kills the service with SIGKILL, and starts it again.
    pub(crate) async fn crash(&mut self) {
        self.service.kill();
        self.service.start_again().await;
    }

    /// Replaces the token file, and the tokens of later clients.
    pub(crate) fn replace_tokens(&mut self, tokens: Tokens) {
        tokens.write(&self.path(TOKENS_FILE));
        self.tokens = tokens;
    }

    /// Starts an execution that says `begun-`, waits for the file of the returned [`Gate`], and
    /// then says `done`. Returns once it has begun.
    pub(crate) async fn begin(&self, http: &Http, extra: Value) -> Gate {
        let gate = self.prepare();
        crate::support::accept(http, &gate.id, &gate.prompt, extra).await;
        exists(&gate.mark).await;
        gate
    }

    /// Returns a gate whose execution is not accepted yet.
    pub(crate) fn prepare(&self) -> Gate {
        let id = id();
        let tmp = self.path("tmp");
        let (mark, file) = (tmp.join(format!("{id}.mark")), tmp.join(format!("{id}.go")));
        let (shown_mark, shown_file) = (mark.display(), file.display());
        Gate {
            prompt: format!("@say begun-\n@touch {shown_mark}\n@wait {shown_file}\n@say done"),
            id,
            mark,
            file,
        }
    }
}

/// An execution that waits until the test opens its gate.
pub(crate) struct Gate {
    pub(crate) id: String,
    pub(crate) prompt: String,
    pub(crate) mark: PathBuf,
    file: PathBuf,
}

impl Gate {
    /// Lets the execution continue.
    pub(crate) fn open(&self) {
        std::fs::write(&self.file, "").expect("the gate opens");
    }

    /// Returns whether the CLI of the execution has begun.
    pub(crate) fn has_begun(&self) -> bool {
        self.mark.exists()
    }
}

/// Waits until a client gets this status code for `GET /v1/me`.
pub(crate) async fn until_code(http: &Http, code: u16, patience: Duration) {
    until(&format!("the code {code}"), patience, async || {
        let (got, _) = http.get("/v1/me").await.expect("an answer");
        (got.as_u16() == code).then_some(())
    })
    .await;
}

/// Returns the ids of one page of the list, newest first.
pub(crate) async fn listed(http: &Http) -> Vec<String> {
    let (code, page) = http.get("/v1/executions?limit=1000").await.expect("a list");
    assert_eq!(code, 200, "{page}");
    let executions = page["executions"].as_array().expect("executions");
    let ids = executions
        .iter()
        .map(|status| status["executionId"].as_str());
    ids.map(|id| id.unwrap_or_default().to_owned()).collect()
}

/// Creates a share of an execution. Returns its token and its id.
pub(crate) async fn share(http: &Http, id: &str, role: &str) -> (String, String) {
    let body = json!({"role": role, "expiresSeconds": 3600}).to_string();
    let (code, _, share) = send(http, Method::POST, &path(id, "/share"), body).await;
    assert_eq!(code, 201, "{share}");
    let text = |name: &str| share[name].as_str().expect("a text").to_owned();
    (text("token"), text("shareId"))
}

/// Creates a ticket for pages of this origin.
pub(crate) async fn ticket(http: &Http, origin: Option<&str>) -> String {
    let body = json!({ "origin": origin }).to_string();
    let (code, _, ticket) = send(http, Method::POST, "/v1/tickets", body).await;
    assert_eq!(code, 201, "{ticket}");
    ticket["ticket"].as_str().expect("a ticket").to_owned()
}

/// Redeems a ticket; returns the status code and the answer.
pub(crate) async fn redeem(http: &Http, ticket: &str, origin: Option<&str>) -> (u16, Value) {
    let body = json!({"ticket": ticket, "origin": origin}).to_string();
    let (code, _, answer) = send(http, Method::POST, "/v1/tickets/redeem", body).await;
    (code, answer)
}

/// Cancels an execution and waits for its end.
pub(crate) async fn cancelled(http: &Http, id: &str) {
    send(http, Method::POST, &path(id, "/cancel"), "").await;
    let end = crate::support::ended(http, id).await;
    assert_eq!(end["state"], "cancelled", "{end}");
}

/// The time in which a change of the token file is in force, and the streams of a removed token
/// have ended.
pub(crate) const IN_FORCE: Duration = Duration::from_secs(15);

/// Asserts that an answer has this status code and problem type.
#[track_caller]
pub(crate) fn assert_kind(
    answer: &(u16, reqwest::header::HeaderMap, Value),
    code: u16,
    kind: &str,
) {
    crate::support::assert_problem(answer, code, kind, kind);
}

/// Waits for the end of an execution, far longer than any step takes.
pub(crate) const WAIT: Duration = PATIENCE;

/// Opens a session with this secret.
pub(crate) async fn session(bridge: &Service, secret: &str) -> Client {
    Client::connect_with(bridge.addr(), with_secret(secret)).await
}

/// Returns the options of a session with this secret, which keeps every message.
pub(crate) fn with_secret(secret: &str) -> ws::Options {
    ws::Options {
        token: Some(secret.to_owned()),
        record: true,
        ..ws::Options::default()
    }
}
