//! The operator's ceiling over the objects that a client hands to the CLI: definitions of
//! sub-agents, settings and MCP servers. The CLI would obey far more than these allow-lists permit,
//! for example run a program that an agent names as its MCP server, even with
//! `--strict-mcp-config` (measured with 2.1.329).

mod agents;
mod refusal;
mod servers;
mod settings;

use protocol::Body;

use super::ToolPolicy;
pub(crate) use agents::check_agents;
pub use refusal::CliOptionRefusal;
pub(super) use servers::parse_servers;

impl ToolPolicy {
    /// Checks the agents, the settings and the MCP servers of a body, and replaces each by an
    /// object that has only known members.
    ///
    /// # Errors
    /// One of them goes beyond what the operator allows, or is malformed.
    pub fn restrict_cli_options(&self, body: &mut Body) -> Result<(), CliOptionRefusal> {
        let ceiling = self.answer_ceiling(body);
        if let Some(agents) = &body.agents {
            body.agents = Some(check_agents(agents, &ceiling)?);
        }
        if let Some(settings) = &body.settings {
            body.settings = Some(settings::check_settings(settings)?);
        }
        if let Some(servers) = &body.mcp_servers {
            body.mcp_servers = Some(servers::check_servers(servers, self.mcp_servers())?);
        }
        Ok(())
    }
}
