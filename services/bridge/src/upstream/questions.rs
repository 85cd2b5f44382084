//! The questions of an execution: the list that a view announces, and the answer of a client
//! (docs/protocol.md, "Questions").

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use protocol::ExecutionId;
use protocol::question::{Answered, ClosedQuestion, QuestionList};
use protocol::rpc::RpcError;
use retries::Delays;
use serde::Deserialize;
use tokio::time::{Instant, sleep_until, timeout};
use uuid::Uuid;

use super::Upstream;
use super::errors::Failure;
use super::response::{json, json_within};
use super::retry::delays;

/// The longest list of questions, and the longest single question, that is read (8 MiB). claude-api
/// keeps at most 32 questions open, each with at most 16 KiB of input and 24 KiB of other texts.
/// JSON may escape a byte of these texts with six.
const LIST_BYTES: usize = 8 * 1024 * 1024;

/// The body of `GET .../questions/{questionId}`. Only how the question was closed is read.
#[derive(Deserialize)]
struct QuestionDetails {
    closed: Option<ClosedQuestion>,
}

impl Upstream {
    /// Answers a question of an execution. `answer` is the JSON of a [`protocol::Answer`]. The same
    /// answer again has no further effect, so a broken attempt is retried within `callMs`.
    ///
    /// # Errors
    /// Returns an error as [`Self::status`] does, which may also mean that the execution has no
    /// such question. Returns -32008 (`WRONG_STATE`) with `closedBy`, `decision` and `principal` if
    /// the question was closed before, -32602 (`INVALID_PARAMS`) or -32002 (`NOT_ALLOWED`) if the
    /// answer does not fit the question, and -32005 (`UNAVAILABLE`, reason `spool_unwritable`) if
    /// it could not be stored.
    pub async fn answer(
        &self,
        id: ExecutionId,
        question: Uuid,
        answer: Bytes,
    ) -> Result<Answered, RpcError> {
        let url = self.execution_url(id, &format!("/questions/{question}"));
        self.attempts(|| {
            let request = self.post(&url).header(CONTENT_TYPE, "application/json");
            let request = request.body(answer.clone());
            async move { json(request.send().await?).await }
        })
        .await
    }

    /// Requests the list of an execution's questions once. `tracked` are the questions of which the
    /// caller must learn how they were closed. The list has only those closed last, so the others
    /// are requested one by one.
    ///
    /// # Errors
    /// Returns the failure if claude-api refuses the request, does not answer within `callMs`, or
    /// sends malformed JSON.
    async fn questions(&self, id: ExecutionId, tracked: &[Uuid]) -> Result<QuestionList, Failure> {
        let list = async {
            // The semaphore is never closed.
            let _turn = self.question_lists.acquire().await;
            let url = self.execution_url(id, "/questions");
            let response = self.get(&url).send().await?;
            let mut list: QuestionList = json_within(response, LIST_BYTES).await?;
            for question in tracked {
                let is_open = list.open.iter().any(|open| open.question_id == *question);
                let mut closed = list.closed.iter();
                if !is_open && !closed.any(|closed| closed.question_id == *question) {
                    list.closed.extend(self.closing_of(id, *question).await?);
                }
            }
            Ok(list)
        };
        match timeout(self.times.call, list).await {
            Ok(list) => list,
            Err(_) => Err(Failure::Broken("no answer in time".to_owned())),
        }
    }

    /// Requests how a question was closed. `None` if it is open, or unknown.
    async fn closing_of(
        &self,
        id: ExecutionId,
        question: Uuid,
    ) -> Result<Option<ClosedQuestion>, Failure> {
        let url = self.execution_url(id, &format!("/questions/{question}"));
        let response = self.get(&url).send().await?;
        if response.status() == http::StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let details: QuestionDetails = json_within(response, LIST_BYTES).await?;
        Ok(details.closed)
    }
}

/// The result of an attempt to fetch a list.
#[derive(Debug)]
pub enum FetchItem {
    /// The list. It has each question that the caller named, open or closed.
    List(Box<QuestionList>),
    /// An attempt failed. The fetch continues after a delay.
    Failed {
        /// Whether the same request may succeed later.
        is_transient: bool,
        /// The number of failures in a row.
        attempts: u32,
    },
}

/// A request for a list whose reply has not arrived yet.
type Fetching = Pin<Box<dyn Future<Output = Result<QuestionList, Failure>> + Send>>;

/// The state of a fetch: none is needed, one is in progress, or the next attempt waits.
enum FetchState {
    Idle,
    Fetching(Fetching),
    Waiting(Instant),
}

/// Fetches the list of an execution's questions when a view needs it, one at a time. Retries until
/// it succeeds or is stopped.
pub struct QuestionFetch {
    upstream: Upstream,
    id: ExecutionId,
    /// The questions that the list must have, open or closed.
    tracked: Vec<Uuid>,
    state: FetchState,
    delays: Delays,
}

impl QuestionFetch {
    /// Creates an idle fetch. Sends nothing before [`Self::begin`].
    #[must_use]
    pub fn new(upstream: Upstream, id: ExecutionId) -> Self {
        Self {
            upstream,
            id,
            tracked: Vec::new(),
            state: FetchState::Idle,
            delays: delays(),
        }
    }

    /// Begins to fetch the list. `tracked` are the questions that the list must have, open or
    /// closed. Must not be called while a fetch is in progress.
    pub fn begin(&mut self, tracked: Vec<Uuid>) {
        self.tracked = tracked;
        self.request();
    }

    /// Stops the fetch, because no list is needed any more.
    pub fn stop(&mut self) {
        self.state = FetchState::Idle;
    }

    /// Waits for the next item. While the fetch is idle it waits forever. Cancel-safe.
    pub async fn next(&mut self) -> FetchItem {
        loop {
            match &mut self.state {
                FetchState::Idle => std::future::pending().await,
                FetchState::Waiting(until) => {
                    sleep_until(*until).await;
                    self.upstream.retries.call.inc();
                    self.request();
                }
                FetchState::Fetching(fetching) => {
                    return match fetching.await {
                        Ok(list) => {
                            self.state = FetchState::Idle;
                            self.delays.reset();
                            FetchItem::List(Box::new(list))
                        }
                        Err(failure) => self.failed(&failure),
                    };
                }
            }
        }
    }

    /// Sends the request for the list.
    fn request(&mut self) {
        let (upstream, id) = (self.upstream.clone(), self.id);
        let tracked = self.tracked.clone();
        self.state =
            FetchState::Fetching(Box::pin(
                async move { upstream.questions(id, &tracked).await },
            ));
    }

    /// Schedules the next attempt after a failure.
    fn failed(&mut self, failure: &Failure) -> FetchItem {
        tracing::debug!(
            execution = %self.id,
            error = failure.logged(),
            "could not fetch the questions of an execution; retrying after a delay"
        );
        let delay = self.delays.next_delay(failure.retry_after());
        self.state = FetchState::Waiting(Instant::now() + delay);
        FetchItem::Failed {
            is_transient: failure.is_transient(),
            attempts: self.delays.attempts(),
        }
    }
}
