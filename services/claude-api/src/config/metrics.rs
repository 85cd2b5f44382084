//! Settings for the page `/metrics`.

use clap::Args;
use clap::builder::BoolishValueParser;

/// The flags for the page `/metrics`.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Metrics")]
pub struct MetricsArgs {
    /// Count executions, tokens and cost on /metrics by principal, too. Everybody who may read the
    /// metrics then sees the names of principals
    #[arg(
        long,
        env = "CLAUDE_API_METRICS_PER_PRINCIPAL",
        value_name = "BOOL",
        default_value_t = false,
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = clap::ArgAction::Set,
        value_parser = BoolishValueParser::new()
    )]
    pub metrics_per_principal: bool,
}
