//! The CLI's event lines, as text.

use serde_json::{Value, json};

/// Makes the lines of one session.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    pub(super) session: String,
    pub(super) model: String,
}

/// Escapes text for a JSON string.
pub(super) fn escaped(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

pub(super) fn uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}

impl Lines {
    fn with_ids(&self, mut line: Value) -> String {
        line["session_id"] = self.session.as_str().into();
        line["uuid"] = uuid().into();
        line.to_string()
    }

    pub(super) fn init(&self, cwd: &str, permission_mode: &str) -> String {
        self.with_ids(json!({
            "type": "system", "subtype": "init", "cwd": cwd, "tools": ["Task", "Bash", "Edit",
            "Read", "Write"],
            "mcp_servers": [], "model": self.model, "permissionMode": permission_mode,
            "slash_commands": [],
            "apiKeySource": "none", "claude_code_version": "2.1.329", "output_style": "default",
            "agents": [],
            "skills": [], "plugins": [],
        }))
    }

    /// Returns the report of a changed permission mode.
    pub(super) fn mode(&self, mode: &str) -> String {
        self.with_ids(json!({
            "type": "system", "subtype": "status", "status": null, "permissionMode": mode,
        }))
    }

    /// Returns the report of a changed state of the session. `is_hidden`: only the client's SDK
    /// reads it.
    pub(super) fn session_state(&self, state: &str, is_hidden: bool) -> String {
        let mut line =
            json!({"type": "system", "subtype": "session_state_changed", "state": state});
        if is_hidden {
            line["sdk_host_only"] = true.into();
        }
        self.with_ids(line)
    }

    pub(super) fn requesting(&self) -> String {
        self.with_ids(json!({"type": "system", "subtype": "status", "status": "requesting"}))
    }

    pub(super) fn api_retry(&self, attempt: u64, max_retries: u64, status: Option<u64>) -> String {
        let error = if status == Some(529) {
            "overloaded"
        } else {
            "unknown"
        };
        self.with_ids(json!({
            "type": "system", "subtype": "api_retry", "attempt": attempt,
            "max_retries": max_retries,
            "retry_delay_ms": 500 * attempt, "error_status": status, "error": error,
        }))
    }

    pub(super) fn stream(&self, message: &str, event: Value, parent: Option<&str>) -> String {
        let line = json!({
            "type": "stream_event", "event": event, "parent_tool_use_id": parent,
            "api_message_id": message,
        });
        self.with_ids(line)
    }

    pub(super) fn abandoned(&self, message: &str, from: usize) -> String {
        self.with_ids(json!({
            "type": "stream_event", "event": {"type": "message_stop"}, "parent_tool_use_id": null,
            "abandoned_blocks": {"api_message_id": message, "from_block_index": from},
        }))
    }

    pub(super) fn message_start(&self, message: &str, parent: Option<&str>) -> String {
        let start = json!({
            "content": [], "id": message, "model": self.model, "role": "assistant",
            "stop_reason": null,
            "stop_sequence": null, "type": "message", "usage": usage(),
        });
        self.stream(
            message,
            json!({"message": start, "type": "message_start"}),
            parent,
        )
    }

    /// Returns a text delta around escaped text. Built without a parse, which is the fast path.
    pub(super) fn text_delta(&self, message: &str, index: usize, escaped: &str) -> String {
        format!(
            concat!(
                r#"{{"type":"stream_event","event":{{"delta":{{"text":"{}","type":"text_delta"}},"#,
                r#""index":{},"type":"content_block_delta"}},"session_id":"{}","#,
                r#""parent_tool_use_id":null,"uuid":"{}","#,
                r#""api_message_id":"{}"}}"#
            ),
            escaped,
            index,
            self.session,
            uuid(),
            message
        )
    }

    /// Returns the line of a whole text block around escaped text.
    pub(super) fn assistant_text(&self, message: &str, escaped: &str) -> String {
        format!(
            concat!(
                r#"{{"type":"assistant","message":{{"content":[{{"text":"{}","type":"text"}}],"#,
                r#""id":"{}","model":"{}","role":"assistant","stop_reason":null,"#,
                r#""stop_sequence":null,"type":"message","#,
                r#""usage":{},"context_management":null}},"parent_tool_use_id":null,"#,
                r#""session_id":"{}","uuid":"{}"}}"#
            ),
            escaped,
            message,
            escaped_model(&self.model),
            usage(),
            self.session,
            uuid()
        )
    }

    pub(super) fn assistant(&self, message: &str, block: Value, parent: Option<&str>) -> String {
        self.with_ids(json!({
            "type": "assistant", "parent_tool_use_id": parent,
            "message": {
                "content": [block], "id": message, "model": self.model, "role": "assistant",
                "stop_reason": null,
                "stop_sequence": null, "type": "message", "usage": usage(),
                "context_management": null,
            },
        }))
    }

    /// Returns a message with an error text of the CLI itself.
    pub(super) fn synthetic(&self, text: &str, error: &str, status: Option<u16>) -> String {
        self.with_ids(json!({
            "type": "assistant", "parent_tool_use_id": null,
            "message": {
                "content": [{"type": "text", "text": text}], "id": uuid(), "model": "<synthetic>",
                "role": "assistant", "stop_reason": "stop_sequence", "stop_sequence": "",
                "type": "message",
                "usage": usage(), "context_management": null,
            },
            "error": error, "is_api_error_message": true, "api_error_status": status,
        }))
    }

    pub(super) fn user(&self, content: Value, more: Value) -> String {
        let mut line = json!({
            "type": "user", "message": {"role": "user", "content": content},
            "parent_tool_use_id": null,
        });
        if let (Value::Object(line), Value::Object(more)) = (&mut line, more) {
            line.extend(more);
        }
        self.with_ids(line)
    }

    pub(super) fn result(&self, index: u64, ending: Value) -> String {
        let mut line = json!({
            "type": "result", "subtype": "success", "duration_api_ms": 1, "duration_ms": 2,
            "num_turns": 1,
            "stop_reason": "end_turn", "total_cost_usd": 0.000_136, "usage": usage(),
            "modelUsage": {},
            "permission_denials": [], "terminal_reason": "completed", "is_error": false,
            "api_error_status": null, "result_index": index, "queued_turn_count": 0,
        });
        if let (Value::Object(line), Value::Object(ending)) = (&mut line, ending) {
            line.extend(ending);
        }
        self.with_ids(line)
    }
}

fn escaped_model(model: &str) -> String {
    escaped(model)
}

fn usage() -> Value {
    json!({
        "input_tokens": 12, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
        "output_tokens": 2,
    })
}
