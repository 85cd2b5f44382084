//! The real CLI and a client that answers its control requests, as programs of the Agent SDK do:
//! what works, and attempts to pass the operator's ceiling.

mod attempt;
mod bodies;
mod driver;
mod files;
mod grants;
mod modes;
mod place;
mod reply;
mod requests;
mod rules;
mod servers;
mod sessions;
mod table;
mod working;

use table::Table;

/// Returns all attempts by kind.
fn tables() -> [Table; 10] {
    [
        rules::table(),
        grants::table(),
        requests::table(),
        bodies::table(),
        modes::asked(),
        modes::planned(),
        files::table("none"),
        files::table("instructions"),
        files::table("full"),
        servers::table("http://127.0.0.1:9/mcp"),
    ]
}

#[test]
fn the_tables_have_at_least_60_attempts() {
    let attempts: usize = tables().iter().map(|table| table.attempts.len()).sum();
    assert!(attempts >= 60, "{attempts}");
}

#[tokio::test]
async fn no_response_passes_a_rule_of_the_operator() {
    rules::table().hold().await;
}

#[tokio::test]
async fn no_hook_agent_or_message_grants_a_permission() {
    grants::table().hold().await;
}

#[tokio::test]
async fn no_control_request_widens_the_permissions() {
    requests::table().hold().await;
}

#[tokio::test]
async fn no_field_of_the_body_passes_the_ceiling() {
    bodies::table().hold().await;
}

#[tokio::test]
async fn nothing_widens_the_mode_default() {
    modes::asked().hold().await;
}

#[tokio::test]
async fn nothing_widens_the_mode_plan() {
    modes::planned().hold().await;
}

#[tokio::test]
async fn no_file_of_the_workspace_grants_a_permission() {
    files::table("none").hold().await;
}

#[tokio::test]
async fn no_instruction_of_the_workspace_grants_a_permission() {
    files::table("instructions").hold().await;
}

#[tokio::test]
async fn no_configuration_of_the_workspace_grants_a_permission() {
    files::table("full").hold().await;
}

#[tokio::test]
async fn no_tool_of_an_mcp_server_passes_the_ceiling() {
    let server = servers::Server::start().await;
    servers::table(server.url()).hold().await;
    server.stop();
}
