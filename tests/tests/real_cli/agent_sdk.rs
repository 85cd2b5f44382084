//! The official Python Agent SDK, unmodified, with `ccb-claude` as its CLI, through both services
//! with the real CLI. The programs are in `tests/agent_sdk`; each asserts what it sees.

mod faults;
mod own_tests;
mod program;

use cc_tests::harness::StackOptions;

use super::pause::World;
use program::Program;

/// Seconds in which a client sends nothing. An execution that makes no progress in this time is
/// ended after [`IDLE_TIMEOUT_MS`].
const IDLE_SECONDS: &str = "8";
/// The idle timeout of the service. The proportion to [`IDLE_SECONDS`] is that of 15 to 20 minutes,
/// the default timeout and the wait of a client.
const IDLE_TIMEOUT_MS: &str = "6000";

/// The services as an operator sets them up for programs that decide about tools themselves.
fn options() -> StackOptions {
    StackOptions::default()
        .api("--permission-mode=default")
        .api("--permission-ceiling=acceptEdits")
        .api("--tools-ceiling=*")
        .api("--allowed-tools=")
}

/// Runs a program against services of its own. It must succeed.
async fn check(program: &str, arguments: &[&str]) {
    let world = World::with(options(), &[]).await;
    Program::new(&world, program, arguments).succeed().await;
    world.end();
}

#[tokio::test]
async fn query_returns_the_answer_and_options_reach_the_cli() {
    check("one_query.py", &[]).await;
}

#[tokio::test]
async fn a_client_continues_its_conversation_after_an_idle_time_beyond_the_idle_timeout() {
    let timeouts = [
        ("CLAUDE_API_IDLE_TIMEOUT_MS", IDLE_TIMEOUT_MS),
        ("CLAUDE_API_STALLED_MS", IDLE_TIMEOUT_MS),
    ];
    let world = World::with(options(), &timeouts).await;
    let program = Program::new(&world, "turns.py", &[IDLE_SECONDS]);
    program.succeed().await;
    world.end();
}

#[tokio::test]
async fn interrupt_stops_an_answer_a_command_and_a_prompt() {
    check("interrupt.py", &[]).await;
}

#[tokio::test]
async fn can_use_tool_changes_an_input_and_denies() {
    check("permissions.py", &[]).await;
}

#[tokio::test]
async fn hooks_deny_a_command_and_add_a_context() {
    check("hook_callbacks.py", &[]).await;
}

#[tokio::test]
async fn the_model_calls_a_tool_of_the_program() {
    check("sdk_mcp_tool.py", &[]).await;
}

#[tokio::test]
async fn conversations_are_resumed_forked_and_continued() {
    check("conversations.py", &[]).await;
}

#[tokio::test]
async fn permission_modes_change_up_to_the_ceiling() {
    check("permission_modes.py", &[]).await;
}

#[tokio::test]
async fn agents_of_the_program_run() {
    check("agents.py", &[]).await;
}

#[tokio::test]
async fn an_answer_has_the_form_of_a_schema() {
    check("structured_output.py", &[]).await;
}

#[tokio::test]
async fn an_image_in_a_message_reaches_the_model() {
    check("image.py", &[]).await;
}
