//! An execute that both bridges retry, and a CANCEL through one of them.

use std::fs;

use cc_tests::{
    faults::{Cut, Entry, FaultProxy, Faults, Pipe},
    harness::{Service, Stack, StackOptions, eventually, stack::bridge_options},
};
use serde_json::{Value, json};

use super::client;
use crate::support::{PATIENCE, id};

/// Two bridges, each with a line of its own to claude-api.
struct Lines {
    second: Service,
    second_line: FaultProxy,
    /// Its bridge is the first one, and its `middle` that one's line.
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

/// Waits until a bridge has logged this about an execution.
async fn logged(bridge: &Service, id: &str, message: &str) {
    let is_it = |line: &Value| line["execution"] == id && line["message"] == message;
    eventually(message, PATIENCE, || {
        bridge.lines().iter().any(is_it).then_some(())
    })
    .await;
}

/// How the line of a bridge fails.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Line {
    /// No connection: no PUT of this bridge reaches claude-api.
    Refuses,
    /// Connections are reset: the bridge cannot know what reached claude-api.
    Resets,
    /// The PUT is on its way.
    Stuck,
}

impl Line {
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
async fn fail(line: &FaultProxy, how: Line) {
    line.set(how.faults());
    line.cut_now(Cut::Reset);
    eventually("the connections to be cut", PATIENCE, || {
        (line.open() == 0).then_some(())
    })
    .await;
}

/// The moment at which the bridge of the CANCEL reaches claude-api again.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Back {
    /// Before the CANCEL.
    Early,
    /// After the CANCEL was answered: it is owed.
    Late,
    /// The same, and claude-api was killed meanwhile.
    Killed,
}

/// Executes through both bridges, and cancels through the second while the first retries.
async fn cancel_through_the_second(first: Line, second: Line, back: Back) {
    let case = format!("{first:?}, {second:?}, {back:?}");
    let mut lines = Lines::start().await;
    let mut retrying = client(&lines.stack.bridge).await;
    let mut cancelling = client(&lines.second).await;
    fail(lines.first_line(), first).await;
    fail(&lines.second_line, second).await;
    let id = id();
    let execute = json!({"prompt": "@tool 60", "executionId": id});
    let retried = retrying.request("execute", execute.clone()).await;
    let given_up = cancelling.request("execute", execute).await;
    if first != Line::Stuck {
        logged(&lines.stack.bridge, &id, "execute not accepted").await;
    }
    logged(&lines.second, &id, "execute not accepted").await;
    if back == Back::Early {
        lines.second_line.heal();
    }
    let control = json!({"type": "CANCEL", "executionId": id});
    let cancelled = cancelling.request("control", control).await;
    let error = cancelling.answer(given_up).await.expect_err(&case);
    assert_eq!(error["code"], -32005, "{case}: {error}");
    cancelling.answer(cancelled).await.expect_err(&case);
    if back == Back::Killed {
        lines.stack.crash_api().await;
    }
    if back != Back::Early {
        lines.second_line.heal();
        let settled = "claude-api has a cancel that was owed";
        logged(&lines.second, &id, settled).await;
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

/// Issue 13, "Two bridges".
#[tokio::test]
async fn a_cancel_of_an_execute_that_the_other_bridge_retries_is_kept() {
    for first in [Line::Refuses, Line::Stuck] {
        cancel_through_the_second(first, Line::Resets, Back::Early).await;
    }
}

#[tokio::test]
async fn a_cancel_that_is_owed_is_kept_although_the_other_bridge_retries() {
    for (first, back) in [
        (Line::Refuses, Back::Late),
        (Line::Stuck, Back::Late),
        (Line::Refuses, Back::Killed),
    ] {
        cancel_through_the_second(first, Line::Resets, back).await;
    }
}

#[tokio::test]
async fn a_cancel_through_a_bridge_that_never_reached_claude_api_is_kept() {
    for first in [Line::Refuses, Line::Stuck] {
        for back in [Back::Early, Back::Late] {
            cancel_through_the_second(first, Line::Refuses, back).await;
        }
    }
}
