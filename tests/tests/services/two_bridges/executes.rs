//! An execute that both bridges retry, and a CANCEL through one of them.

use std::fs;

use cc_tests::{
    faults::{Cut, Entry, FaultProxy, Faults, Pipe},
    harness::{Service, Stack, StackOptions, eventually, stack::bridge_options},
};
use serde_json::{Value, json};

use super::client;
use crate::support::{PATIENCE, id};

/// Two bridges, each with its own line (a proxy) to claude-api.
struct Lines {
    second: Service,
    second_line: FaultProxy,
    /// Stack whose `bridge` is the first bridge, and whose `middle` is that bridge's line.
    stack: Stack,
}

impl Lines {
    async fn start() -> Self {
        let options = StackOptions {
            proxy_upstream: true,
            ..StackOptions::default()
                .one_bridge()
                .bridge("--call-ms=1000")
        };
        let stack = Stack::with(options.clone()).await;
        let second_line = FaultProxy::start(stack.api.addr()).await;
        let folder = stack.path("second");
        fs::create_dir(&folder).expect("a folder");
        let mut second = bridge_options(&folder, second_line.addr(), &options);
        second.name = "second bridge".into();
        Self {
            second: Service::start(second).await,
            second_line,
            stack,
        }
    }

    fn first_line(&self) -> &FaultProxy {
        self.stack.middle.as_ref().expect("a proxy")
    }
}

/// Waits until a bridge has logged this message about an execution.
async fn wait_logged(bridge: &Service, id: &str, message: &str) {
    let matches = |line: &Value| line["execution"] == id && line["message"] == message;
    eventually(message, PATIENCE, || {
        bridge.lines().iter().any(matches).then_some(())
    })
    .await;
}

/// Failure of a bridge's line.
#[derive(Debug, Clone, Copy, PartialEq)]
enum LineFailure {
    /// No connection: no PUT of this bridge reaches claude-api.
    Refuses,
    /// Connections are reset: the bridge cannot know what reached claude-api.
    Resets,
    /// The PUT is sent and does not arrive.
    Stuck,
}

impl LineFailure {
    fn faults(self) -> Faults {
        match self {
            Self::Refuses => Faults::refuse(),
            Self::Resets => Faults {
                entry: Entry::Reset,
                ..Faults::default()
            },
            Self::Stuck => Faults {
                up: Pipe::stalled(),
                ..Faults::default()
            },
        }
    }
}

/// Makes a line fail, also for connections that are open.
async fn fail(line: &FaultProxy, failure: LineFailure) {
    line.set(failure.faults());
    line.cut_now(Cut::Reset);
    eventually("the connections to be cut", PATIENCE, || {
        (line.open() == 0).then_some(())
    })
    .await;
}

/// The moment at which the bridge of the CANCEL reaches claude-api again.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Recovery {
    /// Before the CANCEL.
    Early,
    /// After the answer to the CANCEL: the bridge owes the cancel.
    Late,
    /// As `Late`, and claude-api is killed meanwhile.
    Killed,
}

/// Executes through both bridges, and cancels through the second while the first retries.
async fn cancel_through_the_second(first: LineFailure, second: LineFailure, recovery: Recovery) {
    let case = format!("{first:?}, {second:?}, {recovery:?}");
    let mut lines = Lines::start().await;
    let mut retrying = client(&lines.stack.bridge).await;
    let mut cancelling = client(&lines.second).await;
    fail(lines.first_line(), first).await;
    fail(&lines.second_line, second).await;
    let id = id();
    let execute = json!({"prompt": "@tool 60", "executionId": id});
    let retried = retrying.request("execute", execute.clone()).await;
    let given_up = cancelling.request("execute", execute).await;
    if first != LineFailure::Stuck {
        wait_logged(
            &lines.stack.bridge,
            &id,
            "claude-api did not accept an execute",
        )
        .await;
    }
    wait_logged(&lines.second, &id, "claude-api did not accept an execute").await;
    if recovery == Recovery::Early {
        lines.second_line.heal();
    }
    let control = json!({"type": "CANCEL", "executionId": id});
    let cancelled = cancelling.request("control", control).await;
    let error = cancelling.answer(given_up).await.expect_err(&case);
    assert_eq!(error["code"], -32005, "{case}: {error}");
    cancelling.answer(cancelled).await.expect_err(&case);
    if recovery == Recovery::Killed {
        lines.stack.crash_api().await;
    }
    if recovery != Recovery::Early {
        lines.second_line.heal();
        let settled = "claude-api accepted the cancel of an abandoned execution";
        wait_logged(&lines.second, &id, settled).await;
    }
    lines.first_line().heal();
    let error = retrying.answer(retried).await.expect_err(&case);
    assert_eq!(
        (&error["code"], &error["data"]["reason"]),
        (&json!(-32009), &json!("cancelled_before_accepted")),
        "{case}: {error}"
    );
    assert_eq!(lines.stack.spawns(&id), 0, "{case}");
    retrying.finish().await;
    cancelling.finish().await;
    lines.stack.assert_quiet();
    lines.second.assert_quiet();
}

#[tokio::test]
async fn a_cancel_of_an_execute_that_the_other_bridge_retries_is_kept() {
    for first in [LineFailure::Refuses, LineFailure::Stuck] {
        cancel_through_the_second(first, LineFailure::Resets, Recovery::Early).await;
    }
}

#[tokio::test]
async fn a_cancel_that_is_owed_is_kept_although_the_other_bridge_retries() {
    for (first, recovery) in [
        (LineFailure::Refuses, Recovery::Late),
        (LineFailure::Stuck, Recovery::Late),
        (LineFailure::Refuses, Recovery::Killed),
    ] {
        cancel_through_the_second(first, LineFailure::Resets, recovery).await;
    }
}

#[tokio::test]
async fn a_cancel_through_a_bridge_that_never_reached_claude_api_is_kept() {
    for first in [LineFailure::Refuses, LineFailure::Stuck] {
        for recovery in [Recovery::Early, Recovery::Late] {
            cancel_through_the_second(first, LineFailure::Refuses, recovery).await;
        }
    }
}
