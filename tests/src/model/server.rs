//! The HTTP side of the scripted model.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;

use super::{
    play,
    request::Asked,
    script::{self, Fault, Step},
    wire,
};

/// The size limit of a request: the CLI sends the whole conversation each time.
const BODY_BYTES: usize = 256 * 1024 * 1024;

/// The options of the server.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The default pause between two deltas.
    pub delay: Duration,
    /// The accepted keys: requests with another key get 401. Empty accepts all requests.
    pub accepted_keys: Vec<String>,
}

#[derive(Debug, Default)]
struct Counts {
    /// Requests per conversation, prompt and turn. No await happens inside the lock.
    seen: HashMap<(String, String, usize), u64>,
    requests: u64,
    streams: u64,
    refused: u64,
}

#[derive(Debug, Clone)]
struct Model {
    config: Arc<Config>,
    counts: Arc<Mutex<Counts>>,
}

/// The routes.
pub fn router(config: Config) -> Router {
    let model = Model {
        config: Arc::new(config),
        counts: Arc::default(),
    };
    Router::new()
        .route("/v1/messages", post(messages))
        .route("/v1/messages/count_tokens", post(count_tokens))
        .route("/v1/models", get(models))
        .route("/health", get(|| async { "ok\n" }))
        .route("/stats", get(stats))
        .fallback(async || problem(404, "no such resource"))
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .with_state(model)
}

/// Serves until `shutdown` is ready, then cuts open streams.
///
/// # Errors
/// What accepting on the listener fails with.
pub async fn serve(
    listener: TcpListener,
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    tokio::select! {
        served = async { axum::serve(listener, router(config)).await } => served,
        () = shutdown => Ok(()),
    }
}

fn problem(status: u16, message: &str) -> Response {
    let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (code, Json(wire::error(status, message))).into_response()
}

impl Model {
    fn counts(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.counts
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn accepts(&self, headers: &HeaderMap) -> bool {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let bearer = header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let keys = &self.config.accepted_keys;
        keys.is_empty()
            || [header("x-api-key"), bearer]
                .into_iter()
                .flatten()
                .any(|key| keys.iter().any(|k| k == key))
    }

    /// Counts a request; returns the number of earlier ones like it.
    fn count(&self, asked: &Asked) -> u64 {
        let mut counts = self.counts();
        counts.requests += 1;
        counts.streams += u64::from(asked.stream);
        let seen = counts
            .seen
            .entry((
                asked.user.clone(),
                asked.prompt.clone(),
                asked.results.len(),
            ))
            .or_default();
        *seen += 1;
        *seen - 1
    }
}

async fn stats(State(model): State<Model>) -> Json<Value> {
    let counts = model.counts();
    Json(json!({"requests": counts.requests, "streams": counts.streams, "refused": counts.refused}))
}

async fn count_tokens(body: Bytes) -> Json<Value> {
    Json(json!({"input_tokens": body.len() / 4 + 1}))
}

/// Answers the check of a credential. A refused check is not counted, as it is no request of a CLI.
async fn models(State(model): State<Model>, headers: HeaderMap) -> Response {
    if model.accepts(&headers) {
        Json(json!({"data": [], "has_more": false})).into_response()
    } else {
        problem(401, "invalid x-api-key")
    }
}

async fn messages(State(model): State<Model>, headers: HeaderMap, body: Bytes) -> Response {
    if !model.accepts(&headers) {
        model.counts().refused += 1;
        return problem(401, "invalid x-api-key");
    }
    let Ok(value) = serde_json::from_slice::<Value>(&body) else {
        return problem(400, "the body is no JSON");
    };
    let Some(asked) = Asked::read(&value) else {
        return problem(400, "messages: no user message with text");
    };
    if asked.side {
        let steps = [Step::Say(side_answer(&value))];
        return answer(asked, &steps, None, Duration::ZERO).await;
    }
    let script = script::parse(&asked.prompt);
    let before = model.count(&asked);
    // Only the first turn fails: before the second one, the tool has run and all faults are used.
    let fault = if asked.results.is_empty() {
        script.fault(before, asked.stream)
    } else {
        None
    };
    let cut = match fault {
        None => None,
        Some(Fault::Cut(deltas)) => Some(deltas),
        Some(Fault::Status(status)) => return problem(status, "the script says so"),
        Some(Fault::Refuse) => return problem(401, "invalid x-api-key"),
        Some(Fault::TooLong) => {
            return problem(400, "prompt is too long: 250000 tokens > 200000 maximum");
        }
        Some(Fault::UsageLimit(seconds)) => return usage_limit(seconds),
    };
    let steps = script.turn(asked.results.len());
    answer(asked, &steps, cut, model.config.delay).await
}

/// Returns a title, as JSON if the request asks for JSON.
fn side_answer(body: &Value) -> String {
    let wants_json =
        !body["output_config"].is_null() || body["system"].to_string().contains("JSON");
    if wants_json {
        json!({"title": "Scripted", "isNewTopic": false}).to_string()
    } else {
        "Scripted".into()
    }
}

async fn answer(asked: Asked, steps: &[Step], cut: Option<u64>, delay: Duration) -> Response {
    let answer = play::answer(&asked, steps, delay);
    if !asked.stream {
        return Json(play::whole(&asked, answer).await).into_response();
    }
    let (sender, receiver) = mpsc::channel(64);
    tokio::spawn(play::stream(asked, answer, cut, sender));
    let body = Body::from_stream(ReceiverStream::new(receiver));
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, body).into_response()
}

fn usage_limit(seconds: u64) -> Response {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let reset = (now + seconds).to_string();
    let headers = [
        ("x-should-retry", "false".to_owned()),
        ("retry-after", seconds.to_string()),
        ("anthropic-ratelimit-unified-status", "rejected".to_owned()),
        ("anthropic-ratelimit-unified-reset", reset.clone()),
        (
            "anthropic-ratelimit-unified-representative-claim",
            "five_hour".to_owned(),
        ),
        (
            "anthropic-ratelimit-unified-5h-status",
            "rejected".to_owned(),
        ),
        ("anthropic-ratelimit-unified-5h-reset", reset),
    ];
    let mut response = problem(
        429,
        "This request would exceed your account's rate limit. Please try again later.",
    );
    for (name, value) in headers {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
