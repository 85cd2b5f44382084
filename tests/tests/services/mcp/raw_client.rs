//! A client that writes every header and message itself, so that it can also break the rules.

use cc_tests::harness::Stack;
use cc_tests::http::Http;
use reqwest::header::HeaderMap;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::PATIENCE;

/// The protocol versions that begin with `initialize`.
pub(super) const LEGACY: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];
/// The protocol version in which every request is complete in itself.
pub(super) const MODERN: &str = "2026-07-28";
/// All protocol versions that the server offers.
pub(super) const VERSIONS: [&str; 5] = [LEGACY[0], LEGACY[1], LEGACY[2], LEGACY[3], MODERN];
/// The extension for tasks, as a client declares it.
pub(super) const TASKS: &str = "io.modelcontextprotocol/tasks";

pub(super) type Headers = Vec<(&'static str, String)>;

/// A client of `/mcp` in one protocol version.
#[derive(Debug)]
pub(super) struct RawClient {
    http: Http,
    pub(super) version: &'static str,
    /// None in versions without sessions.
    pub(super) session: Option<String>,
    /// Capabilities that the client declares.
    pub(super) capabilities: Value,
    last_id: u64,
    /// Every message of the server, with the version and the method of the request.
    seen: Vec<Value>,
}

/// One HTTP response, read to its end.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
    /// The JSON-RPC messages: the events of a stream, or the one of a JSON body.
    pub(super) messages: Vec<Value>,
}

impl Reply {
    /// Reads a response to its end.
    pub(super) async fn read(response: Response) -> reqwest::Result<Self> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.text().await?;
        let kind = headers.get("content-type");
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let messages = match kind {
            "text/event-stream" => events(&body),
            "application/json" => serde_json::from_str(&body).into_iter().collect(),
            _ => Vec::new(),
        };
        Ok(Self {
            status,
            headers,
            body,
            messages,
        })
    }

    /// Returns the response to the request: the last message.
    #[track_caller]
    pub(super) fn response(&self) -> &Value {
        let last = self.messages.last();
        last.unwrap_or_else(|| panic!("{}: {:?} has no message", self.status, self.body))
    }

    #[track_caller]
    pub(super) fn result(&self) -> &Value {
        let result = self.response().get("result");
        result.unwrap_or_else(|| panic!("{}: no result: {}", self.status, self.body))
    }

    /// Returns the HTTP status and the code of the JSON-RPC error.
    #[track_caller]
    pub(super) fn error(&self) -> (u16, i64) {
        let code = self.response()["error"]["code"].as_i64();
        let code = code.unwrap_or_else(|| panic!("{}: no error: {}", self.status, self.body));
        (self.status, code)
    }
}

/// Parses the messages of a stream; an event without data only says how to reconnect.
fn events(body: &str) -> Vec<Value> {
    let data = body.lines().filter_map(|line| line.strip_prefix("data:"));
    let data = data.map(str::trim).filter(|data| !data.is_empty());
    data.map(|data| serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}")))
        .collect()
}

impl RawClient {
    /// Creates a client that has not sent anything.
    pub(super) fn new(stack: &Stack, version: &'static str) -> Self {
        Self {
            http: Http::new(stack.bridge.addr()),
            version,
            session: None,
            capabilities: json!({}),
            last_id: 0,
            seen: Vec::new(),
        }
    }

    /// Creates a client that may call tools: with a session in the versions that have one.
    pub(super) async fn open(stack: &Stack, version: &'static str) -> Self {
        let mut raw = Self::new(stack, version);
        raw.begin().await;
        raw
    }

    /// Sends further requests to this address.
    pub(super) fn move_to(&mut self, addr: std::net::SocketAddr) {
        self.http = Http::new(addr);
    }

    /// Begins a session in the versions that have one.
    pub(super) async fn begin(&mut self) {
        if self.version == MODERN {
            return;
        }
        let reply = self.initialize(self.version).await;
        assert_eq!(reply.result()["protocolVersion"], self.version);
        let session = reply.headers["mcp-session-id"].to_str().expect("ASCII");
        self.session = Some(session.to_owned());
        let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        let reply = self.send(&ready.to_string(), &self.headers(&ready)).await;
        assert_eq!((reply.status, reply.body.as_str()), (202, ""));
    }

    /// Sends `initialize` with this version, without a session.
    pub(super) async fn initialize(&mut self, version: &str) -> Reply {
        let params = json!({
            "protocolVersion": version,
            "capabilities": self.capabilities,
            "clientInfo": {"name": "raw", "version": "1"},
        });
        let message = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
        let reply = self.send(&message.to_string(), &base_headers()).await;
        self.note("initialize", &reply.messages);
        reply
    }

    /// Returns a request that is complete for the client's protocol version.
    pub(super) fn message(&mut self, method: &str, mut params: Value) -> Value {
        self.last_id += 1;
        if self.version == MODERN {
            params["_meta"]["io.modelcontextprotocol/protocolVersion"] = MODERN.into();
            params["_meta"]["io.modelcontextprotocol/clientInfo"] =
                json!({"name": "raw", "version": "1"});
            params["_meta"]["io.modelcontextprotocol/clientCapabilities"] =
                self.capabilities.clone();
        }
        json!({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params})
    }

    /// Returns the headers that the protocol version requires with a message.
    pub(super) fn headers(&self, message: &Value) -> Headers {
        let mut headers = base_headers();
        headers.push(("mcp-protocol-version", self.version.to_owned()));
        if let Some(session) = &self.session {
            headers.push(("mcp-session-id", session.clone()));
        }
        if self.version == MODERN {
            let text = |value: &Value| value.as_str().map(str::to_owned);
            headers.extend(text(&message["method"]).map(|method| ("mcp-method", method)));
            let params = &message["params"];
            let name = ["name", "uri", "taskId"]
                .into_iter()
                .find_map(|name| text(&params[name]));
            headers.extend(name.map(|name| ("mcp-name", name)));
        }
        headers
    }

    /// Sends a request as the protocol version requires; returns the reply.
    pub(super) async fn ask(&mut self, method: &str, params: Value) -> Reply {
        let message = self.message(method, params);
        let reply = self
            .send(&message.to_string(), &self.headers(&message))
            .await;
        if let Some(response) = reply.messages.last() {
            assert_eq!(response["id"], message["id"], "{method}: {response}");
        }
        self.note(method, &reply.messages);
        reply
    }

    /// Calls a tool; returns the structured content.
    pub(super) async fn call(&mut self, name: &str, arguments: Value) -> Value {
        let params = json!({"name": name, "arguments": arguments});
        let reply = self.ask("tools/call", params).await;
        reply.result()["structuredContent"].clone()
    }

    /// Sends this body with these headers, and reads the response to its end.
    pub(super) async fn send(&self, body: &str, headers: &Headers) -> Reply {
        let response = self.start(Method::POST, body, headers).await;
        let reply = timeout(PATIENCE, Reply::read(response)).await;
        reply.expect("the response ends").expect("a whole response")
    }

    /// Sends a request; returns when the head of the response has arrived.
    pub(super) async fn start(&self, method: Method, body: &str, headers: &Headers) -> Response {
        let mut request = self.http.request(method, "/mcp").body(body.to_owned());
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let response = timeout(PATIENCE, request.send()).await;
        response.expect("an answer in time").expect("an answer")
    }

    fn note(&mut self, method: &str, messages: &[Value]) {
        let version = self.version;
        let seen = |message| json!({"version": version, "method": method, "message": message});
        self.seen.extend(messages.iter().map(seen));
    }

    /// Returns the messages that [`RawClient::ask`] received, for
    /// [`super::python_sdk::assert_valid`].
    pub(super) fn seen(self) -> Vec<Value> {
        self.seen
    }
}

/// Returns the headers of a POST in every protocol version.
pub(super) fn base_headers() -> Headers {
    vec![
        ("accept", "application/json, text/event-stream".to_owned()),
        ("content-type", "application/json".to_owned()),
    ]
}

/// Replaces a header, or removes it.
pub(super) fn with(mut headers: Headers, name: &'static str, value: Option<&str>) -> Headers {
    headers.retain(|(other, _)| *other != name);
    headers.extend(value.map(|value| (name, value.to_owned())));
    headers
}
