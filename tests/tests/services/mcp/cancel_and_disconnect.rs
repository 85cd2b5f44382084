//! Cancelled calls, and clients that disconnect.

use std::path::Path;

use cc_tests::harness::{Stack, StackOptions};
use serde_json::json;

use super::python_sdk::{ALL, Scenario, Transport, run};
use super::until;
use crate::support::id;

#[tokio::test]
async fn mcp_a_cancelled_call_cancels_its_execution() {
    for transport in [Transport::Legacy, Transport::Stdio] {
        let stack = Stack::start().await;
        let mark = stack.path("mark");
        run(&stack, transport, &["cancel", &mark.to_string_lossy()]).await;
        stack.assert_quiet();
    }
}

/// Kills a client during its `execute`; returns the execution's id.
async fn vanish(stack: &Stack, transport: Transport, on_disconnect: &str, go: &Path) -> String {
    let execution = id();
    let prompt = format!("@wait {}\n@say survived", go.display());
    let arguments =
        json!({"prompt": prompt, "executionId": execution, "onDisconnect": on_disconnect});
    let mut talk = Scenario::start(stack, transport, &["leave", &arguments.to_string()]);
    talk.expect("calling").await;
    until(stack, &execution, "running").await;
    talk.kill();
    execution
}

#[tokio::test]
async fn mcp_a_disconnect_cancels_only_executions_with_on_disconnect_cancel() {
    let options = StackOptions::default().bridge("--disconnect-grace-ms=200");
    let stack = Stack::with(options).await;
    for transport in ALL {
        let go = stack.path(&id());
        let cancelled = vanish(&stack, transport, "cancel", &go).await;
        until(&stack, &cancelled, "cancelled").await;
        let kept = vanish(&stack, transport, "continue", &go).await;
        std::fs::write(&go, "").expect("a mark");
        until(&stack, &kept, "completed").await;
        assert_eq!(stack.spawns(&kept), 1);
    }
    stack.assert_quiet();
}
