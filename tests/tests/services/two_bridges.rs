//! Two bridges in front of one claude-api. Neither bridge knows of the other: claude-api decides.

mod departures;
mod executes;
mod per_bridge;
mod views;

use cc_tests::{harness::Service, ws};

/// Connects a client to this bridge.
async fn client(bridge: &Service) -> ws::Client {
    ws::Client::connect(bridge.addr()).await
}
