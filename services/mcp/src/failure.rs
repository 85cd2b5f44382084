//! Failed calls, as MCP clients receive them.

use client::Error;
use protocol::rpc::{RpcError, code};
use rmcp::ErrorData;
use rmcp::model::{CallToolResult, ContentBlock, ErrorCode};
use serde_json::{Value, json};

/// A failed call. Its message and reason are the bridge's own where the bridge refused.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failure(RpcError);

impl Failure {
    /// A failure with a JSON-RPC code, a machine-readable reason and a message for a person.
    pub(crate) fn new(code: i64, reason: &str, message: impl Into<String>) -> Self {
        Self(RpcError::new(code, reason, message))
    }

    /// Wrong arguments.
    pub(crate) fn arguments(message: impl Into<String>) -> Self {
        Self::new(code::INVALID_PARAMS, "invalid_params", message)
    }

    /// An error of this program.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(code::INTERNAL_ERROR, "internal", message)
    }

    /// The client cancelled the call, or left.
    pub(crate) fn cancelled() -> Self {
        let message = "the call was cancelled, or its client left";
        Self::new(code::INTERNAL_ERROR, "call_ended", message)
    }

    /// Adds one member to the data.
    pub(crate) fn with(self, name: &str, value: impl Into<Value>) -> Self {
        Self(self.0.with(name, value))
    }

    /// The result of a tool: MCP clients show it to the model.
    pub(crate) fn into_result(self) -> CallToolResult {
        let Self(error) = self;
        let reason = error.data["reason"].clone();
        let mut result = CallToolResult::error(vec![ContentBlock::text(error.message.clone())]);
        result.structured_content = Some(json!({ "reason": reason, "error": error }));
        result
    }

    /// A JSON-RPC error, for a task. An unknown task is an invalid parameter (SEP-2663).
    pub(crate) fn into_task_error(self) -> ErrorData {
        self.into_error(ErrorCode::INVALID_PARAMS)
    }

    /// A JSON-RPC error, for a resource.
    pub(crate) fn into_resource_error(self) -> ErrorData {
        self.into_error(ErrorCode::RESOURCE_NOT_FOUND)
    }

    fn into_error(self, unknown: ErrorCode) -> ErrorData {
        let Self(error) = self;
        let code = match error.code {
            code::NO_SUCH_EXECUTION => unknown,
            code::INVALID_PARAMS => ErrorCode::INVALID_PARAMS,
            // The bridge's own codes mean other things in MCP; `data` has them.
            _ => ErrorCode::INTERNAL_ERROR,
        };
        ErrorData::new(code, error.message.clone(), Some(json!(error)))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let reason = match &error {
            Error::Rpc(error) => return Self(error.clone()),
            Error::TooLarge { .. } => "too_large",
            Error::Address(_) => "invalid_address",
            Error::Unreachable { .. } => "bridge_unreachable",
            Error::Refused { .. } => "bridge_refused",
            Error::GaveUp { .. } => "bridge_lost",
            Error::NoAnswer(_) => "bridge_silent",
            Error::Protocol(_) => "protocol_broken",
            Error::Broken(_) => "output_broken",
            Error::Closed => "closed",
        };
        let code = match &error {
            Error::TooLarge { .. } => code::INVALID_PARAMS,
            Error::Unreachable { .. }
            | Error::Refused { .. }
            | Error::GaveUp { .. }
            | Error::NoAnswer(_) => code::UNAVAILABLE,
            _ => code::INTERNAL_ERROR,
        };
        Self::new(code, reason, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_the_bridge_keeps_its_text_and_reason() {
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
    fn an_unknown_execution_has_the_code_that_the_method_asks_for() {
        let unknown = || Failure::new(code::NO_SUCH_EXECUTION, "not_found", "no such execution");
        assert_eq!(unknown().into_task_error().code, ErrorCode::INVALID_PARAMS);
        assert_eq!(
            unknown().into_resource_error().code,
            ErrorCode::RESOURCE_NOT_FOUND
        );
    }
}
