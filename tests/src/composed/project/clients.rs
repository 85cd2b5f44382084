//! Clients of a project's services.

use std::{net::SocketAddr, time::Duration};

use super::Project;
use crate::{
    composed::tally,
    http::Http,
    ws::{Client, Options},
};

/// The timeout of waits: the real CLI is slow on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

impl Project {
    /// Returns a client of claude-api.
    #[must_use]
    pub fn http(&self) -> Http {
        Http::new(self.api)
    }

    /// Connects a session with a timeout for the real CLI.
    ///
    /// # Panics
    /// If there is none.
    pub async fn client(&self) -> Client {
        self.client_at(self.bridge).await
    }

    /// Connects a session through another address, such as a proxy's.
    ///
    /// # Panics
    /// If there is none.
    pub async fn client_at(&self, address: SocketAddr) -> Client {
        self.connect(address, Options::default()).await
    }

    /// Connects a session at the bridge's own address, on another path than `/ws`.
    ///
    /// # Panics
    /// If there is none.
    pub async fn client_on(&self, path: &str) -> Client {
        let path = path.into();
        let options = Options {
            path,
            ..Options::default()
        };
        self.connect(self.bridge, options).await
    }

    async fn connect(&self, address: SocketAddr, options: Options) -> Client {
        let patience = PATIENCE;
        let options = Options {
            patience,
            ..options
        };
        let client = Client::connect_with(address, options).await;
        if self.own.is_none() && address == self.bridge {
            tally::session();
        }
        client
    }
}
