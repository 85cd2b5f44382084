//! A small claude-api in memory with faults. It runs nothing: tests write the output and set the
//! states.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::{Body as HttpBody, Bytes};
use axum::extract::{Extension, Path, Query, Request, State as Ctx};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use futures::stream;
use jiff::Timestamp;
use protocol::access::{Redeem, Redeemed, Share, ShareRequest, Ticket, TicketRequest};
use protocol::question::{
    Answered, ClosedBy, ClosedQuestion, Decision, Question, QuestionKind, QuestionList,
    STATUS_QUESTIONS_MAX,
};
use protocol::{
    Answer, Body, ExecutionId, Limits, Me, Page, Problem, ProblemType, Reason, Role, State, Status,
};
use rand::Rng;
use tokio::net::TcpListener;
use tokio::sync::watch;
use uuid::Uuid;

/// The fault of one PUT.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The answer is this problem.
    Problem(ProblemType),
    /// The answer is this problem, with this `Retry-After` in seconds.
    ProblemRetryAfter(ProblemType, u64),
    /// The answer has this code and no problem, as from a proxy.
    Code(u16),
    /// As [`Fault::Code`], with this `Retry-After` in seconds.
    CodeRetryAfter(u16, u64),
    /// The connection breaks before the answer.
    Reset {
        /// Whether the execution is accepted before that.
        accepted: bool,
    },
    /// No answer is sent.
    Hang,
    /// The request is handled when the test sets [`World::handle_delayed`], even if its connection
    /// has ended.
    Delayed,
}

/// A known execution.
pub struct Execution {
    pub status: Status,
    pub output: Vec<u8>,
    pub body: Body,
    /// The questions, whose open ones the status shows.
    pub questions: QuestionList,
}

impl Execution {
    fn close(&mut self, question_id: Uuid, closed_by: ClosedBy, decision: Option<Decision>) {
        self.questions.open.retain(|q| q.question_id != question_id);
        self.questions.closed.push(ClosedQuestion {
            question_id,
            closed_by,
            decision,
            principal: None,
            closed_at: Timestamp::now(),
        });
        self.show_questions();
    }

    fn show_questions(&mut self) {
        let oldest = self.questions.open.iter().take(STATUS_QUESTIONS_MAX);
        self.status.questions = oldest.map(Question::open).collect();
        self.status.questions_open = self.questions.open.len() as u64;
    }
}

/// The state of the fake: what it knows, which requests it has received, and its faults.
#[derive(Default)]
pub struct World {
    pub executions: HashMap<ExecutionId, Execution>,
    pub order: Vec<ExecutionId>,
    pub puts: Vec<(ExecutionId, Body)>,
    pub faults: VecDeque<Fault>,
    pub cancels: Vec<ExecutionId>,
    /// Executions with a requested `cancel?ifUnviewedForMs`.
    pub unviewed: Vec<ExecutionId>,
    pub burned: Vec<ExecutionId>,
    /// Burns are answered with `queue-full`.
    pub full: bool,
    /// The number of open streams of each execution, and of streams opened so far.
    streams: HashMap<ExecutionId, (usize, u64)>,
    /// All requests are answered with 502.
    pub down: bool,
    /// Output streams break after a random number of bytes up to this one.
    pub cut: Option<usize>,
    pub cuts: usize,
    pub deleted: Vec<ExecutionId>,
    pub ready: bool,
    /// Requests with [`Fault::Delayed`] are handled.
    pub handle_delayed: bool,
    /// Follow streams send changes, but no heartbeats.
    pub no_heartbeats: bool,
    /// Output requests are answered with 502.
    pub no_output: bool,
    /// The number of requests for events.
    pub events: usize,
    /// Events stop after their first bytes.
    pub stuck_events: bool,
    /// Requests for a status are not answered.
    pub no_status: bool,
    /// Requests for the status of these executions are not answered.
    pub stuck: Vec<ExecutionId>,
    /// The number of requests for a list.
    pub lists: usize,
    /// The number of requests for a list that begins with the newest execution.
    pub first_lists: usize,
    /// The number of answered requests for one status.
    pub statuses: usize,
    /// The number of controls.
    pub controls: usize,
    /// The limits say that this claude-api is boxed.
    pub boxed: bool,
    /// The bridge's requests are refused, as for a bridge in the box.
    pub refuses_bridge: bool,
    /// The tokens, by their text. `None` if this claude-api has no tokens.
    pub tokens: Option<HashMap<String, Me>>,
    /// The unused tickets, each with its token and its origin.
    pub tickets: HashMap<String, (String, Option<String>)>,
    /// The renewal secret of each renewal of a session token.
    pub renewed: Vec<String>,
    /// The renewal secrets of the session tokens that were ended.
    pub ended_sessions: Vec<String>,
    /// The number of questions to whom a token belongs, without those that have no token.
    pub questions: usize,
    /// Questions to whom a token belongs are not answered.
    pub no_judgement: bool,
    /// The number of requests for a list of questions.
    pub question_lists: usize,
    /// Requests for a list of questions are answered with 502.
    pub no_questions: bool,
    /// Requests for a list of questions are answered when this is false again.
    pub stuck_questions: bool,
    /// The connection breaks after so many more answers are recorded.
    pub cut_answers: usize,
    /// The token of each request about executions, with its method and path.
    pub authorizations: Vec<(String, Option<String>)>,
}

/// The fake claude-api; clones share its state.
#[derive(Clone)]
pub struct Fake {
    pub addr: SocketAddr,
    world: Arc<Mutex<World>>,
    changed: Arc<watch::Sender<u64>>,
    pub served: Arc<AtomicU64>,
    pub heartbeat: std::time::Duration,
}

impl Fake {
    pub async fn start() -> Self {
        Self::at(TcpListener::bind("127.0.0.1:0").await.unwrap()).await
    }

    pub async fn at(listener: TcpListener) -> Self {
        Self::with_heartbeat(listener, std::time::Duration::from_millis(150)).await
    }

    /// Starts a fake with this heartbeat, which its limits have.
    pub async fn with_heartbeat(listener: TcpListener, heartbeat: std::time::Duration) -> Self {
        let fake = Self {
            addr: listener.local_addr().unwrap(),
            world: Arc::default(),
            changed: Arc::new(watch::channel(0).0),
            served: Arc::default(),
            heartbeat,
        };
        fake.world().ready = true;
        let app = Router::new()
            .route("/v1/executions/{id}", put(accept).get(status))
            .route("/v1/executions/{id}/output", get(output))
            .route("/v1/executions/{id}/events", get(events))
            .route("/v1/executions/{id}/{verb}", post(control))
            .route("/v1/executions", get(list))
            .route("/v1/executions/{id}/share", post(share))
            .route("/v1/executions/{id}/questions", get(questions))
            .route(
                "/v1/executions/{id}/questions/{question}",
                get(question).post(answer),
            )
            .route("/v1/me", get(me))
            .route("/v1/tickets", post(ticket))
            .route("/v1/tickets/redeem", post(redeem))
            .route("/v1/tickets/session", put(renew).delete(end_session))
            .route("/health/limits", get(limits))
            .route("/health/ready", get(ready))
            .layer(axum::extract::DefaultBodyLimit::max(64 << 20))
            .layer(axum::middleware::from_fn_with_state(fake.clone(), gate))
            .with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        fake
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Changes the state, and wakes everything that waits for a change.
    pub fn change<R>(&self, change: impl FnOnce(&mut World) -> R) -> R {
        let result = change(&mut self.world());
        self.changed.send_modify(|n| *n += 1);
        result
    }

    pub fn set(&self, id: ExecutionId, change: impl FnOnce(&mut Execution)) {
        self.change(|w| change(w.executions.get_mut(&id).unwrap()));
    }

    pub fn state(&self, id: ExecutionId, state: State) {
        self.set(id, |e| e.status.state = state);
    }

    pub fn write(&self, id: ExecutionId, bytes: &[u8]) {
        self.set(id, |e| {
            e.output.extend_from_slice(bytes);
            e.status.output_bytes = e.output.len() as u64;
        });
    }

    pub fn end(&self, id: ExecutionId, state: State) {
        self.set(id, |e| {
            let open = e.questions.open.iter().map(|q| q.question_id);
            for question in open.collect::<Vec<_>>() {
                e.close(question, ClosedBy::End, None);
            }
            e.status.state = state;
            e.status.exit_code = (state == State::Completed).then_some(0);
            e.status.reason = (state == State::Failed).then_some(Reason::NoResult);
            e.status.ended_at = Some(Timestamp::now());
            let crc = crc32fast::hash(&e.output);
            e.status.crc32 = Some(protocol::trailers::crc32_text(crc));
        });
    }

    /// Asks a question with an input of so many bytes. Returns its id.
    pub fn ask(&self, id: ExecutionId, bytes: usize) -> Uuid {
        let question = Question {
            question_id: Uuid::new_v4(),
            kind: QuestionKind::Permission,
            tool: "Bash".into(),
            display_name: None,
            title: "rm x".into(),
            description: None,
            input: Some(serde_json::json!({ "command": "x".repeat(bytes) })),
            input_bytes: bytes as u64,
            suggestions: Vec::new(),
            agent_id: None,
            asked_at: Timestamp::now(),
            expires_at: None,
        };
        let question_id = question.question_id;
        self.set(id, |e| {
            e.questions.open.push(question);
            e.show_questions();
        });
        question_id
    }

    /// Closes a question for this cause.
    pub fn close(&self, id: ExecutionId, question: Uuid, closed_by: ClosedBy) {
        let decision = (closed_by == ClosedBy::Timeout).then_some(Decision::Deny);
        self.set(id, |e| e.close(question, closed_by, decision));
    }

    /// Adds a token of this principal and role, named like its text.
    pub fn add_token(&self, token: &str, principal: &str, role: Role) {
        let me = Me {
            principal: Some(principal.to_owned()),
            role,
            name: Some(token.to_owned()),
            expires: None,
            share: None,
            quota: None,
            share_quota: None,
        };
        self.change(|w| {
            let tokens = w.tokens.get_or_insert_default();
            tokens.insert(token.to_owned(), me);
        });
    }

    /// Adds a share of this execution, which counts for this principal.
    pub fn add_share(&self, token: &str, principal: &str, id: ExecutionId) {
        let me = Me {
            principal: None,
            role: Role::View,
            name: None,
            expires: None,
            share: Some(id),
            quota: Some(principal.to_owned()),
            share_quota: Some(token.to_owned()),
        };
        self.change(|w| {
            let tokens = w.tokens.get_or_insert_default();
            tokens.insert(token.to_owned(), me);
        });
    }

    /// Removes a token.
    pub fn remove_token(&self, token: &str) {
        self.change(|w| w.tokens.as_mut().unwrap().remove(token));
    }

    /// Returns to whom a token belongs. `None` if it is not valid.
    fn judge(&self, token: Option<&str>) -> Option<Me> {
        match &self.world().tokens {
            Some(tokens) => tokens.get(token?).cloned(),
            None => Some(Me::without_tokens()),
        }
    }

    /// Returns whether the execution in this path is none of another principal.
    fn may_see(&self, me: &Me, path: &str) -> bool {
        let mut parts = path.trim_start_matches("/v1/executions/").split('/');
        let id = parts.next().and_then(|id| id.parse().ok());
        let world = self.world();
        let execution = id.and_then(|id: ExecutionId| world.executions.get(&id));
        let is_own = |e: &Execution| e.status.principal == me.principal;
        me.role == Role::Admin || execution.is_none_or(is_own)
    }

    /// Adds an accepted execution.
    pub fn add(&self, state: State, output: &[u8]) -> ExecutionId {
        let id = ExecutionId::random();
        self.change(|w| insert(w, id, Body::new("x")));
        self.write(id, output);
        if state.is_terminal() {
            self.end(id, state);
        } else {
            self.state(id, state);
        }
        id
    }

    /// Waits until the condition holds.
    pub async fn until(&self, mut condition: impl FnMut(&World) -> bool) {
        let mut changed = self.changed.subscribe();
        let wait = async {
            while !condition(&self.world()) {
                changed.changed().await.unwrap();
            }
        };
        let time = std::time::Duration::from_secs(20);
        tokio::time::timeout(time, wait)
            .await
            .expect("the condition never held");
    }
}

/// An open stream, which is closed on drop.
struct Streaming(Fake, ExecutionId);

impl Streaming {
    fn new(fake: &Fake, id: ExecutionId) -> Self {
        fake.change(|w| {
            let (open, opened) = w.streams.entry(id).or_default();
            *open += 1;
            *opened += 1;
        });
        Self(fake.clone(), id)
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.0
            .change(|w| w.streams.entry(self.1).or_default().0 -= 1);
    }
}

/// Cancels the execution when no stream has been open for `after`.
async fn cancel_unviewed(fake: Fake, id: ExecutionId, after: std::time::Duration) {
    let opened = |w: &World| w.streams.get(&id).copied().unwrap_or_default();
    let opened_before = opened(&fake.world()).1;
    let mut changed = fake.changed.subscribe();
    loop {
        changed.borrow_and_update();
        let (open, now) = opened(&fake.world());
        if now != opened_before {
            return;
        }
        if open > 0 {
            changed.changed().await.unwrap();
            continue;
        }
        tokio::time::sleep(after).await;
        if opened(&fake.world()) == (0, opened_before) {
            fake.change(|w| w.cancels.push(id));
            return fake.end(id, State::Cancelled);
        }
    }
}

fn refused(world: &World, id: ExecutionId) -> Option<Response> {
    let kind = ProblemType::CancelledBeforeAccepted;
    let burned = world.burned.contains(&id);
    burned.then(|| problem(&Problem::new(kind, "cancelled before it was accepted")))
}

fn insert(world: &mut World, id: ExecutionId, body: Body) -> Status {
    let mut status = Status::queued(id, Timestamp::now(), body.workspace.clone());
    status.lane.clone_from(&body.lane);
    world.order.push(id);
    let execution = Execution {
        status: status.clone(),
        output: Vec::new(),
        body,
        questions: QuestionList::default(),
    };
    world.executions.insert(id, execution);
    status
}

/// Returns the token in the header `Authorization`.
fn token_of(headers: &http::HeaderMap) -> Option<String> {
    let value = headers.get(http::header::AUTHORIZATION)?.to_str().unwrap();
    Some(value.strip_prefix("Bearer ").unwrap().to_owned())
}

async fn gate(
    Ctx(fake): Ctx<Fake>,
    mut request: Request,
    next: axum::middleware::Next,
) -> Response {
    fake.served.fetch_add(1, Ordering::Relaxed);
    if fake.world().down {
        return http::StatusCode::BAD_GATEWAY.into_response();
    }
    let path = request.uri().path().to_owned();
    let token = token_of(request.headers());
    if path.starts_with("/v1/executions") {
        let line = format!("{} {path}", request.method());
        fake.change(|w| w.authorizations.push((line, token.clone())));
    }
    if path == "/v1/me" {
        let mut changed = fake.changed.subscribe();
        fake.change(|w| w.questions += usize::from(token.is_some()));
        while fake.world().no_judgement {
            changed.changed().await.unwrap();
        }
    }
    let is_public = path.starts_with("/health/")
        || ["/v1/tickets/redeem", "/v1/tickets/session"].contains(&path.as_str());
    if !is_public {
        match fake.judge(token.as_deref()) {
            Some(me) if fake.may_see(&me, &path) => {
                request.extensions_mut().insert(me);
            }
            Some(_) => return problem(&Problem::new(ProblemType::NotFound, "no such execution")),
            None => return problem(&Problem::new(ProblemType::Unauthorized, "no valid token")),
        }
    }
    next.run(request).await
}

fn problem(problem: &Problem) -> Response {
    let status = http::StatusCode::from_u16(problem.status).unwrap();
    let kind = [(http::header::CONTENT_TYPE, protocol::problem::CONTENT_TYPE)];
    (status, kind, serde_json::to_vec(problem).unwrap()).into_response()
}

fn missing(world: &World, id: ExecutionId) -> Response {
    let kind = if world.deleted.contains(&id) {
        ProblemType::Deleted
    } else {
        ProblemType::NotFound
    };
    problem(&Problem::new(kind, "no such execution"))
}

fn broken() -> Response {
    let body = stream::once(async { Err::<Bytes, _>(io::Error::other("reset")) });
    Response::new(HttpBody::from_stream(body))
}

async fn accept(
    Ctx(fake): Ctx<Fake>,
    Path(id): Path<ExecutionId>,
    Extension(me): Extension<Me>,
    bytes: Bytes,
) -> Response {
    let body = Body::from_json(&bytes).unwrap();
    let fault = fake.change(|w| {
        w.puts.push((id, body.clone()));
        w.faults.pop_front()
    });
    match fault {
        Some(Fault::Problem(kind)) => return problem(&Problem::new(kind, "a planned fault")),
        Some(Fault::ProblemRetryAfter(kind, seconds)) => {
            let after = [(http::header::RETRY_AFTER, seconds.to_string())];
            let problem = problem(&Problem::new(kind, "a planned fault"));
            return (after, problem).into_response();
        }
        Some(Fault::Code(status)) => {
            return http::StatusCode::from_u16(status).unwrap().into_response();
        }
        Some(Fault::CodeRetryAfter(status, seconds)) => {
            let status = http::StatusCode::from_u16(status).unwrap();
            let after = [(http::header::RETRY_AFTER, seconds.to_string())];
            return (status, after).into_response();
        }
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Reset { accepted: false }) => return broken(),
        Some(Fault::Delayed) => {
            let delayed = tokio::spawn(async move {
                fake.until(|w| w.handle_delayed).await;
                fake.change(|w| {
                    let known = w.executions.get(&id).map(|e| e.status.clone());
                    match refused(w, id) {
                        Some(refused) => refused,
                        None => Json(known.unwrap_or_else(|| insert(w, id, body))).into_response(),
                    }
                })
            });
            return delayed.await.unwrap();
        }
        Some(Fault::Reset { accepted: true }) | None => {}
    }
    let answer = fake.change(|w| match w.executions.get(&id) {
        Some(old) if old.body.digest() != body.digest() => {
            problem(&Problem::new(ProblemType::IdInUse, "another body"))
        }
        Some(old) => Json(old.status.clone()).into_response(),
        None if w.burned.contains(&id) => refused(w, id).unwrap(),
        None => {
            let status = insert(w, id, body);
            let execution = w.executions.get_mut(&id).unwrap();
            execution.status.principal.clone_from(&me.principal);
            (http::StatusCode::CREATED, Json(status)).into_response()
        }
    });
    if fault.is_some() { broken() } else { answer }
}

async fn status(
    Ctx(fake): Ctx<Fake>,
    Path(id): Path<ExecutionId>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let mut changed = fake.changed.subscribe();
    while {
        let world = fake.world();
        world.no_status || world.stuck.contains(&id)
    } {
        changed.changed().await.unwrap();
    }
    let get = move |fake: &Fake| fake.world().executions.get(&id).map(|e| e.status.clone());
    let Some(first) = get(&fake) else {
        return missing(&fake.world(), id);
    };
    if !query.contains_key("follow") {
        fake.change(|w| w.statuses += 1);
        return Json(first).into_response();
    }
    let changed = fake.changed.subscribe();
    let streaming = Streaming::new(&fake, id);
    let lines = stream::unfold(
        (fake, changed, None::<Status>),
        move |(fake, mut changed, old)| {
            let _ = &streaming;
            async move {
                if old.as_ref().is_some_and(|s| s.state.is_terminal()) {
                    return None;
                }
                let new = loop {
                    changed.borrow_and_update();
                    if fake.world().down {
                        return Some((Err(io::Error::other("down")), (fake, changed, old)));
                    }
                    let Some(new) = get(&fake) else {
                        return Some((Err(io::Error::other("gone")), (fake, changed, old)));
                    };
                    let without_output = |s: &Status| Status {
                        output_bytes: 0,
                        crc32: None,
                        ..s.clone()
                    };
                    let is_changed = |old| without_output(old) != without_output(&new);
                    if old.as_ref().is_none_or(is_changed) {
                        break new;
                    }
                    let wait = tokio::time::timeout(fake.heartbeat, changed.changed());
                    if wait.await.is_err() && !fake.world().no_heartbeats {
                        break new;
                    }
                };
                let mut line = serde_json::to_vec(&new).unwrap();
                line.push(b'\n');
                Some((Ok(Bytes::from(line)), (fake, changed, Some(new))))
            }
        },
    );
    Response::new(HttpBody::from_stream(lines))
}

async fn output(
    Ctx(fake): Ctx<Fake>,
    Path(id): Path<ExecutionId>,
    Query(query): Query<HashMap<String, u64>>,
) -> Response {
    let offset = query.get("offset").copied().unwrap_or(0);
    let left = {
        let mut world = fake.world();
        if world.no_output {
            return http::StatusCode::BAD_GATEWAY.into_response();
        }
        let Some(execution) = world.executions.get(&id) else {
            return missing(&world, id);
        };
        let (kept, end) = (execution.status.kept_from, execution.output.len() as u64);
        if offset < kept {
            return problem(
                &Problem::new(ProblemType::OffsetNotKept, "gone").with("keptFrom", kept),
            );
        }
        if offset > end {
            return problem(
                &Problem::new(ProblemType::OffsetBeyondEnd, "beyond").with("length", end),
            );
        }
        let cut = world.cut;
        world.cuts += usize::from(cut.is_some());
        cut.map(|max| rand::rng().random_range(1..=max))
    };
    let changed = fake.changed.subscribe();
    let streaming = Streaming::new(&fake, id);
    let chunks = stream::unfold(
        (fake, changed, offset as usize, left),
        move |(fake, mut changed, at, left)| {
            let _ = &streaming;
            async move {
                loop {
                    changed.borrow_and_update();
                    let broken = {
                        let world = fake.world();
                        let execution = world.executions.get(&id)?;
                        left == Some(0) || world.down || (at as u64) < execution.status.kept_from
                    };
                    if broken {
                        // hyper drops unflushed bytes when an error follows immediately.
                        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                        return Some((Err(io::Error::other("cut")), (fake, changed, at, left)));
                    }
                    {
                        let world = fake.world();
                        let execution = world.executions.get(&id)?;
                        let max = left.unwrap_or(usize::MAX).min(64 * 1024);
                        let end = execution.output.len().min(at.saturating_add(max));
                        if end > at {
                            let end = rand::rng().random_range(at + 1..=end);
                            let chunk = Bytes::copy_from_slice(&execution.output[at..end]);
                            drop(world);
                            let left = left.map(|n| n - chunk.len());
                            return Some((Ok(chunk), (fake, changed, end, left)));
                        }
                        if execution.status.state.is_terminal() {
                            return None;
                        }
                    }
                    changed.changed().await.ok()?;
                }
            }
        },
    );
    Response::new(HttpBody::from_stream(chunks))
}

/// Serves the output as the present events.
async fn events(
    Ctx(fake): Ctx<Fake>,
    Path(id): Path<ExecutionId>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    assert_eq!(query.get("follow").map(String::as_str), Some("false"));
    let is_stuck = fake.change(|w| {
        w.events += 1;
        w.stuck_events
    });
    let world = fake.world();
    let Some(execution) = world.executions.get(&id) else {
        return missing(&world, id);
    };
    let (kept, length) = (execution.status.kept_from, execution.output.len() as u64);
    let offset = query.get("offset").map_or(kept, |n| n.parse().unwrap());
    if offset < kept {
        return problem(&Problem::new(ProblemType::OffsetNotKept, "gone").with("keptFrom", kept));
    }
    if offset > length {
        return problem(
            &Problem::new(ProblemType::OffsetBeyondEnd, "beyond").with("length", length),
        );
    }
    let ended = execution.status.state.is_terminal();
    let bytes = Bytes::copy_from_slice(&execution.output[offset as usize..]);
    let body = if is_stuck {
        let first = stream::iter([Ok::<_, io::Error>(bytes.slice(..bytes.len() / 2))]);
        HttpBody::from_stream(futures::StreamExt::chain(first, stream::pending()))
    } else {
        HttpBody::from(bytes)
    };
    let mut response = Response::new(body);
    for (name, value) in [
        (protocol::trailers::EVENTS_OFFSET, offset.to_string()),
        (protocol::trailers::EVENTS_LENGTH, length.to_string()),
        (protocol::trailers::EVENTS_ENDED, ended.to_string()),
    ] {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

async fn control(
    Ctx(fake): Ctx<Fake>,
    Path((id, verb)): Path<(ExecutionId, String)>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let unviewed = query.get("ifUnviewedForMs").map(|ms| ms.parse().unwrap());
    let burns = query.get("ifUnknown").is_some_and(|value| value == "burn");
    let known = fake.change(|w| {
        w.controls += 1;
        if verb == "cancel" && unviewed.is_none() {
            w.cancels.push(id);
        }
        let known = w.executions.get(&id).map(|e| e.status.state);
        if burns && !w.full && known.is_none() && !w.deleted.contains(&id) {
            w.burned.push(id);
        }
        if unviewed.is_some() {
            w.unviewed.push(id);
        }
        known
    });
    if burns && known.is_none() && !fake.world().deleted.contains(&id) {
        if fake.world().full {
            return problem(&Problem::new(ProblemType::QueueFull, "full"));
        }
        return Json(protocol::Burned::new(id)).into_response();
    }
    if let (Some(state), Some(ms)) = (known, unviewed) {
        if !state.is_terminal() {
            let after = std::time::Duration::from_millis(ms);
            tokio::spawn(cancel_unviewed(fake.clone(), id, after));
        }
        return Json(fake.world().executions[&id].status.clone()).into_response();
    }
    match (known, verb.as_str()) {
        (None, _) => return missing(&fake.world(), id),
        (Some(State::Queued), "pause") => {
            return problem(
                &Problem::new(ProblemType::WrongState, "queued").with("state", "queued"),
            );
        }
        (Some(state), "cancel") if !state.is_terminal() => fake.end(id, State::Cancelled),
        (Some(State::Running), "pause") => fake.state(id, State::Paused),
        (Some(State::Paused), "resume") => fake.state(id, State::Running),
        _ => {}
    }
    Json(fake.world().executions[&id].status.clone()).into_response()
}

async fn me(Ctx(fake): Ctx<Fake>, Extension(me): Extension<Me>) -> Response {
    if fake.world().refuses_bridge {
        return problem(&Problem::new(ProblemType::FromBox, "from the box"));
    }
    Json(me).into_response()
}

async fn ticket(Ctx(fake): Ctx<Fake>, headers: http::HeaderMap, body: Bytes) -> Response {
    let TicketRequest { origin } = serde_json::from_slice(&body).unwrap();
    let token = token_of(&headers).unwrap_or_default();
    let ticket = uuid::Uuid::new_v4().to_string();
    fake.change(|w| w.tickets.insert(ticket.clone(), (token, origin)));
    Json(Ticket {
        ticket,
        expires_seconds: 30,
    })
    .into_response()
}

async fn redeem(Ctx(fake): Ctx<Fake>, body: Bytes) -> Response {
    let Redeem { ticket, origin } = serde_json::from_slice(&body).unwrap();
    let known = fake.change(|w| w.tickets.remove(&ticket));
    let token = known
        .filter(|(_, bound)| *bound == origin)
        .map(|(token, _)| token);
    match token.and_then(|token| Some((fake.judge(Some(&token))?, token))) {
        Some((me, token)) => {
            let renewal = format!("ccbr_{token}");
            Json(Redeemed { token, renewal, me }).into_response()
        }
        None => problem(&Problem::new(ProblemType::Unauthorized, "no valid ticket")),
    }
}

/// Notes the renewal of a session token.
async fn renew(Ctx(fake): Ctx<Fake>, headers: http::HeaderMap) -> http::StatusCode {
    let renewal = token_of(&headers).unwrap_or_default();
    fake.change(|w| w.renewed.push(renewal));
    http::StatusCode::NO_CONTENT
}

/// Notes the end of a session token.
async fn end_session(Ctx(fake): Ctx<Fake>, headers: http::HeaderMap) -> http::StatusCode {
    let renewal = token_of(&headers).unwrap_or_default();
    fake.change(|w| w.ended_sessions.push(renewal));
    http::StatusCode::NO_CONTENT
}

async fn share(Ctx(fake): Ctx<Fake>, Path(id): Path<ExecutionId>, body: Bytes) -> Response {
    let ShareRequest {
        role,
        expires_seconds,
    } = serde_json::from_slice(&body).unwrap();
    if !fake.world().executions.contains_key(&id) {
        return missing(&fake.world(), id);
    }
    let seconds = i64::try_from(expires_seconds).unwrap();
    let share = Share {
        share_id: uuid::Uuid::new_v4(),
        token: "shared".to_owned(),
        role,
        expires: Timestamp::now() + jiff::SignedDuration::from_secs(seconds),
    };
    (http::StatusCode::CREATED, Json(share)).into_response()
}

/// The newest 2 closed questions are in the list, so that tests reach the end of it.
async fn questions(Ctx(fake): Ctx<Fake>, Path(id): Path<ExecutionId>) -> Response {
    let no_questions = fake.change(|w| {
        w.question_lists += 1;
        w.no_questions
    });
    if no_questions {
        return http::StatusCode::BAD_GATEWAY.into_response();
    }
    let mut changed = fake.changed.subscribe();
    while fake.world().stuck_questions {
        changed.changed().await.unwrap();
    }
    let world = fake.world();
    let Some(execution) = world.executions.get(&id) else {
        return missing(&world, id);
    };
    let mut list = execution.questions.clone();
    let old = list.closed.len().saturating_sub(2);
    list.closed.drain(..old);
    Json(list).into_response()
}

async fn question(
    Ctx(fake): Ctx<Fake>,
    Path((id, question)): Path<(ExecutionId, Uuid)>,
) -> Response {
    let world = fake.world();
    let Some(execution) = world.executions.get(&id) else {
        return missing(&world, id);
    };
    let mut closed = execution.questions.closed.iter();
    match closed.find(|closed| closed.question_id == question) {
        Some(closed) => Json(serde_json::json!({ "closed": closed })).into_response(),
        None => problem(&Problem::new(ProblemType::NotFound, "no such question")),
    }
}

/// Answers with the decision that closed the question, if it is the same one.
async fn answer(
    Ctx(fake): Ctx<Fake>,
    Path((id, question)): Path<(ExecutionId, Uuid)>,
    body: Bytes,
) -> Response {
    let answer: Answer = serde_json::from_slice(&body).unwrap();
    let is_cut = fake.change(|w| {
        let cut = w.cut_answers.checked_sub(1);
        w.cut_answers = cut.unwrap_or_default();
        cut.is_some()
    });
    let (is_open, closed) = {
        let world = fake.world();
        let Some(execution) = world.executions.get(&id) else {
            return missing(&world, id);
        };
        let questions = &execution.questions;
        let mut closed = questions.closed.iter();
        (
            questions.open.iter().any(|q| q.question_id == question),
            closed
                .find(|closed| closed.question_id == question)
                .cloned(),
        )
    };
    match closed {
        Some(closed) if closed.decision != Some(answer.decision) => {
            let decision = closed.decision.map(Decision::as_str);
            return problem(
                &Problem::new(ProblemType::WrongState, "the question was closed before")
                    .with("closedBy", closed.closed_by.as_str())
                    .with("decision", decision)
                    .with("principal", closed.principal),
            );
        }
        None if !is_open => {
            return problem(&Problem::new(ProblemType::NotFound, "no such question"));
        }
        None => fake.set(id, |e| {
            e.close(question, ClosedBy::Answer, Some(answer.decision));
        }),
        Some(_) => {}
    }
    if is_cut {
        return broken();
    }
    Json(Answered {
        question_id: question,
        decision: answer.decision,
        principal: None,
    })
    .into_response()
}

async fn limits(Ctx(fake): Ctx<Fake>) -> Response {
    let boxed = fake.world().boxed;
    let tokens = fake.world().tokens.is_some();
    let limits = Limits {
        boxed,
        tokens,
        heartbeat_ms: u64::try_from(fake.heartbeat.as_millis()).unwrap(),
        ..Limits::default()
    };
    Json(limits).into_response()
}

async fn list(Ctx(fake): Ctx<Fake>, Query(query): Query<HashMap<String, String>>) -> Response {
    let before: Option<ExecutionId> = query.get("before").map(|id| id.parse().unwrap());
    let limit = query.get("limit").map_or(50, |n| n.parse().unwrap());
    fake.change(|w| {
        w.lists += 1;
        w.first_lists += usize::from(before.is_none());
    });
    let world = fake.world();
    let newest_first = world.order.iter().rev();
    let mut older = newest_first.skip_while(|id| before.is_some_and(|before| **id != before));
    if before.is_some() {
        older.next();
    }
    let mut older = older.peekable();
    let ids: Vec<_> = older.by_ref().take(limit).copied().collect();
    let next = older.peek().and(ids.last().copied());
    let executions = ids.iter().map(|id| world.executions[id].status.clone());
    Json(Page {
        executions: executions.collect(),
        next,
    })
    .into_response()
}

async fn ready(Ctx(fake): Ctx<Fake>) -> Response {
    if fake.world().ready {
        return Json(serde_json::json!({"status": "ready"})).into_response();
    }
    let reason = serde_json::json!({
        "code": "no_credential", "message": "no credential", "remedy": "set ANTHROPIC_API_KEY"
    });
    let reasons = [reason];
    problem(&Problem::new(ProblemType::NotReady, "no credential").with("reasons", reasons))
}
