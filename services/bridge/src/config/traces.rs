//! Settings of the export of traces (OpenTelemetry).

/// The arguments of the export of traces.
pub type TraceArgs = telemetry::TraceArgs<TraceVariables>;

/// The environment variables that set these arguments.
#[derive(Debug, Clone)]
pub struct TraceVariables;

impl telemetry::TraceVariables for TraceVariables {
    const ENDPOINT: &'static str = "BRIDGE_OTLP_ENDPOINT";
    const HEADERS_FILE: &'static str = "BRIDGE_OTLP_HEADERS_FILE";
    const SAMPLE_RATIO: &'static str = "BRIDGE_OTLP_SAMPLE_RATIO";
}
