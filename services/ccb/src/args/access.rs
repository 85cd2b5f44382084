//! The arguments of `ccb token` and `ccb share`, which give access to others.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use jiff::civil::Date;
use protocol::{ExecutionId, Role};

use super::help;
use crate::values;

/// The subcommands of `ccb token`.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token, and its entry for the operator's token file
    #[command(after_help = help::NEW_TOKEN)]
    New(NewTokenArgs),
}

#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    pub(crate) command: TokenCommand,
}

#[derive(Debug, Args)]
pub(crate) struct NewTokenArgs {
    /// Unique name of the token: at most 63 of a-z, 0-9 and -
    #[arg(value_parser = values::name)]
    pub(crate) name: String,
    /// What the token may do: view (read), control (also execute), admin (everybody's executions),
    /// metrics (only the metrics)
    #[arg(long, default_value = "control", value_name = "ROLE")]
    pub(crate) role: Role,
    /// Whose executions the token opens; the default is the name
    #[arg(long, value_name = "NAME", value_parser = values::name)]
    pub(crate) principal: Option<String>,
    /// Workspaces that the token may use, separated by commas; `*` stands for any characters; the
    /// default is all
    #[arg(long, value_name = "GLOBS", value_delimiter = ',', value_parser = values::glob)]
    pub(crate) workspaces: Option<Vec<String>>,
    /// Maximum cost of one execution, in US dollars
    #[arg(long, value_name = "USD", value_parser = values::usd)]
    pub(crate) max_budget_usd: Option<f64>,
    /// Maximum cost of all executions of the principal on one day (UTC), in US dollars
    #[arg(long, value_name = "USD", value_parser = values::usd)]
    pub(crate) budget_usd_per_day: Option<f64>,
    /// Maximum number of running executions of the principal; more wait in the queue
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) running: Option<u32>,
    /// Day at whose beginning (00:00 UTC) the token stops working, like 2027-01-31
    #[arg(long, value_name = "DATE", value_parser = values::future_date)]
    pub(crate) expires: Option<Date>,
    /// Token file of the operator to which the entry is added; created when missing
    #[arg(long, value_name = "FILE")]
    pub(crate) add: Option<PathBuf>,
    /// New file of mode 600 for the token; `-` writes it to a pipe
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ShareArgs {
    /// Id of the execution
    pub(crate) id: ExecutionId,
    /// What the token may do
    #[arg(long, value_enum, default_value_t = ShareRole::View)]
    pub(crate) role: ShareRole,
    /// Time after which the token stops working, at most 30d
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = values::share_seconds)]
    pub(crate) expires: u64,
}

/// The roles of `ccb share`.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum ShareRole {
    /// Read the status, the output and the events
    View,
    /// Also pause, resume and cancel it, and send input to it
    Control,
}

impl From<ShareRole> for protocol::access::ShareRole {
    fn from(role: ShareRole) -> Self {
        match role {
            ShareRole::View => Self::View,
            ShareRole::Control => Self::Control,
        }
    }
}
