//! The spans of a client's request, and of the requests to claude-api that belong to it.

use protocol::rpc::RpcError;
use protocol::{ExecutionId, TraceContext};
use telemetry::{Kind, Span};

use super::Upstream;

impl Upstream {
    /// Starts the span of a client's request for this JSON-RPC method. `trace` is the client's own
    /// trace. `id` is the execution, if the request names one.
    #[must_use]
    pub fn call_span(
        &self,
        method: &'static str,
        id: Option<ExecutionId>,
        trace: Option<&TraceContext>,
    ) -> Span {
        let tracer = self.tracer();
        let mut span = tracer.span(Kind::Server, trace, || method.to_owned());
        if span.is_recorded() {
            span.set("rpc.system", "jsonrpc");
            span.set("rpc.method", method);
            if let Some(id) = id {
                span.set("ccb.execution.id", id.to_string());
            }
        }
        span
    }

    /// Starts the span of a request to claude-api. A request that belongs to no call has none.
    pub(super) fn request_span(&self, method: &'static str) -> Span {
        let Some(parent) = &self.trace else {
            return Span::default();
        };
        let mut span = self
            .tracer
            .span(Kind::Client, Some(parent), || method.to_owned());
        span.set("http.request.method", method);
        span
    }
}

/// Notes the error with which a client's request is answered in its span. `None` is a success.
pub fn note_result(span: &mut Span, error: Option<&RpcError>) {
    if let Some(error) = error {
        span.set("rpc.jsonrpc.error_code", error.code);
        // A word of docs/protocol.md; the message may quote the client.
        let reason = error.data["reason"].as_str().unwrap_or("error");
        span.fail(reason.to_owned());
    }
}
