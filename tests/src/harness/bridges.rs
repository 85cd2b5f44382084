//! The bridges in front of one claude-api: one or two.
//!
//! `CCB_TEST_BRIDGES=2` starts two in every [`Stack`] that leaves the choice to the run. Clients
//! get the second bridge and the first one in turn, so that a test with one client passes through
//! the second bridge, and a test with several clients mixes both.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::stack::bridge_options;
use super::{Service, Stack, StackOptions};
use crate::{faults::FaultProxy, ws};

/// The variable that chooses the number of bridges of a run.
const VARIABLE: &str = "CCB_TEST_BRIDGES";

/// The number of bridges of a [`Stack`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BridgeCount {
    /// The number in `CCB_TEST_BRIDGES`: 1 or 2; one bridge when the variable is not set.
    #[default]
    OfTheRun,
    /// One.
    One,
    /// Two.
    Two,
}

impl BridgeCount {
    fn is_two(self) -> bool {
        match self {
            Self::One => false,
            Self::Two => true,
            Self::OfTheRun => match std::env::var(VARIABLE).as_deref() {
                Err(std::env::VarError::NotPresent) | Ok("1") => false,
                Ok("2") => true,
                other => panic!("{VARIABLE} is 1 or 2, not {other:?}"),
            },
        }
    }
}

/// A counter that gives clients the bridges in turn.
#[derive(Debug, Default)]
pub(super) struct Turns(AtomicUsize);

/// Starts the second bridge, if the options or the run ask for one.
pub(super) async fn second(
    folder: &Path,
    upstream: SocketAddr,
    options: &StackOptions,
) -> Option<Service> {
    if !options.bridges.is_two() {
        return None;
    }
    let mut second = bridge_options(folder, upstream, options);
    second.name = "bridge 2".into();
    second.log = folder.join("bridge-2.log");
    Some(Service::start(second).await)
}

impl Stack {
    /// The second bridge.
    ///
    /// # Panics
    /// If the stack has only one: see [`StackOptions::two_bridges`].
    #[must_use]
    pub fn second_bridge(&self) -> &Service {
        let second = self.second.as_ref();
        second.expect("the options ask for two bridges")
    }

    /// All bridges.
    pub fn bridges(&mut self) -> impl Iterator<Item = &mut Service> {
        std::iter::once(&mut self.bridge).chain(&mut self.second)
    }

    /// Returns the address for the next client: the proxy's if there is one, otherwise that of the
    /// next bridge in turn.
    #[must_use]
    pub fn ws_addr(&self) -> SocketAddr {
        if let Some(front) = &self.front {
            return front.addr();
        }
        let turn = self.turns.0.fetch_add(1, Ordering::Relaxed);
        match &self.second {
            Some(second) if turn.is_multiple_of(2) => second.addr(),
            _ => self.bridge.addr(),
        }
    }

    /// Connects a strict client with its own session.
    ///
    /// # Panics
    /// If there is no session in time.
    pub async fn client(&self) -> ws::Client {
        ws::Client::connect(self.ws_addr()).await
    }

    /// The proxy between the clients and the bridges.
    pub(super) async fn front(bridge: &Service, second: Option<&Service>) -> FaultProxy {
        let mut targets = vec![bridge.addr()];
        if let Some(second) = second {
            targets.insert(0, second.addr());
        }
        FaultProxy::start_in_turn(targets).await
    }

    /// Kills every bridge with SIGKILL and starts it on the same port.
    ///
    /// # Panics
    /// If a bridge does not start.
    pub async fn crash_bridges(&mut self) {
        self.bridges().for_each(Service::kill);
        self.start_bridges_again().await;
    }

    /// Sends SIGTERM to every bridge and waits until all have ended with success.
    ///
    /// # Panics
    /// If a bridge does not end in time, or ends with another code.
    pub async fn stop_bridges(&mut self) {
        for bridge in self.bridges() {
            let status = bridge.stop().await;
            assert!(status.success(), "{status}");
        }
    }

    /// Starts every bridge on its port again, after [`Self::stop_bridges`].
    ///
    /// # Panics
    /// If a bridge does not start.
    pub async fn start_bridges_again(&mut self) {
        for bridge in self.bridges() {
            bridge.start_again().await;
        }
    }
}
