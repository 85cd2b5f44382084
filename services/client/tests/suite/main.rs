//! The client and `ccb` against a fake bridge with faults.

mod ccb;
mod fake;
mod library;
