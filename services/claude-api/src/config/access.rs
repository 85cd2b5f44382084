//! Settings for services with several principals.

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};

/// The flags for access by tokens.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Network")]
pub struct AccessArgs {
    /// Run executions of several principals although the sandbox is off or incomplete: commands of
    /// one can then act on executions of another
    #[arg(
        long,
        env = "CLAUDE_API_PRINCIPALS_SHARE_A_BOX",
        value_name = "BOOL",
        default_value_t = false,
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = ArgAction::Set,
        value_parser = BoolishValueParser::new()
    )]
    pub principals_share_a_box: bool,
}
