//! Both services return the memory of long lines to the system.

use std::time::Duration;

use cc_tests::harness::{Stack, StackOptions, eventually, processes};

/// Maximum memory of both services together after long lines (docs/protocol.md, "Invariants").
const BOUND_BYTES: u64 = 64 << 20;
/// The time in which the memory must be returned.
const PATIENCE: Duration = Duration::from_secs(20);
/// Sessions, and answers of each session, one after the other.
const SESSIONS: usize = 4;
const ANSWERS: usize = 3;
/// The text of each answer: one event line has all of it, and so has the result's.
const ANSWER_BYTES: usize = 20_000_000;

/// After twelve answers of 20 MB, claude-api alone once held 141 to 180 MiB.
#[tokio::test]
async fn both_services_return_the_memory_of_long_lines() {
    let stack = Stack::with(StackOptions::default().one_bridge()).await;
    let session = async || {
        let mut client = stack.client().await;
        for _ in 0..ANSWERS {
            let (output, end) = client.run("@long 20").await;
            assert_eq!(output.len(), ANSWER_BYTES);
            assert_eq!(end["status"], "COMPLETED", "{end}");
        }
        client
    };
    let clients = futures::future::join_all((0..SESSIONS).map(|_| session())).await;
    let resident = |pid| processes::resident_bytes(pid).expect("a service");
    let both = || resident(stack.api.pid()) + resident(stack.bridge.pid());
    let peak = both();
    let within = || (both() <= BOUND_BYTES).then_some(());
    let what = format!("less than {BOUND_BYTES} bytes after {peak}");
    eventually(&what, PATIENCE, within).await;
    for client in clients {
        client.finish().await;
    }
    stack.assert_quiet();
}
