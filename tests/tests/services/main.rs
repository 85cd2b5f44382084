//! Both services as real processes on free ports, with the stand-in CLI. A module per theme. Needs the
//! binaries (`cargo build --workspace --bins`) and fails without them.

mod accept;
mod bad_http;
mod bad_ws;
mod basic;
mod churn;
mod configuration;
mod continue_;
mod credential;
mod cuts;
mod death;
mod disconnect;
mod disk;
mod endings;
mod environment;
mod follow;
mod forgotten;
mod frames;
mod guard;
mod injection;
mod input;
mod kept;
mod lanes;
mod long;
mod paused;
mod prompt;
mod queue;
mod races;
mod reconnect;
mod sessions;
mod settings;
mod slow_readers;
mod start;
mod stop;
mod support;
mod timers;
