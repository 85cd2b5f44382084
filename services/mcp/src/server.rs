//! The MCP methods for tools, resources and tasks, of one MCP session.

mod calls;

use std::borrow::Cow;
use std::sync::Arc;

use client::Control;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CancelTaskParams, CancelledNotificationParam,
    CustomRequest, CustomResult, GetTaskParams, GetTaskResult, Implementation,
    ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams,
    ReadResourceRequestParams, ReadResourceResponse, ServerCapabilities, ServerConfig, Tool,
    UpdateTaskParams,
};
use rmcp::service::{NotificationContext, RequestContext};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::arguments::Arguments;
use crate::failure::Failure;
use crate::running_calls::RunningCalls;
use crate::slots::Slots;
use crate::{Settings, elicitation, methods, resources, tasks, tools};
use calls::{Repeated, control};

const INSTRUCTIONS: &str = "Runs prompts with the Claude CLI on the machine of cc-bridge. \
    `execute` runs a prompt to its end. For work that takes longer than your client waits for one \
    call, use `start`, then `wait` with the `nextOffset` of the previous answer until `ended` is \
    true. With permissionPrompts \"ask\" the execution asks before it uses a tool that is not \
    allowed: show its questions to the user, and send the decision with `answer`.";

/// The MCP server of one MCP session, which runs prompts through the bridge. [`Server::session`]
/// creates the server of a further session. All of them share one limit on concurrent calls.
#[derive(Debug)]
pub struct Server {
    slots: Slots,
    /// The running `execute` calls of all sessions. A call may outlive its session until its cancel
    /// has reached the bridge, so the process waits for these calls before it exits.
    calls: TaskTracker,
    running: RunningCalls,
    /// A token that is cancelled when the server stops. All calls then end with an error that says
    /// how to get the result later.
    stop: CancellationToken,
}

impl Server {
    /// Creates the server of the first session. [`Server::session`] creates the servers of further
    /// sessions.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            slots: Slots::new(Arc::new(settings)),
            calls: TaskTracker::new(),
            running: RunningCalls::default(),
            stop: CancellationToken::new(),
        }
    }

    /// Sets the token that stops the server. Cancelling it ends all calls with an error that says
    /// how to continue.
    #[must_use]
    pub fn stopped_by(self, stop: CancellationToken) -> Self {
        Self { stop, ..self }
    }

    /// Creates the server of another session, which shares the limit on concurrent calls and the
    /// stop token with this one.
    #[must_use]
    pub fn session(&self) -> Self {
        Self {
            slots: self.slots.clone(),
            calls: self.calls.clone(),
            running: RunningCalls::default(),
            stop: self.stop.clone(),
        }
    }

    /// Returns the tracker of the `execute` calls of all sessions, with which the caller waits for
    /// their end.
    pub(crate) fn calls(&self) -> TaskTracker {
        self.calls.clone()
    }
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
            self.count_refusal(Failure::arguments(message.clone()));
            return Err(ErrorData::invalid_params(message, None));
        }
        let repeated = Repeated {
            state: request.request_state,
            responses: request.input_responses.unwrap_or_default(),
        };
        let response = self.call(&request.name, arguments, repeated, context).await;
        Ok(response.unwrap_or_else(|failure| self.count_refusal(failure).into_result().into()))
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let slots = self.slots_of(&context.extensions);
        let cursor = request.and_then(|request| request.cursor);
        let resources = resources::list(&slots, cursor).await;
        resources.map_err(|failure| self.count_refusal(failure).into_resource_error())
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
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let slots = self.slots_of(&context.extensions);
        let resource = resources::read(&slots, &request.uri).await;
        resource
            .map(ReadResourceResponse::from)
            .map_err(|failure| self.count_refusal(failure).into_resource_error())
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        let slots = self.slots_of(&context.extensions);
        let asks = elicitation::is_supported(&context);
        let task = tasks::get(&slots, &request.task_id, asks).await;
        task.map(GetTaskResult::new)
            .map_err(|failure| self.task_error(failure))
    }

    async fn update_task(
        &self,
        request: UpdateTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let slots = self.slots_of(&context.extensions);
        let id = tasks::id(&request.task_id).map_err(|failure| self.task_error(failure))?;
        let sent = elicitation::respond(&slots, id, &request.input_responses).await;
        sent.map(drop).map_err(|failure| self.task_error(failure))
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let slots = self.slots_of(&context.extensions);
        let id = tasks::id(&request.task_id).map_err(|failure| self.task_error(failure))?;
        let status = control(&slots, id, Control::Cancel).await;
        status.map(drop).map_err(|failure| self.task_error(failure))
    }

    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _context: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        let CustomRequest { method, params, .. } = request;
        let failure = match methods::mistake(&method, params.as_ref()) {
            Some(mistake) => self.count_refusal(Failure::arguments(mistake)),
            // The HTTP side counts this refusal when it sends the answer, as it does for the
            // library's own errors.
            None => Failure::unknown_method(&method),
        };
        Err(failure.into_method_error())
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
