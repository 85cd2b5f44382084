//! Answers of a client to the control requests of the CLI.

use std::sync::Mutex;

use serde_json::{Value, json};

use super::driver::{Reply, extend};

/// Returns the line with a successful response to the request in `line`.
pub(super) fn success(line: &Value, response: &Value) -> Value {
    let inner =
        json!({"subtype": "success", "request_id": line["request_id"], "response": response});
    json!({"type": "control_response", "response": inner})
}

/// Returns a client that answers permission prompts by `permission`, and its hooks by `hook`. It
/// has an MCP server with the tool `add`.
pub(super) fn client(
    permission: impl Fn(&Value) -> Value + Send + Sync + 'static,
    hook: Value,
) -> Reply {
    Box::new(move |line| {
        let request = &line["request"];
        let response = match request["subtype"].as_str() {
            Some("can_use_tool") => permission(request),
            Some("hook_callback") => hook.clone(),
            Some("mcp_message") => json!({"mcp_response": serve(&request["message"])}),
            _ => json!({}),
        };
        vec![success(line, &response)]
    })
}

/// Denies every prompt.
pub(super) fn deny() -> Reply {
    client(|_| denial(), json!({}))
}

/// Allows every prompt.
pub(super) fn allow() -> Reply {
    client(allowed, json!({}))
}

/// Allows every prompt, with more members in the response.
pub(super) fn allow_with(members: Value) -> Reply {
    let permission = move |request: &Value| {
        let mut response = allowed(request);
        extend(&mut response, &members);
        response
    };
    client(permission, json!({}))
}

/// Allows the prompts about `within`, with more members in the response, and denies all others.
pub(super) fn allow_within_with(
    members: impl Fn(&Value) -> Value + Send + Sync + 'static,
) -> Reply {
    let permission = move |request: &Value| {
        if !request["input"].to_string().contains("within") {
            return denial();
        }
        let mut response = allowed(request);
        extend(&mut response, &members(request));
        response
    };
    client(permission, json!({}))
}

/// Answers hooks by this output, and denies every prompt.
pub(super) fn hook(output: Value) -> Reply {
    client(|_| denial(), output)
}

/// Answers hooks by this output, and allows every prompt.
pub(super) fn hook_and_allow(output: Value) -> Reply {
    client(allowed, output)
}

/// Answers a hook about a prompt by this output, and only then denies the prompt. The CLI obeys the
/// first of both answers.
pub(super) fn hook_first(output: Value) -> Reply {
    let prompt = Mutex::new(None::<Value>);
    Box::new(move |line| match line["request"]["subtype"].as_str() {
        Some("can_use_tool") => {
            *prompt.lock().expect("no panic") = Some(line.clone());
            Vec::new()
        }
        Some("hook_callback") => {
            let prompt = prompt.lock().expect("no panic").take();
            let mut lines = vec![success(line, &output)];
            if let Some(prompt) = prompt {
                lines.extend([Value::Null, success(&prompt, &denial())]);
            }
            lines
        }
        _ => vec![success(line, &json!({}))],
    })
}

fn denial() -> Value {
    json!({"behavior": "deny", "message": "the client denies"})
}

fn allowed(request: &Value) -> Value {
    json!({"behavior": "allow", "updatedInput": request["input"]})
}

/// Returns the answer of the client's MCP server, whose tool `add` adds two numbers. It claims to
/// be harmless, which grants nothing.
fn serve(message: &Value) -> Value {
    let result = match message["method"].as_str() {
        Some("initialize") => json!({
            "protocolVersion": message["params"]["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "calc", "version": "1"},
        }),
        Some("tools/list") => json!({"tools": [{
            "name": "add",
            "description": "Adds two numbers",
            "inputSchema": {"type": "object"},
            "annotations": {"readOnlyHint": true},
        }]}),
        Some("tools/call") => {
            let arguments = &message["params"]["arguments"];
            let sum = arguments["a"].as_i64().zip(arguments["b"].as_i64());
            let sum = sum.map_or(0, |(a, b)| a + b);
            json!({"content": [{"type": "text", "text": format!("the sum is {sum}")}]})
        }
        _ => json!({}),
    };
    json!({"jsonrpc": "2.0", "id": message["id"], "result": result})
}

/// Allows an accepted plan, and denies everything else.
pub(super) fn allow_plans_only(request: &Value) -> Value {
    if request["tool_name"] == "ExitPlanMode" {
        allowed(request)
    } else {
        denial()
    }
}
