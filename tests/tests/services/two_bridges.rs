//! Two bridges in front of one claude-api. Neither knows of the other: claude-api decides.

mod departures;
mod executes;
mod own;
mod views;

use cc_tests::{harness::Service, ws};

/// A client of this bridge.
async fn client(bridge: &Service) -> ws::Client {
    ws::Client::connect(bridge.addr()).await
}
