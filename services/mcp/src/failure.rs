//! The errors of MCP calls, and their conversion to the answers that MCP clients receive.

use client::Error;
use protocol::ExecutionId;
use protocol::rpc::{RpcError, code};
use rmcp::ErrorData;
use rmcp::model::{CallToolResult, ContentBlock, ErrorCode};
use serde_json::{Value, json};

const INVALID_PARAMS: &str = "invalid_params";
const INTERNAL: &str = "internal";
pub(crate) const INVALID_REQUEST: &str = "invalid_request";
const NOT_FOUND: &str = "not_found";
const TOO_LARGE: &str = "too_large";
const TOO_MANY_CALLS: &str = "too_many_calls";
pub(crate) const MISSING_CAPABILITY: &str = "missing_capability";
pub(crate) const UNKNOWN_METHOD: &str = "unknown_method";

/// The reasons with which the MCP server refuses a request by itself, without asking the bridge.
/// They are the values of a label of the refusals metric, so they must not change.
pub const REASONS: [&str; 8] = [
    INVALID_PARAMS,
    INTERNAL,
    INVALID_REQUEST,
    MISSING_CAPABILITY,
    NOT_FOUND,
    TOO_LARGE,
    TOO_MANY_CALLS,
    UNKNOWN_METHOD,
];

/// The error of a failed MCP call, with a JSON-RPC code, a reason for programs and a message for
/// people. If the bridge refused the request, it is the bridge's error.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failure {
    error: RpcError,
    /// The reason for the metrics if this server refused the request by itself, one of [`REASONS`].
    /// `None` for every other failure.
    refusal: Option<&'static str>,
}

impl Failure {
    /// Creates a failure with a JSON-RPC code, a reason for programs and a message for people. It
    /// does not count as a refusal by this server.
    fn new(code: i64, reason: &str, message: impl Into<String>) -> Self {
        Self {
            error: RpcError::new(code, reason, message),
            refusal: None,
        }
    }

    /// Creates the failure of a request that this server refuses without asking the bridge, so that
    /// it counts in the metrics.
    fn refusal(code: i64, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            refusal: Some(reason),
            ..Self::new(code, reason, message)
        }
    }

    /// Returns whether the same request may succeed later.
    pub(crate) fn is_temporary(&self) -> bool {
        matches!(
            self.error.code,
            code::UNAVAILABLE | code::QUEUE_FULL | code::INTERNAL_ERROR
        )
    }

    /// Creates the failure of a tool call with missing, unknown or malformed arguments.
    pub(crate) fn arguments(message: impl Into<String>) -> Self {
        Self::refusal(code::INVALID_PARAMS, INVALID_PARAMS, message)
    }

    /// Creates the failure of a call for an execution, task or resource that does not exist.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::refusal(code::NO_SUCH_EXECUTION, NOT_FOUND, message)
    }

    /// Creates the failure of a call that is refused because `limit` calls, the maximum, already
    /// run.
    pub(crate) fn too_many_calls(limit: usize) -> Self {
        let message = format!("{limit} MCP calls run already (the limit); try again later");
        Self::refusal(code::UNAVAILABLE, TOO_MANY_CALLS, message).with("limit", limit)
    }

    /// Creates the failure of a request for a JSON-RPC method that this server does not have.
    pub(crate) fn unknown_method(method: &str) -> Self {
        let method: String = method.chars().take(64).collect();
        let message = format!(
            "there is no method {method:?}; this server has tools/*, resources/* and tasks/*, as \
             its capabilities say"
        );
        Self::refusal(code::METHOD_NOT_FOUND, UNKNOWN_METHOD, message)
    }

    /// Creates the failure of a call that ended because of a fault in this program.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::refusal(code::INTERNAL_ERROR, INTERNAL, message)
    }

    /// Creates the failure of a call that its client cancelled, or whose client has disconnected.
    pub(crate) fn cancelled() -> Self {
        let message = "the call was cancelled, or its client disconnected";
        Self::new(code::INTERNAL_ERROR, "call_ended", message)
    }

    /// Creates the failure of a call that ends because the server stops. The execution continues,
    /// and the message says how to get its result later.
    pub(crate) fn stopping(id: ExecutionId) -> Self {
        let message = format!(
            "the bridge is stopping, and the execution continues; when the bridge runs again, call \
             `wait` with executionId {id}, or repeat the call with it (a prompt never runs twice)"
        );
        Self::new(code::UNAVAILABLE, "stopping", message).with("executionId", id.to_string())
    }

    /// Adds a member to the `data` of the error, and returns the failure.
    pub(crate) fn with(self, name: &str, value: impl Into<Value>) -> Self {
        let Self { error, refusal } = self;
        Self {
            error: error.with(name, value),
            refusal,
        }
    }

    /// Returns the reason for the metrics if this server refused the request by itself. `None` for
    /// a refusal by the bridge, which counts it in its own metrics.
    pub(crate) fn own_reason(&self) -> Option<&'static str> {
        self.refusal
    }

    /// Converts the failure to the result of a tool call with `isError`. MCP clients show such a
    /// result to the model, which can then correct its call.
    pub(crate) fn into_result(self) -> CallToolResult {
        let Self { error, .. } = self;
        let reason = error.data["reason"].clone();
        let mut result = CallToolResult::error(vec![ContentBlock::text(error.message.clone())]);
        result.structured_content = Some(json!({ "reason": reason, "error": error }));
        result
    }

    /// Converts the failure to the JSON-RPC error of an MCP task method. An unknown task is an
    /// invalid parameter (-32602; SEP-2663).
    pub(crate) fn into_task_error(self) -> ErrorData {
        self.into_error(ErrorCode::INVALID_PARAMS)
    }

    /// Converts the failure to the JSON-RPC error of an MCP resource method. An unknown execution
    /// is an unknown resource.
    pub(crate) fn into_resource_error(self) -> ErrorData {
        self.into_error(ErrorCode::RESOURCE_NOT_FOUND)
    }

    /// Converts the failure to the JSON-RPC error of an unknown method, or of a method whose
    /// parameters are not valid.
    pub(crate) fn into_method_error(self) -> ErrorData {
        let code = match self.error.code {
            code::INVALID_PARAMS => ErrorCode::INVALID_PARAMS,
            _ => ErrorCode::METHOD_NOT_FOUND,
        };
        ErrorData::new(code, self.error.message, None)
    }

    fn into_error(self, unknown: ErrorCode) -> ErrorData {
        let Self { error, .. } = self;
        let code = match error.code {
            code::NO_SUCH_EXECUTION => unknown,
            code::INVALID_PARAMS => ErrorCode::INVALID_PARAMS,
            // The bridge's codes have other meanings in MCP; `data` has the original error.
            _ => ErrorCode::INTERNAL_ERROR,
        };
        ErrorData::new(code, error.message.clone(), Some(json!(error)))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let reason = match &error {
            Error::Rpc(error) => {
                return Self {
                    error: error.clone(),
                    refusal: None,
                };
            }
            Error::TooLarge { .. } => {
                return Self::refusal(code::INVALID_PARAMS, TOO_LARGE, error.to_string());
            }
            Error::Address(_) => "invalid_address",
            Error::Unreachable { .. } => "bridge_unreachable",
            Error::Refused { .. } => "bridge_refused",
            Error::Unauthorized { .. } => "unauthorized",
            Error::Forbidden { .. } => "forbidden",
            Error::Busy { .. } => "bridge_busy",
            Error::Tls { .. } => "tls_failed",
            Error::GaveUp { .. } => "bridge_lost",
            Error::NoAnswer(_) => "bridge_silent",
            Error::Protocol(_) => "protocol_broken",
            Error::Output(_) => "output_broken",
            Error::Closed => "closed",
        };
        let code = match &error {
            Error::Unreachable { .. }
            | Error::Refused { .. }
            | Error::Busy { .. }
            | Error::Tls { .. }
            | Error::GaveUp { .. }
            | Error::NoAnswer(_) => code::UNAVAILABLE,
            Error::Unauthorized { .. } => code::NOT_AUTHORISED,
            Error::Forbidden { .. } => code::NOT_ALLOWED,
            _ => code::INTERNAL_ERROR,
        };
        Self::new(code, reason, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_the_bridge_keeps_its_message_and_reason() {
        let refusal = RpcError::new(code::QUEUE_FULL, "queue_full", "1000 executions wait");
        let result = Failure::from(Error::Rpc(refusal.clone())).into_result();
        assert_eq!(result.is_error, Some(true));
        assert_eq!(
            result.content[0].as_text().unwrap().text,
            "1000 executions wait"
        );
        let structured = result.structured_content.unwrap();
        assert_eq!(structured["reason"], "queue_full");
        assert_eq!(structured["error"], json!(refusal));
    }

    #[test]
    fn only_refusals_of_this_server_have_an_own_reason() {
        let of_the_bridge = RpcError::new(code::INVALID_PARAMS, "invalid_params", "x");
        for failure in [
            Failure::from(Error::Rpc(of_the_bridge)),
            Failure::from(Error::Closed),
            Failure::cancelled(),
        ] {
            assert_eq!(failure.own_reason(), None, "{failure:?}");
        }
        for failure in [
            Failure::arguments("x"),
            Failure::not_found("x"),
            Failure::internal("x"),
            Failure::too_many_calls(7).with("x", 1),
        ] {
            let reason = failure.own_reason().unwrap();
            assert!(REASONS.contains(&reason), "{reason}");
            assert_eq!(
                failure.into_result().structured_content.unwrap()["reason"],
                reason
            );
        }
    }

    #[test]
    fn an_unknown_execution_has_the_code_of_the_method() {
        let unknown = || Failure::not_found("no such execution");
        assert_eq!(unknown().into_task_error().code, ErrorCode::INVALID_PARAMS);
        assert_eq!(
            unknown().into_resource_error().code,
            ErrorCode::RESOURCE_NOT_FOUND
        );
    }
}
