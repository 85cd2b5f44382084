//! Clients of a project's services.

use std::{net::SocketAddr, time::Duration};

use super::Project;
use crate::{
    composed::tally,
    http::Http,
    ws::{Client, Options},
};

/// The real CLI on a busy machine takes its time.
const PATIENCE: Duration = Duration::from_secs(120);

impl Project {
    /// A client of claude-api.
    #[must_use]
    pub fn http(&self) -> Http {
        Http::new(self.api)
    }

    /// A session with patience for the real CLI.
    ///
    /// # Panics
    /// If there is none.
    pub async fn client(&self) -> Client {
        self.client_at(self.bridge).await
    }

    /// The same through another address, such as a proxy's.
    ///
    /// # Panics
    /// If there is none.
    pub async fn client_at(&self, address: SocketAddr) -> Client {
        self.connect(address, Options::default()).await
    }

    /// The same at the bridge's own address, on another path than `/ws`.
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
