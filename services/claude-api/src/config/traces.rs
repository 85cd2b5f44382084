//! Settings of the export of traces (OpenTelemetry).

use std::path::{Path, PathBuf};

use clap::Args;
use telemetry::Given;

/// The heading above these settings in the text of `--help`.
const TRACES: &str = "Traces";

/// Settings of the export of traces.
#[derive(Debug, Clone, Args)]
pub struct TraceArgs {
    /// URL of an OpenTelemetry Collector for spans (OTLP over HTTP), like http://collector:4318;
    /// empty for none
    #[arg(
        long,
        env = "CLAUDE_API_OTLP_ENDPOINT",
        default_value = "",
        hide_env_values = true,
        help_heading = TRACES
    )]
    otlp_endpoint: String,
    /// File with headers for the Collector, one `Name: value` on each line; read at the start
    #[arg(long, env = "CLAUDE_API_OTLP_HEADERS_FILE", help_heading = TRACES)]
    otlp_headers_file: Option<PathBuf>,
    /// Fraction of the traces that begin in this service and are recorded, from 0 to 1. A client's
    /// own trace is recorded if the client records it
    #[arg(
        long,
        env = "CLAUDE_API_OTLP_SAMPLE_RATIO",
        default_value = "1",
        help_heading = TRACES
    )]
    otlp_sample_ratio: String,
}

impl TraceArgs {
    /// Returns the file with the headers. `None` without one; an empty path counts as none.
    pub(crate) fn headers_file(&self) -> Option<&Path> {
        let file = self.otlp_headers_file.as_deref();
        file.filter(|file| !file.as_os_str().is_empty())
    }

    /// Checks the settings. Returns `None` if no traces are exported. Adds a text to `mistakes` for
    /// each wrong setting.
    pub(super) fn check(&self, mistakes: &mut Vec<String>) -> Option<telemetry::Settings> {
        let given = Given {
            endpoint: &self.otlp_endpoint,
            headers_file: self.otlp_headers_file.as_deref(),
            sample_ratio: &self.otlp_sample_ratio,
        };
        telemetry::Settings::check(given, mistakes)
    }
}
