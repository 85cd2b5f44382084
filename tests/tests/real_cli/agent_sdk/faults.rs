//! A session of the SDK through cuts of the network and restarts of the bridge.

use cc_tests::faults::{Cut, FaultProxy};
use cc_tests::harness::{StackOptions, eventually};

use super::super::PATIENCE;
use super::World;
use super::program::Program;

/// The number of cuts that the program asks for.
const CUTS: usize = 10;
/// The number of restarts of the bridge that it asks for.
const RESTARTS: usize = 2;

/// The result of one session.
struct Session {
    /// The messages that the SDK returned, as JSON.
    messages: String,
    cuts: usize,
    restarts: usize,
    /// The number of requests to the model.
    requests: u64,
}

fn proxy(world: &World) -> &FaultProxy {
    world.stack.front.as_ref().expect("a proxy")
}

/// Runs the session. Does what it asks for.
async fn session(world: &mut World, mode: &str) -> Session {
    let before = world.requests().await;
    let mut program = Program::new(world, "faults.py", &[mode]);
    let (mut cuts, mut restarts) = (0, 0);
    let messages = loop {
        let line = program.line().await.expect("a line");
        match line.as_str() {
            "cut" => {
                // The client has only one connection. A cut must not hit the attempt to reconnect
                // after the cut before.
                eventually("the connection", PATIENCE, || {
                    (proxy(world).open() == 1).then_some(())
                })
                .await;
                let counted = proxy(world).cuts();
                let kind = [Cut::Reset, Cut::Close][cuts % 2];
                proxy(world).cut_now(kind);
                eventually("the cut", PATIENCE, || {
                    (proxy(world).cuts() > counted).then_some(())
                })
                .await;
                cuts += 1;
            }
            "restart" => {
                world.stack.crash_bridges().await;
                restarts += 1;
            }
            _ => break line,
        }
        program.answer().await;
    };
    program.end().await;
    Session {
        messages,
        cuts,
        restarts,
        requests: world.requests().await - before,
    }
}

#[tokio::test]
async fn the_sdk_does_not_notice_ten_cuts_and_restarts_of_the_bridge() {
    let options = StackOptions {
        proxy_clients: true,
        ..super::options()
    };
    let mut world = World::with(options.one_bridge(), &[]).await;
    let whole = session(&mut world, "without-faults").await;
    assert_eq!((whole.cuts, whole.restarts), (0, 0));
    assert_eq!((proxy(&world).cuts(), proxy(&world).connections()), (0, 1));

    let faulty = session(&mut world, "with-faults").await;
    assert_eq!((faulty.cuts, faulty.restarts), (CUTS, RESTARTS));
    let (counted, connections) = (proxy(&world).cuts(), proxy(&world).connections());
    assert!(counted >= CUTS as u64, "only {counted} cuts");
    assert!(
        connections > (CUTS + RESTARTS) as u64,
        "only {connections} connections"
    );
    assert!(whole.messages.len() > 10_000, "{}", whole.messages);
    assert_eq!(
        faulty.messages, whole.messages,
        "both runs have the same messages"
    );
    assert_eq!(faulty.requests, whole.requests, "nothing ran twice");
    world.end();
}
