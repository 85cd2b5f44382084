//! The calls of the tools.

use std::time::Duration;

use client::{Client, Control};
use protocol::ExecutionId;
use protocol::rpc::OnDisconnect;
use rmcp::model::{CallToolResponse, CreateTaskResult, RequestId, RequestMetaObject};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use tokio_util::sync::CancellationToken;

use super::Server;
use crate::arguments::Arguments;
use crate::failure::Failure;
use crate::http::Charge;
use crate::progress::Progress;
use crate::requests::Handled;
use crate::running::Closed;
use crate::{resources, results, run, tasks, tools, views};

/// The longest time that one `wait` takes, in seconds. Some clients abort every call after 60 s.
const WAIT_SECONDS: u64 = 50;
/// Executions of one page of `list`, unless the caller says otherwise.
const LIST: u64 = 20;
/// The longest request id and progress token that are kept without being counted, in bytes.
const KEPT_ID_BYTES: usize = 1024;
/// The smallest `maxBytes`: any character fits.
const LEAST_BYTES: u64 = 4;

impl Server {
    /// Calls a tool.
    pub(super) async fn call(
        &self,
        name: &str,
        mut arguments: Arguments,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, Failure> {
        let places = &self.places;
        let result = match name {
            tools::EXECUTE => return self.execute(arguments, context).await,
            tools::START => results::status(&run::start(places, arguments.start()?).await?),
            tools::WAIT => {
                let id = arguments.execution_id()?;
                let offset = arguments.take("offset")?;
                let seconds = arguments.number("maxSeconds", 0..=WAIT_SECONDS)?;
                arguments.finish()?;
                let time = Duration::from_secs(seconds.unwrap_or(WAIT_SECONDS));
                let progress = Progress::new(&context, places.settings().progress);
                let (lost, ended) = (lost(&context), session_ended(&context));
                let look = views::wait(places, id, offset, time, progress, lost);
                let look = self.look(&context, id, look);
                let (text, status) = tokio::select! {
                    biased;
                    () = ended.cancelled() => return Err(Failure::cancelled()),
                    seen = look => seen?,
                };
                results::seen(&text, &status)
            }
            tools::OUTPUT => {
                let id = arguments.execution_id()?;
                let offset = arguments.take("offset")?;
                let limit = places.settings().text_bytes;
                let most = arguments.number("maxBytes", LEAST_BYTES..=limit as u64)?;
                arguments.finish()?;
                let most = most.map_or(limit, |most| usize::try_from(most).unwrap_or(limit));
                let look = views::output(places, id, offset, most);
                let (text, status) = self.look(&context, id, look).await?;
                results::seen(&text, &status)
            }
            tools::STATUS => {
                let id = arguments.execution_id()?;
                arguments.finish()?;
                results::status(&tasks::status(places, id).await?)
            }
            tools::LIST => {
                let limit = arguments.number("limit", 1..=1000)?.unwrap_or(LIST);
                let before = arguments.take::<ExecutionId>("before")?;
                arguments.finish()?;
                results::page(&resources::page(places, limit, before).await?)
            }
            tools::CONTROL => {
                let (id, action) = (arguments.execution_id()?, arguments.action()?);
                arguments.finish()?;
                results::status(&self.control(id, action).await?)
            }
            // An unknown one was refused before.
            other => {
                return Err(Failure::internal(format!(
                    "the tool {other:?} does nothing"
                )));
            }
        };
        Ok(result.into())
    }

    /// Runs an execution to its end, or makes it a task for a client that knows tasks.
    async fn execute(
        &self,
        arguments: Arguments,
        mut context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, Failure> {
        let mut execute = arguments.execute()?;
        let id = execute.ensure_id();
        let ends_with_call = execute.on_disconnect == OnDisconnect::Cancel;
        let capabilities = context.client_capabilities();
        if capabilities.is_some_and(|c| c.supports_tasks()) && !ends_with_call {
            let status = run::start(&self.places, execute).await?;
            return Ok(CallToolResponse::Task(CreateTaskResult::new(tasks::task(
                &status,
            ))));
        }
        let progress = Progress::new(&context, self.places.settings().progress);
        let signals = self.running.enter(context.id.clone());
        let mut signals = signals.with_session(session_ended(&context));
        let lost = lost(&context);
        if ends_with_call {
            signals = signals.with_closed(lost.clone());
        }
        let charge = charge(&context);
        // It is as large as the client likes, and the call may take hours.
        context.meta = RequestMetaObject::new();
        let run = run::to_the_end(
            self.places.clone(),
            execute,
            progress,
            signals,
            lost,
            charge,
        );
        // Checked after the registration: a cancel comes either before this line or to the entry.
        if context.ct.is_cancelled() {
            self.running.leave(&context.id);
            return Err(Failure::cancelled());
        }
        let call = self.calls.spawn(run);
        let result = tokio::select! {
            biased;
            // The entry stays: `on_cancelled` needs it, or it goes with the session.
            () = context.ct.cancelled() => return Err(Failure::cancelled()),
            // The execution continues: `Running` abandons the call when its session ends.
            () = self.stop.cancelled() => return Err(Failure::stopping(id)),
            result = call => result,
        };
        self.running.leave(&context.id);
        match result {
            Ok(Err(failure)) => Err(self.or_stopping(failure, id)),
            Ok(Ok(result)) => Ok(result.into()),
            Err(error) => Err(Failure::internal(error.to_string())),
        }
    }

    /// Reports a failure that is a refusal of this server.
    pub(super) fn noted(&self, failure: Failure) -> Failure {
        if let Some(reason) = failure.own_reason() {
            self.places.settings().on_refusal.call(reason);
        }
        failure
    }

    /// Reports a failure and makes it the error of a task.
    pub(super) fn task_error(&self, failure: Failure) -> ErrorData {
        self.noted(failure).into_task_error()
    }

    /// Waits for a look at an execution, unless the client cancels the call or leaves, or the server
    /// stops.
    async fn look<T>(
        &self,
        context: &RequestContext<RoleServer>,
        id: ExecutionId,
        look: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let seen = tokio::select! {
            biased;
            () = context.ct.cancelled() => Err(Failure::cancelled()),
            () = self.stop.cancelled() => Err(Failure::stopping(id)),
            look = look => look,
        };
        seen.map_err(|failure| self.or_stopping(failure, id))
    }

    /// Returns the stop of the server as the cause of a failure that comes after it: the server takes
    /// its own calls no more then.
    fn or_stopping(&self, failure: Failure, id: ExecutionId) -> Failure {
        if self.stop.is_cancelled() {
            Failure::stopping(id)
        } else {
            failure
        }
    }

    pub(super) async fn control(
        &self,
        id: ExecutionId,
        action: Control,
    ) -> Result<protocol::Status, Failure> {
        let ask = async |client: &Client| client.control(id, action).await;
        self.places.ask(ask).await
    }
}

/// Fires when the response stream of an HTTP request is closed. Never fires over stdio.
fn lost(context: &RequestContext<RoleServer>) -> CancellationToken {
    let parts = context.extensions.get::<http::request::Parts>();
    let closed = parts.and_then(|parts| parts.extensions.get::<Closed>());
    closed.map_or_else(CancellationToken::new, |Closed(closed)| closed.clone())
}

/// Fires when the session of a request ends. Never fires in versions without sessions over HTTP.
fn session_ended(context: &RequestContext<RoleServer>) -> CancellationToken {
    let handled = context.extensions.get::<Handled>();
    handled.map_or_else(CancellationToken::new, Handled::session_ended)
}

/// The memory for the body of an HTTP request, to be released early. None for a request whose id or
/// progress token is long, because both stay in memory until the call ends.
fn charge(context: &RequestContext<RoleServer>) -> Option<Charge> {
    let token = context.meta.get_progress_token();
    let ids = [Some(&context.id), token.as_ref().map(|token| &token.0)];
    let is_long = |id: &RequestId| matches!(id, RequestId::String(id) if id.len() > KEPT_ID_BYTES);
    if ids.into_iter().flatten().any(is_long) {
        return None;
    }
    let parts = context.extensions.get::<http::request::Parts>()?;
    parts.extensions.get::<Charge>().cloned()
}
