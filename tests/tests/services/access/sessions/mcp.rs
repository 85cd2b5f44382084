//! MCP sessions with tokens: a session belongs to one principal, and its tools act for that one.

use cc_tests::harness::{Service, StackOptions};
use cc_tests::http::Http;
use reqwest::Method;
use serde_json::{Value, json};

use super::super::api::{Api, listed, share, usual_tokens};

/// The name of the header with the id of an MCP session.
const SESSION: &str = "mcp-session-id";

/// A client of `/mcp` with a token.
struct McpClient {
    http: Http,
    session: Option<String>,
}

impl McpClient {
    fn new(bridge: &Service, secret: &str) -> Self {
        Self {
            http: Http::with_token(bridge.addr(), secret),
            session: None,
        }
    }

    /// Begins a session; returns its id.
    async fn begin(&mut self) -> String {
        let params = json!({
            "protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        });
        let (code, id, text) = self.post("initialize", params).await;
        assert_eq!(code, 200, "{text}");
        self.session = id;
        let begun = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        let (code, _, text) = self.send(Method::POST, begun.to_string()).await;
        assert_eq!(code, 202, "{text}");
        self.session.clone().expect("the id of a session")
    }

    /// Sends a request; returns the status code, the session's id and the text of the answer.
    async fn post(&self, method: &str, params: Value) -> (u16, Option<String>, String) {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        self.send(Method::POST, body.to_string()).await
    }

    async fn send(&self, method: Method, body: String) -> (u16, Option<String>, String) {
        let request = self
            .http
            .request(method, "/mcp")
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json")
            .header("mcp-protocol-version", "2025-06-18")
            .body(body);
        let request = match &self.session {
            Some(session) => request.header(SESSION, session),
            None => request,
        };
        let response = request.send().await.expect("an answer");
        let id = response.headers().get(SESSION);
        let id = id.and_then(|id| id.to_str().ok()).map(str::to_owned);
        let code = response.status().as_u16();
        (code, id, response.text().await.expect("a text"))
    }

    /// Calls a tool; returns the text of the answer.
    async fn tool(&self, name: &str, arguments: Value) -> String {
        let params = json!({"name": name, "arguments": arguments});
        let (code, _, text) = self.post("tools/call", params).await;
        assert_eq!(code, 200, "{text}");
        text
    }
}

#[tokio::test]
async fn an_mcp_session_of_another_principal_does_not_exist() {
    let tokens = usual_tokens().with("viewer", "view", &["principal = \"team-a\""]);
    let api = Api::start(tokens, StackOptions::default()).await;
    let bridge = api.bridge(&[]).await;
    let alice_token = api.tokens.secret("alice");
    let mut alice = McpClient::new(&bridge, alice_token);
    let id = alice.begin().await;
    let own = api.begin(&api.http("alice"), json!({})).await;
    let (share, _) = share(&api.http("alice"), &own.id, "control").await;
    for secret in [api.tokens.secret("bob"), api.tokens.secret("admin"), &share] {
        let mut other = McpClient::new(&bridge, secret);
        other.session = Some(id.clone());
        for (method, body) in [
            (
                Method::POST,
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#,
            ),
            (Method::DELETE, ""),
            (Method::GET, ""),
        ] {
            let (code, _, text) = other.send(method.clone(), body.to_owned()).await;
            // The library answers so when a session that never was is deleted.
            let expected = if method == Method::DELETE { 204 } else { 404 };
            assert_eq!(code, expected, "{method}: {text}");
        }
    }
    // The session is there for its own principal, whose tools see its own executions.
    let (code, _, text) = alice.post("tools/list", json!({})).await;
    assert_eq!(code, 200, "{text}");
    let mut bob = McpClient::new(&bridge, api.tokens.secret("bob"));
    bob.begin().await;
    let text = bob.tool("status", json!({"executionId": own.id})).await;
    assert!(
        text.contains("-32003") || text.contains("not_found"),
        "{text}"
    );
    assert!(!text.contains("team-a"), "{text}");
    let cancel = json!({"executionId": own.id, "action": "cancel"});
    let text = bob.tool("control", cancel).await;
    assert!(
        text.contains("-32003") || text.contains("not_found"),
        "{text}"
    );
    // A smaller role of the same principal starts nothing.
    let mut viewer = McpClient::new(&bridge, api.tokens.secret("viewer"));
    viewer.begin().await;
    let text = viewer.tool("execute", json!({"prompt": "@say x"})).await;
    assert!(
        text.contains("-32002") || text.contains("forbidden"),
        "{text}"
    );
    // Nor does it in a session that another token of the principal has begun.
    viewer.session = Some(id);
    let params = json!({"name": "execute", "arguments": {"prompt": "@say x"}});
    let (code, _, text) = viewer.post("tools/call", params).await;
    let refused = text.contains("-32002") || text.contains("forbidden");
    assert!(code == 404 || refused, "{code}: {text}");
    assert_eq!(
        listed(&api.http("admin")).await,
        std::slice::from_ref(&own.id)
    );
    own.open();
    let end = crate::support::ended(&api.http("alice"), &own.id).await;
    assert_eq!(end["state"], "completed", "{end}");
    bridge.assert_quiet();
    api.service.assert_quiet();
}
