//! What every connection needs.

use std::sync::Arc;

use crate::forward::Forwarder;
use crate::table::Table;

/// The parts that all connections share.
#[derive(Debug)]
pub struct Context {
    /// The grants.
    pub table: Table,
    /// The way to the API.
    pub forwarder: Arc<Forwarder>,
}
