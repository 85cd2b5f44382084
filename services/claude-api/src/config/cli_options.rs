//! The operator's ceiling over the objects that a client hands to the CLI: definitions of
//! sub-agents, settings and MCP servers. The CLI would obey far more than these allow-lists have,
//! for example run a program that an agent names as its MCP server, even with
//! `--strict-mcp-config` (measured with 2.1.329).

mod agents;
mod servers;
mod settings;

use protocol::{Body, Problem, ProblemType};
use serde_json::Value;

use super::{AnswerCeiling, ToolPolicy};
pub(crate) use agents::check_agents;

/// The reason why an object of a client is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct OptionRefusal {
    /// The problem type of the answer over HTTP.
    pub kind: ProblemType,
    /// The text for the client: what is wrong, and what to do.
    pub detail: String,
}

impl OptionRefusal {
    fn new(kind: ProblemType, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { kind, detail }
    }
}

impl From<OptionRefusal> for Problem {
    fn from(refusal: OptionRefusal) -> Self {
        Self::new(refusal.kind, refusal.detail)
    }
}

impl ToolPolicy {
    /// Checks the agents, the settings and the MCP servers of a body, and replaces each by an
    /// object that has only known members.
    ///
    /// # Errors
    /// One of them goes beyond what the operator allows, or is malformed.
    pub fn restrict_cli_options(&self, body: &mut Body) -> Result<(), OptionRefusal> {
        let ceiling = self.answer_ceiling(body);
        if let Some(agents) = &body.agents {
            body.agents = Some(check_agents(agents, &ceiling)?);
        }
        if let Some(settings) = &body.settings {
            body.settings = Some(settings::check_settings(settings)?);
        }
        if let Some(servers) = &body.mcp_servers {
            body.mcp_servers = Some(servers::check_servers(servers, self.mcp_urls())?);
        }
        Ok(())
    }
}

/// Returns the list of texts in a member of an object. `None` if it is not one.
fn texts(value: &Value) -> Option<Vec<&str>> {
    value.as_array()?.iter().map(Value::as_str).collect()
}
