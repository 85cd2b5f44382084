//! The check of the parameters of MCP methods. If the MCP library cannot parse the parameters of a
//! method, it reports the method as unknown. This check says what is wrong instead.

use rmcp::model::{
    CallToolRequestParams, CancelTaskParams, GetTaskParams, InitializeRequestParams, JsonObject,
    PaginatedRequestParams, ReadResourceRequestParams, UpdateTaskParams,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The maximum length of the parser's message about a faulty value in an error, in characters. The
/// bridge uses the same length.
const QUOTED_CHARS: usize = 512;

/// Returns what is wrong with the parameters of a request that the MCP library could not parse, as
/// a message for people. `None` if this server does not have the method.
pub(crate) fn mistake(method: &str, params: Option<&Value>) -> Option<String> {
    let error = match method {
        "initialize" => error::<InitializeRequestParams>(params),
        "tools/call" => error::<CallToolRequestParams>(params),
        "tools/list" | "resources/list" | "resources/templates/list" => {
            error::<Option<PaginatedRequestParams>>(params)
        }
        "resources/read" => error::<ReadResourceRequestParams>(params),
        "tasks/get" => error::<GetTaskParams>(params),
        "tasks/update" => error::<UpdateTaskParams>(params),
        "tasks/cancel" => error::<CancelTaskParams>(params),
        "ping" | "server/discover" => error::<Option<JsonObject>>(params),
        _ => return None,
    };
    let error = error.unwrap_or_else(|| "not as the method defines them".to_owned());
    Some(format!("the parameters of {method} are invalid: {error}"))
}

fn error<T: DeserializeOwned>(params: Option<&Value>) -> Option<String> {
    let params = match params {
        Some(Value::Object(params)) => params.clone(),
        None | Some(Value::Null) => JsonObject::new(),
        Some(_) => return Some("params must be an object".to_owned()),
    };
    let error = serde_json::from_value::<T>(Value::Object(params)).err()?;
    Some(error.to_string().chars().take(QUOTED_CHARS).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_mistake_names_the_method_and_the_parameter() {
        for (method, params, word) in [
            ("tools/call", json!({}), "name"),
            (
                "tools/call",
                json!({"name": "status", "arguments": []}),
                "map",
            ),
            ("resources/read", json!({"uri": 5}), "string"),
            ("tasks/get", json!({}), "taskId"),
            ("ping", json!([]), "object"),
            ("ping", json!({}), "not as the method defines them"),
        ] {
            let text = mistake(method, Some(&params)).unwrap();
            assert!(text.contains(method) && text.contains(word), "{text}");
        }
        assert!(mistake("tools/call", None).unwrap().contains("name"));
        assert_eq!(mistake("unknown/method", Some(&json!({}))), None);
        assert_eq!(mistake("prompts/get", Some(&json!([]))), None);
    }
}
