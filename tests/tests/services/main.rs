//! Both services as real processes on free ports, with the stand-in CLI. A module per theme. Needs the
//! binaries (`cargo build --workspace --bins`) and fails without them.

mod accept;
mod bad_http;
mod bad_ws;
mod basic;
mod churn;
mod continue_;
mod credential;
mod disk;
mod endings;
mod environment;
mod follow;
mod guard;
mod injection;
mod input;
mod kept;
mod queue;
mod races;
mod reconnect;
mod sessions;
mod start;
mod stop;
mod support;
mod timers;
