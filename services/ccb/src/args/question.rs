//! The arguments of `ccb questions` and `ccb answer`.

use clap::{Args, ValueEnum};
use protocol::ExecutionId;
use protocol::question::Decision;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::values;

#[derive(Debug, Args)]
pub(crate) struct QuestionsArgs {
    /// Id of the execution; absent: all executions
    pub(crate) id: Option<ExecutionId>,
}

#[derive(Debug, Args)]
pub(crate) struct AnswerArgs {
    /// Id of the execution
    pub(crate) id: ExecutionId,
    /// Id of the question, as `ccb questions` shows it
    pub(crate) question: Uuid,
    /// Decision about the question
    #[arg(value_enum)]
    pub(crate) decision: DecisionArg,
    /// Reason for the model; only with deny
    #[arg(long, value_name = "TEXT")]
    pub(crate) message: Option<String>,
    /// Input with which the tool runs, in place of its own; only with allow
    #[arg(long, value_name = "JSON", value_parser = values::json_object)]
    pub(crate) input: Option<Map<String, Value>>,
    /// Answer to one part of a choice, named by its text or number; repeatable
    #[arg(long, value_name = "PART=ANSWER")]
    pub(crate) choice: Vec<String>,
    /// Suggested rule that allows further uses in this execution; repeatable
    #[arg(long, value_name = "RULE")]
    pub(crate) remember: Vec<String>,
    /// End the model's turn, too; only with deny
    #[arg(long)]
    pub(crate) interrupt: bool,
}

/// The decisions of `ccb answer`.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum DecisionArg {
    /// The tool runs, the choice is made, or the plan is accepted
    Allow,
    /// The tool does not run
    Deny,
}

impl From<DecisionArg> for Decision {
    fn from(decision: DecisionArg) -> Self {
        match decision {
            DecisionArg::Allow => Self::Allow,
            DecisionArg::Deny => Self::Deny,
        }
    }
}
