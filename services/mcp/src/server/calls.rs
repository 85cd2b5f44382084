//! The MCP method `tools/call`. Reads the arguments of a tool call and runs the tool.

use std::time::Duration;

use client::{Client, Control};
use protocol::rpc::OnDisconnect;
use protocol::{ExecutionId, PermissionPrompts};
use rmcp::model::{
    CallToolResponse, CreateTaskResult, Extensions, InputResponses, RequestId, RequestMetaObject,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Server;
use crate::arguments::Arguments;
use crate::caller::Caller;
use crate::elicitation::RepeatedCall;
use crate::failure::Failure;
use crate::http::Charge;
use crate::progress::Progress;
use crate::requests::Handled;
use crate::running_calls::StreamClosed;
use crate::slots::Slots;
use crate::{elicitation, questions, resources, results, run, tasks, tools, views};

/// The maximum time of one call of the tool `wait`, in seconds. It is below 60 s, after which some
/// MCP clients abort every call.
const WAIT_SECONDS: u64 = 50;
/// The number of executions that the tool `list` returns if the call gives no `limit`.
const LIST: u64 = 20;
/// The maximum length of a JSON-RPC request id or MCP progress token, in bytes, that may stay in
/// memory during a call although the memory of the request's body was released.
const UNCHARGED_ID_BYTES: usize = 1024;
/// The minimum value of `maxBytes` in the tool `output`, in bytes. It is the length of the longest
/// UTF-8 character: with less, a reader could never advance past such a character.
const MIN_OUTPUT_BYTES: u64 = 4;

/// The parts of a request that repeats a call which ended with forms.
#[derive(Debug, Default)]
pub(super) struct Repeated {
    /// The state from the end of that call. `None` for a first call.
    pub(super) state: Option<String>,
    /// The forms that the user has filled in.
    pub(super) responses: InputResponses,
}

impl Server {
    /// Calls the tool of this name with the arguments of the request, and returns its result for
    /// the MCP client. Wrong arguments and refusals by the bridge are a [`Failure`].
    pub(super) async fn call(
        &self,
        name: &str,
        mut arguments: Arguments,
        repeated: Repeated,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, Failure> {
        let slots = &self.slots_of(&context.extensions);
        let result = match name {
            tools::EXECUTE => return self.execute(arguments, repeated, context).await,
            tools::START => results::status(&run::start(slots, arguments.start()?).await?, &[]),
            tools::WAIT => {
                let id = arguments.execution_id()?;
                let offset = arguments.take("offset")?;
                let seconds = arguments.number("maxSeconds", 0..=WAIT_SECONDS)?;
                arguments.finish()?;
                let time = Duration::from_secs(seconds.unwrap_or(WAIT_SECONDS));
                let progress = Progress::new(&context, slots.settings().progress);
                let stream_closed = stream_closed(&context);
                let wait = views::wait(slots, id, offset, time, progress, stream_closed);
                let session_ended = session_ended(&context);
                let (text, status, questions) = tokio::select! {
                    biased;
                    () = session_ended.cancelled() => return Err(Failure::cancelled()),
                    result = self.until_stopped(&context, id, wait) => result?,
                };
                results::output(&text, &status, &questions)
            }
            tools::OUTPUT => {
                let id = arguments.execution_id()?;
                let offset = arguments.take("offset")?;
                let limit = slots.settings().text_bytes;
                let max = arguments.number("maxBytes", MIN_OUTPUT_BYTES..=limit as u64)?;
                arguments.finish()?;
                let max = max.map_or(limit, |max| usize::try_from(max).unwrap_or(limit));
                let output = views::output(slots, id, offset, max);
                let (text, status) = self.until_stopped(&context, id, output).await?;
                results::output(&text, &status, &[])
            }
            tools::STATUS => {
                let id = arguments.execution_id()?;
                arguments.finish()?;
                let (status, questions) = questions::with_status(slots, id).await?;
                results::status(&status, &questions)
            }
            tools::LIST => {
                let limit = arguments.number("limit", 1..=1000)?.unwrap_or(LIST);
                let before = arguments.take::<ExecutionId>("before")?;
                arguments.finish()?;
                results::page(&resources::page(slots, limit, before).await?)
            }
            tools::CONTROL => {
                let (id, action) = (arguments.execution_id()?, arguments.action()?);
                arguments.finish()?;
                results::status(&control(slots, id, action).await?, &[])
            }
            tools::ANSWER => {
                let answer = arguments.answer()?;
                let request = async |client: &Client| client.request(answer).await;
                results::answered(&slots.request(request).await?)
            }
            // `call_tool` has refused unknown tools.
            other => {
                return Err(Failure::internal(format!(
                    "the tool {other:?} is not implemented"
                )));
            }
        };
        Ok(result.into())
    }

    /// Runs the tool `execute`, which returns when the execution of the prompt has ended. For a
    /// client that supports MCP tasks, returns a task as soon as the execution is accepted. With
    /// `onDisconnect: "cancel"` it always waits, because the end of the call then cancels the
    /// execution.
    async fn execute(
        &self,
        arguments: Arguments,
        repeated: Repeated,
        mut context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, Failure> {
        let slots = self.slots_of(&context.extensions);
        let mut execute = arguments.execute()?;
        let repeated = match repeated.state.as_deref().map(RepeatedCall::read) {
            Some(state) => {
                let mut state = state?;
                // The arguments are those of the first call, so the prompt does not run again.
                execute.execution_id = Some(state.id);
                state.respond(&slots, repeated.responses).await?;
                Some(state)
            }
            None => None,
        };
        let id = execute.ensure_id();
        let repeated = repeated.unwrap_or_else(|| RepeatedCall::first(id));
        let ends_with_call = execute.on_disconnect == OnDisconnect::Cancel;
        let capabilities = context.client_capabilities();
        if capabilities.is_some_and(|c| c.supports_tasks()) && !ends_with_call {
            let status = run::start(&slots, execute).await?;
            return Ok(CallToolResponse::Task(CreateTaskResult::new(tasks::task(
                &status,
            ))));
        }
        let progress = Progress::new(&context, slots.settings().progress);
        let signals = self.running.enter(context.id.clone());
        let mut signals = signals.with_session(session_ended(&context));
        let stream_closed = stream_closed(&context);
        if ends_with_call {
            signals = signals.with_stream_closed(stream_closed.clone());
        }
        let charge = charge(&context);
        let asks = execute.body.permission_prompts == PermissionPrompts::Ask
            && elicitation::is_supported(&context);
        let asks_with_result = elicitation::asks_with_result(&context);
        // The client chooses the size of the metadata, and the call may take hours.
        context.meta = RequestMetaObject::new();
        let (questions, changes) = mpsc::unbounded_channel();
        let call = run::ExecuteCall {
            progress,
            signals,
            stream_closed,
            charge,
            questions,
        };
        let run = run::to_end(slots.clone(), execute, call);
        // Checked after the registration: an earlier cancel is seen here, a later one reaches the
        // entry.
        if context.ct.is_cancelled() {
            self.running.leave(&context.id);
            return Err(Failure::cancelled());
        }
        let call = self.calls.spawn(run);
        // In this task, because the library sends its requests on the stream of this call.
        let ask = async {
            match asks_with_result {
                // The end of the call would cancel the execution.
                true if asks && !ends_with_call => return repeated.forms(changes).await,
                false if asks => elicitation::ask_all(&context.peer, &slots, id, changes).await,
                // Otherwise the questions of the execution would be queued until its end.
                _ => drop(changes),
            }
            std::future::pending().await
        };
        let result = tokio::select! {
            biased;
            // The entry stays: `on_cancelled` removes it, or it is dropped with the session.
            () = context.ct.cancelled() => return Err(Failure::cancelled()),
            // The execution continues: `RunningCalls` abandons the call when its session ends.
            () = self.stop.cancelled() => return Err(Failure::stopping(id)),
            result = call => result,
            // The execution continues: the call leaves, as if its session had ended.
            forms = ask => {
                self.running.leave(&context.id);
                return Ok(forms);
            }
        };
        self.running.leave(&context.id);
        match result {
            Ok(Err(failure)) => Err(self.or_stopping(failure, id)),
            Ok(Ok(result)) => Ok(result.into()),
            Err(error) => Err(Failure::internal(error.to_string())),
        }
    }

    /// Reports a failure to [`Settings::on_refusal`](crate::Settings::on_refusal) if this server
    /// refused the request without asking the bridge. Returns the failure unchanged.
    pub(super) fn count_refusal(&self, failure: Failure) -> Failure {
        if let Some(reason) = failure.own_reason() {
            self.slots.settings().on_refusal.call(reason);
        }
        failure
    }

    /// Reports a failure as [`Self::count_refusal`] does, and converts it to the JSON-RPC error of
    /// an MCP task method.
    pub(super) fn task_error(&self, failure: Failure) -> ErrorData {
        self.count_refusal(failure).into_task_error()
    }

    /// Waits for the result of a tool call. Returns a failure earlier if the client cancels the
    /// call or disconnects, or if the server stops.
    async fn until_stopped<T>(
        &self,
        context: &RequestContext<RoleServer>,
        id: ExecutionId,
        call: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let result = tokio::select! {
            biased;
            () = context.ct.cancelled() => Err(Failure::cancelled()),
            () = self.stop.cancelled() => Err(Failure::stopping(id)),
            result = call => result,
        };
        result.map_err(|failure| self.or_stopping(failure, id))
    }

    /// Returns [`Failure::stopping`] if the server stops, and the failure itself otherwise. While
    /// the bridge stops, it refuses the server's own requests too, and their errors would mislead.
    fn or_stopping(&self, failure: Failure, id: ExecutionId) -> Failure {
        if self.stop.is_cancelled() {
            Failure::stopping(id)
        } else {
            failure
        }
    }

    /// Returns the slots for the calls of the sender of a request. Over HTTP its token is sent to
    /// the bridge, and no token if its sender is not known. Over stdio it is the token of the
    /// settings.
    pub(super) fn slots_of(&self, extensions: &Extensions) -> Slots {
        let Some(parts) = extensions.get::<http::request::Parts>() else {
            return self.slots.clone();
        };
        let caller = parts.extensions.get::<Caller>();
        self.slots.of(&caller.cloned().unwrap_or_default())
    }
}

/// Pauses, resumes or cancels an execution.
pub(super) async fn control(
    slots: &Slots,
    id: ExecutionId,
    action: Control,
) -> Result<protocol::Status, Failure> {
    let control = async |client: &Client| client.control(id, action).await;
    slots.request(control).await
}

/// Returns the token that is cancelled when the HTTP response stream of the call is closed. Over
/// stdio there is no such stream, and the token is never cancelled.
fn stream_closed(context: &RequestContext<RoleServer>) -> CancellationToken {
    let parts = context.extensions.get::<http::request::Parts>();
    let closed = parts.and_then(|parts| parts.extensions.get::<StreamClosed>());
    closed.map_or_else(CancellationToken::new, |StreamClosed(closed)| {
        closed.clone()
    })
}

/// Returns the token that is cancelled when the MCP session of a request ends. Over HTTP in MCP
/// versions without sessions it is never cancelled.
fn session_ended(context: &RequestContext<RoleServer>) -> CancellationToken {
    let handled = context.extensions.get::<Handled>();
    handled.map_or_else(CancellationToken::new, Handled::session_ended)
}

/// Returns the handle with which a call can release the memory of its HTTP request body before it
/// ends. `None` over stdio. Also `None` if the request id or progress token is long, because these
/// stay in memory until the call ends.
fn charge(context: &RequestContext<RoleServer>) -> Option<Charge> {
    let token = context.meta.get_progress_token();
    let ids = [Some(&context.id), token.as_ref().map(|token| &token.0)];
    let is_long =
        |id: &RequestId| matches!(id, RequestId::String(id) if id.len() > UNCHARGED_ID_BYTES);
    if ids.into_iter().flatten().any(is_long) {
        return None;
    }
    let parts = context.extensions.get::<http::request::Parts>()?;
    parts.extensions.get::<Charge>().cloned()
}
