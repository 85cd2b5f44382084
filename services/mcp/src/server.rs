//! The MCP methods of one session.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use client::Control;
use protocol::ExecutionId;
use protocol::rpc::OnDisconnect;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, CancelTaskParams,
    CancelledNotificationParam, CreateTaskResult, GetTaskParams, GetTaskResult, Implementation,
    ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams,
    ReadResourceRequestParams, ReadResourceResponse, ServerCapabilities, ServerConfig, Tool,
    UpdateTaskParams,
};
use rmcp::service::{NotificationContext, RequestContext};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use tokio_util::task::TaskTracker;

use crate::arguments::Arguments;
use crate::failure::Failure;
use crate::places::{Places, Purpose};
use crate::progress::Progress;
use crate::running::{Closed, Running};
use crate::{Settings, resources, results, run, tasks, tools, views};

/// The longest time that one `wait` takes, in seconds. Some clients abort every call after 60 s.
const WAIT_SECONDS: u64 = 50;
/// Executions of one page of `list`, unless the caller says otherwise.
const LIST: u64 = 20;
/// The smallest `maxBytes`: any character fits.
const LEAST_BYTES: u64 = 4;

const INSTRUCTIONS: &str = "Runs prompts with the Claude CLI on the machine of cc-bridge. \
    `execute` runs a prompt to its end. For work that takes longer than your client waits for one \
    call, use `start`, then `wait` with the `nextOffset` of the previous answer until `ended` is true.";

/// The MCP server. Each MCP session has a value of its own ([`Server::session`]); all of them share
/// the places for calls.
#[derive(Debug)]
pub struct Server {
    places: Places,
    /// The `execute` calls of all sessions; they outlive their session for as long as a cancel takes.
    calls: TaskTracker,
    running: Running,
}

impl Server {
    /// A server for its first session.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            places: Places::new(Arc::new(settings)),
            calls: TaskTracker::new(),
            running: Running::default(),
        }
    }

    /// The same server for another session.
    #[must_use]
    pub fn session(&self) -> Self {
        Self {
            places: self.places.clone(),
            calls: self.calls.clone(),
            running: Running::default(),
        }
    }

    /// The `execute` calls of all sessions.
    pub(crate) fn calls(&self) -> TaskTracker {
        self.calls.clone()
    }

    async fn call(
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
                let look = views::wait(places, id, offset, time, progress);
                let (text, status) = unless_cancelled(&context, look).await?;
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
                let (text, status) = unless_cancelled(&context, look).await?;
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
            other => {
                let other: String = other.chars().take(64).collect();
                return Err(Failure::arguments(format!("there is no tool {other:?}")));
            }
        };
        Ok(result.into())
    }

    /// Runs an execution to its end, or makes it a task for a client that knows tasks.
    async fn execute(
        &self,
        arguments: Arguments,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, Failure> {
        let execute = arguments.execute()?;
        let ends_with_call = execute.on_disconnect == OnDisconnect::Cancel;
        let capabilities = context.client_capabilities();
        if capabilities.is_some_and(|c| c.supports_tasks()) && !ends_with_call {
            let status = run::start(&self.places, execute).await?;
            return Ok(CallToolResponse::Task(CreateTaskResult::new(tasks::task(
                &status,
            ))));
        }
        let progress = Progress::new(&context, self.places.settings().progress);
        let mut signals = self.running.enter(context.id.clone());
        if let Some(Closed(closed)) = closed(&context).filter(|_| ends_with_call) {
            signals = signals.with_closed(closed);
        }
        let run = run::to_the_end(self.places.clone(), execute, progress, signals);
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
            result = call => result,
        };
        self.running.leave(&context.id);
        match result {
            Ok(result) => result.map(CallToolResponse::from),
            Err(error) => Err(Failure::internal(error.to_string())),
        }
    }

    async fn control(&self, id: ExecutionId, action: Control) -> Result<protocol::Status, Failure> {
        let call = self.places.call(Purpose::Ask).await?;
        let status = call.client.control(id, action).await?;
        call.client.close().await;
        Ok(status)
    }
}

/// Waits for a look at an execution, unless the client cancels the call or leaves.
async fn unless_cancelled<T>(
    context: &RequestContext<RoleServer>,
    look: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::select! {
        () = context.ct.cancelled() => Err(Failure::cancelled()),
        look = look => look,
    }
}

/// Fires when the response stream of an HTTP request is closed.
fn closed(context: &RequestContext<RoleServer>) -> Option<Closed> {
    let parts = context.extensions.get::<http::request::Parts>()?;
    parts.extensions.get::<Closed>().cloned()
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_resources()
            .enable_tasks()
            .build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("cc-bridge", env!("CARGO_PKG_VERSION")))
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools::all().to_vec()))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools::all().iter().find(|tool| tool.name == name).cloned()
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = Arguments::new(request.arguments);
        if self.get_tool(&request.name).is_none() {
            let name: Cow<'_, str> = request.name.chars().take(64).collect();
            let message = format!("there is no tool {name:?}");
            return Err(ErrorData::invalid_params(message, None));
        }
        let response = self.call(&request.name, arguments, context).await;
        Ok(response.unwrap_or_else(|failure| CallToolResult::into(failure.into_result())))
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let cursor = request.and_then(|request| request.cursor);
        let resources = resources::list(&self.places, cursor).await;
        resources.map_err(Failure::into_resource_error)
    }

    async fn list_resource_templates(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(ListResourceTemplatesResult::with_all_items(
            resources::templates(),
        ))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let resource = resources::read(&self.places, &request.uri).await;
        resource
            .map(ReadResourceResponse::from)
            .map_err(Failure::into_resource_error)
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        let task = tasks::get(&self.places, &request.task_id).await;
        task.map(GetTaskResult::new)
            .map_err(Failure::into_task_error)
    }

    async fn update_task(
        &self,
        request: UpdateTaskParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        // No execution asks for input, so there is nothing to answer; an unknown task is an error.
        let id = tasks::id(&request.task_id).map_err(Failure::into_task_error)?;
        let status = tasks::status(&self.places, id).await;
        status.map(drop).map_err(Failure::into_task_error)
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let id = tasks::id(&request.task_id).map_err(Failure::into_task_error)?;
        let status = self.control(id, Control::Cancel).await;
        status.map(drop).map_err(Failure::into_task_error)
    }

    async fn on_cancelled(
        &self,
        notification: CancelledNotificationParam,
        _context: NotificationContext<RoleServer>,
    ) {
        if let Some(request) = notification.request_id {
            self.running.cancel(&request);
        }
    }
}
