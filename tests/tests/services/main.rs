//! Both services as real processes on free ports, with the stand-in CLI. A module per topic.
//!
//! I1 to I6 are the invariants of docs/protocol.md, "Invariants", by their numbers. A test whose
//! name begins with a letter and a number, such as `f14_`, is the proof of that requirement in the
//! project's list of requirements, which is not in this repository. A field case, such as
//! C7, is a failure that people reported of other systems of this kind.

mod acceptance;
mod access;
mod bad_http;
mod bad_ws;
mod basic;
mod boxed;
mod burn;
mod churn;
mod client_control;
mod connection_cuts;
mod continuations;
mod credential;
mod credentials;
mod damaged_events;
mod descriptions;
mod disconnect;
mod endings;
mod environment;
mod events;
mod full_disk;
mod hooks;
mod host_and_origin;
mod hostile_clients;
mod http_rules;
mod injection;
mod input;
mod invalid_configuration;
mod lanes;
mod lists_and_tombstones;
mod long_silences;
mod mcp;
mod memory;
mod messages_and_batches;
mod metrics;
mod pause;
mod process_kills;
mod prompt;
mod python_client;
mod questions;
mod queue;
mod races;
mod reconnect;
mod sessions;
mod settings;
mod sigterm;
mod silent_peers;
mod slow_disk;
mod slow_readers;
mod startup;
mod status_stream;
mod stop_after_result;
mod stored_results;
mod support;
mod terminal;
mod timers;
mod traces;
mod transcripts;
mod two_bridges;
mod webhooks;
