//! The arguments of the export of traces, which all services have alike.

use std::fmt::Debug;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::settings::{Given, Settings};

/// The heading above these arguments in the text of `--help`.
const TRACES: &str = "Traces";

/// The names of the environment variables that set the arguments of one service.
pub trait TraceVariables: Debug + Clone {
    /// The variable of `--otlp-endpoint`.
    const ENDPOINT: &'static str;
    /// The variable of `--otlp-headers-file`.
    const HEADERS_FILE: &'static str;
    /// The variable of `--otlp-sample-ratio`.
    const SAMPLE_RATIO: &'static str;
}

/// The arguments of the export of traces, for a service with the environment variables `V`.
#[derive(Debug, Clone, Args)]
pub struct TraceArgs<V: TraceVariables> {
    /// URL of an OpenTelemetry Collector for spans (OTLP over HTTP), like http://collector:4318;
    /// empty for none
    #[arg(
        long,
        env = V::ENDPOINT,
        default_value = "",
        hide_env_values = true,
        help_heading = TRACES
    )]
    otlp_endpoint: String,
    /// File with headers for the Collector, one `Name: value` on each line; read at the start
    #[arg(long, env = V::HEADERS_FILE, help_heading = TRACES)]
    otlp_headers_file: Option<PathBuf>,
    /// Fraction of the traces that begin in this service and are recorded, from 0 to 1. A client's
    /// own trace is recorded if the client records it
    #[arg(long, env = V::SAMPLE_RATIO, default_value = "1", help_heading = TRACES)]
    otlp_sample_ratio: String,
    #[arg(skip)]
    variables: PhantomData<V>,
}

impl<V: TraceVariables> TraceArgs<V> {
    /// Returns the file with the headers. `None` without one; an empty path counts as none.
    #[must_use]
    pub fn headers_file(&self) -> Option<&Path> {
        let file = self.otlp_headers_file.as_deref();
        file.filter(|file| !file.as_os_str().is_empty())
    }

    /// Checks the settings. Returns `None` if no traces are exported. Reads the file with the
    /// headers, once.
    ///
    /// Adds a text to `mistakes` for each wrong setting, with its flag and the remedy. The texts
    /// quote no header, and no URL that may hold a password.
    #[must_use]
    pub fn check(&self, mistakes: &mut Vec<String>) -> Option<Settings> {
        let given = Given {
            endpoint: &self.otlp_endpoint,
            headers_file: self.otlp_headers_file.as_deref(),
            sample_ratio: &self.otlp_sample_ratio,
        };
        Settings::check(given, mistakes)
    }
}
