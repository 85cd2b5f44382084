//! The control requests of the client (`initialize`, `interrupt` and others), and the reports about
//! the state of the session.

use serde_json::{Map, Value, json};

use super::{flags::Flags, lines::Lines, output::Output, stdin::Messages};

/// The client: its messages on stdin, and what it has set by control requests.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) messages: Messages,
    pub(super) control: Control,
}

/// The effect of a control request on the stand-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// The stand-in continues.
    None,
    /// The present turn ends.
    Interrupt,
    /// The stand-in ends.
    EndSession,
}

/// The settings that control requests change.
#[derive(Debug)]
pub(super) struct Control {
    /// The permission mode.
    pub(super) mode: String,
    model: String,
    /// `hooks` of `initialize`: lists of `{matcher, hookCallbackIds}` by event.
    hooks: Map<String, Value>,
    /// The names of the MCP servers in the client.
    servers: Vec<String>,
    /// Whether permission prompts are sent to the client.
    pub(super) asks: bool,
    /// Whether `rewind_files` works.
    can_rewind: bool,
}

impl Control {
    /// Creates the settings of a stand-in with these flags.
    pub(super) fn new(flags: &Flags) -> Self {
        let variable = std::env::var("CLAUDE_CODE_ENABLE_SDK_FILE_CHECKPOINTING");
        Self {
            mode: flags.get("permission-mode").unwrap_or("default").to_owned(),
            model: flags.get("model").unwrap_or("stand-in").to_owned(),
            hooks: Map::new(),
            servers: Vec::new(),
            asks: flags.get("permission-prompt-tool") == Some("stdio"),
            can_rewind: variable.is_ok_and(|value| value == "1" || value == "true"),
        }
    }

    /// Returns the id of the client's hook for an event. `None` if it has registered none.
    pub(super) fn hook(&self, event: &str) -> Option<&str> {
        self.hooks.get(event)?[0]["hookCallbackIds"][0].as_str()
    }

    /// Answers a control request of the client.
    pub(super) fn answer(&mut self, out: &mut Output, lines: &Lines, message: &Value) -> Effect {
        let request = &message["request"];
        let subtype = request["subtype"].as_str().unwrap_or_default();
        let mut response = json!({"subtype": "success", "request_id": message["request_id"]});
        match self.result(subtype, request) {
            Ok(Some(result)) => response["response"] = result,
            Ok(None) => {}
            Err((code, error)) => {
                response["subtype"] = "error".into();
                response["error"] = error.into();
                if let Some(code) = code {
                    response["error_code"] = code.into();
                }
            }
        }
        let is_good = response["subtype"] == "success";
        let line = json!({"type": "control_response", "response": response});
        out.line(&line.to_string());
        match subtype {
            "set_permission_mode" if is_good => {
                out.line(&lines.mode(&self.mode));
                Effect::None
            }
            "interrupt" => Effect::Interrupt,
            "end_session" => Effect::EndSession,
            _ => Effect::None,
        }
    }

    /// Returns the result of a request; `None` for a success without one.
    ///
    /// # Errors
    /// The code and the text of the error.
    fn result(
        &mut self,
        subtype: &str,
        request: &Value,
    ) -> Result<Option<Value>, (Option<&'static str>, String)> {
        let text = |name: &str| request[name].as_str().unwrap_or_default();
        Ok(Some(match subtype {
            "initialize" => self.initialize(request),
            "interrupt" => json!({"still_queued": []}),
            "set_permission_mode" => {
                self.mode = permission_mode(text("mode"))?.to_owned();
                json!({"mode": self.mode})
            }
            "set_model" => {
                let model = request["model"]
                    .as_str()
                    .filter(|model| *model != "default");
                self.model = model.unwrap_or("stand-in").to_owned();
                json!({"model": self.model})
            }
            "mcp_status" => self.servers(),
            "mcp_reconnect" | "mcp_toggle" => {
                let name = text("serverName");
                if !self.servers.iter().any(|server| server == name) {
                    return Err((None, format!("Server not found: {name}")));
                }
                if subtype == "mcp_reconnect" {
                    let error = "SDK servers should be handled in print.ts";
                    return Err((None, error.to_owned()));
                }
                return Ok(None);
            }
            "get_context_usage" => json!({
                "categories": [], "totalTokens": 12, "maxTokens": 200_000, "percentage": 0,
                "model": self.model,
            }),
            "rewind_files" if !self.can_rewind => {
                return Err((None, "File rewinding is not enabled.".to_owned()));
            }
            "rewind_files" => json!({"canRewind": true, "skippedLinks": 0}),
            "end_session" | "stop_task" | "set_max_thinking_tokens" => json!({}),
            _ => {
                let error = format!("Unsupported control request subtype: {subtype}");
                return Err((Some("unsupported_request"), error));
            }
        }))
    }

    fn initialize(&mut self, request: &Value) -> Value {
        if let Some(hooks) = request["hooks"].as_object() {
            self.hooks.clone_from(hooks);
        }
        let names = request["sdkMcpServers"].as_array().into_iter().flatten();
        self.servers = names
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect();
        json!({
            "commands": [], "agents": [], "output_style": "default",
            "available_output_styles": ["default"], "models": [], "account": {},
            "current_model": self.model, "current_permission_mode": self.mode,
            "session_state": "idle", "hooks_applied": true,
        })
    }

    fn servers(&self) -> Value {
        let server = |name: &String| {
            json!({
                "name": name, "status": "connected", "transport": "sdk", "scope": "dynamic",
                "source": "sdk", "tools": [],
            })
        };
        let servers: Vec<_> = self.servers.iter().map(server).collect();
        json!({"mcpServers": servers})
    }
}

/// Returns the mode of a `set_permission_mode`.
///
/// # Errors
/// The code and the text of the error.
fn permission_mode(mode: &str) -> Result<&str, (Option<&'static str>, String)> {
    match mode {
        "acceptEdits" | "auto" | "default" | "dontAsk" | "plan" => Ok(mode),
        "manual" => Ok("default"),
        "bypassPermissions" => {
            let error = "the session was not launched with --dangerously-skip-permissions";
            Err((Some("bypass_not_launched"), error.to_owned()))
        }
        _ => {
            let error = "mode must be one of acceptEdits, auto, default, dontAsk, plan";
            Err((Some("invalid_mode"), error.to_owned()))
        }
    }
}

/// The state of the session, which is reported if the environment asks for it
/// (`session_state_changed`).
#[derive(Debug)]
pub(super) struct SessionState {
    /// Whether the reports have `sdk_host_only`. `None` if there are no reports.
    reports: Option<bool>,
    state: &'static str,
}

impl SessionState {
    pub(super) fn from_environment() -> Self {
        let is_set = |name: &str| std::env::var(name).is_ok_and(|value| value == "1");
        let is_hidden = is_set("CLAUDE_CODE_SDK_READS_SESSION_STATE");
        let reports = if is_set("CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS") {
            Some(false)
        } else {
            is_hidden.then_some(true)
        };
        Self {
            reports,
            state: "idle",
        }
    }

    /// Returns whether changes are reported.
    pub(super) fn is_reported(&self) -> bool {
        self.reports.is_some()
    }

    /// Reports a state (`running`, `requires_action` or `idle`) unless it is the present one.
    pub(super) fn change(&mut self, out: &mut Output, lines: &Lines, state: &'static str) {
        if self.state == state {
            return;
        }
        self.state = state;
        if let Some(is_hidden) = self.reports {
            out.line(&lines.session_state(state, is_hidden));
        }
    }
}
