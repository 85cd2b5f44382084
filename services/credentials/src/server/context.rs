//! The state that all connections share.

use std::sync::Arc;

use crate::forward::Forwarder;
use crate::table::Table;

/// The grants and the forwarder. All connections share them.
#[derive(Debug)]
pub struct Context {
    /// The grants.
    pub table: Table,
    /// The forwarder of requests to the API.
    pub forwarder: Arc<Forwarder>,
}
