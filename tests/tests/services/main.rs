//! Both services as real processes on free ports, with the stand-in CLI. A module per theme. Needs the
//! binaries (`cargo build --workspace --bins`) and fails without them.

mod bad_http;
mod bad_ws;
mod basic;
mod endings;
mod guard;
mod reconnect;
mod support;
